/* SPDX-License-Identifier: MIT
 *
 * Growth per task: a steady leak comes out exactly, or of samples without bias; start-up memory as nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "growth.h"

static struct leaktrace_process worker(uint64_t tasks)
{
	return (struct leaktrace_process){.tasks = tasks, .role = LEAKTRACE_ROLE_PSOCK};
}

/* What a site keeps live that leaks `blocks` of `size` in each of `tasks` tasks, the one in progress included. */
static struct leaktrace_site leak(uint32_t shift, uint64_t tasks, uint64_t blocks, uint64_t size)
{
	struct leaktrace_site site = {.epoch_shift = shift};

	for (uint64_t task = 1; task <= tasks; task++) {
		site.epoch[(task - 1) >> shift].blocks += blocks;
		site.epoch[(task - 1) >> shift].bytes += blocks * size;
	}
	return site;
}

static void steady_leak_is_exact_whatever_the_number_of_tasks(void **state)
{
	for (uint64_t tasks = 1; tasks <= 1000; tasks++) {
		uint32_t shift = 0;
		struct leaktrace_process process = worker(tasks);
		struct leaktrace_site site;
		struct lt_growth growth = {0};

		while ((tasks - 1) >> shift >= LEAKTRACE_EPOCHS)
			shift++;
		site = leak(shift, tasks, 1, 1024);
		lt_growth_add(&growth, &site, &process, 0);
		assert_true(lt_growth_bytes(&growth) == 1024);
		assert_true(lt_growth_blocks(&growth) == 1);
		assert_int_equal(growth.all_tasks, tasks);
	}
}

static void task_in_progress_does_not_count(void **state)
{
	struct leaktrace_process process = worker(16);
	struct leaktrace_site site = leak(2, 17, 1, 1024);
	struct lt_growth growth = {0};

	lt_growth_add(&growth, &site, &process, 0);
	assert_true(lt_growth_bytes(&growth) == 1024);
}

static void startup_memory_is_no_growth(void **state)
{
	struct leaktrace_process process = worker(100);
	struct leaktrace_site site = {.epoch_shift = 4, .startup_blocks = 1000, .startup_bytes = 1 << 20};
	struct lt_growth growth = {0};

	site.epoch[0].blocks = 3; /* what the first task set up */
	site.epoch[0].bytes = 4096;
	lt_growth_add(&growth, &site, &process, 0);
	assert_true(lt_growth_bytes(&growth) == 0);
	assert_true(growth.tasks > 0);
}

static void single_step_is_no_growth(void **state)
{
	struct leaktrace_process process = worker(8);
	struct leaktrace_site site = {.epoch_shift = 0};
	struct lt_growth growth = {0};

	site.epoch[4].blocks = 500; /* R's byte compiler came in */
	site.epoch[4].bytes = 2 << 20;
	lt_growth_add(&growth, &site, &process, 0);
	assert_true(lt_growth_bytes(&growth) == 0);
	assert_int_equal(growth.tasks, 6);
}

static void leak_is_exact_beside_a_step(void **state)
{
	struct leaktrace_process process = worker(64);
	struct leaktrace_site site = leak(3, 64, 2, 512);
	struct lt_growth growth = {0};

	site.epoch[2].blocks += 1;
	site.epoch[2].bytes += 2 << 20;
	lt_growth_add(&growth, &site, &process, 0);
	assert_true(lt_growth_bytes(&growth) == 1024);
	assert_true(lt_growth_blocks(&growth) == 2);
}

static void process_seen_again_adds_no_tasks(void **state)
{
	struct leaktrace_process process = worker(2);
	struct leaktrace_site site = leak(0, 2, 1, 1000);
	struct lt_growth growth = {0};

	lt_growth_add(&growth, &site, &process, 0);
	lt_growth_add(&growth, &site, &process, 1);
	assert_int_equal(growth.tasks, 2);
	assert_int_equal(growth.all_tasks, 2);
	assert_int_equal(growth.bytes, 4000);
}

static void forked_worker_is_one_task(void **state)
{
	struct leaktrace_process process = {.tasks = 1, .flags = LEAKTRACE_PROCESS_FORK_TASK, .role = LEAKTRACE_ROLE_FORK};
	struct leaktrace_site site = {.startup_blocks = 3, .startup_bytes = 3072};
	struct lt_growth growth = {0};

	for (int child = 0; child < 4; child++)
		lt_growth_add(&growth, &site, &process, 0);
	assert_true(lt_growth_bytes(&growth) == 3072);
	assert_int_equal(growth.tasks, 4);
}

static void forked_worker_killed_in_its_task_has_none(void **state)
{
	struct leaktrace_process process = {.flags = LEAKTRACE_PROCESS_FORK_TASK};
	struct leaktrace_site site = {.startup_blocks = 3, .startup_bytes = 3072};
	struct lt_growth growth = {0};

	lt_growth_add(&growth, &site, &process, 0);
	assert_int_equal(growth.tasks, 0);
}

static void mean_is_weighted_by_tasks(void **state)
{
	struct leaktrace_process one = worker(8), other = worker(2), master = worker(0);
	struct leaktrace_site leaks = leak(0, 8, 1, 1000), clean = leak(0, 2, 0, 0);
	struct lt_growth growth = {0};

	lt_growth_add(&growth, &leaks, &one, 0);   /* 6 of 8 tasks looked at: not the first, nor the largest of the rest */
	lt_growth_add(&growth, &clean, &other, 0); /* 2 */
	lt_growth_add(&growth, &leaks, &master, 0);
	assert_int_equal(growth.tasks, 8);
	assert_int_equal(growth.bytes, 6000);
	assert_int_equal(growth.all_tasks, 10);
}

