/* SPDX-License-Identifier: MIT
 *
 * Merging: one set of processes and stacks from many dumps, in any order, also through merged files; ends of processes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dump_builder.h"
#include "lineage.h"
#include "model.h"
#include "reader.h"
#include "report.h"
#include "writer.h"

#define PATHS 16

struct fixture {
	char *directory;
	struct lt_notes notes;
	struct lt_merge *merge;
	char *paths[PATHS];
	size_t path_count;
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

	lt_merge_free(f->merge);
	lt_notes_free(&f->notes);
	for (size_t i = 0; i < f->path_count; i++)
		free(f->paths[i]);
	db_remove(f->directory);
	free(f);
	return 0;
}

static char *new_path(struct fixture *f, const char *name)
{
	assert_true(f->path_count < PATHS);
	return f->paths[f->path_count++] = db_path(f->directory, name);
}

/* A worker: `pid` shifts its references, so that equal stacks have other numbers in each dump. */
static struct db *worker(uint32_t pid, uint64_t blocks)
{
	struct db *db = db_new(pid);
	uint32_t module, frame, r;

	for (uint32_t i = 0; i < pid % 7; i++)
		db_frame(db, 0, 0, 0x40 + i + pid * 16);
	db_process(db)->role = LEAKTRACE_ROLE_PSOCK;
	module = db_module(db, "/lib/libfoo.so", 0, "12345678");
	frame = db_frame(db, db_frame(db, 0, module, 0x1000), module, 0x2000);
	r = db_rframe(db, db_rframe(db, 0, "outer", NULL, "job.R", 7), "inner", "pkg", "f.R", 3);
	db_live_site(db, frame, r, blocks, 64);
	for (uint64_t i = 0; i < blocks; i++)
		db_block(db, 0x10000 * pid + i * 64, 64, 1, 0);
	db_live_site(db, db_frame(db, 0, module, 0x3000 + pid), 0, 1, 100 + pid);
	db_block(db, 0x10000 * pid + 0x8000, 100 + pid, 2, 0);
	db_event(db, LEAKTRACE_EVENT_MARK, 0, 0, 5, "a mark");
	return db;
}

static const char *write_worker(struct fixture *f, uint32_t pid, uint64_t blocks)
{
	struct db *db = worker(pid, blocks);
	char name[32];
	char *path;

	snprintf(name, sizeof name, "%u.ltd", pid);
	path = new_path(f, name);
	db_write(db, path);
	db_free(db);
	return path;
}

static struct lt_merge *open_all(struct fixture *f, const char *const *paths, size_t count)
{
	lt_merge_free(f->merge);
	f->merge = lt_merge_new(&f->notes);
	for (size_t i = 0; i < count; i++)
		(void)lt_merge_add(f->merge, paths[i]);
	lt_merge_select(f->merge);
	return f->merge;
}

static const char *merge_to(struct fixture *f, const char *name, const char *const *paths, size_t count)
{
	const char *out = new_path(f, name);
	struct lt_writer *writer;
	struct lt_sink sink;

	open_all(f, paths, count);
	assert_int_equal(lt_writer_new(out, f->merge, &writer), 0);
	sink = lt_writer_sink(writer);
	assert_int_equal(lt_merge_load(f->merge, LT_PARTS_ALL, &sink), count);
	assert_int_equal(lt_writer_finish(writer), 0);
	lt_writer_free(writer);
	return out;
}

/* The JSON report of some files, with blocks. To be freed. */
static char *report(struct fixture *f, const char *const *paths, size_t count)
{
	const struct lt_report_options options = {.format = LT_FORMAT_JSON, .blocks = true, .inherited = true};
	struct lt_report made;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_int_equal(lt_report_make(open_all(f, paths, count), &options, &f->notes, &made), 0);
	lt_render_json(&made, out);
	lt_report_clear(&made);
	fclose(out);
	return text;
}

static void assert_same_report(struct fixture *f, const char *const *a, size_t a_count, const char *const *b, size_t b_count)
{
	char *x = report(f, a, a_count), *y = report(f, b, b_count);
	bool same = strcmp(x, y) == 0;

	if (!same)
		print_error("%s\n--- is not ---\n%s\n", x, y);
	free(x);
	free(y);
	assert_true(same);
}

