/* SPDX-License-Identifier: MIT
 *
 * Reports and comparisons of processes that recorded samples: sums, kinds, standard errors. Dumps are synthetic; a recorded block
 * is added to them as the tracer would.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diff.h"
#include "dump_builder.h"
#include "findings.h"
#include "writer.h"

#define PATHS 16
#define KIB UINT64_C(1024)
#define INTERVAL (512 * KIB)

struct fixture {
	char *directory;
	struct lt_notes notes;
	struct lt_merge *merge;
	struct lt_report report;
	bool made;
	json_t *json;
	char *paths[PATHS];
	size_t path_count;
	uint64_t address;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	f->directory = db_directory();
	f->address = 0x100000;
	*state = f;
	return 0;
}

static void forget(struct fixture *f)
{
	if (f->made)
		lt_report_clear(&f->report);
	f->made = false;
	lt_merge_free(f->merge);
	f->merge = NULL;
	if (f->json)
		json_decref(f->json);
	f->json = NULL;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	forget(f);
	lt_notes_free(&f->notes);
	for (size_t i = 0; i < f->path_count; i++)
		free(f->paths[i]);
	db_remove(f->directory);
	free(f);
	return 0;
}

static struct db *sampled(uint32_t pid, uint64_t interval)
{
	struct db *db = db_new(pid);

	if (interval) {
		db_process(db)->flags |= LEAKTRACE_PROCESS_SAMPLED;
		db_process(db)->sample_bytes = interval;
	}
	return db;
}

/* Counts `number` recorded blocks. */
static void count_in(struct leaktrace_site *site, uint64_t number, uint64_t size, uint64_t interval)
{
	uint64_t weight = leaktrace_sample_weight(size, interval);

	site->allocations += number * weight;
	site->allocated_bytes += number * weight * size;
	site->startup_blocks += number * weight;
	site->startup_bytes += number * weight * size;
	if (!interval)
		return;
	site->sampled += number;
	site->variance_blocks += number * leaktrace_sample_variance_blocks(weight);
	site->variance_bytes += number * leaktrace_sample_variance_bytes(size, weight, interval);
}

/* A site with `number` recorded blocks; LISTED: in the list, with the kind that `flags` have. The same place is the same stack
 * in each dump. */
#define LISTED 0x100
static struct leaktrace_site *site_of(struct fixture *f, struct db *db, uint64_t place, uint64_t number, uint64_t size,
				      uint32_t flags)
{
	uint64_t interval = db_process(db)->flags & LEAKTRACE_PROCESS_SAMPLED ? db_process(db)->sample_bytes : 0;
	struct leaktrace_site *site;
	uint32_t id;

	site = db_site(db, db_frame(db, 0, db_module(db, "/lib/libfoo.so", 0, "12345678"), 0x1000 * (place + 1)), 0);
	id = site->id;
	count_in(site, number, size, interval);
	for (uint64_t i = 0; flags & LISTED && i < number; i++, f->address += size + 16)
		db_judged_block(db, f->address, size, id, flags & ~LISTED);
	return site;
}

static const char *finish(struct fixture *f, struct db *db)
{
	char name[32];

	assert_true(f->path_count < PATHS);
	snprintf(name, sizeof name, "%zu.ltd", f->path_count);
	f->paths[f->path_count] = db_path(f->directory, name);
	db_write(db, f->paths[f->path_count]);
	db_free(db);
	return f->paths[f->path_count++];
}

static struct lt_merge *open_all(struct fixture *f, const char *const *paths, size_t count)
{
	struct lt_merge *merge = lt_merge_new(&f->notes);

	for (size_t i = 0; i < count; i++)
		assert_int_equal(lt_merge_add(merge, paths[i]), 0);
	lt_merge_select(merge);
	return merge;
}

static char *render(struct lt_report *report, void (*how)(struct lt_report *, FILE *))
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	how(report, out);
	fclose(out);
	return text;
}

/* The report's model, and f->json. */
static struct lt_model *make(struct fixture *f, const char *const *paths, size_t count, const struct lt_report_options *options)
{
	char *text;

	forget(f);
	f->merge = open_all(f, paths, count);
	assert_int_equal(lt_report_make(f->merge, options, &f->notes, &f->report), 0);
	f->made = true;
	text = render(&f->report, lt_render_json);
	f->json = json_loads(text, 0, NULL);
	free(text);
	assert_non_null(f->json);
	return f->report.model;
}

