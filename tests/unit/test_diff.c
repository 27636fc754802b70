/* SPDX-License-Identifier: MIT
 *
 * Which sites of two sessions are one, and what is said of them. Dumps are synthetic; frames with names are functions of this
 * program, some under names as compilers make them. It is linked without build-id, so it is its own build if a dump has none.
 */
#include <link.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "diff.h"
#include "dump_builder.h"

#define FILES 12
#define NAMED __attribute__((noinline, noclone, used))

/* Bodies differ, or a linker could fold them. */
NAMED static int alpha(int n) { return n + 1; }
NAMED static int beta(int n) { return n * 3; }
NAMED static int gamma_(int n) { return n - 7; }
NAMED int alpha_constprop(int n) __asm__("alpha.constprop.0");
NAMED int alpha_constprop(int n) { return n * 5 + 1; }
NAMED int alpha_isra(int n) __asm__("alpha.isra.1.cold");
NAMED int alpha_isra(int n) { return n * 7 + 1; }
NAMED int alpha_part(int n) __asm__("alpha.part.0");
NAMED int alpha_part(int n) { return n * 9 + 1; }
NAMED int alphabet(int n) __asm__("alpha.bet");
NAMED int alphabet(int n) { return n * 11 + 1; }

static struct {
	char path[4096];
	uint64_t base;
} self;

struct fixture {
	char *directory, *paths[FILES];
	size_t count;
	struct lt_notes notes;
	struct lt_merge *merges[2];
	struct lt_report sides[2];
	struct lt_report_options report;
	struct lt_diff_options options;
	struct lt_diff diff;
	bool made;
	struct db *dbs[2];
	enum lt_kind kinds[2]; /* of all that the side holds; LT_KIND_DEFINITE: as read */
};

static int find_self(struct dl_phdr_info *info, size_t size, void *data)
{
	self.base = info->dlpi_addr;
	return 1;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	if (!self.path[0]) {
		ssize_t length = readlink("/proc/self/exe", self.path, sizeof self.path - 1);

		assert_true(length > 0);
		dl_iterate_phdr(find_self, NULL);
	}
	f->directory = db_directory();
	f->dbs[0] = db_new(100);
	f->dbs[1] = db_new(200);
	/* Numbers on the two sides have nothing to do with each other. */
	for (uint32_t i = 0; i < 5; i++)
		db_frame(f->dbs[1], 0, 0, 0x40 + i);
	*state = f;
	return 0;
}

static void forget(struct fixture *f)
{
	if (!f->made)
		return;
	lt_diff_clear(&f->diff);
	for (int side = 0; side < 2; side++) {
		lt_report_clear(&f->sides[side]);
		lt_merge_free(f->merges[side]);
	}
	f->made = false;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	forget(f);
	lt_notes_free(&f->notes);
	for (size_t i = 0; i < f->count; i++)
		free(f->paths[i]);
	db_free(f->dbs[0]);
	db_free(f->dbs[1]);
	db_remove(f->directory);
	free(f);
	return 0;
}

static char *write_dump(struct fixture *f, struct db *db)
{
	char name[32];

	assert_true(f->count < FILES);
	snprintf(name, sizeof name, "%zu.ltd", f->count);
	f->paths[f->count] = db_path(f->directory, name);
	db_write(db, f->paths[f->count]);
	return f->paths[f->count++];
}

static void open_side(struct fixture *f, int side, char *const *paths, size_t count)
{
	f->merges[side] = lt_merge_new(&f->notes);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(lt_merge_add(f->merges[side], paths[i]), 0);
	lt_merge_select(f->merges[side]);
	assert_int_equal(lt_report_make(f->merges[side], &f->report, &f->notes, &f->sides[side]), 0);
	for (size_t i = 0; f->kinds[side] && i < f->sides[side].model->row_count; i++)
		f->sides[side].model->rows[i].kind = f->kinds[side];
}

