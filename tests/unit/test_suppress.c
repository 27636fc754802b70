/* SPDX-License-Identifier: MIT
 *
 * Suppressions: patterns as LeakSanitizer takes them, files and their errors, and which frames of a stack a rule sees.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "suppress.h"

static void patterns_match_as_leak_sanitizer_s_do(void **state)
{
	static const struct {
		const char *pattern, *text;
		bool match;
	} table[] = {
		{"foo", "foo", true},          {"foo", "a_foo_b", true},      {"foo", "fo", false},         {"foo", "Foo", false},
		{"foo", "", false},            {"^foo", "foobar", true},      {"^foo", "a_foo", false},     {"foo$", "a_foo", true},
		{"foo$", "foobar", false},     {"^foo$", "foo", true},        {"^foo$", "foo2", false},     {"^foo$", "a_foo", false},
		{"f*o", "foo", true},          {"f*o", "fxxo", true},         {"f*o", "ofxx", false},       {"a*b*c", "xaxbxcx", true},
		{"a*b*c", "acb", false},       {"*", "x", true},              {"*", "", false},             {"**", "x", true},
		{"^*foo", "a_foo", true},      {"^f*$", "foobar", true},      {"foo*$", "foobar", true},    {"foo*$", "foo", true},
		{"^a*b$", "aXXb", true},       {"^a*b$", "aXXbc", false},     {"^", "x", true},             {"$", "x", false},
		{"*$", "x", true},             {"a^b", "a^b", true},          {"a^b", "ab", false},         {"a.c", "abc", false},
		{"operator new[]", "operator new[](unsigned long)", true},    {"/lib*/libfoo.so", "/usr/lib64/libfoo.so.1", true},
		{"std::*map<*>::operator[]", "std::unordered_map<int, int>::operator[](int)", true},
		/* The first occurrence of a piece is the one that counts, and nothing behind `$` does. */
		{"a$", "aa", false},           {"^a*b$", "abb", false},       {"foo$bar", "foo", true},
	};

	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		if (lt_suppress_pattern(table[i].pattern, table[i].text) != table[i].match)
			fail_msg("\"%s\" on \"%s\"", table[i].pattern, table[i].text);
	assert_false(lt_suppress_pattern("foo", NULL));
}

struct fixture {
	char path[64];
	struct lt_suppressions list;
	struct lt_notes notes;
	struct lt_intern *intern;
	struct lt_symbols *symbols;
	struct lt_suppress_cache *cache;
};

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof *fixture);
	int fd;

	*state = fixture;
	if (!fixture)
		return -1;
	strcpy(fixture->path, "/tmp/leaktrace-suppress.XXXXXX");
	fd = mkstemp(fixture->path);
	if (fd < 0)
		return -1;
	close(fd);
	fixture->intern = lt_intern_new();
	fixture->symbols = lt_symbols_new();
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	unlink(fixture->path);
	lt_suppress_cache_free(fixture->cache);
	lt_suppressions_free(&fixture->list);
	lt_notes_free(&fixture->notes);
	lt_symbols_free(fixture->symbols);
	lt_intern_free(fixture->intern);
	free(fixture);
	return 0;
}

static int load_bytes(struct fixture *fixture, const char *text, size_t length)
{
	FILE *file = fopen(fixture->path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, length, file), length);
	fclose(file);
	return lt_suppressions_load(&fixture->list, fixture->path, &fixture->notes);
}

static int load(struct fixture *fixture, const char *text)
{
	return load_bytes(fixture, text, strlen(text));
}

static void file_gives_rules_comments_and_blanks_none(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(load(fixture, "# all of them known\n\n  leak:^foo bar$ \t\r\n\t# indented\nr:pkg::f\nleak:a#b"), 0);
	assert_int_equal(fixture->list.count, 3);
	assert_string_equal(fixture->list.rules[0].pattern, "^foo bar$");
	assert_int_equal(fixture->list.rules[0].line, 3);
	assert_int_equal(fixture->list.rules[1].type, LT_RULE_R);
	assert_string_equal(fixture->list.rules[2].pattern, "a#b");
	assert_int_equal(fixture->list.rules[2].line, 6);
	assert_int_equal(fixture->notes.count, 0);
}

static void empty_file_is_fine(void **state)
{
	assert_int_equal(load(*state, ""), 0);
}