static struct lt_model *make_one(struct fixture *f, const char *path)
{
	static const struct lt_report_options options = {.format = LT_FORMAT_JSON, .blocks = true};

	return make(f, &path, 1, &options);
}

/* The row of a kind; there is one. */
static const struct lt_row *row_of(const struct lt_model *model, enum lt_kind kind)
{
	const struct lt_row *found = NULL;

	for (size_t i = 0; i < model->row_count; i++)
		if (model->rows[i].kind == kind) {
			assert_null(found);
			found = &model->rows[i];
		}
	assert_non_null(found);
	return found;
}

static json_t *json_site(const struct fixture *f, size_t index)
{
	return json_array_get(json_object_get(f->json, "sites"), index);
}

static double json_number(json_t *object, const char *key)
{
	json_t *value = json_object_get(object, key);

	assert_true(json_is_number(value));
	return json_number_value(value);
}

static void assert_near(double a, double b)
{
	if (fabs(a - b) > 1e-3 * fabs(b))
		fail_msg("%g is not %g", a, b);
}

static void recorded_block_stands_for_its_weight(void **state)
{
	struct fixture *f = *state;
	struct db *db = sampled(100, INTERVAL);
	uint64_t weight = leaktrace_sample_weight(1000, INTERVAL);
	const struct lt_row *row;
	const struct lt_model *model;

	site_of(f, db, 0, 9, 1000, LISTED);
	model = make_one(f, finish(f, db));
	row = row_of(model, LT_KIND_UNKNOWN);
	assert_true(row->live.blocks == 9 * weight);
	assert_true(row->live.bytes == 9000 * weight);
	assert_near(lt_standard_error(row->live.spread.blocks), 3 * sqrt((double)weight * (double)(weight - 1)));
	assert_near(lt_standard_error(row->live.spread.bytes), 3000 * sqrt((double)weight * (double)(weight - 1)));
	assert_int_equal(model->sampled, 1);
	assert_true(model->sample_least == INTERVAL && model->sample_most == INTERVAL);
	assert_int_equal(f->notes.count, 0);
}

static void kinds_count_the_list_by_weight(void **state)
{
	struct fixture *f = *state;
	struct db *db = sampled(100, INTERVAL);
	uint64_t small = leaktrace_sample_weight(16, INTERVAL), large = leaktrace_sample_weight(100000, INTERVAL);
	struct leaktrace_site *site = site_of(f, db, 0, 4, 16, LISTED | LEAKTRACE_KIND_DEFINITE);
	const struct lt_row *definite, *reachable;
	const struct lt_model *model;

	count_in(site, 25, 100000, INTERVAL);
	for (int i = 0; i < 25; i++)
		db_judged_block(db, 0x8000000 + (uint64_t)i * 100016, 100000, site->id, LEAKTRACE_KIND_REACHABLE);
	db_verdict(db);
	model = make_one(f, finish(f, db));
	definite = row_of(model, LT_KIND_DEFINITE);
	reachable = row_of(model, LT_KIND_REACHABLE);
	assert_int_equal(model->row_count, 2);
	assert_true(definite->live.blocks == 4 * small && definite->live.bytes == 64 * small);
	assert_true(reachable->live.blocks == 25 * large && reachable->live.bytes == 2500000 * large);
	assert_true(definite->live.spread.sampled == 4 && !definite->live.spread.unlisted);
	assert_true(reachable->live.spread.sampled == 25 && !reachable->live.spread.unlisted);
	assert_near(lt_standard_error(definite->live.spread.bytes), 32 * sqrt((double)small * (double)(small - 1)));
	assert_near(lt_standard_error(reachable->live.spread.bytes), 500000 * sqrt((double)large * (double)(large - 1)));
	assert_true(model->totals[LT_KIND_DEFINITE].blocks == 4 * small);
	assert_near(lt_standard_error(model->totals[LT_KIND_DEFINITE].spread.blocks), 2 * sqrt((double)small * (double)(small - 1)));
}

static void blocks_of_the_interval_and_more_are_exact(void **state)
{
	struct fixture *f = *state;
	struct db *db = sampled(100, INTERVAL);
	const struct lt_row *row;

	site_of(f, db, 0, 3, INTERVAL, 0);
	row = row_of(make_one(f, finish(f, db)), LT_KIND_UNKNOWN);
	assert_true(row->live.blocks == 3 && row->live.bytes == 3 * INTERVAL);
	assert_true(!row->live.spread.bytes && !row->live.spread.blocks);
	assert_true(row->live.spread.sampled == 3 && !row->live.spread.unlisted);
}