static void compare_files(struct fixture *f, char *const *a, size_t a_count, char *const *b, size_t b_count)
{
	forget(f);
	open_side(f, 0, a, a_count);
	open_side(f, 1, b, b_count);
	lt_diff_make(f->sides, &f->options, &f->notes, &f->diff);
	f->made = true;
}

static void compare_dumps(struct fixture *f)
{
	char *a = write_dump(f, f->dbs[0]), *b = write_dump(f, f->dbs[1]);

	compare_files(f, &a, 1, &b, 1);
}

static void assert_changes(const struct fixture *f, uint64_t appeared, uint64_t grown, uint64_t shrunk, uint64_t gone,
			   uint64_t unchanged)
{
	assert_int_equal(f->diff.changes[LT_CHANGE_NEW].sites, appeared);
	assert_int_equal(f->diff.changes[LT_CHANGE_GROWN].sites, grown);
	assert_int_equal(f->diff.changes[LT_CHANGE_SHRUNK].sites, shrunk);
	assert_int_equal(f->diff.changes[LT_CHANGE_GONE].sites, gone);
	assert_int_equal(f->diff.changes[LT_CHANGE_UNCHANGED].sites, unchanged);
}

/* A frame in a module without names. */
static uint32_t hidden(struct db *db, uint32_t parent, const char *path, const char *build_id, uint64_t offset)
{
	return db_frame(db, parent, db_module(db, path, 0, build_id), offset);
}

/* A frame in a function of this program, which the dump says has this build-id (NULL: none, as it is). */
static uint32_t in(struct db *db, uint32_t parent, int (*function)(int), const char *build_id)
{
	return db_frame(db, parent, db_module(db, self.path, 0, build_id), (uint64_t)(uintptr_t)function - self.base + 1);
}

static void site(struct db *db, uint32_t native, uint32_t r, uint64_t blocks, uint64_t size)
{
	db_live_site(db, native, r, blocks, size);
}

static void lines_directories_and_numbers_do_not_count(void **state)
{
	struct fixture *f = *state;
	struct db *a = f->dbs[0], *b = f->dbs[1];

	site(a, hidden(a, 0, "/old/libfoo.so", "12345678", 0x100), db_rframe(a, 0, "f", "pkg", "a.R", 1), 2, 10);
	site(b, hidden(b, 0, "/new/libfoo.so (deleted)", "12345678", 0x100), db_rframe(b, 0, "f", "pkg", "b.R", 99), 2, 10);
	compare_dumps(f);
	assert_changes(f, 0, 0, 0, 0, 1);
}

static void sites_of_one_key_are_one_row(void **state)
{
	struct fixture *f = *state;
	struct db *a = f->dbs[0], *b = f->dbs[1];

	for (uint32_t line = 1; line <= 3; line++)
		site(a, hidden(a, 0, "/libfoo.so", "12345678", 0x100), db_rframe(a, 0, "f", NULL, "a.R", line), 1, 10);
	site(b, hidden(b, 0, "/libfoo.so", "12345678", 0x100), db_rframe(b, 0, "f", NULL, "a.R", 7), 3, 10);
	compare_dumps(f);
	assert_changes(f, 0, 0, 0, 0, 1);
	assert_int_equal(f->diff.rows[0].half[0].sites, 3);
	assert_int_equal(f->diff.rows[0].half[0].processes, 1);
}

static void calls_and_namespaces_tell_sites_apart(void **state)
{
	struct fixture *f = *state;
	struct db *a = f->dbs[0], *b = f->dbs[1];

	site(a, hidden(a, 0, "/libfoo.so", "12345678", 0x100), db_rframe(a, 0, "f", "one", NULL, 0), 1, 10);
	site(a, hidden(a, 0, "/libfoo.so", "12345678", 0x100), db_rframe(a, 0, "g", NULL, NULL, 0), 1, 10);
	site(b, hidden(b, 0, "/libfoo.so", "12345678", 0x100), db_rframe(b, 0, "f", "two", NULL, 0), 1, 10);
	site(b, hidden(b, 0, "/libfoo.so", "12345678", 0x100),
	     db_rframe(b, db_rframe(b, 0, "h", NULL, NULL, 0), "g", NULL, NULL, 0), 1, 10);
	compare_dumps(f);
	assert_changes(f, 2, 0, 0, 2, 0);
}