static void bad_line_is_named_and_takes_the_file_s_rules_along(void **state)
{
	static const struct {
		const char *text;
		size_t length;
		unsigned line;
	} table[] = {
		{"leak:a\nfoo\n", 0, 2},        {"race:a\n", 0, 1},        {"leak\n", 0, 1},           {"\n\nleak:\n", 0, 3},
		{"leak: \n", 0, 1},             {"r:\n", 0, 1},            {"LEAK:a\n", 0, 1},         {"leak :a", 0, 1},
		{"leak:a\nleak:b\nx", 0, 3},    {"leak:a\0b\n", 9, 1},     {"\177ELF\2\1\1\0\0", 9, 1}, {" :a", 0, 1},
	};
	struct fixture *fixture = *state;

	assert_int_equal(load(fixture, "leak:kept\n"), 0);
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		char wanted[128];

		lt_notes_free(&fixture->notes);
		assert_int_equal(load_bytes(fixture, table[i].text, table[i].length ? table[i].length : strlen(table[i].text)), -EINVAL);
		snprintf(wanted, sizeof wanted, "%s:%u: ", fixture->path, table[i].line);
		assert_int_equal(fixture->notes.count, 1);
		assert_memory_equal(fixture->notes.texts[0], wanted, strlen(wanted));
		assert_int_equal(fixture->list.count, 1);
	}
}

static void unreadable_file_is_named(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(lt_suppressions_load(&fixture->list, "/no/such/file", &fixture->notes), -ENOENT);
	assert_string_equal(fixture->notes.texts[0], "/no/such/file: No such file or directory");
	assert_int_equal(lt_suppressions_load(&fixture->list, "/", &fixture->notes), -EISDIR);
	assert_int_equal(lt_suppressions_load(&fixture->list, "/dev/zero", &fixture->notes), -EFBIG);
	assert_int_equal(fixture->notes.count, 3);
	assert_int_equal(fixture->list.count, 0);
}

/* A stack of modules, innermost first. There are no such files, so no frame has a name. */
static uint32_t stack_of(struct fixture *fixture, const char *const *paths)
{
	uint32_t node = 0;
	size_t count = 0;

	while (paths[count])
		count++;
	while (count--) {
		uint32_t path = lt_intern_string(fixture->intern, paths[count], (uint32_t)strlen(paths[count]));

		node = lt_intern_frame(fixture->intern, node, lt_intern_module(fixture->intern, path, 0, NULL, 0), 0x100 + count);
	}
	return node;
}
#define STACK(...) stack_of(fixture, (const char *const[]){__VA_ARGS__, NULL})

static uint32_t call_in(struct fixture *fixture, uint32_t parent, const char *namespace, const char *call)
{
	struct lt_rnode node = {.parent = parent};

	node.call = lt_intern_string(fixture->intern, call, (uint32_t)strlen(call));
	node.namespace = *namespace ? lt_intern_string(fixture->intern, namespace, (uint32_t)strlen(namespace)) : 0;
	return lt_intern_rframe(fixture->intern, &node);
}

static const struct lt_suppression *match(struct fixture *fixture, uint32_t native, uint32_t r, enum lt_kind kind, bool builtin)
{
	lt_suppress_cache_free(fixture->cache);
	fixture->cache = lt_suppress_cache_new(&fixture->list, fixture->symbols, fixture->intern);
	/* Twice: the second time from what was kept. */
	lt_suppress_cache_match(fixture->cache, native, r, kind, builtin);
	return lt_suppress_cache_match(fixture->cache, native, r, kind, builtin);
}

static void any_frame_s_module_is_looked_at_the_innermost_first(void **state)
{
	struct fixture *fixture = *state;
	uint32_t stack = STACK("/opt/libinner.so", "/opt/libouter.so", "/opt/program");

	assert_int_equal(load(fixture, "leak:/program$\nleak:libouter\nleak:libother\n"), 0);
	assert_ptr_equal(match(fixture, stack, 0, LT_KIND_DEFINITE, true), &fixture->list.rules[1]);
	assert_null(match(fixture, STACK("/opt/libinner.so"), 0, LT_KIND_DEFINITE, true));
	assert_null(match(fixture, 0, 0, LT_KIND_DEFINITE, true));
}

static void only_leaks_are_suppressed(void **state)
{
	struct fixture *fixture = *state;
	uint32_t stack = STACK("/opt/libinner.so");

	assert_int_equal(load(fixture, "leak:libinner\n"), 0);
	assert_non_null(match(fixture, stack, 0, LT_KIND_DEFINITE, true));
	assert_non_null(match(fixture, stack, 0, LT_KIND_POSSIBLE, true));
	assert_non_null(match(fixture, stack, 0, LT_KIND_INDIRECT, true));
	assert_non_null(match(fixture, stack, 0, LT_KIND_UNKNOWN, true));
	assert_null(match(fixture, stack, 0, LT_KIND_REACHABLE, true));
}