/* Of what is in no list only the sums are known. */
static void remainder_of_the_list_keeps_the_rest_of_the_variance(void **state)
{
	struct fixture *f = *state;
	struct db *db = sampled(100, INTERVAL);
	uint64_t weight = leaktrace_sample_weight(1000, INTERVAL);
	struct leaktrace_site *site = site_of(f, db, 0, 4, 1000, LISTED | LEAKTRACE_KIND_DEFINITE);
	const struct lt_row *unknown, *definite;
	const struct lt_model *model;

	count_in(site, 16, 1000, INTERVAL);
	db_verdict(db);
	model = make_one(f, finish(f, db));
	definite = row_of(model, LT_KIND_DEFINITE);
	unknown = row_of(model, LT_KIND_UNKNOWN);
	assert_true(definite->live.blocks == 4 * weight && definite->live.spread.sampled == 4);
	assert_true(unknown->live.blocks == 16 * weight && unknown->live.spread.unlisted);
	assert_near(lt_standard_error(unknown->live.spread.blocks), 2 * lt_standard_error(definite->live.spread.blocks));
	assert_near(lt_standard_error(unknown->live.spread.bytes), 2 * lt_standard_error(definite->live.spread.bytes));
	assert_int_equal(f->notes.count, 1); /* 16 are not listed */
	assert_true(json_is_null(json_object_get(json_site(f, 1), "sampled_blocks")));
}

/* It was killed, and has an earlier verdict: this stands for its list. */
static void verdict_without_a_final_list_counts_by_weight(void **state)
{
	struct fixture *f = *state;
	struct db *db = sampled(100, INTERVAL);
	uint64_t weight = leaktrace_sample_weight(1000, INTERVAL);
	const struct lt_row *row;
	struct leaktrace_header header;
	unsigned char *bytes;
	const char *path;
	size_t size;

	site_of(f, db, 0, 4, 1000, LISTED | LEAKTRACE_KIND_POSSIBLE);
	db_verdict(db);
	path = finish(f, db);
	bytes = db_slurp(path, &size);
	memcpy(&header, bytes, sizeof header);
	header.process.flags &= ~(uint32_t)LEAKTRACE_PROCESS_BLOCKS_FINAL;
	header.process.blocks_generation = 0;
	memcpy(bytes, &header, sizeof header);
	db_spit(path, bytes, size);
	free(bytes);
	row = row_of(make_one(f, path), LT_KIND_POSSIBLE);
	assert_true(row->live.blocks == 4 * weight && row->live.bytes == 4000 * weight && row->live.spread.sampled == 4);
	assert_int_equal(f->report.model->row_count, 1);
}

static void garbage_of_r_counts_by_weight(void **state)
{
	struct fixture *f = *state;
	struct db *db = sampled(100, INTERVAL);
	uint64_t weight = leaktrace_sample_weight(1000, INTERVAL);
	const struct lt_model *model;

	site_of(f, db, 0, 2, 1000, LISTED | LEAKTRACE_KIND_REACHABLE | LEAKTRACE_BLOCK_R_GARBAGE);
	db_verdict(db);
	model = make_one(f, finish(f, db));
	assert_true(model->r_garbage.blocks == 2 * weight && model->r_garbage.bytes == 2000 * weight);
	assert_true(model->r_garbage.spread.sampled == 2);
}