static void frame_without_name_is_its_offset_in_one_build(void **state)
{
	struct fixture *f = *state;
	struct db *a = f->dbs[0], *b = f->dbs[1];

	site(a, hidden(a, 0, "/libfoo.so", "12345678", 0x100), 0, 1, 10);
	site(b, hidden(b, 0, "/libfoo.so", "12345678", 0x200), 0, 1, 10);
	compare_dumps(f);
	assert_changes(f, 1, 0, 0, 1, 0);
}

static void frame_without_name_is_its_module_in_another_build(void **state)
{
	struct fixture *f = *state;
	struct db *a = f->dbs[0], *b = f->dbs[1];

	site(a, hidden(a, 0, "/libfoo.so", "12345678", 0x100), 0, 1, 10);
	site(a, hidden(a, 0, "/libbar.so", "12345678", 0x100), 0, 1, 20);
	site(b, hidden(b, 0, "/libfoo.so", "87654321", 0x200), 0, 1, 10);
	compare_dumps(f);
	assert_changes(f, 0, 0, 0, 1, 1);
	for (size_t i = 0; i < f->diff.row_count; i++)
		assert_int_equal(f->diff.rows[i].match, LT_MATCH_STACK);
}

static void frame_in_no_module_has_no_address(void **state)
{
	struct fixture *f = *state;
	struct db *a = f->dbs[0], *b = f->dbs[1];

	site(a, db_frame(a, 0, 0, 0x7f0000001000), 0, 1, 10);
	site(b, db_frame(b, 0, 0, 0x7f1111001000), 0, 1, 10);
	compare_dumps(f);
	assert_changes(f, 0, 0, 0, 0, 1);
}

static void suffixes_of_compilers_do_not_count(void **state)
{
	struct fixture *f = *state;
	struct db *a = f->dbs[0], *b = f->dbs[1];

	site(a, in(a, in(a, 0, beta, NULL), alpha_constprop, NULL), 0, 1, 10);
	site(b, in(b, in(b, 0, beta, NULL), alpha_isra, NULL), 0, 1, 10);
	compare_dumps(f);
	assert_changes(f, 0, 0, 0, 0, 1);
	assert_int_equal(f->diff.rows[0].match, LT_MATCH_STACK);
}

static void part_of_a_function_is_the_function(void **state)
{
	struct fixture *f = *state;
	struct db *a = f->dbs[0], *b = f->dbs[1];

	site(a, in(a, in(a, in(a, 0, beta, NULL), alpha, NULL), alpha_part, NULL), 0, 1, 10);
	site(b, in(b, in(b, 0, beta, NULL), alpha, NULL), 0, 1, 10);
	compare_dumps(f);
	assert_changes(f, 0, 0, 0, 0, 1);
	assert_int_equal(f->diff.rows[0].match, LT_MATCH_STACK);
}

static void other_names_with_dots_count(void **state)
{
	struct fixture *f = *state;
	struct db *a = f->dbs[0], *b = f->dbs[1];

	site(a, in(a, 0, alpha, NULL), 0, 1, 10);
	site(b, in(b, 0, alphabet, NULL), 0, 1, 10);
	compare_dumps(f);
	assert_changes(f, 1, 0, 0, 1, 0);
}

