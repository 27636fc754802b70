/* SPDX-License-Identifier: MIT
 *
 * Who this process is, compared with what /proc says by other ways.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/utsname.h>

#include <cmocka.h>

#include "process/process.h"
#include "tracer.h"

static int read_it(void **state)
{
	lt_identity_read();
	return 0;
}

/* Field 22 of /proc/self/stat, counted in words behind the last parenthesis. */
static uint64_t start_time(void)
{
	char stat[1024] = "", *word;
	FILE *file = fopen("/proc/self/stat", "r");

	if (!file || !fread(stat, 1, sizeof stat - 1, file))
		abort();
	fclose(file);
	word = strtok(strrchr(stat, ')') + 1, " ");
	for (int field = 3; word && field < 22; field++)
		word = strtok(NULL, " ");
	return word ? strtoull(word, NULL, 10) : 0;
}

static void pid_and_start_time_are_the_kernels(void **state)
{
	assert_int_equal(lt_identity.key.pid, getpid());
	assert_int_not_equal(lt_identity.key.start, 0);
	assert_int_equal(lt_identity.key.start, start_time());
	assert_int_equal(lt_identity.key.image, 0);
}

static void name_with_spaces_and_parentheses_does_not_shift_the_fields(void **state)
{
	char before[16];
	uint64_t start = lt_identity.key.start;

	prctl(PR_GET_NAME, before);
	prctl(PR_SET_NAME, "a) R 1 (b) 2");
	lt_identity_read();
	prctl(PR_SET_NAME, before);
	assert_int_equal(lt_identity.key.start, start);
}

static void host_boot_and_name_space_are_the_systems(void **state)
{
	struct utsname names;
	struct stat status;
	char boot_id[64] = "";
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r");

	assert_int_equal(uname(&names), 0);
	assert_string_equal(lt_identity.host, names.nodename);
	if (file) {
		assert_int_equal(fscanf(file, "%63s", boot_id), 1);
		fclose(file);
	}
	assert_string_equal(lt_identity.boot_id, boot_id);
	assert_int_equal(stat("/proc/self/ns/pid", &status), 0);
	assert_int_equal(lt_identity.pid_namespace, status.st_ino);
}

/* As the tool computes it: FNV-1a over host, NUL, boot id, NUL, inode in decimal. */
static void machine_is_the_hash_of_host_boot_and_name_space(void **state)
{
	char text[512];
	int length = snprintf(text, sizeof text, "%s%c%s%c%llu", lt_identity.host, 0, lt_identity.boot_id, 0,
	                      (unsigned long long)lt_identity.pid_namespace);
	uint64_t hash = 14695981039346656037u;

	for (int i = 0; i < length; i++) {
		hash ^= (unsigned char)text[i];
		hash *= 1099511628211u;
	}
	assert_true(lt_identity.key.machine == hash);
}

static void executable_and_arguments_are_proc_s(void **state)
{
	char exe[4096], cmdline[65536];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
	FILE *file = fopen("/proc/self/cmdline", "r");

	assert_true(n > 0);
	exe[n] = '\0';
	assert_string_equal(lt_identity.exe, exe);
	assert_non_null(file);
	size_t size = fread(cmdline, 1, sizeof cmdline, file);
	fclose(file);
	assert_int_equal(lt_identity.cmdline_size, size);
	assert_memory_equal(lt_identity.cmdline, cmdline, size);
	assert_int_equal(lt_identity.cmdline[size - 1], 0);
}

static void become_a_child(void *argument)
{
	const struct lt_identity before = lt_identity;

	lt_identity.key.image = 3;
	lt_identity_fork_child();
	CHILD_CHECK(lt_identity.key.pid == (uint32_t)getpid());
	CHILD_CHECK(lt_identity.key.pid != before.key.pid);
	CHILD_CHECK(lt_identity.key.start == start_time());
	CHILD_CHECK(lt_identity.key.image == 0);
	CHILD_CHECK(lt_identity.key.machine == before.key.machine);
	CHILD_CHECK(lt_identity.exe == before.exe);
}

static void fork_child_has_a_key_of_its_own_on_the_same_machine(void **state)
{
	assert_int_equal(in_child(become_a_child, NULL), 0);
}

#define TEST(name) cmocka_unit_test_setup(name, read_it)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(pid_and_start_time_are_the_kernels),
		TEST(name_with_spaces_and_parentheses_does_not_shift_the_fields),
		TEST(host_boot_and_name_space_are_the_systems),
		TEST(machine_is_the_hash_of_host_boot_and_name_space),
		TEST(executable_and_arguments_are_proc_s),
		TEST(fork_child_has_a_key_of_its_own_on_the_same_machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
