/* SPDX-License-Identifier: MIT
 *
 * Several records of a site in one dump: the report is that of a dump with one for each.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dump_builder.h"
#include "fold.h"
#include "report.h"
#include "writer.h"

enum { PLACES = 5, THREADS = 4, BLOCKS = 600, TASKS = 40, PEAK = 7 };

struct fixture {
	char *directory;
	struct lt_notes notes;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	f->directory = db_directory();
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	lt_notes_free(&f->notes);
	db_remove(f->directory);
	free(f);
	return 0;
}

static uint64_t next(uint64_t *random)
{
	*random = *random * 6364136223846793005ULL + 1442695040888963407ULL;
	return *random >> 33;
}

/* As the tracer does it, in epochs wide enough. */
static void count_birth(struct leaktrace_site *site, uint32_t task, uint64_t blocks, uint64_t bytes)
{
	if (!task) {
		site->startup_blocks += blocks;
		site->startup_bytes += bytes;
		return;
	}
	while ((task - 1) >> site->epoch_shift >= LEAKTRACE_EPOCHS) {
		for (unsigned e = 0; e < LEAKTRACE_EPOCHS; e++) {
			bool there = 2 * e < LEAKTRACE_EPOCHS;

			site->epoch[e].blocks = there ? site->epoch[2 * e].blocks + site->epoch[2 * e + 1].blocks : 0;
			site->epoch[e].bytes = there ? site->epoch[2 * e].bytes + site->epoch[2 * e + 1].bytes : 0;
		}
		site->epoch_shift++;
	}
	site->epoch[(task - 1) >> site->epoch_shift].blocks += blocks;
	site->epoch[(task - 1) >> site->epoch_shift].bytes += bytes;
}

static void note_peak_before(struct leaktrace_site *site, uint64_t peak_seq)
{
	if (site->peak_seen == peak_seq)
		return;
	site->peak_seen = peak_seq;
	site->peak_blocks = site->allocations - site->frees;
	site->peak_bytes = site->allocated_bytes - site->freed_bytes;
}

/* What some threads do, counted by each for itself or in one record for each site. The peak is in the middle. */
struct life {
	bool split;
	struct leaktrace_site records[PLACES][THREADS];
	struct leaktrace_block blocks[BLOCKS]; /* that stay; `process`: the thread, `site`: the place */
	unsigned count;
};

static void live(struct life *life, bool split)
{
	uint64_t random = 1;

	*life = (struct life){.split = split};
	for (unsigned i = 0; i < BLOCKS; i++) {
		uint32_t task = i * (TASKS + 1) / BLOCKS, place = (uint32_t)next(&random) % PLACES, size = 1 + (uint32_t)next(&random) % 1000;
		/* The first and the last end before the peak, and before most tasks. */
		unsigned first = i < BLOCKS * 2 / 5 ? 0 : 1, threads = THREADS - 2 * first;
		uint32_t by = first + (uint32_t)next(&random) % threads, freed_by = first + (uint32_t)next(&random) % threads;
		uint64_t peak_seq = i < BLOCKS / 2 ? PEAK - 1 : PEAK;
		bool freed = next(&random) % 3;
		struct leaktrace_site *site = &life->records[place][split ? by : 0], *other = &life->records[place][split ? freed_by : 0];

		note_peak_before(site, peak_seq);
		site->allocations++;
		site->allocated_bytes += size;
		count_birth(site, task, 1, size);
		if (!freed) {
			life->blocks[life->count++] = (struct leaktrace_block){
				.address = 0x10000 + 0x1000 * i, .size = size, .task = task, .site = place, .process = split ? by : 0,
				.flags = i % 2 ? LEAKTRACE_KIND_DEFINITE : LEAKTRACE_KIND_REACHABLE};
			continue;
		}
		note_peak_before(other, peak_seq);
		other->frees++;
		other->freed_bytes += size;
		other->temporary++;
		count_birth(other, task, (uint64_t)-1, -(uint64_t)size);
	}
}

static struct db *describe(const struct life *life, uint32_t ids[PLACES][THREADS])
{
	struct db *db = db_new(100);
	uint32_t module = db_module(db, "/lib/libfoo.so", 0, "12345678"), native[PLACES];