static void impossible_epoch_shift_does_no_harm(void **state)
{
	struct leaktrace_process process = worker(UINT64_MAX);
	struct leaktrace_site site = {.epoch_shift = UINT32_MAX};
	struct lt_growth growth = {0};

	lt_growth_add(&growth, &site, &process, 0);
	site.epoch_shift = 62;
	lt_growth_add(&growth, &site, &process, 0);
	assert_true(growth.tasks > 0);
}

#define INTERVAL (UINT64_C(512) << 10)

static struct leaktrace_process sampled_worker(uint64_t tasks)
{
	struct leaktrace_process process = worker(tasks);

	process.flags = LEAKTRACE_PROCESS_SAMPLED;
	process.sample_bytes = INTERVAL;
	return process;
}

/* Samples of `blocks` blocks that were born in an epoch and live. */
static void add_samples(struct leaktrace_site *site, unsigned epoch, uint64_t blocks, uint64_t size)
{
	static uint64_t random = 88172645463325252;
	uint64_t weight = leaktrace_sample_weight(size, INTERVAL), recorded = 0;

	for (uint64_t i = 0; i < blocks; i++) {
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		recorded += random % weight == 0;
	}
	site->sampled += recorded;
	site->allocations += recorded * weight;
	site->allocated_bytes += recorded * weight * size;
	site->epoch[epoch].blocks += recorded * weight;
	site->epoch[epoch].bytes += recorded * weight * size;
	site->variance_blocks += recorded * leaktrace_sample_variance_blocks(weight);
	site->variance_bytes += recorded * leaktrace_sample_variance_bytes(size, weight, INTERVAL);
}

/* Leaks of 100 blocks per task, 16 tasks: from hardly a sample to many. */
static void leak_in_samples_is_unbiased_and_as_uncertain_as_said(void **state)
{
	static const uint64_t sizes[] = {500, 4000, 30000, 200000};
	struct leaktrace_process process = sampled_worker(16);

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		double sum = 0, squares = 0, variance = 0, mean;
		enum { RUNS = 2000 };

		for (int run = 0; run < RUNS; run++) {
			struct leaktrace_site site = {.epoch_shift = 1};
			struct lt_growth growth = {0};

			for (unsigned epoch = 0; epoch < 8; epoch++)
				add_samples(&site, epoch, 200, sizes[i]);
			lt_growth_add(&growth, &site, &process, 0);
			sum += lt_growth_bytes(&growth);
			squares += lt_growth_bytes(&growth) * lt_growth_bytes(&growth);
			variance += lt_growth_bytes_error(&growth) * lt_growth_bytes_error(&growth);
		}
		mean = sum / RUNS;
		variance /= RUNS;
		/* Its first epoch is left out, which the error takes for a share of what lives. */
		assert_true(fabs(mean - 100 * (double)sizes[i]) < 4 * sqrt(variance / RUNS));
		assert_true(fabs((squares / RUNS - mean * mean) / variance - 1) < 0.25);
	}
}

static void step_in_samples_beyond_chance_is_no_growth(void **state)
{
	struct leaktrace_process process = sampled_worker(8);
	struct leaktrace_site site = {.epoch_shift = 0};
	struct lt_growth growth = {0};

	for (unsigned epoch = 0; epoch < 8; epoch++)
		add_samples(&site, epoch, 20, 200000);
	add_samples(&site, 5, 500, 200000);
	lt_growth_add(&growth, &site, &process, 0);
	assert_int_equal(growth.tasks, 6);
	assert_true(fabs(lt_growth_blocks(&growth) - 20) < 5 * lt_growth_blocks_error(&growth));
}

static void growth_without_samples_has_no_error(void **state)
{
	struct leaktrace_process process = worker(16);
	struct leaktrace_site site = leak(1, 16, 1, 1024);
	struct lt_growth growth = {0};

	site.allocations = 16;
	site.allocated_bytes = 16384;
	lt_growth_add(&growth, &site, &process, 0);
	assert_true(lt_growth_bytes_error(&growth) == 0);
	assert_true(lt_growth_blocks_error(&growth) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(steady_leak_is_exact_whatever_the_number_of_tasks),
		cmocka_unit_test(task_in_progress_does_not_count),
		cmocka_unit_test(startup_memory_is_no_growth),
		cmocka_unit_test(single_step_is_no_growth),
		cmocka_unit_test(leak_is_exact_beside_a_step),
		cmocka_unit_test(process_seen_again_adds_no_tasks),
		cmocka_unit_test(forked_worker_is_one_task),
		cmocka_unit_test(forked_worker_killed_in_its_task_has_none),
		cmocka_unit_test(mean_is_weighted_by_tasks),
		cmocka_unit_test(impossible_epoch_shift_does_no_harm),
		cmocka_unit_test(leak_in_samples_is_unbiased_and_as_uncertain_as_said),
		cmocka_unit_test(step_in_samples_beyond_chance_is_no_growth),
		cmocka_unit_test(growth_without_samples_has_no_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
