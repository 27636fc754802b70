/* SPDX-License-Identifier: MIT
 *
 * Sampling from end to end but for the traced process: a program is run many times in here, recorded as dump-format.h says, by
 * points on the bytes that it allocates, and the reports of its dumps are held against what it did. The seed is fixed, so no run of
 * the test is luckier than another.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diff.h"
#include "dump_builder.h"
#include "writer.h"

#define INTERVAL (UINT64_C(64) << 10)
#define RUNS 400
#define SITES 200 /* most of one run */

struct fixture {
	char *directory, *path, *merged;
	struct lt_notes notes;
	uint64_t random;
	/* The recording process. */
	struct db *db;
	double left; /* bytes to the next point */
	uint64_t address;
	struct leaktrace_site sites[SITES]; /* counters */
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	f->directory = db_directory();
	f->path = db_path(f->directory, "run.ltd");
	f->merged = db_path(f->directory, "merged.ltd");
	f->random = 88172645463325252;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	lt_notes_free(&f->notes);
	free(f->path);
	free(f->merged);
	db_remove(f->directory);
	free(f);
	return 0;
}

static uint64_t random_bits(struct fixture *f)
{
	f->random ^= f->random << 13;
	f->random ^= f->random >> 7;
	f->random ^= f->random << 17;
	return f->random;
}

static double next_point(struct fixture *f)
{
	return -log((double)((random_bits(f) >> 11) + 1) / 9007199254740992.0) * (double)INTERVAL;
}

static void begin(struct fixture *f, uint64_t interval)
{
	f->db = db_new(100);
	if (interval) {
		db_process(f->db)->flags |= LEAKTRACE_PROCESS_SAMPLED;
		db_process(f->db)->sample_bytes = interval;
	}
	memset(f->sites, 0, sizeof f->sites);
	f->left = next_point(f);
	f->address = 0x100000;
}

/* Whether the points hit a block, and those that thin out let it pass. */
static bool is_recorded(struct fixture *f, uint64_t size)
{
	if (size >= INTERVAL)
		return true;
	f->left -= (double)(size ? size : 1);
	if (f->left > 0)
		return false;
	f->left = next_point(f);
	return (random_bits(f) >> 32) < leaktrace_sample_thinning(size, INTERVAL);
}

/* One block of a site; it is freed again, or lives and has a kind. */
static void allocate(struct fixture *f, unsigned place, uint64_t size, bool freed, uint32_t kind)
{
	uint64_t weight = leaktrace_sample_weight(size, INTERVAL);
	struct leaktrace_site *site = &f->sites[place];

	if (!is_recorded(f, size))
		return;
	site->sampled++;
	site->allocations += weight;
	site->allocated_bytes += weight * size;
	if (freed) {
		site->frees += weight;
		site->freed_bytes += weight * size;
		return;
	}
	site->variance_blocks += leaktrace_sample_variance_blocks(weight);
	site->variance_bytes += leaktrace_sample_variance_bytes(size, weight, INTERVAL);
	db_judged_block(f->db, f->address, size, place + 1, kind);
	f->address += size + 32;
}

static void end(struct fixture *f, unsigned sites)
{
	uint32_t module = db_module(f->db, "/lib/libfoo.so", 0, "12345678");

	for (unsigned place = 0; place < sites; place++) {
		struct leaktrace_site *site = db_site(f->db, db_frame(f->db, 0, module, 0x1000 * (place + 1)), 0);

		assert_int_equal(site->id, place + 1);
		f->sites[place].id = site->id;
		f->sites[place].native = site->native;
		*site = f->sites[place];
	}
	db_verdict(f->db);
	db_write(f->db, f->path);
	db_free(f->db);
}

/* The report of a dump. */
static struct lt_merge *read_dump(struct fixture *f, const char *path, struct lt_report *report)
{
	static const struct lt_report_options options = {.format = LT_FORMAT_JSON};
	struct lt_merge *merge = lt_merge_new(&f->notes);

