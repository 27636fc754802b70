/* SPDX-License-Identifier: MIT
 *
 * Which allocations are in the sample: as many as their sizes ask for, whatever comes between, and independently in a fork child.
 * Chance is real here: 6 standard errors are exceeded once in a billion.
 */
#include "tracer.h"

#include <math.h>

#include "trace/sample.h"

#define MEAN 4096
#define ROUNDS 400000

static void expect_share(size_t size, uint64_t taken, uint64_t rounds)
{
	double p = 1.0 / (double)leaktrace_sample_weight(size, MEAN), expected = p * (double)rounds;

	assert_true(fabs((double)taken - expected) <= 6 * sqrt((double)rounds * p * (1 - p)));
}

static void each_size_is_taken_as_often_as_its_weight_says(void **state)
{
	static const size_t sizes[] = { 0, 1, 24, 100, 1000, 2048, 3000, 4095, 4096, 1 << 20 };
	uint64_t taken[10] = { 0 };

	for (unsigned i = 0; i < ROUNDS; i++)
		for (unsigned j = 0; j < 10; j++)
			taken[j] += lt_sample_take(sizes[j]);
	for (unsigned j = 0; j < 10; j++)
		expect_share(sizes[j], taken[j], ROUNDS);
}

/* As the hooks do it. */
static void what_passes_is_counted(void **state)
{
	uint64_t taken[2] = { 0 };

	for (unsigned i = 0; i < ROUNDS; i++) {
		size_t size = i % 2 ? 700 : 64;
		if (!lt_sample_passes(size))
			taken[i % 2] += lt_sample_take(size);
	}
	expect_share(64, taken[0], ROUNDS / 2);
	expect_share(700, taken[1], ROUNDS / 2);
}

static void blocks_of_no_bytes_do_not_pass(void **state)
{
	lt_sample_take(1);
	assert_false(lt_sample_passes(0));
}

static void large_blocks_never_pass(void **state)
{
	for (unsigned i = 0; i < 100000; i++) {
		lt_sample_take(1);
		assert_false(lt_sample_passes(MEAN));
		assert_true(lt_sample_take(MEAN));
		assert_true(lt_sample_take(SIZE_MAX));
	}
}

/* The next allocation is no likelier to be taken after one that was: no memory. */
static void samples_are_independent(void **state)
{
	uint64_t after = 0, after_taken = 0;
	bool last = false;

	for (unsigned i = 0; i < 4 * ROUNDS; i++) {
		bool now = lt_sample_take(1500);
		after += last;
		after_taken += last && now;
		last = now;
	}
	expect_share(1500, after_taken, after);
}

static void fork_child_draws_other_numbers(void **state)
{
	const uint64_t step = 0x9e3779b97f4a7c15;
	uint64_t before;

	lt_sample_take(1);
	before = lt_thread.random;
	lt_sample_fork_child();
	lt_sample_take(1);
	for (unsigned i = 0; i < 100; i++)
		assert_int_not_equal(lt_thread.random, before + i * step);
}

static void frees_of_marked_blocks_are_looked_up(void **state)
{
	uintptr_t block = 0x7f0000001230, twin = block + (UINT64_C(16) << 18), neighbour = block + 16;

	assert_false(lt_sample_may_have((void *)block));
	lt_sample_mark(block);
	lt_sample_mark(twin);
	assert_true(lt_sample_may_have((void *)block));
	assert_false(lt_sample_may_have((void *)neighbour));
	lt_sample_unmark(twin);
	assert_true(lt_sample_may_have((void *)block));
	lt_sample_unmark(block);
	assert_false(lt_sample_may_have((void *)block));
}

static void too_many_marks_stay(void **state)
{
	uintptr_t block = 0x7f0000004560;

	for (unsigned i = 0; i < 300; i++)
		lt_sample_mark(block);
	for (unsigned i = 0; i < 300; i++)
		lt_sample_unmark(block);
	assert_true(lt_sample_may_have((void *)block));
}

static int start(void **state)
{
	lt_options.sample = MEAN;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_size_is_taken_as_often_as_its_weight_says),
		cmocka_unit_test(what_passes_is_counted),
		cmocka_unit_test(blocks_of_no_bytes_do_not_pass),
		cmocka_unit_test(large_blocks_never_pass),
		cmocka_unit_test(samples_are_independent),
		cmocka_unit_test(fork_child_draws_other_numbers),
		cmocka_unit_test(frees_of_marked_blocks_are_looked_up),
		cmocka_unit_test(too_many_marks_stay),
	};

	return cmocka_run_group_tests_name("sampler", tests, start, NULL);
}
