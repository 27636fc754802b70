/* SPDX-License-Identifier: MIT
 *
 * R's version, from machine code and from files.
 */
#include <fcntl.h>
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

#include "r/version.h"

#define VERSION(major, minor, patch) (patch), (minor), (major), 0
#define TO_ESI 0xbe

static void code_with_one_version_tells_it(void **state)
{
	/* as R_Serialize: version, then 2.3.0; version, then 3.5.0 */
	static const unsigned char code[] = { 0x55, TO_ESI, VERSION(4, 2, 2), 0xe8, 1, 2, 3, 0, TO_ESI, VERSION(2, 3, 0),
		                              TO_ESI, VERSION(4, 2, 2), TO_ESI, VERSION(3, 5, 0), 0xc3 };

	assert_int_equal(lt_r_version_in_code(code, sizeof(code)), 40202);
}

static void code_knows_3_6_and_two_digits(void **state)
{
	static const unsigned char old[] = { TO_ESI, VERSION(3, 6, 3) }, new[] = { 0xba, VERSION(4, 12, 11) };

	assert_int_equal(lt_r_version_in_code(old, sizeof(old)), 30603);
	assert_int_equal(lt_r_version_in_code(new, sizeof(new)), 41211);
}

static void code_stored_to_the_stack_counts(void **state)
{
	static const unsigned char code[] = { 0xc7, 0x44, 0x24, 0x18, VERSION(4, 5, 1) };

	assert_int_equal(lt_r_version_in_code(code, sizeof(code)), 40501);
}

static void code_of_a_call_is_no_version(void **state)
{
	static const unsigned char code[] = { 0xe8, VERSION(4, 2, 2), 0xc3 };

	assert_int_equal(lt_r_version_in_code(code, sizeof(code)), 0);
}

static void code_with_two_versions_tells_nothing(void **state)
{
	static const unsigned char code[] = { TO_ESI, VERSION(4, 2, 2), TO_ESI, VERSION(4, 4, 0) };

	assert_int_equal(lt_r_version_in_code(code, sizeof(code)), 0);
	assert_int_equal(lt_r_version_in_code(code, 4), 0);
	assert_int_equal(lt_r_version_in_code(code, 0), 0);
}

static void text_tells_the_version_of_its_line(void **state)
{
	assert_int_equal(lt_r_version_in_text("Package: base\nVersion: 4.2.2\nPriority: base\n"), 40202);
	assert_int_equal(lt_r_version_in_text("Version:\t3.6.3"), 30603);
	assert_int_equal(lt_r_version_in_text("XVersion: 4.2.2\nRVersion: 1.1.1\n"), 0);
	assert_int_equal(lt_r_version_in_text("Version: 4.2\n"), 0);
	assert_int_equal(lt_r_version_in_text("Version: 4.2.x\n"), 0);
	assert_int_equal(lt_r_version_in_text("Version: 4.99999999999999999999.1\n"), 0);
	assert_int_equal(lt_r_version_in_text("Version:"), 0);
	assert_int_equal(lt_r_version_in_text(""), 0);
}

static char home[] = "/tmp/lt-r-version-XXXXXX";

static void make(const char *name, const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", home, name);
	if (!text) {
		assert_int_equal(mkdir(path, 0700), 0);
		return;
	}
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static const char *const made[] = { "library", "library/base", NULL };

static int create_home(void **state)
{
	if (!mkdtemp(home))
		return -1;
	for (int i = 0; made[i]; i++)
		make(made[i], NULL);
	make("library/base/DESCRIPTION", "Package: base\nVersion: 4.3.1\n");
	return 0;
}

static int remove_home(void **state)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/library/base/DESCRIPTION", home);
	unlink(path);
	for (int i = 1; i >= 0; i--) {
		snprintf(path, sizeof(path), "%s/%s", home, made[i]);
		rmdir(path);
	}
	return rmdir(home);
}

static void home_is_found_from_the_object(void **state)
{
	static const char *const objects[] = { "/lib/libR.so", "/lib/x86_64/libR.so", "/bin/exec/R", "/bin/exec/x86_64/R" };
	char path[256];

	for (size_t i = 0; i < sizeof(objects) / sizeof(*objects); i++) {
		snprintf(path, sizeof(path), "%s%s", home, objects[i]);
		assert_int_equal(lt_r_version_in_home(path, NULL), 40301);
	}
}

static void home_of_the_environment_is_the_last_resort(void **state)
{
	assert_int_equal(lt_r_version_in_home("/nonexistent/lib/libR.so", home), 40301);
	assert_int_equal(lt_r_version_in_home("/nonexistent/lib/libR.so", NULL), 0);
	assert_int_equal(lt_r_version_in_home("", ""), 0);
	assert_int_equal(lt_r_version_in_home("libR.so", NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(code_with_one_version_tells_it),
		cmocka_unit_test(code_knows_3_6_and_two_digits),
		cmocka_unit_test(code_stored_to_the_stack_counts),
		cmocka_unit_test(code_of_a_call_is_no_version),
		cmocka_unit_test(code_with_two_versions_tells_nothing),
		cmocka_unit_test(text_tells_the_version_of_its_line),
		cmocka_unit_test(home_is_found_from_the_object),
		cmocka_unit_test(home_of_the_environment_is_the_last_resort),
	};
	return cmocka_run_group_tests(tests, create_home, remove_home);
}
