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

#include "trace/gate.h"
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
	assert_int_equal(lt_table_add(table, LT_TABLE_KEY_MAX, LT_TABLE_KEY_MAX, 4), 0);
	assert_int_equal(lt_table_find(table, 1, 2), 3);
	assert_true(lt_table_find(table, 0, 0) == UINT32_MAX);
	assert_int_equal(lt_table_find(table, LT_TABLE_KEY_MAX, LT_TABLE_KEY_MAX), 4);
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
	*b = i % 5 ? i / 7 : (uint64_t)i << 31 | 1;
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

static void table_is_at_most_five_eighths_full(void **state)
{
	struct lt_table *table = *state;

	for (uint32_t i = 1; i <= 5000; i++) {
		assert_int_equal(lt_table_add(table, i, i, i), 0);
		assert_true(8 * table->used <= 5 * (table->array->mask + 1));
	}
}

/* Each addition moves a little, and the old array is empty before the next one is due. */
static void growth_is_done_step_by_step(void **state)
{
	struct lt_table *table = *state;
	const struct lt_table_array *array = NULL;
	uint64_t moved = 0, growths = 0;

	for (uint32_t i = 1; i <= 100000; i++) {
		assert_int_equal(lt_table_add(table, i, i, i), 0);
		if (array != table->array) {
			growths++;
			assert_true(!array || (!array->old && table->array->old == array));
			array = table->array;
			moved = 0;
		}
		if (!array->old)
			continue;
		assert_true(array->moved - moved <= 16);
		assert_true(array->moved > moved);
		moved = array->moved;
		assert_int_equal(lt_table_find(table, 1 + i / 2, 1 + i / 2), 1 + i / 2);
	}
	assert_true(growths > 8);
	assert_null(array->old);
}

/* An old array is unmapped at once where there is but one thread; this test's table has been told of none. */
static void settled_table_keeps_only_its_last_array(void **state)
{
	struct lt_table *table = *state;
	uint64_t before = lt_arena_bytes();

	for (uint32_t i = 1; i <= 20000; i++)
		assert_int_equal(lt_table_add(table, i, 0, i), 0);
	assert_true(lt_arena_bytes() - before > 32768 * sizeof(struct lt_table_entry) + 8192);
	lt_table_settle(table);
	assert_true(lt_arena_bytes() - before <= 32768 * sizeof(struct lt_table_entry) + 8192);
	for (uint32_t i = 1; i <= 20000; i++)
		assert_int_equal(lt_table_find(table, i, 0), i);
}

static void only_thread_keeps_nothing_else(void **state)
{
	struct lt_table *table = *state;
	const char *alone = lt_gate_alone;
	static const char yes = 1;
	uint64_t before = lt_arena_bytes();

	lt_gate_alone = &yes;
	for (uint32_t i = 1; i <= 20000; i++)
		assert_int_equal(lt_table_add(table, i, 0, i), 0);
	lt_gate_alone = alone;
	assert_true(lt_arena_bytes() - before <= 32768 * sizeof(struct lt_table_entry) + 8192);
	for (uint32_t i = 1; i <= 20000; i++)
		assert_int_equal(lt_table_find(table, i, 0), i);
}

static void cleared_table_has_nothing_of_the_old_array_either(void **state)
{
	struct lt_table *table = *state;

	for (uint32_t i = 1; i <= 2570; i++) /* just after a growth */
		assert_int_equal(lt_table_add(table, i, 0, i), 0);
	assert_non_null(table->array->old);
	lt_table_clear(table);
	for (uint32_t i = 1; i <= 2570; i++)
		assert_int_equal(lt_table_find(table, i, 0), 0);
	assert_int_equal(lt_table_add(table, 7, 0, 8), 0);
	assert_int_equal(lt_table_find(table, 7, 0), 8);
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

/* What is just being moved may be missed, for a moment. */
static uint32_t find_again(const struct lt_table *table, uint32_t i)
{
	uint32_t found = 0;

	for (unsigned tries = 0; i && !found && tries < 100000; tries++)
		found = lt_table_find(table, i, LT_TABLE_KEY_MAX - i);
	return found;
}

/* The writer adds in order: once i is there, all before are, and it stays. */
static void *read_while_it_grows(void *argument)
{
	struct reader *reader = argument;
	uint32_t seen = 0;

	__atomic_fetch_add(&started, 1, __ATOMIC_SEQ_CST);
	while (seen < ENTRIES && !reader->wrong) {
		uint32_t next = lt_table_find(reader->table, seen + 1, LT_TABLE_KEY_MAX - (seen + 1));

		if ((next && next != seen + 1) || find_again(reader->table, seen / 2) != seen / 2)
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
		if (lt_table_add(table, i, LT_TABLE_KEY_MAX - i, i))
			abort();
	for (unsigned i = 0; i < 2; i++)
		pthread_join(readers[i].thread, NULL);
	assert_false(readers[0].wrong || readers[1].wrong);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(empty_table_finds_nothing),
		TEST(what_was_added_is_found),
		TEST(both_keys_count),
		TEST(growth_loses_nothing),
		TEST(table_is_at_most_five_eighths_full),
		TEST(growth_is_done_step_by_step),
		TEST(settled_table_keeps_only_its_last_array),
		TEST(only_thread_keeps_nothing_else),
		TEST(cleared_table_has_nothing_of_the_old_array_either),
		TEST(entries_of_one_hash_are_all_found),
		TEST(reset_table_is_empty_and_gives_its_memory_back),
		TEST(emptied_table_keeps_only_its_last_array),
		TEST(reset_gives_back_what_a_table_grew_out_of),
		TEST(readers_see_each_entry_whole_while_the_table_grows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
