/* SPDX-License-Identifier: MIT
 *
 * Blocks in order, and the block at an address, against a search through all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "scan/work.h"

static uint64_t seed = 1;

static uint64_t rnd(void)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return seed >> 20;
}

static int compare(const void *a, const void *b)
{
	const struct lt_scan_block *x = a, *y = b;

	return x->address < y->address ? -1 : x->address > y->address;
}

static void check_sort(uintptr_t (*next)(void), uint32_t count)
{
	struct lt_scan_block *blocks = calloc(count + 1, sizeof *blocks), *wanted = calloc(count + 1, sizeof *wanted);

	for (uint32_t i = 0; i < count; i++)
		blocks[i] = (struct lt_scan_block){ .address = next(), .size = i };
	memcpy(wanted, blocks, count * sizeof *blocks);
	qsort(wanted, count, sizeof *wanted, compare);
	lt_index_sort(blocks, count);
	uint64_t sum = 0, wanted_sum = 0;
	for (uint32_t i = 0; i < count; i++) {
		assert_int_equal(blocks[i].address, wanted[i].address);
		sum += blocks[i].size;
		wanted_sum += wanted[i].size;
	}
	assert_int_equal(sum, wanted_sum);
	free(blocks);
	free(wanted);
}

static uintptr_t dense(void)
{
	return 0x555555550000 + rnd() % 10000000 * 16;
}

static uintptr_t two_places(void)
{
	return (rnd() & 3 ? 0x555555550000 : 0x7fffe0000000) + rnd() % 100000 * 16;
}

static uintptr_t anywhere(void)
{
	return rnd() * rnd();
}

static uintptr_t one(void)
{
	return 0x1000;
}

static void sort_agrees_with_qsort(void **state)
{
	static const uint32_t counts[] = { 0, 1, 2, 31, 32, 33, 34, 1000, 100000 };

	for (unsigned i = 0; i < sizeof counts / sizeof *counts; i++) {
		check_sort(dense, counts[i]);
		check_sort(two_places, counts[i]);
		check_sort(anywhere, counts[i]);
		check_sort(one, counts[i]);
	}
}

static uint32_t naive(const struct lt_scan_work *w, uintptr_t address)
{
	for (uint32_t i = 0; i < w->count; i++)
		if (address >= w->blocks[i].address && address < lt_block_end(&w->blocks[i]))
			return i;
	return LT_NONE;
}

/* Blocks of all sizes with and without gaps; looked up at and around each end, and anywhere. */
static void look_up_agrees_with_a_search_through_all(void **state)
{
	static const uint64_t sizes[] = { 0, 1, 8, 24, 100, 511, 512, 513, 4096, 100000, 1 << 20, (1 << 20) + 1, 5 << 20,
		                          UINT64_C(1) << 30, UINT64_C(3) << 30 };
	struct lt_scan_block blocks[300] = { { 0 } };
	struct lt_scan_work *w = calloc(1, sizeof *w);
	uintptr_t address = 0x555555550000;

	for (unsigned i = 0; i < 300; i++) {
		blocks[i].address = address;
		blocks[i].size = sizes[rnd() % (i % 50 ? 10 : 15)];
		address = lt_block_end(&blocks[i]) + (rnd() & 1 ? 0 : rnd() % 3 ? rnd() % 64 : rnd() % (UINT64_C(1) << 31));
	}
	w->blocks = blocks;
	w->count = 300;
	assert_int_equal(lt_index_make(w), 0);
	for (unsigned i = 0; i < 300; i++) {
		const uintptr_t low = blocks[i].address, high = lt_block_end(&blocks[i]);
		const uintptr_t tries[] = { low - 1, low, low + 1, (low + high) / 2, high - 1, high, high + 1,
			                    low + rnd() % (high - low) };

		for (unsigned t = 0; t < 8; t++)
			assert_int_equal(lt_index_find(w, tries[t]), naive(w, tries[t]));
	}
	for (unsigned i = 0; i < 10000; i++) {
		uintptr_t try = blocks[0].address + (rnd() << 8) % (address - blocks[0].address);

		assert_int_equal(lt_index_find(w, try), naive(w, try));
	}
	assert_int_equal(lt_index_find(w, 0), LT_NONE);
	assert_int_equal(lt_index_find(w, UINTPTR_MAX), LT_NONE);
	lt_index_free(w);
	free(w);
}

static void ranges_are_joined_in_any_order(void **state)
{
	struct lt_ranges ranges = { 0 };

	for (unsigned i = 0; i < 3000; i++) {
		uintptr_t at = 0xa0000 + (i * 7919 % 3000) * 16;

		lt_ranges_add(&ranges, at, at + (at / 16 % 10 ? 16 : 8)); /* a hole after every tenth */
	}
	lt_ranges_add(&ranges, 5, 5);
	lt_ranges_join(&ranges);
	assert_false(ranges.failed);
	assert_int_equal(ranges.count, 301);
	for (unsigned i = 1; i < ranges.count; i++)
		assert_int_equal(ranges.all[i].low - ranges.all[i - 1].high, 8);
	lt_ranges_free(&ranges);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sort_agrees_with_qsort),
		cmocka_unit_test(look_up_agrees_with_a_search_through_all),
		cmocka_unit_test(ranges_are_joined_in_any_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
