/* SPDX-License-Identifier: MIT
 *
 * The list of live blocks in the dump: two generations in turn, one of them complete at any instant.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dump/blocks.h"
#include "trace/live.h"
#include "tracer.h"

#define ADDRESS(i) (0x7f0000000000 + 32 * (uintptr_t)(i))

static int start(void **state)
{
	return lt_live_init();
}

static void remove_block(uintptr_t i)
{
	struct lt_block block;

	if (lt_live_remove(ADDRESS(i), &block))
		lt_process->live_blocks--;
}

static void insert_block(uintptr_t i, uint32_t site)
{
	struct lt_block old, block = { .address = ADDRESS(i), .size = 100 + i, .site = site, .task = (uint32_t)i % 7 };

	if (lt_live_insert(&block, &old) || old.address)
		abort();
	lt_process->live_blocks++;
}

enum { MOST = 20000 };

static int tear_down(void **state)
{
	for (uintptr_t i = 0; i < MOST; i++)
		remove_block(i);
	lt_blocks_fork_child(false);
	tracer_tear_down(state);
	return lt_live_count() ? -1 : 0;
}

/* Blocks and bytes of the valid generation. */
static uint64_t listed(const struct view *view, uint64_t *bytes)
{
	uint64_t count = 0;

	*bytes = 0;
	VIEW_EACH(view, LEAKTRACE_CHUNK_BLOCKS, chunk)
		for (uint64_t i = 0; chunk->generation == view->header.process.blocks_generation && i < chunk->count; i++, count++)
			*bytes += ((const struct leaktrace_block *)(chunk + 1))[i].size;
	return count;
}

static void list_is_of_the_blocks_that_live(void **state)
{
	uint32_t site = lt_intern_site(1, 0, 0, 0);
	bool met[100] = { false };

	for (uintptr_t i = 0; i < 100; i++)
		insert_block(i, site);
	for (uintptr_t i = 0; i < 100; i += 2)
		remove_block(i);
	lt_blocks_write(false, true, true);
	struct view view = view_of(*state);
	assert_int_equal(view.header.process.blocks_generation, 1);
	assert_int_equal(view.header.process.dropped_blocks, 0);
	assert_int_equal(view_count(&view, LEAKTRACE_CHUNK_BLOCKS), 50);
	VIEW_EACH(&view, LEAKTRACE_CHUNK_BLOCKS, chunk) {
		for (uint64_t n = 0; n < chunk->count; n++) {
			const struct leaktrace_block *block = (const struct leaktrace_block *)(chunk + 1) + n;
			uintptr_t i = (block->address - ADDRESS(0)) / 32;

			assert_true(i < 100 && !met[i] && i % 2);
			met[i] = true;
			assert_int_equal(block->size, 100 + i);
			assert_int_equal(block->site, site);
			assert_int_equal(block->task, i % 7);
			assert_int_equal(block->flags, 0);
		}
	}
	view_free(&view);
}

static void list_is_final_only_when_it_is_the_last(void **state)
{
	insert_block(0, lt_intern_site(1, 0, 0, 0));
	lt_blocks_write(false, true, true);
	assert_false(lt_process->flags & LEAKTRACE_PROCESS_BLOCKS_FINAL);
	lt_blocks_write(true, true, true);
	assert_true(lt_process->flags & LEAKTRACE_PROCESS_BLOCKS_FINAL);
	assert_int_equal(lt_process->blocks_generation, 2);
}

static void each_writing_is_a_new_generation(void **state)
{
	uint32_t site = lt_intern_site(1, 0, 0, 0);

	for (uint32_t generation = 1; generation <= 5; generation++) {
		uint64_t bytes;

		insert_block(generation, site);
		lt_blocks_write(false, true, true);
		struct view view = view_of(*state);
		assert_int_equal(view.header.process.blocks_generation, generation);
		assert_int_equal(listed(&view, &bytes), generation);
		view_free(&view);
	}
}

static void shorter_list_hides_the_rest_of_the_one_before_last(void **state)
{
	uint32_t site = lt_intern_site(1, 0, 0, 0);
	uint64_t bytes;

	for (uintptr_t i = 0; i < MOST; i++)
		insert_block(i, site);
	lt_blocks_write(false, true, true);
	lt_blocks_write(false, true, true);
	for (uintptr_t i = 3; i < MOST; i++)
		remove_block(i);
	lt_blocks_write(false, true, true);
	struct view view = view_of(*state);
	assert_int_equal(listed(&view, &bytes), 3);
	assert_int_equal(bytes, 100 + 101 + 102);
	view_free(&view);
}

static void empty_list_is_a_generation_too(void **state)
{
	uint64_t bytes;

	insert_block(0, lt_intern_site(1, 0, 0, 0));
	lt_blocks_write(false, true, true);
	remove_block(0);
	lt_blocks_write(false, true, true);
	struct view view = view_of(*state);
	assert_int_equal(view.header.process.blocks_generation, 2);
	assert_int_equal(listed(&view, &bytes), 0);
	view_free(&view);
}

static void repeated_lists_need_the_room_of_two(void **state)
{
	uint32_t site = lt_intern_site(1, 0, 0, 0);

	for (uintptr_t i = 0; i < MOST; i++)
		insert_block(i, site);
	lt_blocks_write(false, true, true);
	lt_blocks_write(false, true, true);
	struct view before = view_of(*state);
	for (unsigned i = 0; i < 20; i++)
		lt_blocks_write(false, true, true);
	struct view after = view_of(*state);
	view_free(&before);
	view_free(&after);
	assert_int_equal(after.header.committed, before.header.committed);
}