static void function_with_other_callers_is_found_if_there_is_one(void **state)
{
	struct fixture *f = *state;
	struct db *a = f->dbs[0], *b = f->dbs[1];

	site(a, in(a, in(a, 0, beta, NULL), alpha, NULL), db_rframe(a, 0, "f", NULL, NULL, 0), 1, 10);
	site(b, in(b, in(b, 0, gamma_, NULL), alpha, NULL), db_rframe(b, 0, "f", NULL, NULL, 0), 3, 10);
	compare_dumps(f);
	assert_changes(f, 0, 1, 0, 0, 0);
	assert_int_equal(f->diff.shown[0]->match, LT_MATCH_FUNCTION);
	assert_int_equal(lt_diff_bytes(f->diff.shown[0]), 20);
}

static void function_with_other_callers_is_not_guessed_among_two(void **state)
{
	struct fixture *f = *state;
	struct db *a = f->dbs[0], *b = f->dbs[1];

	site(a, in(a, in(a, 0, beta, NULL), alpha, NULL), 0, 1, 10);
	site(b, in(b, in(b, 0, gamma_, NULL), alpha, NULL), 0, 1, 10);
	site(b, in(b, in(b, in(b, 0, gamma_, NULL), beta, NULL), alpha, NULL), 0, 1, 10);
	compare_dumps(f);
	assert_changes(f, 2, 0, 0, 1, 0);
}

static void replaced_build_is_matched_by_shape_and_noted(void **state)
{
	struct fixture *f = *state;
	struct db *a = f->dbs[0], *b = f->dbs[1];
	struct lt_diff_fail_on fail_on = {0};

	/* This program has not the build-id of A: its names are not taken. */
	site(a, in(a, in(a, 0, gamma_, "no such build"), beta, "no such build"), db_rframe(a, 0, "f", NULL, NULL, 0), 1, 10);
	site(b, in(b, in(b, 0, beta, NULL), alpha, NULL), db_rframe(b, 0, "f", NULL, NULL, 0), 2, 10);
	compare_dumps(f);
	assert_changes(f, 0, 1, 0, 0, 0);
	assert_int_equal(f->diff.shown[0]->match, LT_MATCH_SHAPE);
	assert_true(f->notes.count > 0);
	/* Nobody knows that it is the same. */
	assert_int_equal(lt_diff_fail_on_parse("new", &fail_on), 0);
	assert_true(lt_diff_findings(&f->diff, &fail_on));
}

static void rows_come_by_size_of_the_change(void **state)
{
	struct fixture *f = *state;
	struct db *a = f->dbs[0], *b = f->dbs[1];
	const uint64_t sizes[] = {10, 1000, 100};

	for (uint64_t i = 0; i < 3; i++) {
		struct db *db = i == 1 ? a : b;

		site(db, hidden(db, 0, "/libfoo.so", "12345678", 0x100 * (i + 1)), 0, 1, sizes[i]);
	}
	compare_dumps(f);
	assert_int_equal(f->diff.shown_count, 3);
	assert_int_equal(f->diff.shown[0]->change, LT_CHANGE_GONE);
	assert_int_equal(f->diff.shown[1]->half[1].live.bytes, 100);
	assert_int_equal(f->diff.shown[2]->half[1].live.bytes, 10);
	f->options.min_bytes = 100;
	compare_dumps(f);
	assert_int_equal(f->diff.shown_count, 2);
	assert_changes(f, 2, 0, 0, 1, 0);
}

static void r_heap_is_one_total(void **state)
{
	struct fixture *f = *state;
	struct db *a = f->dbs[0], *b = f->dbs[1];
	struct lt_diff_fail_on fail_on = {0};

	db_live_site(a, hidden(a, 0, "/libR.so", "12345678", 0x100), 0, 1, 1000)->flags |= LEAKTRACE_SITE_R_HEAP;
	db_live_site(b, hidden(b, 0, "/libR.so", "12345678", 0x200), 0, 3, 1000)->flags |= LEAKTRACE_SITE_R_HEAP;
	compare_dumps(f);
	assert_changes(f, 0, 0, 0, 0, 0);
	assert_int_equal(f->diff.shown_count, 0);
	assert_int_equal(f->diff.r_heap.live[0].bytes, 1000);
	assert_int_equal(f->diff.r_heap.live[1].bytes, 3000);
	f->options.all = true;
	compare_dumps(f);
	assert_int_equal(f->diff.shown_count, 2);
	assert_int_equal(lt_diff_fail_on_parse("new,grown", &fail_on), 0);
	assert_false(lt_diff_findings(&f->diff, &fail_on));
}

