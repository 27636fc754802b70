/* SPDX-License-Identifier: MIT
 *
 * The hash table that only grows.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "trace/table.h"

static int set_up(void **state)
{
	*state = calloc(1, sizeof(struct lt_table));
	return 0;
}

static int tear_down(void **state)
{
	lt_table_reset(*state);
	free(*state);
	return 0;
}

static void empty_table_finds_nothing(void **state)
{
	struct lt_table *table = *state;

	assert_int_equal(lt_table_find(table, 0, 0), 0);
	assert_int_equal(lt_table_find(table, 1, 2), 0);
}

static void what_was_added_is_found(void **state)
{
	struct lt_table *table = *state;

	assert_int_equal(lt_table_add(table, 1, 2, 3), 0);
	assert_int_equal(lt_table_add(table, 0, 0, UINT32_MAX), 0);
	assert_int_equal(lt_table_find(table, 1, 2), 3);
	assert_true(lt_table_find(table, 0, 0) == UINT32_MAX);
}

static void both_keys_count(void **state)
{
	struct lt_table *table = *state;

	assert_int_equal(lt_table_add(table, 1, 2, 3), 0);
	assert_int_equal(lt_table_find(table, 2, 1), 0);
	assert_int_equal(lt_table_find(table, 1, 3), 0);
	assert_int_equal(lt_table_find(table, 0, 2), 0);
	for (uint64_t key = 3; key < 100000; key++) { /* also where they meet in one slot */
		if (((lt_table_hash(1, key) ^ lt_table_hash(1, 2)) & table->array->mask) == 0)
			assert_int_equal(lt_table_find(table, 1, key), 0);
		if (((lt_table_hash(key, 2) ^ lt_table_hash(1, 2)) & table->array->mask) == 0)
			assert_int_equal(lt_table_find(table, key, 2), 0);
	}
}

/* Keys as the tracer's: small numbers, addresses, pairs in one word. */
static void key_of(uint32_t i, uint64_t *a, uint64_t *b)
{
	*a = i % 3 ? 0x7f0000000000 + 16 * (uint64_t)i : i;
	*b = i % 5 ? i / 7 : (uint64_t)i << 32 | 1;
}

static void growth_loses_nothing(void **state)
{
	struct lt_table *table = *state;
	uint64_t a, b;

	for (uint32_t i = 1; i <= 50000; i++) {
		key_of(i, &a, &b);
		assert_int_equal(lt_table_find(table, a, b), 0);
		assert_int_equal(lt_table_add(table, a, b, i), 0);
		assert_int_equal(table->used, i);
	}
	for (uint32_t i = 1; i <= 50000; i++) {
		key_of(i, &a, &b);
		assert_int_equal(lt_table_find(table, a, b), i);
	}
}

static void table_is_at_most_half_full(void **state)
{
	struct lt_table *table = *state;

	for (uint32_t i = 1; i <= 5000; i++) {
		assert_int_equal(lt_table_add(table, i, i, i), 0);
		assert_true(2 * table->used <= table->array->mask + 1);
	}
}

/* With one key for all, the chain runs round the array's end. */
static void entries_of_one_hash_are_all_found(void **state)
{
	struct lt_table *table = *state;
	uint64_t first = lt_table_hash(0, 0) & 1023, keys[300];
	unsigned n = 0;

	for (uint64_t a = 1; n < 300; a++)
		if ((lt_table_hash(a, 0) & 1023) - first < 2 || (lt_table_hash(a, 0) & 1023) > 1020)
			keys[n++] = a;
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(lt_table_add(table, keys[i], 0, i + 1), 0);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(lt_table_find(table, keys[i], 0), i + 1);
}

static void reset_table_is_empty_and_gives_its_memory_back(void **state)
{
	struct lt_table *table = *state;
	uint64_t before = lt_arena_bytes();

	assert_int_equal(lt_table_add(table, 1, 2, 3), 0);
	assert_true(lt_arena_bytes() > before);
	lt_table_reset(table);
	assert_int_equal(lt_arena_bytes(), before);
	assert_int_equal(lt_table_find(table, 1, 2), 0);
	assert_int_equal(lt_table_add(table, 1, 2, 4), 0);
	assert_int_equal(lt_table_find(table, 1, 2), 4);
}

static void emptied_table_keeps_only_its_last_array(void **state)
{
	struct lt_table *table = *state;
	uint64_t before = lt_arena_bytes();

	for (unsigned round = 0; round < 3; round++) {
		for (uint32_t i = 1; i <= 20000; i++)
			assert_int_equal(lt_table_add(table, i, round, i), 0);
		lt_table_empty(table);
		assert_true(lt_arena_bytes() - before < 2 * 65536 * sizeof(struct lt_table_entry));
		for (uint32_t i = 1; i <= 20000; i++)
			assert_int_equal(lt_table_find(table, i, round), 0);
	}
	lt_table_reset(table);
	assert_int_equal(lt_arena_bytes(), before);
}

static void reset_gives_back_what_a_table_grew_out_of(void **state)
{
	struct lt_table *table = *state;
	uint64_t before = lt_arena_bytes();

	for (uint32_t i = 1; i <= 20000; i++)
		assert_int_equal(lt_table_add(table, i, 0, i), 0);
	lt_table_reset(table);
	assert_int_equal(lt_arena_bytes(), before);
}

struct reader {
	pthread_t thread;
	const struct lt_table *table;
	bool wrong;
};

enum { ENTRIES = 200000 };
static int started;

/* The writer adds in order: once i is there, all before are, and it stays. */
static void *read_while_it_grows(void *argument)
{
	struct reader *reader = argument;
	uint32_t seen = 0;

	__atomic_fetch_add(&started, 1, __ATOMIC_SEQ_CST);
	while (seen < ENTRIES && !reader->wrong) {
		uint32_t next = lt_table_find(reader->table, seen + 1, ~(uint64_t)(seen + 1));
		uint32_t before = seen ? lt_table_find(reader->table, (seen + 1) / 2, ~(uint64_t)((seen + 1) / 2)) : 0;

		if ((next && next != seen + 1) || (seen && before != (seen + 1) / 2))
			reader->wrong = true;
		if (next)
			seen = next;
	}
	return NULL;
}

static void readers_see_each_entry_whole_while_the_table_grows(void **state)
{
	struct lt_table *table = *state;
	struct reader readers[2] = { { .table = table }, { .table = table } };

	started = 0;
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&readers[i].thread, NULL, read_while_it_grows, &readers[i]), 0);
	while (__atomic_load_n(&started, __ATOMIC_SEQ_CST) < 2)
		;
	for (uint32_t i = 1; i <= ENTRIES; i++)
		if (lt_table_add(table, i, ~(uint64_t)i, i))
			abort();
	for (unsigned i = 0; i < 2; i++) {
		pthread_join(readers[i].thread, NULL);
		assert_false(readers[i].wrong);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(empty_table_finds_nothing),
		TEST(what_was_added_is_found),
		TEST(both_keys_count),
		TEST(growth_loses_nothing),
		TEST(table_is_at_most_half_full),
		TEST(entries_of_one_hash_are_all_found),
		TEST(reset_table_is_empty_and_gives_its_memory_back),
		TEST(emptied_table_keeps_only_its_last_array),
		TEST(reset_gives_back_what_a_table_grew_out_of),
		TEST(readers_see_each_entry_whole_while_the_table_grows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
