/* SPDX-License-Identifier: MIT
 *
 * The weight of a sampled block, from dump-format.h: integers of both sides, judged by libm.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <leaktrace/dump-format.h>

/* Interval by interval: all sizes of the small, some of the large. */
static const uint64_t intervals[] = {
	1, 2, 3, 5, 7, 10, 64, 100, 999, 1000, 1023, 1024, 1025, 4096, 65536, 100000, 524288, 524287, 1 << 20, 123456789,
	UINT64_C(1) << 31, (UINT64_C(1) << 32) - 1, UINT64_C(1) << 32, (UINT64_C(1) << 32) + 1, UINT64_C(1) << 36,
	UINT64_C(987654321987), (UINT64_C(1) << 40) - 1, UINT64_C(1) << 40,
};
#define INTERVALS (sizeof intervals / sizeof *intervals)

static uint64_t random_bits(void)
{
	static uint64_t state = 88172645463325252;

	state ^= state << 13;
	state ^= state >> 7;
	return state ^= state << 17;
}

/* What the hot path sees most, then of each power of two a few. Ends at T, and begins anew with the next interval. */
static uint64_t next_size(uint64_t size, uint64_t interval)
{
	if (size < 65536)
		return size + 1;
	size += 1 + random_bits() % (size / 64);
	return size < interval ? size : interval;
}

#define EACH_SIZE(size, interval) for (uint64_t size = 0; size < (interval); size = next_size(size, (interval)))

static long double chance(uint64_t size, uint64_t interval)
{
	return -expm1l(-(long double)(size ? size : 1) / (long double)interval);
}

static void weight_is_the_least_integer_not_below_the_inverse_of_the_chance(void **state)
{
	for (size_t i = 0; i < INTERVALS; i++)
		EACH_SIZE(size, intervals[i]) {
			long double weight = (long double)leaktrace_sample_weight(size, intervals[i]);
			long double exact = 1 / chance(size, intervals[i]), error = 1e-8L + exact * 4e-19L;

			/* An interval of one byte has no chance about it. */
			if (intervals[i] == 1)
				assert_true(weight == 1);
			else if (weight < exact - error || weight - 1 >= exact + error)
				fail_msg("size %llu of %llu: weight %.0Lf, not %.12Lf", (unsigned long long)size,
					 (unsigned long long)intervals[i], weight, exact);
		}
}

/* The same on both sides of a dump, and in the next version. */
static void weights_are_these(void **state)
{
	static const struct {
		uint64_t size, interval, weight;
	} table[] = {
		{1, 524288, 524289},   {16, 524288, 32769},   {100, 524288, 5244},  {1024, 524288, 513},   {51200, 524288, 11},
		{262144, 524288, 3},   {363408, 524288, 3},   {363409, 524288, 2},  {524287, 524288, 2},   {524288, 524288, 1},
		{1, 2, 3},             {1, 3, 4},             {2, 3, 3},            {1, 1, 1},             {1024, 8192, 9},
		{512, 8192, 17},       {1000, 65536, 67},     {16, UINT64_C(1) << 40, (UINT64_C(1) << 36) + 1},
	};

	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		if (leaktrace_sample_weight(table[i].size, table[i].interval) != table[i].weight)
			fail_msg("size %llu of %llu: weight %llu", (unsigned long long)table[i].size, (unsigned long long)table[i].interval,
				 (unsigned long long)leaktrace_sample_weight(table[i].size, table[i].interval));
}

static void what_passes_and_is_kept_weighs_one_on_average(void **state)
{
	for (size_t i = 0; i < INTERVALS; i++)
		EACH_SIZE(size, intervals[i]) {
			uint64_t kept = leaktrace_sample_thinning(size, intervals[i]);
			long double mean = chance(size, intervals[i]) * (long double)kept / 4294967296.0L *
					   (long double)leaktrace_sample_weight(size, intervals[i]);

			if (intervals[i] == 1)
				continue;
			assert_true(kept > UINT64_C(1) << 31 && kept <= UINT64_C(1) << 32);
			if (fabsl(mean - 1) > 1e-8L)
				fail_msg("size %llu of %llu: %.12Lf", (unsigned long long)size, (unsigned long long)intervals[i], mean);
		}
}

/* Over a population of sizes: blocks and bytes that are expected to be counted are those that are there. */
static void sums_over_sizes_are_unbiased(void **state)
{
	for (size_t i = 1; i < INTERVALS; i++) {
		long double blocks = 0, bytes = 0, all_blocks = 0, all_bytes = 0;

		EACH_SIZE(size, 2 * intervals[i]) {
			long double number = (long double)(random_bits() % 1000);
			long double weight = (long double)leaktrace_sample_weight(size, intervals[i]), passes = 1;

			if (size < intervals[i])
				passes = chance(size, intervals[i]) *
					 ((long double)leaktrace_sample_thinning(size, intervals[i]) / 4294967296.0L);
			blocks += number * passes * weight;
			bytes += number * passes * weight * (long double)size;
			all_blocks += number;
			all_bytes += number * (long double)size;
		}
		assert_true(fabsl(blocks - all_blocks) <= 1e-8L * all_blocks);
		assert_true(fabsl(bytes - all_bytes) <= 1e-8L * all_bytes);
	}
}

