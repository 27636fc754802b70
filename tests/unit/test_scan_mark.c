/* SPDX-License-Identifier: MIT
 *
 * What the scan makes of graphs of blocks: memcheck's kinds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scan_world.h"

static uintptr_t roots[16]; /* of the program */

static NOINLINE void root(unsigned slot, uint32_t number, uint64_t into)
{
	((volatile uintptr_t *)roots)[slot] = at(number, into);
}

static int clear_roots(void **state)
{
	memset(roots, 0, sizeof roots);
	return world_end(state);
}

static void start_pointer_reaches_interior_makes_possible_none_is_definite(void **state)
{
	root(0, make(40), 0);
	root(1, make(40), 17);
	make(40);
	assert_judged("rpd");
	assert_int_equal(world->scan.kinds[LEAKTRACE_KIND_REACHABLE].blocks, 1);
	assert_int_equal(world->scan.kinds[LEAKTRACE_KIND_DEFINITE].bytes, 40);
	assert_string_equal(world->scan.note, "");
}

static void possible_spreads_over_start_and_interior_pointers(void **state)
{
	for (unsigned i = 0; i < 4; i++)
		make(64);
	root(0, 0, 8 * 3);
	point(0, 0, 1, 0);
	point(1, 8, 2, 9);
	point(2, 16, 3, 0);
	assert_judged("pppp");
}

/* Whichever is met first. */
static void reachable_wins_over_possible(void **state)
{
	for (unsigned i = 0; i < 4; i++)
		make(64);
	root(0, 0, 24);
	root(1, 1, 0);
	point(0, 0, 2, 0);
	point(1, 0, 2, 0);
	point(1, 8, 0, 0);
	point(2, 0, 3, 5);
	assert_judged("rrrp");
}

static void interior_pointer_from_a_reachable_block_makes_possible(void **state)
{
	for (unsigned i = 0; i < 3; i++)
		make(64);
	root(0, 0, 0);
	point(0, 8, 1, 33);
	point(1, 8, 2, 0);
	assert_judged("rpp");
}

static void behind_the_end_is_not_inside(void **state)
{
	root(0, make(40), 40);
	root(1, make(40), 39);
	root(2, make(0), 0);
	root(3, make(0), 1);
	assert_judged("dprd");
}

static void unaligned_pointers_are_none(void **state)
{
	make(64);
	make(64);
	make(64);
	root(0, 0, 0);
	point(0, 4, 1, 0);
	point(0, 61 - 8, 2, 0);
	assert_judged("rdd");
}

/* Of 13 bytes just one word can be a pointer. */
static void last_word_counts_only_if_all_of_it_is_in_the_block(void **state)
{
	make(23);
	make(16);
	make(16);
	root(0, 0, 0);
	point(0, 8, 1, 0);
	point(0, 16, 2, 0);
	assert_judged("rrd");
}

static void lost_chain_has_one_definite_head(void **state)
{
	for (unsigned i = 0; i < 5; i++)
		make(48);
	for (unsigned i = 0; i < 4; i++)
		point(i, 8, i + 1, i & 1 ? 8 : 0); /* interior pointers too */
	assert_judged("diiii");
}

/* The chain begins at the highest address: earlier leaders are taken over. */
static void head_found_last_makes_earlier_heads_indirect(void **state)
{
	for (unsigned i = 0; i < 5; i++)
		make(48);
	for (unsigned i = 1; i < 5; i++)
		point(i, 8, i - 1, 0);
	assert_judged("iiiid");
}

static void lost_cycle_has_exactly_one_definite(void **state)
{
	unsigned definite = 0;

	for (unsigned i = 0; i < 7; i++)
		make(48);
	for (unsigned i = 0; i < 7; i++)
		point(i, 0, (i + 3) % 7, 0);
	for (unsigned i = 0; i < 7; i++)
		point(i, 8, i, 0); /* to itself */
	assert_int_equal(judge(), 0);
	for (unsigned i = 0; i < 7; i++)
		definite += kind(i) == 'd';
	assert_int_equal(definite, 1);
	assert_int_equal(world->scan.kinds[LEAKTRACE_KIND_INDIRECT].blocks, 6);
}