static void json_has_errors_only_where_samples_are(void **state)
{
	struct fixture *f = *state;
	struct db *exact = db_new(100), *other = sampled(200, INTERVAL);
	uint64_t weight = leaktrace_sample_weight(1000, INTERVAL);
	const struct lt_report_options options = {.format = LT_FORMAT_JSON, .blocks = true};
	const char *paths[2];
	json_t *site, *process;

	site_of(f, exact, 0, 5, 1000, LISTED);
	paths[0] = finish(f, exact);
	make(f, paths, 1, &options);
	assert_null(json_object_get(json_site(f, 0), "bytes_se"));
	assert_null(json_object_get(json_site(f, 0), "sampled_blocks"));
	assert_null(json_object_get(json_array_get(json_object_get(f->json, "blocks"), 0), "weight"));
	assert_null(json_object_get(json_object_get(json_object_get(f->json, "totals"), "definite"), "bytes_se"));
	site_of(f, other, 0, 4, 1000, LISTED);
	site_of(f, other, 1, 1, INTERVAL, LISTED);
	paths[1] = finish(f, other);
	make(f, paths, 2, &options);
	/* One row of both processes: the exact one adds no error, nor samples. */
	site = json_site(f, 0);
	assert_near(json_number(site, "blocks"), (double)(5 + 4 * weight));
	assert_near(json_number(site, "bytes_se"), 2000 * sqrt((double)weight * (double)(weight - 1)));
	assert_near(json_number(site, "blocks_se"), 2 * sqrt((double)weight * (double)(weight - 1)));
	assert_near(json_number(site, "sampled_blocks"), 4);
	assert_near(json_number(site, "sampled_allocations"), 4);
	process = json_array_get(json_object_get(site, "processes"), 0);
	assert_true(json_number(process, "bytes_se") == 0 && json_number(process, "sampled_blocks") == 0);
	process = json_array_get(json_object_get(site, "processes"), 1);
	assert_near(json_number(process, "bytes_se"), json_number(site, "bytes_se"));
	/* Of a row without one it is 0. */
	site = json_site(f, 1);
	assert_true(json_number(site, "bytes_se") == 0 && json_number(site, "sampled_blocks") == 1);
	process = json_array_get(json_object_get(f->json, "processes"), 0);
	assert_string_equal(json_string_value(json_object_get(process, "mode")), "exact");
	assert_null(json_object_get(process, "live_bytes_se"));
	process = json_array_get(json_object_get(f->json, "processes"), 1);
	assert_string_equal(json_string_value(json_object_get(process, "mode")), "sampled");
	assert_near(json_number(process, "sample_bytes"), (double)INTERVAL);
	assert_near(json_number(process, "live_bytes_se"), 2000 * sqrt((double)weight * (double)(weight - 1)));
	assert_near(json_number(process, "sampled_allocations"), 5);
}

static void listed_blocks_have_their_weight(void **state)
{
	struct fixture *f = *state;
	struct db *db = sampled(100, INTERVAL);
	json_t *blocks;

	site_of(f, db, 0, 3, 1000, LISTED);
	make_one(f, finish(f, db));
	blocks = json_object_get(f->json, "blocks");
	assert_int_equal(json_array_size(blocks), 3);
	for (size_t i = 0; i < 3; i++) {
		assert_near(json_number(json_array_get(blocks, i), "size"), 1000);
		assert_near(json_number(json_array_get(blocks, i), "weight"), (double)leaktrace_sample_weight(1000, INTERVAL));
	}
}

static void text_shows_errors_and_says_so(void **state)
{
	struct fixture *f = *state;
	struct db *db = sampled(100, INTERVAL), *other = sampled(101, 64 * KIB);
	const struct lt_report_options options = {0};
	const char *paths[2];
	char *text;

	site_of(f, db, 0, 4, 16, LISTED);
	site_of(f, db, 1, 1, INTERVAL, LISTED);
	paths[0] = finish(f, db);
	site_of(f, other, 2, 1, 16, LISTED);
	paths[1] = finish(f, other);
	make(f, paths, 1, &options);
	text = render(&f->report, lt_render_text);
	assert_non_null(strstr(text, "Sampled: figures of 1 process are estimates, from samples of one allocation in 512.0 KiB; ± is"));
	assert_non_null(strstr(text, ".  2,097,216 ± 1,048,576 bytes in 131,076 ± 65,537 blocks; unknown"));
	assert_non_null(strstr(text, ".  524,288 bytes in 1 block; unknown"));
	assert_non_null(strstr(text, "Native memory: 2.5 MiB ± 1.0 MiB in 131,077 ± 65,537 blocks from 2 sites"));
	free(text);
	make(f, paths, 2, &options);
	text = render(&f->report, lt_render_text);
	assert_non_null(strstr(text, "figures of 2 processes are estimates, from samples of one allocation in 64.0 KiB to 512.0 KiB;"));
	free(text);
}