	assert_int_equal(lt_merge_add(merge, path), 0);
	lt_merge_select(merge);
	assert_int_equal(lt_report_make(merge, &options, &f->notes, report), 0);
	return merge;
}

static void merge_into_one(struct fixture *f)
{
	struct lt_merge *merge = lt_merge_new(&f->notes);
	struct lt_writer *writer;
	struct lt_sink sink;

	assert_int_equal(lt_merge_add(merge, f->path), 0);
	lt_merge_select(merge);
	assert_int_equal(lt_writer_new(f->merged, merge, &writer), 0);
	sink = lt_writer_sink(writer);
	assert_int_equal(lt_merge_load(merge, LT_PARTS_ALL, &sink), 1);
	assert_int_equal(lt_writer_finish(writer), 0);
	lt_writer_free(writer);
	lt_merge_free(merge);
}

/* A figure over all runs, against the truth. */
struct figure {
	double truth, sum, squares, variance;
	unsigned covered;
};

static void add_run(struct figure *figure, uint64_t estimate, lt_variance variance)
{
	double error = (double)estimate - figure->truth;

	figure->sum += (double)estimate;
	figure->squares += error * error;
	figure->variance += (double)variance;
	figure->covered += fabs(error) <= 2 * lt_standard_error(variance);
}

static void judge(const char *name, const struct figure *figure)
{
	double mean = figure->sum / RUNS, variance = figure->variance / RUNS, measured = figure->squares / RUNS;

	if (!variance) {
		assert_true(mean == figure->truth && measured == 0);
		return;
	}
	/* The mean of so many runs is so sure. */
	if (fabs(mean - figure->truth) > 3 * sqrt(measured / RUNS))
		fail_msg("%s: mean %g, not %g", name, mean, figure->truth);
	/* The error is as large as said, and normal enough. */
	if (fabs(variance / measured - 1) > 0.25)
		fail_msg("%s: standard error %g, said to be %g", name, sqrt(measured), sqrt(variance));
	if (figure->covered < RUNS * 0.90 || figure->covered > RUNS * 0.99)
		fail_msg("%s: two standard errors hold in %u of %u runs", name, figure->covered, RUNS);
}

/* Blocks of all sizes at a few sites; a part is freed, the rest of two kinds. The truth is added to `figures`, if it is not
 * known. */
struct figures {
	struct figure bytes[LT_KIND_COUNT], blocks[LT_KIND_COUNT], allocations;
	bool known;
};

static void run_program(struct fixture *f, struct figures *figures)
{
	/* Enough of each for some ten samples: the error of fewer is not normal. */
	static const uint64_t largest[] = {64, 500, 5000, 50000, 4 * INTERVAL};
	static const unsigned number[] = {80000, 8000, 1000, 100, 40};
	uint64_t sizes = 4711;

	begin(f, INTERVAL);
	for (unsigned place = 0; place < sizeof number / sizeof *number; place++)
		for (unsigned i = 0; i < number[place]; i++) {
			/* The same in each run. */
			sizes = sizes * 6364136223846793005 + 1442695040888963407;
			uint64_t size = 32 + (sizes >> 32) % (largest[place] - 32);
			bool freed = i % 4 == 3;
			enum lt_kind kind = i % 2 ? LT_KIND_REACHABLE : LT_KIND_DEFINITE;

			allocate(f, place, size, freed, kind == LT_KIND_DEFINITE ? LEAKTRACE_KIND_DEFINITE : LEAKTRACE_KIND_REACHABLE);
			if (figures->known)
				continue;
			figures->allocations.truth++;
			figures->bytes[kind].truth += freed ? 0 : (double)size;
			figures->blocks[kind].truth += !freed;
		}
	figures->known = true;
	end(f, sizeof number / sizeof *number);
}