static void block_pointing_to_itself_is_definite(void **state)
{
	make(48);
	point(0, 0, 0, 0);
	assert_judged("d");
}

static void what_two_lost_blocks_share_is_counted_once(void **state)
{
	for (unsigned i = 0; i < 3; i++)
		make(48);
	point(0, 0, 1, 0);
	point(2, 0, 1, 0);
	assert_judged("did");
}

static void lost_blocks_do_not_change_what_is_reachable(void **state)
{
	for (unsigned i = 0; i < 3; i++)
		make(48);
	root(0, 1, 0);
	root(1, 2, 3);
	point(0, 0, 1, 0);
	point(0, 8, 2, 0);
	assert_judged("drp");
}

static void registers_are_roots(void **state)
{
	make(48);
	make(48);
	add_thread((uintptr_t)__builtin_frame_address(0));
	world->threads[0].registers = 2;
	world->threads[0].reg[0] = at(0, 0);
	world->threads[0].reg[1] = at(1, 5);
	assert_judged("rp");
}

static void string_of_old_libstdcxx_is_reached_by_its_characters(void **state)
{
	make(24 + 30 + 1);
	put(0, 0, 12), put(0, 8, 30);
	root(0, 0, 24);
	make(24 + 30 + 1); /* longer than its room */
	put(1, 0, 31), put(1, 8, 30);
	root(1, 1, 24);
	make(24 + 30 + 2); /* another size */
	put(2, 0, 12), put(2, 8, 30);
	root(2, 2, 24);
	assert_judged("Rpp");
}

static void array_with_a_cookie_is_reached_by_its_first_element(void **state)
{
	make(8 + 3 * 24);
	put(0, 0, 3);
	root(0, 0, 8);
	make(8 + 3);
	put(1, 0, 3);
	root(1, 1, 8);
	make(8 + 3 * 24 + 1);
	put(2, 0, 3);
	root(2, 2, 8);
	make(8 + 24);
	root(3, 3, 8); /* no elements */
	assert_judged("RRpp");
}

static void block_with_its_length_is_reached_behind_it(void **state)
{
	make(8 + 1000);
	put(0, 0, 1000);
	root(0, 0, 8);
	make(8 + 1000);
	put(1, 0, 999);
	root(1, 1, 8);
	assert_judged("Rp");
}

static int function_a(int x)
{
	return x + 1;
}

static int function_b(int x)
{
	return x + 2;
}

static int (*const table_a[3])(int) = { NULL, function_a, function_b };
static int (*const table_b[2])(int) = { function_b, function_a };
static const void *const no_table[4] = { table_a, table_b, table_a, table_b };

static void second_base_class_is_reached_by_its_table(void **state)
{
	make(64);
	put(0, 0, (uintptr_t)table_a), put(0, 40, (uintptr_t)table_b);
	root(0, 0, 40);
	make(64);
	put(1, 0, (uintptr_t)table_a), put(1, 40, (uintptr_t)no_table);
	root(1, 1, 40);
	make(64);
	put(2, 0, (uintptr_t)no_table), put(2, 40, (uintptr_t)table_b);
	root(2, 2, 40);
	make(64);
	put(3, 0, (uintptr_t)table_a), put(3, 44, (uintptr_t)table_b);
	root(3, 3, 44); /* not aligned */
	assert_judged("Rppp");
}

static void start_pointer_takes_the_mark_of_a_heuristic_away(void **state)
{
	make(8 + 3 * 24);
	put(0, 0, 3);
	root(0, 0, 8);
	root(1, 0, 0);
	assert_judged("r");
}

static void heuristics_do_not_make_more_of_possible_blocks(void **state)
{
	make(64);
	make(8 + 3 * 24);
	put(1, 0, 3);
	root(0, 0, 9);
	point(0, 0, 1, 8);
	assert_judged("pp");
}