static void reachable_memory_is_not_compared(void **state)
{
	struct fixture *f = *state;
	struct lt_diff_fail_on fail_on = {0};

	site(f->dbs[0], hidden(f->dbs[0], 0, "/libfoo.so", "12345678", 0x100), 0, 1, 10);
	site(f->dbs[1], hidden(f->dbs[1], 0, "/libfoo.so", "12345678", 0x200), 0, 1, 20);
	f->kinds[0] = f->kinds[1] = LT_KIND_REACHABLE;
	compare_dumps(f);
	assert_changes(f, 0, 0, 0, 0, 0);
	assert_int_equal(f->diff.aside.live[0].bytes, 10);
	assert_int_equal(f->diff.aside.live[1].bytes, 20);
	assert_int_equal(lt_diff_fail_on_parse("new", &fail_on), 0);
	f->options.all = true;
	compare_dumps(f);
	assert_changes(f, 1, 0, 0, 1, 0);
	assert_false(lt_diff_findings(&f->diff, &fail_on));
	f->options.all = false;
	f->options.kinds = 1u << LT_KIND_REACHABLE;
	compare_dumps(f);
	assert_changes(f, 1, 0, 0, 1, 0);
	assert_true(lt_diff_findings(&f->diff, &fail_on));
	f->options.kinds = 1u << LT_KIND_DEFINITE;
	compare_dumps(f);
	assert_changes(f, 0, 0, 0, 0, 0);
}

static void reachable_memory_is_compared_with_unknown(void **state)
{
	struct fixture *f = *state;
	struct lt_diff_fail_on fail_on = {0};

	site(f->dbs[0], hidden(f->dbs[0], 0, "/libfoo.so", "12345678", 0x100), 0, 1, 10);
	site(f->dbs[1], hidden(f->dbs[1], 0, "/libfoo.so", "12345678", 0x100), 0, 1, 10);
	f->kinds[1] = LT_KIND_REACHABLE;
	compare_dumps(f);
	assert_changes(f, 0, 0, 0, 0, 1);
	f->kinds[0] = LT_KIND_REACHABLE;
	f->kinds[1] = LT_KIND_POSSIBLE;
	compare_dumps(f);
	assert_changes(f, 1, 0, 0, 0, 0);
	assert_int_equal(f->diff.shown[0]->half[0].kind, LT_KIND_REACHABLE);
	assert_int_equal(lt_diff_fail_on_parse("new", &fail_on), 0);
	assert_true(lt_diff_findings(&f->diff, &fail_on));
}

static void more_processes_of_the_same_come_last(void **state)
{
	struct fixture *f = *state;
	char *paths[FILES];

	for (uint32_t i = 0; i < 6; i++) {
		struct db *db = db_new(300 + i);

		site(db, hidden(db, 0, "/libfoo.so", "12345678", 0x100), 0, 1, 1000);
		if (i == 2)
			site(db, hidden(db, 0, "/libfoo.so", "12345678", 0x200), 0, 1, 5);
		paths[i] = write_dump(f, db);
		db_free(db);
	}
	compare_files(f, paths, 2, paths + 2, 4);
	assert_changes(f, 1, 1, 0, 0, 0);
	assert_int_equal(f->diff.shown[0]->half[1].live.bytes, 5);
	assert_true(f->diff.shown[1]->same_each);
	assert_int_equal(f->diff.shown[1]->half[0].processes, 2);
	assert_int_equal(f->diff.shown[1]->half[1].processes, 4);
	assert_int_equal(lt_diff_bytes(f->diff.shown[1]), 2000);
}