	db_process(db)->tasks = TASKS;
	db_process(db)->peak_seq = PEAK;
	for (unsigned p = 0; p < PLACES; p++)
		native[p] = db_frame(db, 0, module, 0x1000 * (p + 1));
	for (unsigned t = 0; t < (life->split ? THREADS : 1); t++)
		for (unsigned p = 0; p < PLACES; p++) {
			struct leaktrace_site *site = db_site(db, native[p], 0);

			ids[p][t] = site->id;
			*site = life->records[p][t];
			site->id = ids[p][t];
			site->native = native[p];
			site->process = t + 1;
		}
	for (unsigned i = 0; i < life->count; i++) {
		const struct leaktrace_block *block = &life->blocks[i];

		db_judged_block(db, block->address, block->size, ids[block->site][block->process], block->flags);
	}
	db_verdict(db);
	return db;
}

/* A parent and a child that inherited some of its blocks: `paths`, to be freed. */
static void write_family(struct fixture *f, bool split, char *paths[2])
{
	struct life life;
	uint32_t ids[PLACES][THREADS];

	live(&life, split);
	struct db *db = describe(&life, ids);
	struct db *child = db_new(200);

	paths[0] = db_path(f->directory, split ? "split-parent.ltd" : "parent.ltd");
	paths[1] = db_path(f->directory, split ? "split-child.ltd" : "child.ltd");
	db_process(child)->forked_from = db_process(child)->parent = db_process(db)->key;
	db_process(child)->role = LEAKTRACE_ROLE_FORK;
	db_process(child)->first_site = 1000;
	for (unsigned p = 0; p < PLACES; p++)
		for (unsigned t = 0; t < (split ? THREADS : 1); t++)
			db_inherited(child, ids[p][t], split ? 3 : 3 * THREADS, split ? 10 : 10 * THREADS);
	db_write(db, paths[0]);
	db_write(child, paths[1]);
	db_free(db);
	db_free(child);
}

static struct lt_merge *open_files(struct fixture *f, char *const *paths, size_t count)
{
	struct lt_merge *merge = lt_merge_new(&f->notes);

	for (size_t i = 0; i < count; i++)
		assert_int_equal(lt_merge_add(merge, paths[i]), 0);
	lt_merge_select(merge);
	return merge;
}

/* In JSON. To be freed. */
static char *report(struct fixture *f, char *const *paths, size_t count)
{
	const struct lt_report_options options = {.format = LT_FORMAT_JSON, .blocks = true, .inherited = true};
	struct lt_merge *merge = open_files(f, paths, count);
	struct lt_report made;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_int_equal(lt_report_make(merge, &options, &f->notes, &made), 0);
	lt_render_json(&made, out);
	lt_report_clear(&made);
	lt_merge_free(merge);
	fclose(out);
	return text;
}

static void assert_same(char *text, char *expected)
{
	bool same = strcmp(text, expected) == 0;

	if (!same)
		print_error("%s\n--- is not ---\n%s\n", text, expected);
	free(text);
	free(expected);
	assert_true(same);
}

static void report_is_that_of_one_record_for_each_site(void **state)
{
	struct fixture *f = *state;
	char *paths[2], *split[2];

	write_family(f, false, paths);
	write_family(f, true, split);
	assert_same(report(f, split, 2), report(f, paths, 2));
	for (unsigned i = 0; i < 2; i++) {
		free(paths[i]);
		free(split[i]);
	}
	assert_int_equal(f->notes.count, 0);
}

static void merged_file_has_the_sums(void **state)
{
	struct fixture *f = *state;
	char *split[2], *merged = db_path(f->directory, "merged.ltd");
	struct lt_writer *writer;
	struct lt_sink sink;

	write_family(f, true, split);
	struct lt_merge *merge = open_files(f, split, 2);
	assert_int_equal(lt_writer_new(merged, merge, &writer), 0);
	sink = lt_writer_sink(writer);
	assert_int_equal(lt_merge_load(merge, LT_PARTS_ALL, &sink), 2);
	assert_int_equal(lt_writer_finish(writer), 0);
	lt_writer_free(writer);
	lt_merge_free(merge);
	assert_same(report(f, &merged, 1), report(f, split, 2));
	free(merged);
	for (unsigned i = 0; i < 2; i++)
		free(split[i]);
}