static const char *merge_to(struct fixture *f, const char *const *paths, size_t count)
{
	struct lt_merge *merge = open_all(f, paths, count);
	char name[32];
	struct lt_writer *writer;
	struct lt_sink sink;

	assert_true(f->path_count < PATHS);
	snprintf(name, sizeof name, "m%zu.ltd", f->path_count);
	f->paths[f->path_count] = db_path(f->directory, name);
	assert_int_equal(lt_writer_new(f->paths[f->path_count], merge, &writer), 0);
	sink = lt_writer_sink(writer);
	assert_int_equal(lt_merge_load(merge, LT_PARTS_ALL, &sink), count);
	assert_int_equal(lt_writer_finish(writer), 0);
	lt_writer_free(writer);
	lt_merge_free(merge);
	return f->paths[f->path_count++];
}

static void merging_samples_is_associative_and_commutative(void **state)
{
	struct fixture *f = *state;
	static const uint64_t intervals[] = {0, 64 * KIB, INTERVAL};
	const struct lt_report_options options = {.format = LT_FORMAT_JSON, .blocks = true, .inherited = true};
	const char *plain[3], *pair[2], *last[2];
	json_t *wanted;

	for (uint32_t i = 0; i < 3; i++) {
		struct db *db = sampled(100 + i, intervals[i]);

		site_of(f, db, 0, 7 + i, 1000, LISTED | LEAKTRACE_KIND_DEFINITE);
		site_of(f, db, 1, 3, 24, LISTED | LEAKTRACE_KIND_REACHABLE);
		site_of(f, db, 2 + i, 5, 5000, 0);
		db_inherited(db, 1, 100, 100000);
		db_verdict(db);
		plain[i] = finish(f, db);
	}
	make(f, plain, 3, &options);
	wanted = json_incref(f->json);
	pair[0] = plain[0], pair[1] = plain[1];
	last[0] = merge_to(f, pair, 2), last[1] = plain[2];
	last[0] = merge_to(f, last, 2);
	make(f, last, 1, &options);
	assert_true(json_equal(f->json, wanted));
	pair[0] = plain[2], pair[1] = plain[1];
	last[0] = merge_to(f, pair, 2), last[1] = plain[0];
	make(f, last, 2, &options);
	assert_true(json_equal(f->json, wanted));
	json_decref(wanted);
}

static void inherited_samples_are_uncertain_by_their_mean_size(void **state)
{
	struct fixture *f = *state;
	struct db *child = sampled(150, INTERVAL), *parent = sampled(101, INTERVAL);
	const struct lt_report_options options = {.format = LT_FORMAT_JSON, .inherited = true};
	uint64_t weight = leaktrace_sample_weight(1000, INTERVAL);
	const char *paths[2];
	const struct lt_row *row;

	db_process(child)->role = LEAKTRACE_ROLE_FORK;
	db_process(child)->parent = db_process(child)->forked_from = db_process(parent)->key;
	db_process(child)->first_site = 3;
	db_inherited(child, 1, 4 * weight, 4000 * weight);
	site_of(f, parent, 0, 4, 1000, 0);
	paths[0] = finish(f, parent);
	paths[1] = finish(f, child);
	row = row_of(make(f, paths, 2, &options), LT_KIND_UNKNOWN);
	assert_true(row->live.blocks == 8 * weight && row->live.spread.unlisted);
	assert_near(lt_standard_error(row->live.spread.blocks), sqrt(8 * (double)weight * (double)(weight - 1)));
	assert_near(lt_standard_error(row->live.spread.bytes), 1000 * sqrt(8 * (double)weight * (double)(weight - 1)));
}

/* Two sessions that recorded so many blocks of 1000 bytes at one site: what became of that, and whether it is a finding. */
static enum lt_change compare(struct fixture *f, uint64_t a, uint64_t b, bool exact, const char *what, bool *found)
{
	const struct lt_report_options report_options = {.format = LT_FORMAT_JSON};
	const struct lt_diff_options options = {.format = LT_FORMAT_JSON};
	struct lt_report sides[2];
	struct lt_merge *merges[2];
	struct lt_diff_fail_on fail_on = {0};
	enum lt_change change;
	struct lt_diff diff;

