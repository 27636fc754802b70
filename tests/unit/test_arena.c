/* SPDX-License-Identifier: MIT
 *
 * The tracer's own memory.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"

#define PIECE 65536

static bool all_zero(const char *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (bytes[i])
			return false;
	return true;
}

static void memory_is_zeroed_and_aligned(void **state)
{
	for (size_t size = 1; size < 3 * PIECE; size += 1 + size / 3) {
		char *memory = lt_arena_alloc(size);

		assert_non_null(memory);
		assert_int_equal((uintptr_t)memory % 16, 0);
		assert_true(all_zero(memory, size));
		memset(memory, 0xff, size);
	}
}

static void blocks_do_not_overlap(void **state)
{
	enum { BLOCKS = 20000 };
	static unsigned char *blocks[BLOCKS];
	static size_t sizes[BLOCKS];

	for (size_t i = 0; i < BLOCKS; i++) {
		sizes[i] = 1 + i * 7 % 61;
		blocks[i] = lt_arena_alloc(sizes[i]);
		assert_non_null(blocks[i]);
		memset(blocks[i], (int)(i % 251), sizes[i]);
	}
	for (size_t i = 0; i < BLOCKS; i++)
		for (size_t j = 0; j < sizes[i]; j++)
			assert_int_equal(blocks[i][j], i % 251);
}

static void small_blocks_share_a_mapping(void **state)
{
	uint64_t before = lt_arena_bytes();

	for (unsigned i = 0; i < 1000; i++)
		assert_non_null(lt_arena_alloc(16));
	assert_true(lt_arena_bytes() - before <= PIECE);
}

static void mapping_is_counted_in_whole_pages_and_given_back(void **state)
{
	uint64_t before = lt_arena_bytes();
	char *memory = lt_map(10000);

	assert_non_null(memory);
	assert_int_equal((uintptr_t)memory % 4096, 0);
	assert_true(all_zero(memory, 12288));
	assert_int_equal(lt_arena_bytes() - before, 12288);
	lt_unmap(memory, 10000);
	assert_int_equal(lt_arena_bytes(), before);
}

static void unmapping_nothing_does_nothing(void **state)
{
	uint64_t before = lt_arena_bytes();

	lt_unmap(NULL, 4096);
	assert_int_equal(lt_arena_bytes(), before);
}

static void too_much_is_refused(void **state)
{
	uint64_t before = lt_arena_bytes();

	assert_null(lt_map(SIZE_MAX / 2));
	assert_null(lt_arena_alloc(SIZE_MAX / 2));
	assert_int_equal(lt_arena_bytes(), before);
	assert_non_null(lt_arena_alloc(16));
}

static void the_most_is_kept(void **state)
{
	uint64_t before = lt_arena_bytes();
	void *memory = lt_map(64 * PIECE);

	assert_true(lt_arena_peak() >= before + 64 * PIECE);
	before = lt_arena_peak();
	lt_unmap(memory, 64 * PIECE);
	assert_int_equal(lt_arena_peak(), before);
	lt_arena_fork_child();
	assert_int_equal(lt_arena_peak(), lt_arena_bytes());
}

static void add_mapping(uintptr_t low, uintptr_t high, void *argument)
{
	*(uint64_t *)argument += high - low;
}

static void what_is_counted_is_what_is_mapped(void **state)
{
	uint64_t sum = 0;
	void *memory = lt_map(PIECE), *shared = lt_map_shared(4096);

	assert_true(lt_arena_visit(add_mapping, &sum));
	assert_int_equal(lt_arena_bytes(), sum);
	lt_unmap(memory, PIECE);
	lt_unmap(shared, 4096);
	sum = 0;
	lt_arena_visit(add_mapping, &sum);
	assert_int_equal(lt_arena_bytes(), sum);
}

static void the_dump_shows_it_while_it_is_ours(void **state)
{
	uint64_t bytes = 0, peak = 0, alive = 1;

	lt_arena_show(&bytes, &peak, &alive);
	assert_int_equal(bytes, lt_arena_bytes());
	assert_int_equal(peak, lt_arena_peak());
	void *memory = lt_map(PIECE);
	assert_int_equal(bytes, lt_arena_bytes());
	assert_int_equal(peak, lt_arena_peak());

	/* In a child that has no dump of its own yet. */
	alive = 0;
	lt_unmap(memory, PIECE);
	assert_int_equal(bytes, lt_arena_bytes() + PIECE);
	lt_arena_fork_child();
	alive = 1;
	memory = lt_map(PIECE);
	assert_int_equal(bytes, lt_arena_bytes());
	lt_unmap(memory, PIECE);
	assert_int_equal(bytes, lt_arena_bytes() + PIECE);
	lt_arena_show(&bytes, &peak, &alive);
	assert_int_equal(bytes, lt_arena_bytes());
	lt_arena_fork_child();
}

