/* SPDX-License-Identifier: MIT
 *
 * Text without stdio: bounded appending, numbers, small files.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/text.h"
#include "dump_builder.h"

static void added_parts_follow_each_other(void **state)
{
	char buffer[64];
	struct lt_text text = LT_TEXT(buffer);

	lt_text_add(&text, "one");
	lt_text_add(&text, "");
	lt_text_add_bytes(&text, "two three", 3);
	assert_string_equal(buffer, "onetwo");
	assert_int_equal(text.length, 6);
	assert_false(text.cut);
}

static void text_that_just_fits_is_whole(void **state)
{
	char buffer[6];
	struct lt_text text = LT_TEXT(buffer);

	lt_text_add(&text, "12345");
	assert_string_equal(buffer, "12345");
	assert_false(text.cut);
}

static void text_that_does_not_fit_is_cut_and_ended(void **state)
{
	char buffer[8];
	struct lt_text text = { .bytes = buffer, .size = 5 };

	memset(buffer, '!', sizeof buffer);
	lt_text_add(&text, "abc");
	lt_text_add(&text, "def");
	assert_true(text.cut);
	assert_string_equal(buffer, "abcd");
	assert_int_equal(text.length, 4);
	lt_text_add(&text, "more");
	assert_string_equal(buffer, "abcd");
	assert_memory_equal(buffer + 5, "!!!", 3);
	text.length = 0;
	text.cut = false;
	lt_text_add(&text, "12345"); /* one too many */
	assert_true(text.cut);
	assert_string_equal(buffer, "1234");
	assert_memory_equal(buffer + 5, "!!!", 3);
}

static void decimals_have_no_padding(void **state)
{
	char buffer[64];
	struct lt_text text = LT_TEXT(buffer);

	lt_text_add_decimal(&text, 0);
	lt_text_add(&text, " ");
	lt_text_add_decimal(&text, 1000);
	lt_text_add(&text, " ");
	lt_text_add_decimal(&text, UINT64_MAX);
	assert_string_equal(buffer, "0 1000 18446744073709551615");
}

static void hex_has_at_least_the_digits_asked_for(void **state)
{
	char buffer[128];
	struct lt_text text = LT_TEXT(buffer);

	lt_text_add_hex(&text, 0xab, 4);
	lt_text_add(&text, " ");
	lt_text_add_hex(&text, 0xabcdef, 4);
	lt_text_add(&text, " ");
	lt_text_add_hex(&text, 0, 1);
	lt_text_add(&text, " ");
	lt_text_add_hex(&text, UINT64_MAX, 1000);
	assert_string_equal(buffer, "00ab abcdef 0 ffffffffffffffff");
}

static void parsed_number_ends_at_what_is_no_digit(void **state)
{
	const char *text = "0123abc-", *cursor = text;
	uint64_t value = 7;

	assert_int_equal(lt_text_parse_decimal(&cursor, &value), 0);
	assert_int_equal(value, 123);
	assert_ptr_equal(cursor, text + 4);
	cursor = text;
	assert_int_equal(lt_text_parse_hex(&cursor, &value), 0);
	assert_int_equal(value, 0x123abc);
	assert_ptr_equal(cursor, text + 7);
}

static void what_is_no_number_is_told_and_changes_nothing(void **state)
{
	static const char *const texts[] = { "", "x1", "-1", "+1", " 1", ":" };

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		const char *cursor = texts[i];
		uint64_t value = 7;

		assert_int_equal(lt_text_parse_decimal(&cursor, &value), -EINVAL);
		assert_int_equal(lt_text_parse_hex(&cursor, &value), -EINVAL);
		assert_ptr_equal(cursor, texts[i]);
		assert_int_equal(value, 7);
	}
}

static void largest_number_parses_and_the_next_is_out_of_range(void **state)
{
	static const struct {
		int (*parse)(const char **cursor, uint64_t *value);
		const char *largest, *next;
	} cases[] = {
		{ lt_text_parse_decimal, "18446744073709551615", "18446744073709551616" },
		{ lt_text_parse_decimal, "00018446744073709551615", "99999999999999999999999" },
		{ lt_text_parse_hex, "ffffffffffffffff", "10000000000000000" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *cursor = cases[i].largest;
		uint64_t value = 0;

		assert_int_equal(cases[i].parse(&cursor, &value), 0);
		assert_true(value == UINT64_MAX);
		assert_int_equal(*cursor, 0);
		value = 7;
		cursor = cases[i].next;
		assert_int_equal(cases[i].parse(&cursor, &value), -ERANGE);
		assert_ptr_equal(cursor, cases[i].next);
		assert_int_equal(value, 7);
	}
}

struct file {
	char *directory, *path;
};

static int set_up_file(void **state)
{
	struct file *f = calloc(1, sizeof *f);

	f->directory = db_directory();
	f->path = db_path(f->directory, "file");
	*state = f;
	return 0;
}

static int tear_down_file(void **state)
{
	struct file *f = *state;

	free(f->path);
	db_remove(f->directory);
	free(f);
	return 0;
}

static void file_is_read_whole_and_ended(void **state)
{
	struct file *f = *state;
	char buffer[32];

	memset(buffer, '!', sizeof buffer);
	db_spit(f->path, "con\0tents", 9);
	assert_int_equal(lt_text_read_file(f->path, buffer, sizeof buffer), 9);
	assert_memory_equal(buffer, "con\0tents\0!", 11);
}

static void file_that_is_too_long_fills_the_buffer(void **state)
{
	struct file *f = *state;
	char buffer[6] = "!!!!!";

	db_spit(f->path, "contents", 8);
	assert_int_equal(lt_text_read_file(f->path, buffer, 5), 4);
	assert_memory_equal(buffer, "cont\0", 6);
}

static void file_that_is_not_there_is_an_error(void **state)
{
	struct file *f = *state;
	char buffer[8];

	assert_int_equal(lt_text_read_file(f->path, buffer, sizeof buffer), -ENOENT);
	assert_int_equal(lt_text_read_file(f->directory, buffer, sizeof buffer), -EISDIR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(added_parts_follow_each_other),
		cmocka_unit_test(text_that_just_fits_is_whole),
		cmocka_unit_test(text_that_does_not_fit_is_cut_and_ended),
		cmocka_unit_test(decimals_have_no_padding),
		cmocka_unit_test(hex_has_at_least_the_digits_asked_for),
		cmocka_unit_test(parsed_number_ends_at_what_is_no_digit),
		cmocka_unit_test(what_is_no_number_is_told_and_changes_nothing),
		cmocka_unit_test(largest_number_parses_and_the_next_is_out_of_range),
		cmocka_unit_test_setup_teardown(file_is_read_whole_and_ended, set_up_file, tear_down_file),
		cmocka_unit_test_setup_teardown(file_that_is_too_long_fills_the_buffer, set_up_file, tear_down_file),
		cmocka_unit_test_setup_teardown(file_that_is_not_there_is_an_error, set_up_file, tear_down_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