static void equal_stacks_of_two_dumps_are_one_site(void **state)
{
	struct fixture *f = *state;
	const char *paths[] = {write_worker(f, 101, 10), write_worker(f, 205, 20)};
	struct lt_model *model = lt_model_new(open_all(f, paths, 2), false, false);
	struct lt_sink sink = lt_model_sink(model);

	assert_int_equal(lt_merge_load(f->merge, lt_model_parts(model), &sink), 2);
	lt_model_finish(model);
	assert_int_equal(model->row_count, 3);
	assert_int_equal(model->rows[0].live.blocks, 30);
	assert_int_equal(model->rows[0].live.bytes, 30 * 64);
	assert_int_equal(model->rows[0].pair_count, 2);
	assert_int_equal(model->totals[LT_KIND_UNKNOWN].blocks, 32);
	lt_model_free(model);
	assert_int_equal(f->notes.count, 0);
}

static void report_is_the_same_in_any_order(void **state)
{
	struct fixture *f = *state;
	const char *a = write_worker(f, 101, 10), *b = write_worker(f, 205, 20), *c = write_worker(f, 303, 3);
	const char *forth[] = {a, b, c}, *back[] = {c, b, a}, *other[] = {b, a, c};

	assert_same_report(f, forth, 3, back, 3);
	assert_same_report(f, forth, 3, other, 3);
}

static void merging_is_associative_and_commutative(void **state)
{
	struct fixture *f = *state;
	const char *a = write_worker(f, 101, 10), *b = write_worker(f, 205, 20), *c = write_worker(f, 303, 3);
	const char *plain[] = {a, b, c}, *pair[2], *last[2];
	const char *left, *right;

	pair[0] = a, pair[1] = b;
	last[0] = merge_to(f, "ab.ltd", pair, 2), last[1] = c;
	left = merge_to(f, "ab_c.ltd", last, 2);
	pair[0] = c, pair[1] = b;
	last[0] = merge_to(f, "cb.ltd", pair, 2), last[1] = a;
	right = merge_to(f, "cb_a.ltd", last, 2);
	assert_same_report(f, &left, 1, &right, 1);
	assert_same_report(f, &left, 1, plain, 3);
	assert_int_equal(f->notes.count, 0);
}