	for (int side = 0; side < 2; side++) {
		struct db *db = sampled(100, exact ? 0 : INTERVAL);
		const char *path;

		if (side ? b : a)
			site_of(f, db, 0, side ? b : a, 1000, LISTED);
		site_of(f, db, 1, 3, INTERVAL, LISTED);
		path = finish(f, db);
		merges[side] = open_all(f, &path, 1);
		assert_int_equal(lt_report_make(merges[side], &report_options, &f->notes, &sides[side]), 0);
	}
	lt_diff_make(sides, &options, &f->notes, &diff);
	assert_int_equal(lt_diff_fail_on_parse(what, &fail_on), 0);
	*found = lt_diff_findings(&diff, &fail_on);
	/* The other site does not change. */
	assert_true(diff.shown_count <= 1 && diff.changes[LT_CHANGE_UNCHANGED].sites == 2 - diff.shown_count);
	change = diff.shown_count ? diff.shown[0]->change : LT_CHANGE_UNCHANGED;
	assert_int_equal(diff.by_chance, change == LT_CHANGE_UNCHANGED && a != b);
	lt_diff_clear(&diff);
	for (int side = 0; side < 2; side++) {
		lt_report_clear(&sides[side]);
		lt_merge_free(merges[side]);
	}
	return change;
}

static void difference_within_two_errors_is_none(void **state)
{
	struct fixture *f = *state;
	bool found;

	assert_int_equal(compare(f, 100, 130, false, "new,grown", &found), LT_CHANGE_UNCHANGED);
	assert_false(found);
	assert_int_equal(compare(f, 130, 100, false, "new,grown", &found), LT_CHANGE_UNCHANGED);
	assert_int_equal(compare(f, 0, 3, false, "new,grown", &found), LT_CHANGE_UNCHANGED);
	assert_false(found);
	assert_int_equal(compare(f, 3, 0, false, "new,grown", &found), LT_CHANGE_UNCHANGED);
}

static void difference_beyond_two_errors_is_one(void **state)
{
	struct fixture *f = *state;
	bool found;

	assert_int_equal(compare(f, 100, 135, false, "grown", &found), LT_CHANGE_GROWN);
	assert_true(found);
	assert_int_equal(compare(f, 135, 100, false, "new,grown", &found), LT_CHANGE_SHRUNK);
	assert_false(found);
	assert_int_equal(compare(f, 0, 6, false, "new", &found), LT_CHANGE_NEW);
	assert_true(found);
	assert_int_equal(compare(f, 6, 0, false, "new,grown", &found), LT_CHANGE_GONE);
}

/* 36 of 512 KiB each, give or take 3 MiB. */
static void difference_is_a_finding_if_surely_above_the_bound(void **state)
{
	struct fixture *f = *state;
	bool found;

	compare(f, 0, 36, false, "new:11m", &found);
	assert_true(found);
	compare(f, 0, 36, false, "new:13m", &found);
	assert_false(found);
	compare(f, 0, 36, true, "new:35999", &found);
	assert_true(found);
	compare(f, 0, 36, true, "new:36000", &found);
	assert_false(found);
}

static void exact_difference_is_never_chance(void **state)
{
	struct fixture *f = *state;
	bool found;

	assert_int_equal(compare(f, 100, 101, true, "grown", &found), LT_CHANGE_GROWN);
	assert_true(found);
	assert_int_equal(compare(f, 0, 1, true, "new", &found), LT_CHANGE_NEW);
	assert_true(found);
}

static void finding_is_surely_above_its_bound(void **state)
{
	struct fixture *f = *state;
	struct db *db = sampled(100, INTERVAL);
	struct lt_fail_on fail_on = {0};

	site_of(f, db, 0, 25, 1000, LISTED); /* 12.5 MiB, give or take 2.5 */
	make_one(f, finish(f, db));
	assert_int_equal(lt_fail_on_parse("unknown:7m", &fail_on), 0);
	assert_true(lt_findings(&f->report, &fail_on));
	assert_int_equal(lt_fail_on_parse("unknown:8m", &fail_on), 0);
	assert_false(lt_findings(&f->report, &fail_on));
	/* What was recorded is there. */
	assert_int_equal(lt_fail_on_parse("unknown", &fail_on), 0);
	assert_true(lt_findings(&f->report, &fail_on));
}

static void impossible_figures_do_no_harm(void **state)
{
	struct fixture *f = *state;
	struct db *db = sampled(100, UINT64_MAX);
	struct leaktrace_site *site = site_of(f, db, 0, 1, 16, LISTED | LEAKTRACE_KIND_DEFINITE);

	site->allocations = site->allocated_bytes = site->variance_blocks = site->variance_bytes = site->sampled = UINT64_MAX;
	db_block(db, 0x7000, UINT64_MAX, site->id, 0);
	db_block(db, 0x9000, 0, site->id, 0);
	db_verdict(db);
	make_one(f, finish(f, db));
	assert_true(isfinite(json_number(json_site(f, 0), "bytes_se")));
	free(render(&f->report, lt_render_text));
	free(render(&f->report, lt_render_csv));
}