static void larger_blocks_weigh_no_more(void **state)
{
	for (size_t i = 0; i < INTERVALS; i++) {
		uint64_t before = UINT64_MAX;

		EACH_SIZE(size, intervals[i]) {
			uint64_t weight = leaktrace_sample_weight(size, intervals[i]);

			assert_true(weight >= 1 && weight <= before);
			before = weight;
		}
	}
}

static void block_of_the_interval_is_always_recorded(void **state)
{
	for (size_t i = 0; i < INTERVALS; i++) {
		const uint64_t sizes[] = {intervals[i], intervals[i] + 1, UINT64_MAX};

		for (size_t j = 0; j < 3; j++) {
			assert_true(leaktrace_sample_weight(sizes[j], intervals[i]) == 1);
			assert_true(leaktrace_sample_thinning(sizes[j], intervals[i]) == UINT64_C(1) << 32);
			assert_true(leaktrace_sample_variance_bytes(sizes[j], 1, intervals[i]) == 0);
		}
		/* From ln 2 of the interval on. */
		if (intervals[i] > 3)
			assert_true(leaktrace_sample_weight(intervals[i] - 1, intervals[i]) == 2);
	}
	assert_true(leaktrace_sample_variance_blocks(1) == 0);
}

static void without_sampling_each_block_is_one(void **state)
{
	assert_true(leaktrace_sample_weight(0, 0) == 1);
	assert_true(leaktrace_sample_weight(1, 0) == 1);
	assert_true(leaktrace_sample_weight(UINT64_MAX, 0) == 1);
}

static void empty_block_weighs_as_one_byte(void **state)
{
	for (size_t i = 0; i < INTERVALS; i++) {
		uint64_t weight = leaktrace_sample_weight(0, intervals[i]);

		assert_true(weight == leaktrace_sample_weight(1, intervals[i]));
		assert_true(leaktrace_sample_thinning(0, intervals[i]) == leaktrace_sample_thinning(1, intervals[i]));
		assert_true(leaktrace_sample_variance_bytes(0, weight, intervals[i]) == 0);
	}
}

static void impossible_interval_counts_as_the_largest(void **state)
{
	const uint64_t sizes[] = {0, 1, 4711, LEAKTRACE_SAMPLE_MAX - 1, LEAKTRACE_SAMPLE_MAX, UINT64_MAX};

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
		assert_true(leaktrace_sample_weight(sizes[i], UINT64_MAX) == leaktrace_sample_weight(sizes[i], LEAKTRACE_SAMPLE_MAX));
	assert_true(leaktrace_sample_unit(UINT64_MAX) == leaktrace_sample_unit(LEAKTRACE_SAMPLE_MAX));
}

/* A block of w is there with probability 1/w: its number has the variance w - 1, which the recorded ones estimate by w*(w-1). */
static void terms_of_the_variance_are_unbiased(void **state)
{
	for (size_t i = 1; i < INTERVALS; i++)
		EACH_SIZE(size, intervals[i]) {
			uint64_t weight = leaktrace_sample_weight(size, intervals[i]), unit = leaktrace_sample_unit(intervals[i]);
			uint64_t blocks = leaktrace_sample_variance_blocks(weight);
			uint64_t bytes = leaktrace_sample_variance_bytes(size, weight, intervals[i]);
			long double exact = (long double)size * (long double)size * (long double)weight * (long double)(weight - 1);

			if (weight < UINT64_C(1) << 28)
				assert_true(blocks == weight * (weight - 1));
			else
				assert_true(blocks == UINT64_C(1) << 56);
			/* Rounded down twice, of 1000 units or more. */
			assert_true((long double)bytes * (long double)unit * (long double)unit <= exact);
			if (size && intervals[i] >= 1 << 20)
				assert_true((long double)bytes * (long double)unit * (long double)unit > exact * 0.995L);
			assert_true(bytes < 1 << 24);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(weight_is_the_least_integer_not_below_the_inverse_of_the_chance),
		cmocka_unit_test(weights_are_these),
		cmocka_unit_test(what_passes_and_is_kept_weighs_one_on_average),
		cmocka_unit_test(sums_over_sizes_are_unbiased),
		cmocka_unit_test(larger_blocks_weigh_no_more),
		cmocka_unit_test(block_of_the_interval_is_always_recorded),
		cmocka_unit_test(without_sampling_each_block_is_one),
		cmocka_unit_test(empty_block_weighs_as_one_byte),
		cmocka_unit_test(impossible_interval_counts_as_the_largest),
		cmocka_unit_test(terms_of_the_variance_are_unbiased),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