static void merged_file_is_private(void **state)
{
	struct fixture *f = *state;
	const char *a = write_worker(f, 101, 10), *out = merge_to(f, "m.ltd", &a, 1);
	struct stat status;

	assert_int_equal(stat(out, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
}

static void unfinished_merge_leaves_no_file(void **state)
{
	struct fixture *f = *state;
	const char *a = write_worker(f, 101, 10);
	char *out = new_path(f, "m.ltd");
	struct lt_writer *writer;

	assert_int_equal(lt_writer_new(out, open_all(f, &a, 1), &writer), 0);
	lt_writer_free(writer);
	assert_int_equal(access(out, F_OK), -1);
}

static void process_given_twice_counts_once(void **state)
{
	struct fixture *f = *state;
	const char *a = write_worker(f, 101, 10), *b = write_worker(f, 205, 20);
	const char *pair[] = {a, b}, *twice[] = {b, a, merge_to(f, "ab.ltd", pair, 2), a};

	assert_same_report(f, pair, 2, twice, 4);
	assert_true(f->notes.count > 0);
	assert_non_null(strstr(f->notes.texts[0], "given twice"));
}

static void more_complete_dump_of_a_process_is_kept(void **state)
{
	struct fixture *f = *state;
	const char *paths[] = {new_path(f, "early.ltd"), new_path(f, "late.ltd")};
	struct db *db = worker(101, 5);

	db_process(db)->end_kind = LEAKTRACE_END_NONE;
	db_process(db)->end_ns = 0;
	db_write(db, paths[0]);
	db_free(db);
	db = worker(101, 50);
	db_write(db, paths[1]);
	db_free(db);
	assert_same_report(f, paths, 2, paths + 1, 1);
}

static void unreadable_dump_does_not_hide_the_others(void **state)
{
	struct fixture *f = *state;
	const char *paths[] = {write_worker(f, 101, 10), new_path(f, "bad.ltd")};

	db_spit(paths[1], "no dump", 7);
	assert_same_report(f, paths, 2, paths, 1);
	assert_int_equal(f->merge->process_count, 1);
	assert_true(f->notes.count > 0);
}

static void lost_stack_keeps_its_bytes(void **state)
{
	struct fixture *f = *state;
	const char *path = new_path(f, "a.ltd");
	struct db *db = db_new(100);
	struct lt_model *model;
	struct lt_sink sink;

	db_live_site(db, 4711, 815, 10, 64);
	db_frame(db, 77, 3, 0x1000); /* neither parent nor module is there */
	db_rframe(db, 5, "f", NULL, NULL, 0);
	db_write(db, path);
	db_free(db);
	model = lt_model_new(open_all(f, &path, 1), false, false);
	sink = lt_model_sink(model);
	assert_int_equal(lt_merge_load(f->merge, lt_model_parts(model), &sink), 1);
	lt_model_finish(model);
	assert_int_equal(model->row_count, 1);
	assert_int_equal(model->rows[0].live.bytes, 640);
	assert_int_equal(f->merge->processes[0].lost_stacks, 1);
	assert_int_equal(f->notes.count, 2);
	lt_model_free(model);
}

/* Nobody writes more; and a report of a small file would have gigabytes, if each of its sites had a stack of all its frames. */
static void stack_deeper_than_any_that_is_written_is_cut(void **state)
{
	const unsigned extra = 10;
	struct fixture *f = *state;
	const char *path = new_path(f, "a.ltd");
	struct db *db = db_new(100);
	uint32_t native = 0, r = 0, most = 0, r_most = 0;
	static const struct lt_sink nothing;

	for (unsigned i = 0; i < LEAKTRACE_STACK_MAX + extra; i++)
		native = db_frame(db, native, 0, 0x1000 + i);
	for (unsigned i = 0; i < LEAKTRACE_R_STACK_MAX + extra; i++)
		r = db_rframe(db, r, "f", NULL, NULL, i);
	db_live_site(db, native, r, 10, 64);
	db_write(db, path);
	db_free(db);
	open_all(f, &path, 1);
	assert_int_equal(lt_merge_load(f->merge, LT_PARTS_ALL, &nothing), 1);
	for (uint32_t i = 1; i < f->merge->intern->frame_count; i++) {
		uint32_t depth = 0;

		for (uint32_t node = i; node; node = f->merge->intern->frames[node].parent)
			depth++;
		most = depth > most ? depth : most;
	}
	for (uint32_t i = 1; i < f->merge->intern->rframe_count; i++) {
		uint32_t depth = 0;

		for (uint32_t node = i; node; node = f->merge->intern->rframes[node].parent)
			depth++;
		r_most = depth > r_most ? depth : r_most;
	}
	assert_int_equal(most, LEAKTRACE_STACK_MAX);
	assert_int_equal(r_most, LEAKTRACE_R_STACK_MAX);
	assert_int_equal(f->notes.count, 1);
	assert_non_null(strstr(f->notes.texts[0], "1 native and 1 R frames have lost their caller"));
}

static void name_longer_than_any_that_is_written_is_none(void **state)
{
	struct fixture *f = *state;
	const char *path = new_path(f, "a.ltd");
	struct db *db = db_new(100);
	char name[LEAKTRACE_NAME_MAX + 2];
	const struct lt_rnode *r;
	static const struct lt_sink nothing;

	memset(name, 'x', sizeof name);
	for (size_t i = 0; i < sizeof name; i += 200)
		name[i] = '/';
	for (unsigned i = 0; i < 2; i++) {
		name[LEAKTRACE_NAME_MAX + 1 - i] = '\0';
		db_module(db, name, 0, NULL);
		db_rframe(db, 0, name, name, name, 1);
	}
	memset(name, 'x', sizeof name);
	name[0] = '/';
	name[320] = '\0';
	db_module(db, name, 0, NULL); /* no file has such a name */
	db_write(db, path);
	db_free(db);
	open_all(f, &path, 1);
	assert_int_equal(lt_merge_load(f->merge, LT_PARTS_ALL, &nothing), 1);
	assert_int_equal(f->merge->intern->modules[1].path, 0);
	assert_int_equal(strlen(lt_intern_text(f->merge->intern, f->merge->intern->modules[2].path)), LEAKTRACE_NAME_MAX);
	assert_int_equal(f->merge->intern->module_count, 3); /* those without a path are one */
	r = f->merge->intern->rframes;
	assert_true(!r[1].call && !r[1].namespace && !r[1].file);
	assert_true(r[2].call && r[2].namespace && r[2].file);
	assert_int_equal(f->notes.count, 1);
}

static void inherited_blocks_count_in_the_child_when_asked(void **state)
{
	struct fixture *f = *state;
	const char *paths[] = {new_path(f, "child.ltd"), write_worker(f, 101, 10)};
	struct db *db = db_new(150), *parent = worker(101, 10);
	struct lt_model *model;
	struct lt_sink sink;

	db_process(db)->role = LEAKTRACE_ROLE_FORK;
	db_process(db)->parent = db_process(db)->forked_from = db_process(parent)->key;
	db_process(db)->first_site = 3;
	db_inherited(db, 1, 4, 256);
	db_write(db, paths[0]);
	db_free(db);
	db_free(parent);
	for (int inherited = 0; inherited < 2; inherited++) {
		model = lt_model_new(open_all(f, paths, 2), false, inherited);
		sink = lt_model_sink(model);
		assert_int_equal(lt_merge_load(f->merge, lt_model_parts(model), &sink), 2);
		lt_lineage_resolve(f->merge);
		lt_model_finish(model);
		assert_int_equal(model->rows[0].live.blocks, inherited ? 14 : 10);
		assert_int_equal(model->rows[0].pair_count, inherited ? 2 : 1);
		assert_int_equal(model->unknown_inherited, 0);
		lt_model_free(model);
	}
}

/* A child without an end of its own, and a parent that may have seen it. */
static const struct lt_process *ended_child(struct fixture *f, bool seen, int status)
{
	const char *paths[] = {new_path(f, "parent.ltd"), new_path(f, "child.ltd")};
	struct db *parent = db_new(100), *child = db_new(101);
	static const struct lt_sink nothing;

	db_process(child)->end_kind = LEAKTRACE_END_NONE;
	db_process(child)->end_ns = 0;
	db_process(child)->role = LEAKTRACE_ROLE_FORK;
	db_process(child)->ppid = 100;
	db_process(child)->parent = db_process(child)->forked_from = db_process(parent)->key;
	if (seen)
		db_event(parent, LEAKTRACE_EVENT_CHILD_END, 101, status, 1700000050000000000, NULL);
	/* One of an earlier process of this PID. */
	db_event(parent, LEAKTRACE_EVENT_CHILD_END, 101, 0, 1600000000000000000, NULL);
	db_write(parent, paths[0]);
	db_write(child, paths[1]);
	db_free(parent);
	db_free(child);
	open_all(f, paths, 2);
	assert_int_equal(lt_merge_load(f->merge, LT_PART(LEAKTRACE_CHUNK_EVENTS), &nothing), 2);
	lt_lineage_resolve(f->merge);
	assert_int_equal(f->merge->processes[1].record.key.pid, 101);
	assert_int_equal(f->merge->processes[1].parent, 0);
	return &f->merge->processes[1];
}

static void child_that_its_parent_saw_killed_ended_by_signal(void **state)
{
	const struct lt_process *child = ended_child(*state, true, SIGKILL);

	assert_int_equal(child->end, LT_END_SIGNAL);
	assert_true(child->has_code);
	assert_int_equal(child->end_code, SIGKILL);
	assert_int_equal(child->end_ns, 1700000050000000000);
}

static void child_with_only_a_status_is_unknown_with_code(void **state)
{
	const struct lt_process *child = ended_child(*state, true, 3 << 8);

	assert_int_equal(child->end, LT_END_UNKNOWN);
	assert_int_equal(child->end_code, 3);
}

static void child_that_nobody_saw_is_unknown(void **state)
{
	const struct lt_process *child = ended_child(*state, false, 0);

	assert_int_equal(child->end, LT_END_UNKNOWN);
	assert_false(child->has_code);
}

static void image_with_a_successor_ended_by_exec(void **state)
{
	struct fixture *f = *state;
	const char *paths[] = {new_path(f, "0.ltd"), new_path(f, "1.ltd")};
	static const struct lt_sink nothing;

	for (uint32_t image = 0; image < 2; image++) {
		struct db *db = db_new(100);

		db_process(db)->key.image = image;
		db_process(db)->start_ns += image;
		if (!image)
			db_process(db)->end_kind = LEAKTRACE_END_NONE;
		db_write(db, paths[image]);
		db_free(db);
	}
	open_all(f, paths, 2);
	assert_int_equal(lt_merge_load(f->merge, LT_PART(LEAKTRACE_CHUNK_EVENTS), &nothing), 2);
	lt_lineage_resolve(f->merge);
	assert_int_equal(f->merge->processes[0].end, LT_END_EXEC);
	assert_int_equal(f->merge->processes[1].end, LT_END_EXIT);
}

static uint64_t own_start(void)
{
	char text[2048];
	FILE *file = fopen("/proc/self/stat", "r");
	size_t length = fread(text, 1, sizeof text - 1, file);
	char *rest;

	fclose(file);
	text[length] = '\0';
	rest = strrchr(text, ')') + 1;
	for (int field = 3; field < 22; field++)
		rest = strchr(rest + 1, ' ');
	return strtoull(rest, NULL, 10);
}

static void living_process_of_this_machine_is_running(void **state)
{
	struct fixture *f = *state;
	const char *path = new_path(f, "a.ltd");
	struct db *db = db_new((uint32_t)getpid());
	static const struct lt_sink nothing;

	db_process(db)->key.machine = lt_lineage_machine();
	db_process(db)->key.start = own_start();
	db_process(db)->end_kind = LEAKTRACE_END_NONE;
	db_write(db, path);
	open_all(f, &path, 1);
	assert_int_equal(lt_merge_load(f->merge, LT_PARTS_ALL, &nothing), 1);
	lt_lineage_resolve(f->merge);
	assert_int_equal(f->merge->processes[0].end, LT_END_RUNNING);
	/* Another start time: the PID was reused. */
	db_process(db)->key.start++;
	db_write(db, path);
	db_free(db);
	open_all(f, &path, 1);
	assert_int_equal(lt_merge_load(f->merge, LT_PARTS_ALL, &nothing), 1);
	lt_lineage_resolve(f->merge);
	assert_int_equal(f->merge->processes[0].end, LT_END_UNKNOWN);
}

/* Same dump, each byte of its interesting parts flipped: nothing may crash, hang or grow. */
static void flipped_bytes_do_no_harm(void **state)
{
	struct fixture *f = *state;
	const char *path = write_worker(f, 101, 3);
	size_t size;
	unsigned char *bytes = db_slurp(path, &size);

	for (size_t place = 0; place < size; place++) {
		const struct lt_report_options options = {.blocks = true, .inherited = true};
		size_t in_page = place % LEAKTRACE_CHUNK_ALIGN;
		struct lt_report made;

		if (in_page >= 640)
			continue;
		bytes[place] ^= 0xff;
		db_spit(path, bytes, size);
		bytes[place] ^= 0xff;
		open_all(f, &path, 1);
		if (f->merge->process_count && lt_report_make(f->merge, &options, &f->notes, &made) != -1)
			lt_report_clear(&made);
		lt_notes_free(&f->notes);
	}
	free(bytes);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(equal_stacks_of_two_dumps_are_one_site),
		TEST(report_is_the_same_in_any_order),
		TEST(merging_is_associative_and_commutative),
		TEST(merged_file_is_private),
		TEST(unfinished_merge_leaves_no_file),
		TEST(process_given_twice_counts_once),
		TEST(more_complete_dump_of_a_process_is_kept),
		TEST(unreadable_dump_does_not_hide_the_others),
		TEST(lost_stack_keeps_its_bytes),
		TEST(stack_deeper_than_any_that_is_written_is_cut),
		TEST(name_longer_than_any_that_is_written_is_none),
		TEST(inherited_blocks_count_in_the_child_when_asked),
		TEST(child_that_its_parent_saw_killed_ended_by_signal),
		TEST(child_with_only_a_status_is_unknown_with_code),
		TEST(child_that_nobody_saw_is_unknown),
		TEST(image_with_a_successor_ended_by_exec),
		TEST(living_process_of_this_machine_is_running),
		TEST(flipped_bytes_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