static void find_mapping(uintptr_t low, uintptr_t high, void *argument)
{
	uintptr_t *wanted = argument;

	if (low == wanted[0] && high == wanted[1])
		wanted[2]++;
}

static void mappings_are_known_until_they_are_given_back(void **state)
{
	char *memory = lt_map(10000);
	uintptr_t wanted[3] = { (uintptr_t)memory, (uintptr_t)memory + 12288, 0 };

	assert_true(lt_arena_visit(find_mapping, wanted));
	assert_int_equal(wanted[2], 1);
	lt_unmap(memory, 10000);
	assert_true(lt_arena_visit(find_mapping, wanted));
	assert_int_equal(wanted[2], 1);
}

/* Last: it is never all known again. */
static void more_mappings_than_are_remembered_are_told(void **state)
{
	static char *memory[5000];
	uintptr_t none[3] = { 0 };

	for (unsigned i = 0; i < 5000; i++)
		memory[i] = lt_map(4096);
	assert_false(lt_arena_visit(find_mapping, none));
	for (unsigned i = 0; i < 5000; i++)
		lt_unmap(memory[i], 4096);
}

/* Enough for the threads to meet. */
enum { THREADS = 2, PER_THREAD = 600000 };
static int running;

struct worker {
	pthread_t thread;
	struct worker **blocks[PER_THREAD];
};

static void *take_blocks(void *argument)
{
	struct worker *worker = argument;

	__atomic_fetch_add(&running, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&running, __ATOMIC_SEQ_CST) < THREADS)
		;
	for (unsigned i = 0; i < PER_THREAD; i++)
		if ((worker->blocks[i] = lt_arena_alloc(sizeof(struct worker *))))
			*worker->blocks[i] = worker;
	return NULL;
}

static void threads_get_blocks_of_their_own(void **state)
{
	static struct worker workers[THREADS];
	unsigned wrong = 0;

	for (unsigned t = 0; t < THREADS; t++)
		assert_int_equal(pthread_create(&workers[t].thread, NULL, take_blocks, &workers[t]), 0);
	for (unsigned t = 0; t < THREADS; t++)
		pthread_join(workers[t].thread, NULL);
	for (unsigned t = 0; t < THREADS; t++)
		for (unsigned i = 0; i < PER_THREAD; i++)
			wrong += !workers[t].blocks[i] || *workers[t].blocks[i] != &workers[t];
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_zeroed_and_aligned),
		cmocka_unit_test(blocks_do_not_overlap),
		cmocka_unit_test(small_blocks_share_a_mapping),
		cmocka_unit_test(mapping_is_counted_in_whole_pages_and_given_back),
		cmocka_unit_test(unmapping_nothing_does_nothing),
		cmocka_unit_test(too_much_is_refused),
		cmocka_unit_test(the_most_is_kept),
		cmocka_unit_test(what_is_counted_is_what_is_mapped),
		cmocka_unit_test(the_dump_shows_it_while_it_is_ours),
		cmocka_unit_test(threads_get_blocks_of_their_own),
		cmocka_unit_test(mappings_are_known_until_they_are_given_back),
		cmocka_unit_test(more_mappings_than_are_remembered_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
