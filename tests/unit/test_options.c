/* SPDX-License-Identifier: MIT
 *
 * LEAKTRACE_OPTIONS: what each key takes, and that nothing in the text can do harm.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/options.h"

static struct lt_options defaults;
static unsigned complaints;
static char last_complaint[8192];

static void complain(const char *what, const char *which)
{
	complaints++;
	strncpy(last_complaint, which, sizeof last_complaint - 1);
}

static int remember(void **state)
{
	defaults = lt_options;
	return 0;
}

static int set_up(void **state)
{
	lt_options = defaults;
	complaints = 0;
	last_complaint[0] = '\0';
	return 0;
}

static void parse(const char *text)
{
	lt_options_parse(text, complain);
}

static void nothing_given_leaves_the_defaults(void **state)
{
	parse(NULL);
	parse("");
	parse(":::");
	assert_int_equal(complaints, 0);
	assert_memory_equal(&lt_options, &defaults, sizeof defaults);
	assert_string_equal(lt_options.dir, "");
	assert_string_equal(lt_options.log, "");
	assert_int_equal(lt_options.scope, LT_SCOPE_AUTO);
	assert_int_equal(lt_options.sample, 0);
	assert_int_equal(lt_options.depth, 256);
	assert_int_equal(lt_options.max_size, 256 << 20);
	assert_true(lt_options.verdict);
	assert_true(lt_options.active);
	assert_true(lt_options.r_stacks);
	assert_true(lt_options.signals);
}

static void each_key_is_taken(void **state)
{
	parse("dir=/d:log=/l:scope=r:sample=512k:depth=64:max_size=1m:verdict=off:active=0:r_stacks=0:signals=0");
	assert_int_equal(complaints, 0);
	assert_string_equal(lt_options.dir, "/d");
	assert_string_equal(lt_options.log, "/l");
	assert_int_equal(lt_options.scope, LT_SCOPE_R);
	assert_int_equal(lt_options.sample, 512 << 10);
	assert_int_equal(lt_options.depth, 64);
	assert_int_equal(lt_options.max_size, 1 << 20);
	assert_false(lt_options.verdict);
	assert_false(lt_options.active);
	assert_false(lt_options.r_stacks);
	assert_false(lt_options.signals);
}

static void later_value_of_a_key_wins(void **state)
{
	parse("scope=r:scope=all:verdict=off:verdict=exit:active=0:active=1");
	assert_int_equal(lt_options.scope, LT_SCOPE_ALL);
	assert_true(lt_options.verdict);
	assert_true(lt_options.active);
}

static void sizes_take_a_unit(void **state)
{
	static const struct {
		const char *text;
		uint64_t size;
	} cases[] = {
		{ "sample=0", 0 },
		{ "sample=17", 17 },
		{ "sample=3K", 3 << 10 },
		{ "sample=5m", 5 << 20 },
		{ "sample=2G", UINT64_C(2) << 30 },
		{ "sample=1t", UINT64_C(1) << 40 },
		{ "sample=1099511627776", UINT64_C(1) << 40 },
		{ "sample=1024g", UINT64_C(1) << 40 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		parse(cases[i].text);
		assert_true(lt_options.sample == cases[i].size);
	}
	assert_int_equal(complaints, 0);
}

static void bad_value_is_told_once_and_changes_nothing(void **state)
{
	static const char *const texts[] = {
		"dir=",           "log=",          "scope=R",           "scope=",          "sample=",
		"sample=k",       "sample=-1",     "sample=1kb",        "sample=1.5m",     "sample=18446744073709551616",
		"sample=16777216t", "sample=1025g", "sample=1099511627777",
		"depth=0",        "depth=1025",    "depth=4294967297",  "depth=abc",
		"max_size=255k",  "max_size=17g",  "max_size=",         "verdict=1",       "verdict=exit ",
		"active=2",       "active=",       "active=yes",        "signals=10",
	};

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		complaints = 0;
		parse(texts[i]);
		assert_int_equal(complaints, 1);
		assert_string_equal(last_complaint, texts[i]);
		assert_memory_equal(&lt_options, &defaults, sizeof defaults);
	}
}

static void bounds_themselves_are_taken(void **state)
{
	parse("depth=1:max_size=256k");
	assert_int_equal(lt_options.depth, 1);
	assert_int_equal(lt_options.max_size, 256 << 10);
	parse("depth=1024:max_size=16g");
	assert_int_equal(lt_options.depth, LT_DEPTH_MAX);
	assert_true(lt_options.max_size == UINT64_C(16) << 30);
	assert_int_equal(complaints, 0);
}

static void unknown_key_is_told_and_does_not_hide_the_next(void **state)
{
	parse("colour=red:depth=7");
	assert_int_equal(complaints, 1);
	assert_string_equal(last_complaint, "colour=red");
	assert_int_equal(lt_options.depth, 7);
}

static void key_without_a_value_is_told(void **state)
{
	parse("active:=1:depth=7");
	assert_int_equal(complaints, 2);
	assert_int_equal(lt_options.depth, 7);
}

static void value_ends_at_a_colon_only(void **state)
{
	parse("dir=/a b,c=d:depth=7");
	assert_int_equal(complaints, 0);
	assert_string_equal(lt_options.dir, "/a b,c=d");
	assert_int_equal(lt_options.depth, 7);
}

static void too_long_a_path_is_told(void **state)
{
	char text[8000];
	size_t room = sizeof lt_options.dir;

	for (size_t length = room - 1; length <= room; length++) {
		set_up(NULL);
		strcpy(text, "dir=");
		memset(text + 4, 'x', length);
		strcpy(text + 4 + length, ":depth=7");
		parse(text);
		assert_int_equal(complaints, length == room);
		assert_int_equal(strlen(lt_options.dir), length == room ? 0 : length);
		assert_int_equal(lt_options.depth, 7);
	}
}

static void endless_option_is_told_and_does_not_hide_the_next(void **state)
{
	static char text[100000];

	memset(text, 'x', sizeof text - 20);
	strcpy(text + sizeof text - 20, ":depth=7");
	parse(text);
	assert_int_equal(complaints, 1);
	assert_int_equal(lt_options.depth, 7);
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nothing_given_leaves_the_defaults),
		TEST(each_key_is_taken),
		TEST(later_value_of_a_key_wins),
		TEST(sizes_take_a_unit),
		TEST(bad_value_is_told_once_and_changes_nothing),
		TEST(bounds_themselves_are_taken),
		TEST(unknown_key_is_told_and_does_not_hide_the_next),
		TEST(key_without_a_value_is_told),
		TEST(value_ends_at_a_colon_only),
		TEST(too_long_a_path_is_told),
		TEST(endless_option_is_told_and_does_not_hide_the_next),
	};

	return cmocka_run_group_tests(tests, remember, NULL);
}