static void estimates_are_unbiased_and_as_uncertain_as_said(void **state)
{
	static const enum lt_kind kinds[] = {LT_KIND_DEFINITE, LT_KIND_REACHABLE};
	struct fixture *f = *state;
	struct figures figures = {0};

	for (unsigned run = 0; run < RUNS; run++) {
		struct lt_report report;
		struct lt_merge *merge;
		uint64_t live = 0;

		run_program(f, &figures);
		/* A merged file says the same. */
		if (run % 8 == 0)
			merge_into_one(f);
		merge = read_dump(f, run % 8 ? f->path : f->merged, &report);
		for (unsigned i = 0; i < 2; i++) {
			const struct lt_estimate *total = &report.model->totals[kinds[i]];

			add_run(&figures.bytes[kinds[i]], total->bytes, total->spread.bytes);
			add_run(&figures.blocks[kinds[i]], total->blocks, total->spread.blocks);
			assert_true(total->spread.sampled && !total->spread.unlisted);
			live += total->blocks;
		}
		/* The list and the sites count the same. */
		assert_true(live == merge->processes[0].allocations - merge->processes[0].frees);
		assert_true(report.model->totals[LT_KIND_UNKNOWN].blocks == 0);
		figures.allocations.sum += (double)merge->processes[0].allocations;
		lt_report_clear(&report);
		lt_merge_free(merge);
	}
	assert_int_equal(f->notes.count, 0);
	judge("definite bytes", &figures.bytes[LT_KIND_DEFINITE]);
	judge("definite blocks", &figures.blocks[LT_KIND_DEFINITE]);
	judge("reachable bytes", &figures.bytes[LT_KIND_REACHABLE]);
	judge("reachable blocks", &figures.blocks[LT_KIND_REACHABLE]);
	/* Of these no error is said. */
	assert_true(fabs(figures.allocations.sum / RUNS / figures.allocations.truth - 1) < 0.02);
}

static void run_sites(struct fixture *f, unsigned sites, unsigned more)
{
	begin(f, INTERVAL);
	for (unsigned i = 0; i < 2000; i++)
		for (unsigned place = 0; place < sites; place++)
			for (unsigned again = 0; again < (place < more ? 3 : 1); again++)
				allocate(f, place, 16 + place * 10 % 3000, false, LEAKTRACE_KIND_DEFINITE);
	end(f, sites);
}

/* How many sites differ between a run and another in which the first `more` sites hold thrice as much. */
static void compare_runs(struct fixture *f, unsigned more, uint64_t *changed, uint64_t *by_chance)
{
	static const struct lt_diff_options options = {.format = LT_FORMAT_JSON};
	struct lt_report sides[2];
	struct lt_merge *merges[2];
	struct lt_diff diff;

	for (unsigned side = 0; side < 2; side++) {
		run_sites(f, SITES, side ? more : 0);
		merges[side] = read_dump(f, f->path, &sides[side]);
	}
	lt_diff_make(sides, &options, &f->notes, &diff);
	*changed = diff.shown_count;
	*by_chance = diff.by_chance;
	lt_diff_clear(&diff);
	for (unsigned side = 0; side < 2; side++) {
		lt_report_clear(&sides[side]);
		lt_merge_free(merges[side]);
	}
}

static void two_runs_of_one_program_hardly_differ(void **state)
{
	struct fixture *f = *state;
	uint64_t changed = 0, by_chance = 0, some, others;

	for (unsigned run = 0; run < 5; run++) {
		compare_runs(f, 0, &some, &others);
		changed += some;
		by_chance += others;
	}
	assert_true(by_chance > 4 * SITES);
	assert_true(changed < 5 * SITES / 12);
}

static void sites_that_hold_thrice_as_much_are_seen(void **state)
{
	struct fixture *f = *state;
	uint64_t changed, by_chance;

	compare_runs(f, SITES, &changed, &by_chance);
	/* Those of few bytes hardly have samples. */
	assert_true(changed > SITES * 3 / 4);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(estimates_are_unbiased_and_as_uncertain_as_said),
		TEST(two_runs_of_one_program_hardly_differ),
		TEST(sites_that_hold_thrice_as_much_are_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