static void expect_inherited_sums(struct tracer *tracer, bool prepared)
{
	uint32_t first = lt_intern_site(1, 0, 0, 0), second = lt_intern_site(2, 0, 0, 0), unused = lt_intern_site(3, 0, 0, 0);
	unsigned met = 0;

	for (uintptr_t i = 0; i < 10; i++) {
		struct leaktrace_site *site = lt_site(i < 7 ? first : second);
		insert_block(i, site->id);
		site->allocations += 3;
		site->frees += 2;
		site->allocated_bytes += 1000 + 100 + i;
		site->freed_bytes += 1000;
	}
	if (prepared)
		lt_blocks_fork_prepare();
	tracer_end(tracer); /* fork */
	tracer_start(tracer, MAX_SIZE);
	lt_blocks_fork_child(prepared);
	remove_block(0);
	lt_blocks_inherited_free(first, 1, 100);
	insert_block(10, lt_intern_site(1, 0, 0, 0));
	lt_blocks_write(false, true, true);
	struct view view = view_of(tracer);
	assert_int_equal(view_count(&view, LEAKTRACE_CHUNK_BLOCKS), 1);
	VIEW_EACH(&view, LEAKTRACE_CHUNK_INHERITED, chunk) {
		assert_int_equal(chunk->generation, 1);
		for (uint64_t i = 0; i < chunk->count; i++, met++) {
			const struct leaktrace_inherited *inherited = (const struct leaktrace_inherited *)(chunk + 1) + i;

			assert_int_not_equal(inherited->site, unused);
			assert_int_equal(inherited->blocks, inherited->site == first ? 6 : 3);
			assert_int_equal(inherited->bytes,
			                 inherited->site == first ? 101 + 102 + 103 + 104 + 105 + 106 : 107 + 108 + 109);
		}
	}
	assert_int_equal(met, 2);
	view_free(&view);
}

static void inherited_blocks_are_summed_by_site(void **state)
{
	expect_inherited_sums(*state, true);
}

/* _Fork and the like. */
static void without_preparation_they_are_counted(void **state)
{
	expect_inherited_sums(*state, false);
}

static void blocks_that_do_not_fit_are_counted(void **state)
{
	uint32_t site = lt_intern_site(1, 0, 0, 0);
	uint64_t bytes;

	tracer_fill();
	for (uintptr_t i = 0; i < MOST; i++)
		insert_block(i, site);
	lt_blocks_write(false, true, true);
	struct view view = view_of(*state);
	assert_int_equal(view.header.process.dropped_blocks, MOST);
	assert_int_equal(listed(&view, &bytes), 0);
	view_free(&view);
}

static void list_that_fits_in_part_counts_the_rest(void **state)
{
	uint32_t site = lt_intern_site(1, 0, 0, 0);
	uint64_t bytes, count;

	for (uintptr_t i = 0; i < 1000; i++)
		insert_block(i, site);
	lt_blocks_write(false, true, true); /* room for one list of this length */
	tracer_fill();
	for (uintptr_t i = 1000; i < MOST; i++)
		insert_block(i, site);
	lt_blocks_write(false, true, true);
	lt_blocks_write(false, true, true);
	struct view view = view_of(*state);
	count = listed(&view, &bytes);
	assert_true(count >= 1000 && count < MOST);
	assert_int_equal(count + view.header.process.dropped_blocks, MOST);
	view_free(&view);
}

static void no_dump_no_list(void **state)
{
	lt_dump_fork_child(false);
	lt_blocks_write(true, true, true);
	assert_int_equal(lt_process->blocks_generation, 0);
}

static void one_list_is_complete_at_any_instant(void **state)
{
	const struct tracer *tracer = *state;
	uint32_t site = lt_intern_site(1, 0, 0, 0), generation = 0, wrong = 0, judged = 0;
	uint64_t wanted = 0, bytes, count;
	struct view view, again;
	int status;

	for (uintptr_t i = 0; i < 5000; i++) {
		insert_block(i, site);
		wanted += 100 + i;
	}
	lt_blocks_write(false, true, true);
	pid_t pid = fork();
	while (!pid)
		lt_blocks_write(false, true, true);
	for (unsigned reading = 0; reading < 5000 && (judged < 20 || generation < 10); reading++) {
		if (!view_read(&view, tracer->path) || !view_read(&again, tracer->path))
			abort();
		generation = view.header.process.blocks_generation;
		count = listed(&view, &bytes);
		/* While it was read the writer may have come round to this set of chunks again. */
		if (again.header.process.blocks_generation == generation) {
			judged++;
			wrong += count != 5000 || bytes != wanted;
		}
		view_free(&view);
		view_free(&again);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	view = view_of(tracer);
	count = listed(&view, &bytes);
	assert_int_equal(wrong, 0);
	assert_int_equal(count, 5000);
	assert_int_equal(bytes, wanted);
	assert_true(generation >= 1);
	view_free(&view);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tracer_set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(list_is_of_the_blocks_that_live),
		TEST(list_is_final_only_when_it_is_the_last),
		TEST(each_writing_is_a_new_generation),
		TEST(shorter_list_hides_the_rest_of_the_one_before_last),
		TEST(empty_list_is_a_generation_too),
		TEST(repeated_lists_need_the_room_of_two),
		TEST(inherited_blocks_are_summed_by_site),
		TEST(without_preparation_they_are_counted),
		TEST(blocks_that_do_not_fit_are_counted),
		TEST(list_that_fits_in_part_counts_the_rest),
		TEST(no_dump_no_list),
		TEST(one_list_is_complete_at_any_instant),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