/* A list of a million would be as deep as that if marking recursed. */
static void long_list_needs_no_stack(void **state)
{
	enum { N = WORLD_BLOCKS - 8 };

	for (unsigned i = 0; i < N; i++) {
		make(24);
		if (i)
			point(i - 1, 0, i, 0);
	}
	root(0, 0, 0);
	assert_int_equal(judge(), 0);
	assert_int_equal(world->scan.kinds[LEAKTRACE_KIND_REACHABLE].blocks, N);
}

static void inherited_blocks_lead_but_are_not_counted(void **state)
{
	make(48);
	make(48);
	world->site[0] = 3;
	world->site[1] = 7;
	world->scan.first_site = 5;
	root(0, 0, 0);
	point(0, 0, 1, 0);
	assert_judged("rr");
	assert_int_equal(world->scan.kinds[LEAKTRACE_KIND_REACHABLE].blocks, 1);
}

/* Another heap: blocks 0 and 1. Of block 0 a word counts, of block 1 one that waits to be finalized. */
static struct lt_range live_words, waiting_words;

static bool owns(uintptr_t block, uint64_t size)
{
	assert_int_equal(size, block == at(0, 0) || block == at(1, 0) ? 64 : 56);
	return block == at(0, 0) || block == at(1, 0);
}

static bool collect(struct lt_scan *scan, struct lt_scan_heap *heap)
{
	assert_int_equal(lt_scan_block_size(scan, at(2, 0)), 56);
	assert_int_equal(lt_scan_block_size(scan, at(2, 8)), 0);
	live_words = (struct lt_range){at(0, 32), at(0, 40)};
	waiting_words = (struct lt_range){at(1, 0), at(1, 16)};
	*heap = (struct lt_scan_heap){owns, &live_words, 1, &waiting_words, 1};
	return true;
}

static void other_heap_says_which_of_its_words_count(void **state)
{
	make(64);
	make(64);
	for (unsigned i = 2; i < 8; i++)
		make(56);
	point(0, 0, 2, 0);
	point(0, 32, 3, 0);
	point(1, 0, 3, 0);
	point(1, 8, 4, 0);
	point(1, 16, 6, 0);
	point(4, 0, 5, 0);
	point(3, 0, 7, 0);
	world->scan.collect = collect;
	assert_judged("rrdrrrdr");
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(judged(i)->flags & LEAKTRACE_BLOCK_R_GARBAGE, i == 4 || i == 5 ? LEAKTRACE_BLOCK_R_GARBAGE : 0);
}

static void no_blocks_are_judged_quickly(void **state)
{
	assert_judged("");
	assert_int_equal(world->scan.kinds[LEAKTRACE_KIND_REACHABLE].blocks, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_start, clear_roots)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(start_pointer_reaches_interior_makes_possible_none_is_definite),
		TEST(possible_spreads_over_start_and_interior_pointers),
		TEST(reachable_wins_over_possible),
		TEST(interior_pointer_from_a_reachable_block_makes_possible),
		TEST(behind_the_end_is_not_inside),
		TEST(unaligned_pointers_are_none),
		TEST(last_word_counts_only_if_all_of_it_is_in_the_block),
		TEST(lost_chain_has_one_definite_head),
		TEST(head_found_last_makes_earlier_heads_indirect),
		TEST(lost_cycle_has_exactly_one_definite),
		TEST(block_pointing_to_itself_is_definite),
		TEST(what_two_lost_blocks_share_is_counted_once),
		TEST(lost_blocks_do_not_change_what_is_reachable),
		TEST(registers_are_roots),
		TEST(string_of_old_libstdcxx_is_reached_by_its_characters),
		TEST(array_with_a_cookie_is_reached_by_its_first_element),
		TEST(block_with_its_length_is_reached_behind_it),
		TEST(second_base_class_is_reached_by_its_table),
		TEST(start_pointer_takes_the_mark_of_a_heuristic_away),
		TEST(heuristics_do_not_make_more_of_possible_blocks),
		TEST(long_list_needs_no_stack),
		TEST(inherited_blocks_lead_but_are_not_counted),
		TEST(other_heap_says_which_of_its_words_count),
		TEST(no_blocks_are_judged_quickly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