static void findings_are_above_their_bound(void **state)
{
	struct fixture *f = *state;
	struct db *a = f->dbs[0], *b = f->dbs[1];
	static const struct {
		const char *text;
		bool found;
	} cases[] = {
		{"new", true}, {"new:99", true}, {"new:100", false}, {"grown", true}, {"grown:49", true}, {"grown:50", false},
		{"new:100,grown:49", true}, {"new:1k,grown:1k", false},
	};

	site(a, hidden(a, 0, "/libfoo.so", "12345678", 0x100), 0, 1, 50);
	site(b, hidden(b, 0, "/libfoo.so", "12345678", 0x100), 0, 2, 50);
	site(b, hidden(b, 0, "/libfoo.so", "12345678", 0x200), 0, 1, 40);
	site(b, hidden(b, 0, "/libfoo.so", "12345678", 0x300), 0, 2, 30);
	f->options.min_bytes = 1 << 20;
	f->options.top = 1;
	compare_dumps(f);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct lt_diff_fail_on fail_on = {0};

		assert_int_equal(lt_diff_fail_on_parse(cases[i].text, &fail_on), 0);
		assert_int_equal(lt_diff_findings(&f->diff, &fail_on), cases[i].found);
	}
}

static void longer_texts_are_no_finding(void **state)
{
	struct fixture *f = *state;
	struct lt_diff_fail_on fail_on = {0};

	assert_int_equal(lt_diff_fail_on_parse("grown", &fail_on), 0);
	for (uint64_t by = 15; by <= 16; by++) {
		struct db *a = db_new(300), *b = db_new(301);

		site(a, hidden(a, 0, "/libfoo.so", "12345678", 0x100), 0, 3, 50);
		site(b, hidden(b, 0, "/libfoo.so", "12345678", 0x100), 0, 3, 50 + by);
		db_free(f->dbs[0]);
		db_free(f->dbs[1]);
		f->dbs[0] = a;
		f->dbs[1] = b;
		compare_dumps(f);
		assert_changes(f, 0, 1, 0, 0, 0);
		assert_int_equal(lt_diff_findings(&f->diff, &fail_on), by == 16);
	}
}

static void wrong_fail_on_is_refused(void **state)
{
	static const char *const wrong[] = {"", "gone", "new:", "new:x", "new,", "definite", "new:1:2"};

	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		struct lt_diff_fail_on fail_on = {0};

		assert_true(lt_diff_fail_on_parse(wrong[i], &fail_on) < 0);
	}
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(lines_directories_and_numbers_do_not_count),
		TEST(sites_of_one_key_are_one_row),
		TEST(calls_and_namespaces_tell_sites_apart),
		TEST(frame_without_name_is_its_offset_in_one_build),
		TEST(frame_without_name_is_its_module_in_another_build),
		TEST(frame_in_no_module_has_no_address),
		TEST(suffixes_of_compilers_do_not_count),
		TEST(part_of_a_function_is_the_function),
		TEST(other_names_with_dots_count),
		TEST(function_with_other_callers_is_found_if_there_is_one),
		TEST(function_with_other_callers_is_not_guessed_among_two),
		TEST(replaced_build_is_matched_by_shape_and_noted),
		TEST(rows_come_by_size_of_the_change),
		TEST(r_heap_is_one_total),
		TEST(reachable_memory_is_not_compared),
		TEST(reachable_memory_is_compared_with_unknown),
		TEST(more_processes_of_the_same_come_last),
		TEST(findings_are_above_their_bound),
		TEST(longer_texts_are_no_finding),
		cmocka_unit_test(wrong_fail_on_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