static struct lt_dump *read_dump(struct fixture *f, struct db *db)
{
	char *path = db_path(f->directory, "one.ltd");
	struct lt_dump *dump;

	db_write(db, path);
	assert_int_equal(lt_dump_read(path, LT_PARTS_ALL, &f->notes, &dump), 0);
	free(path);
	return dump;
}

static struct leaktrace_site record(struct lt_dump *dump, unsigned index)
{
	struct leaktrace_site site = {0};

	LT_DUMP_EACH(dump, LEAKTRACE_CHUNK_SITES, chunk)
		lt_chunk_record(chunk, index, &site, sizeof site);
	return site;
}

static void first_record_has_the_sums_and_the_others_nothing(void **state)
{
	struct fixture *f = *state;
	struct life life, whole;
	uint32_t ids[PLACES][THREADS];

	live(&life, true);
	live(&whole, false);
	struct db *db = describe(&life, ids);
	struct lt_dump *dump = read_dump(f, db);
	struct lt_fold *fold = lt_fold_new(dump, db_process(db));

	assert_non_null(fold);
	for (unsigned p = 0; p < PLACES; p++) {
		struct leaktrace_site sum = record(dump, p), *expected = &whole.records[p][0];

		assert_int_equal(sum.allocations, expected->allocations);
		assert_int_equal(sum.frees, expected->frees);
		assert_int_equal(sum.temporary, expected->temporary);
		assert_int_equal(sum.peak_blocks, expected->peak_blocks);
		assert_int_equal(sum.peak_bytes, expected->peak_bytes);
		assert_int_equal(sum.epoch_shift, expected->epoch_shift);
		assert_memory_equal(sum.epoch, expected->epoch, sizeof sum.epoch);
		for (unsigned t = 0; t < THREADS; t++) {
			struct leaktrace_site other = record(dump, t * PLACES + p);

			assert_int_equal(lt_fold_site(fold, ids[p][t]), ids[p][0]);
			assert_int_equal(other.id, ids[p][t]);
			if (t)
				assert_int_equal(other.allocations + other.frees + other.peak_blocks + other.startup_blocks, 0);
		}
	}
	assert_int_equal(lt_fold_site(fold, 4711), 4711);
	lt_fold_free(fold);
	lt_dump_free(dump);
	db_free(db);
}

static void records_of_one_thread_stay_as_they_are(void **state)
{
	struct fixture *f = *state;
	struct life life;
	uint32_t ids[PLACES][THREADS];

	live(&life, false);
	struct db *db = describe(&life, ids);
	struct lt_dump *dump = read_dump(f, db);

	assert_null(lt_fold_new(dump, db_process(db)));
	assert_int_equal(lt_fold_site(NULL, 4711), 4711);
	lt_dump_free(dump);
	db_free(db);
}

/* The process runs: the second record was read a moment later than the first. */
static void sum_below_0_is_0(void **state)
{
	struct fixture *f = *state;
	struct db *db = db_new(100);
	uint32_t module = db_module(db, "/lib/libfoo.so", 0, "12345678"), native = db_frame(db, 0, module, 0x1000);
	struct leaktrace_site *site = db_live_site(db, native, 0, 5, 10);

	site->process = 1;
	site = db_site(db, native, 0);
	site->process = 2;
	site->frees = 6;
	site->freed_bytes = 60;
	site->startup_blocks = (uint64_t)-6;
	site->startup_bytes = (uint64_t)-60;
	site->epoch[0].blocks = (uint64_t)-1;
	site->epoch_shift = UINT32_MAX; /* damaged */
	struct lt_dump *dump = read_dump(f, db);
	struct lt_fold *fold = lt_fold_new(dump, db_process(db));
	struct leaktrace_site sum = record(dump, 0);

	assert_int_equal(sum.allocations, 5);
	assert_int_equal(sum.frees, 6); /* load.c's to judge, as of any site */
	assert_int_equal(sum.startup_blocks + sum.startup_bytes + sum.epoch[0].blocks + sum.peak_blocks, 0);
	lt_fold_free(fold);
	lt_dump_free(dump);
	db_free(db);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(report_is_that_of_one_record_for_each_site),
		TEST(merged_file_has_the_sums),
		TEST(first_record_has_the_sums_and_the_others_nothing),
		TEST(records_of_one_thread_stay_as_they_are),
		TEST(sum_below_0_is_0),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