/* Before sampling: the fields are 0, and the option was noted down without effect. */
static void dump_of_an_older_minor_version_is_exact(void **state)
{
	struct fixture *f = *state;

	for (uint16_t minor = 0; minor < 2; minor++) {
		struct db *db = db_new(100);
		const char *path;
		unsigned char *bytes;
		json_t *process;
		size_t size;

		site_of(f, db, 0, 5, 1000, LISTED);
		db_process(db)->sample_bytes = INTERVAL;
		path = finish(f, db);
		bytes = db_slurp(path, &size);
		memcpy(bytes + offsetof(struct leaktrace_header, minor), &minor, sizeof minor);
		db_spit(path, bytes, size);
		free(bytes);
		assert_true(row_of(make_one(f, path), LT_KIND_UNKNOWN)->live.blocks == 5);
		assert_int_equal(f->report.model->sampled, 0);
		process = json_array_get(json_object_get(f->json, "processes"), 0);
		assert_string_equal(json_string_value(json_object_get(process, "mode")), "exact");
		assert_null(json_object_get(json_site(f, 0), "bytes_se"));
	}
	assert_int_equal(f->notes.count, 0);
}

/* It can't be: the figures are taken as they are. */
static void sampled_without_an_interval_is_exact(void **state)
{
	struct fixture *f = *state;
	struct db *db = db_new(100);
	json_t *process;

	db_process(db)->flags |= LEAKTRACE_PROCESS_SAMPLED;
	site_of(f, db, 0, 5, 1000, LISTED)->variance_bytes = 1000;
	assert_true(row_of(make_one(f, finish(f, db)), LT_KIND_UNKNOWN)->live.blocks == 5);
	assert_int_equal(f->report.model->sampled, 0);
	process = json_array_get(json_object_get(f->json, "processes"), 0);
	assert_string_equal(json_string_value(json_object_get(process, "mode")), "exact");
}

/* More in the list than the site holds, none of it there, blocks of sites that are not. */
static void list_and_site_that_contradict_each_other_do_no_harm(void **state)
{
	struct fixture *f = *state;
	struct db *db = sampled(100, INTERVAL);
	uint64_t weight = leaktrace_sample_weight(1000, INTERVAL);
	const struct lt_row *row;

	site_of(f, db, 0, 9, 1000, LISTED | LEAKTRACE_KIND_DEFINITE);
	site_of(f, db, 0, 4, 1000, 0)->id = 1;
	site_of(f, db, 1, 4, 1000, 0)->variance_blocks = 0;
	db_judged_block(db, 0x7000, 1000, 4711, LEAKTRACE_KIND_DEFINITE);
	db_verdict(db);
	row = row_of(make_one(f, finish(f, db)), LT_KIND_DEFINITE);
	assert_true(row->live.blocks <= 13 * weight);
	assert_true(isfinite(json_number(json_site(f, 0), "bytes_se")));
	free(render(&f->report, lt_render_text));
	free(render(&f->report, lt_render_csv));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(recorded_block_stands_for_its_weight),
		TEST(kinds_count_the_list_by_weight),
		TEST(blocks_of_the_interval_and_more_are_exact),
		TEST(remainder_of_the_list_keeps_the_rest_of_the_variance),
		TEST(verdict_without_a_final_list_counts_by_weight),
		TEST(garbage_of_r_counts_by_weight),
		TEST(json_has_errors_only_where_samples_are),
		TEST(listed_blocks_have_their_weight),
		TEST(text_shows_errors_and_says_so),
		TEST(merging_samples_is_associative_and_commutative),
		TEST(inherited_samples_are_uncertain_by_their_mean_size),
		TEST(difference_within_two_errors_is_none),
		TEST(difference_beyond_two_errors_is_one),
		TEST(difference_is_a_finding_if_surely_above_the_bound),
		TEST(exact_difference_is_never_chance),
		TEST(finding_is_surely_above_its_bound),
		TEST(impossible_figures_do_no_harm),
		TEST(dump_of_an_older_minor_version_is_exact),
		TEST(sampled_without_an_interval_is_exact),
		TEST(list_and_site_that_contradict_each_other_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