static void r_rules_see_r_calls_and_leak_rules_do_not(void **state)
{
	struct fixture *fixture = *state;
	uint32_t stack = STACK("/opt/libinner.so"), outer = call_in(fixture, 0, "", "main_loop");
	uint32_t r = call_in(fixture, outer, "pkg", "f");

	assert_int_equal(load(fixture, "leak:pkg::f\nr:libinner\nr:^f$\nr:^main_loop$\nr:^pkg::f$\n"), 0);
	assert_ptr_equal(match(fixture, stack, r, LT_KIND_DEFINITE, true), &fixture->list.rules[4]);
	assert_ptr_equal(match(fixture, stack, outer, LT_KIND_DEFINITE, true), &fixture->list.rules[3]);
	assert_null(match(fixture, stack, 0, LT_KIND_DEFINITE, true));
}

static void builtin_matches_only_when_nobody_else_was_called(void **state)
{
	struct fixture *fixture = *state;
	const char *loader = "/lib64/ld-linux-x86-64.so.2", *cxx = "/usr/lib/libstdc++.so.6", *libc = "/usr/lib/libc.so.6";

	lt_suppressions_builtin(&fixture->list);
	assert_non_null(match(fixture, STACK(cxx, loader), 0, LT_KIND_UNKNOWN, true));
	assert_non_null(match(fixture, STACK(libc, cxx, loader, loader), 0, LT_KIND_UNKNOWN, true));
	assert_null(match(fixture, STACK("/opt/user.so", cxx, loader), 0, LT_KIND_UNKNOWN, true));
	assert_null(match(fixture, STACK(cxx, "/opt/user.so", loader), 0, LT_KIND_UNKNOWN, true));
	assert_null(match(fixture, STACK(cxx), 0, LT_KIND_UNKNOWN, true));
	assert_null(match(fixture, STACK("/opt/libstdc++.so.6/user.so", loader), 0, LT_KIND_UNKNOWN, true));
	assert_null(match(fixture, STACK(cxx, loader), 0, LT_KIND_DEFINITE, true)); /* not of the entry's kinds */
	assert_null(match(fixture, STACK(cxx, loader), 0, LT_KIND_UNKNOWN, false));
}

static void rules_of_the_user_come_before_built_in_ones(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(load(fixture, "leak:^/lib64/ld-linux\n"), 0);
	lt_suppressions_builtin(&fixture->list);
	assert_ptr_equal(match(fixture, STACK("/usr/lib/libstdc++.so.6", "/lib64/ld-linux-x86-64.so.2"), 0, LT_KIND_UNKNOWN, true),
			 &fixture->list.rules[0]);
}

static void builtin_entries_are_tied_to_a_module_and_a_function(void **state)
{
	for (size_t i = 0; i < lt_builtin_count; i++) {
		const struct lt_builtin *entry = &lt_builtins[i];

		assert_int_equal(entry->module[0], '^');
		assert_true(strlen(entry->module) > 5 || !strcmp(entry->module, "^R$"));
		assert_true(entry->function || entry->caller);
		assert_true(!entry->function || strlen(entry->function) > 3);
		assert_true(entry->kinds);
		assert_int_equal(entry->kinds & ~LT_KINDS_LEAKS, 0);
	}
}

static bool is_listed(const char *module, const struct lt_builtin *like)
{
	for (size_t i = 0; i < lt_builtin_count; i++)
		if (!strcmp(lt_builtins[i].module, module) && like->function && lt_builtins[i].function &&
		    !strcmp(lt_builtins[i].function, like->function) && lt_builtins[i].kinds == like->kinds)
			return true;
	return false;
}

static void what_lib_r_keeps_is_kept_by_an_executable_with_r_too(void **state)
{
	size_t entries = 0;

	for (size_t i = 0; i < lt_builtin_count; i++)
		if (!strcmp(lt_builtins[i].module, "^libR.so")) {
			assert_true(is_listed("^R$", &lt_builtins[i]));
			entries++;
		}
	assert_true(entries > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(patterns_match_as_leak_sanitizer_s_do),
		cmocka_unit_test_setup_teardown(file_gives_rules_comments_and_blanks_none, set_up, tear_down),
		cmocka_unit_test_setup_teardown(empty_file_is_fine, set_up, tear_down),
		cmocka_unit_test_setup_teardown(bad_line_is_named_and_takes_the_file_s_rules_along, set_up, tear_down),
		cmocka_unit_test_setup_teardown(unreadable_file_is_named, set_up, tear_down),
		cmocka_unit_test_setup_teardown(any_frame_s_module_is_looked_at_the_innermost_first, set_up, tear_down),
		cmocka_unit_test_setup_teardown(only_leaks_are_suppressed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(r_rules_see_r_calls_and_leak_rules_do_not, set_up, tear_down),
		cmocka_unit_test_setup_teardown(builtin_matches_only_when_nobody_else_was_called, set_up, tear_down),
		cmocka_unit_test_setup_teardown(rules_of_the_user_come_before_built_in_ones, set_up, tear_down),
		cmocka_unit_test(builtin_entries_are_tied_to_a_module_and_a_function),
		cmocka_unit_test(what_lib_r_keeps_is_kept_by_an_executable_with_r_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
