/* SPDX-License-Identifier: MIT
 *
 * The session: founded, handed on in the environment, joined; and what an environment can do to it.
 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "base/options.h"
#include "process/process.h"
#include "tracer.h"

#define KEY "0123456789abcdef-0000000000001234-0000002a-00000003"

static const struct leaktrace_key none;
static struct lt_options defaults;
static char *program[] = { (char *)(uintptr_t)"program", NULL };

static int remember(void **state)
{
	defaults = lt_options;
	return 0;
}

static int set_up(void **state)
{
	lt_options = defaults;
	lt_session = (struct lt_session){ 0 };
	return 0;
}

static void init_with(const char *variable)
{
	char *envp[] = { (char *)(uintptr_t)"A=1", (char *)(uintptr_t)variable, NULL };

	lt_session_init(1, program, envp);
}

static void found(void)
{
	init_with(NULL);
}

/* What a program that we start finds in its environment. */
static const char *handed_on(void)
{
	static char *copy[8];
	char *envp[] = { (char *)(uintptr_t)"LD_PRELOAD=/lib/libleaktrace.so", NULL };
	unsigned n = lt_session_envp_size(envp);

	assert_true(n && n <= 8);
	lt_session_envp(envp, copy);
	for (char **e = copy; *e; e++)
		if (!strncmp(*e, "LEAKTRACE_SESSION=", 18))
			return *e;
	fail_msg("no session in the environment");
	return NULL;
}

static bool all_digits(const char *text, size_t n)
{
	return strspn(text, "0123456789") >= n;
}

static void founded_session_has_a_directory_of_its_name_here(void **state)
{
	char dir[PATH_MAX], cwd[PATH_MAX], pid[16];

	found();
	assert_true(all_digits(lt_session.id, 8) && lt_session.id[8] == '-');
	assert_true(all_digits(lt_session.id + 9, 6) && lt_session.id[15] == '-');
	snprintf(pid, sizeof pid, "%d", (int)getpid());
	assert_string_equal(lt_session.id + 16, pid);
	assert_non_null(getcwd(cwd, sizeof cwd));
	assert_true(snprintf(dir, sizeof dir, "%s/leaktrace.%s", strcmp(cwd, "/") ? cwd : "", lt_session.id) < PATH_MAX);
	assert_string_equal(lt_session.dir, dir);
	assert_memory_equal(&lt_session.parent, &none, sizeof none);
}

static void name_of_a_session_is_the_time_of_its_founding(void **state)
{
	char before[32], after[32];
	struct timespec now;

	/* The clock that is read there: time() may be some milliseconds behind it, and so in the second before. */
	clock_gettime(CLOCK_REALTIME, &now);
	strftime(before, sizeof before, "%Y%m%d-%H%M%S", gmtime(&now.tv_sec));
	found();
	clock_gettime(CLOCK_REALTIME, &now);
	strftime(after, sizeof after, "%Y%m%d-%H%M%S", gmtime(&now.tv_sec));
	assert_true(strncmp(before, lt_session.id, 15) <= 0);
	assert_true(strncmp(lt_session.id, after, 15) <= 0);
}

static void directory_of_the_options_is_made_absolute(void **state)
{
	char dir[PATH_MAX], cwd[PATH_MAX];

	assert_non_null(getcwd(cwd, sizeof cwd));
	strcpy(lt_options.dir, "some/dir");
	found();
	assert_true(snprintf(dir, sizeof dir, "%s/some/dir", strcmp(cwd, "/") ? cwd : "") < PATH_MAX);
	assert_string_equal(lt_session.dir, dir);
	strcpy(lt_options.dir, "/some/dir");
	found();
	assert_string_equal(lt_session.dir, "/some/dir");
}

static void scope_is_as_the_options_say_or_as_r_started_it(void **state)
{
	static char *const lines[][4] = {
		{ (char *)(uintptr_t)"/bin/sh", (char *)(uintptr_t)"/usr/lib/R/bin/R", (char *)(uintptr_t)"-f", NULL },
		{ (char *)(uintptr_t)"/bin/sh", (char *)(uintptr_t)"/usr/bin/Rscript", NULL },
		{ (char *)(uintptr_t)"/bin/sh", (char *)(uintptr_t)"R", NULL }, /* a word, no script */
		{ (char *)(uintptr_t)"/bin/sh", (char *)(uintptr_t)"/bin/Rscript.sh", NULL },
		{ (char *)(uintptr_t)"/bin/sh", NULL },
	};
	char *envp[] = { NULL };

	for (unsigned i = 0; i < 5; i++) {
		int argc = 0;

		while (lines[i][argc])
			argc++;
		for (unsigned scope = LT_SCOPE_AUTO; scope <= LT_SCOPE_R; scope++) {
			lt_options.scope = (enum lt_scope)scope;
			lt_session_init(argc, (char **)(uintptr_t)lines[i], envp);
			assert_int_equal(lt_session.only_r, scope == LT_SCOPE_R || (scope == LT_SCOPE_AUTO && i < 2));
		}
	}
}

static void session_handed_on_is_joined(void **state)
{
	char id[64], dir[PATH_MAX], *variable;

	for (unsigned only_r = 0; only_r < 2; only_r++) {
		lt_options.scope = only_r ? LT_SCOPE_R : LT_SCOPE_ALL;
		strcpy(lt_options.dir, "/a dir;with: odd=names");
		found();
		strcpy(id, lt_session.id);
		strcpy(dir, lt_session.dir);
		variable = strdup(handed_on());
		set_up(NULL); /* the options of a joined image don't matter */
		init_with(variable);
		free(variable);
		assert_string_equal(lt_session.id, id);
		assert_string_equal(lt_session.dir, dir);
		assert_int_equal(lt_session.only_r, only_r);
		assert_memory_equal(&lt_session.parent, &none, sizeof none);
	}
}

static void key_of_an_image_is_its_childrens_parent(void **state)
{
	static const struct leaktrace_key keys[] = {
		{ 0x0123456789abcdef, 0x1234, 42, 3 },
		{ UINT64_MAX, UINT64_MAX, UINT32_MAX, UINT32_MAX },
		{ 1, 0, 0, 0 },
	};

	found();
	for (unsigned i = 0; i < 3; i++) {
		lt_session_set_key(&keys[i]);
		char *variable = strdup(handed_on());
		init_with(variable);
		free(variable);
		assert_memory_equal(&lt_session.parent, &keys[i], sizeof keys[i]);
	}
}

static void written_session_is_read_field_by_field(void **state)
{
	static const struct leaktrace_key key = { 0x0123456789abcdef, 0x1234, 0x2a, 3 };

	init_with("LEAKTRACE_SESSION=20261123-090129-4711;r;" KEY ";/some/dir");
	assert_string_equal(lt_session.id, "20261123-090129-4711");
	assert_true(lt_session.only_r);
	assert_memory_equal(&lt_session.parent, &key, sizeof key);
	assert_string_equal(lt_session.dir, "/some/dir");
	assert_string_equal(handed_on(), "LEAKTRACE_SESSION=20261123-090129-4711;r;" KEY ";/some/dir");
}

static void damaged_session_founds_a_new_one(void **state)
{
	static const char *const values[] = {
		"", ";", "old", "old;", "old;a", "old;a;", "old;a;" KEY, "old;a;" KEY ";", "old;a;" KEY ";relative",
		";a;" KEY ";/dir", "old;x;" KEY ";/dir", "old;ar;" KEY ";/dir", "old;;" KEY ";/dir", "old;a" KEY ";/dir",
		"old;a;;/dir", "old;a;" KEY "0;/dir", "old;a;0" KEY ";/dir",
		"old;a;0123456789abcdeg-0000000000001234-0000002a-00000003;/dir",
		"old;a;0123456789ABCDEF-0000000000001234-0000002a-00000003;/dir",
		"old;a;0123456789abcdef:0000000000001234-0000002a-00000003;/dir",
		"old;a;0123456789abcdef-0000000000001234-0000002a000000003;/dir",
		"old;a;0123456789abcdef-0000000000001234-0000002a--0000003;/dir",
		"old;a;                                                    ;/dir",
		"old;a;0123456789abcdef-0000000000001234-0000002a-0000000",
	};
	char variable[256], dir[64];

	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		set_up(NULL);
		snprintf(variable, sizeof variable, "LEAKTRACE_SESSION=%s", values[i]);
		init_with(variable);
		assert_non_null(lt_session.id);
		assert_string_not_equal(lt_session.id, "old");
		assert_string_not_equal(lt_session.id, "");
		snprintf(dir, sizeof dir, "/leaktrace.%s", lt_session.id);
		assert_non_null(strstr(lt_session.dir, dir));
	}
}

static void parent_of_a_damaged_session_is_none(void **state)
{
	init_with("LEAKTRACE_SESSION=old;a;0123456789abcdef-0000000000001234-0000002a-0000000x;/dir");
	assert_memory_equal(&lt_session.parent, &none, sizeof none);
}

static void environment_of_a_program_gets_it_only_if_it_preloads_us(void **state)
{
	char *without[] = { (char *)(uintptr_t)"A=1", (char *)(uintptr_t)"LD_PRELOAD=/lib/libother.so", NULL };
	char *with[] = { (char *)(uintptr_t)"A=1", (char *)(uintptr_t)"LD_PRELOAD=/lib/libother.so:/lib/libleaktrace.so", NULL };
	char *copy[5];

	found();
	assert_int_equal(lt_session_envp_size(without), 0);
	assert_int_equal(lt_session_envp_size(NULL), 0);
	assert_true(lt_session_envp_size(with) >= 4);
	memset(copy, 0xff, sizeof copy);
	lt_session_envp(with, copy);
	assert_ptr_equal(copy[0], with[0]);
	assert_ptr_equal(copy[1], with[1]);
	assert_string_equal(copy[2], handed_on());
	assert_null(copy[3]);
	assert_int_equal((uintptr_t)copy[4], UINTPTR_MAX);
}

static void other_sessions_of_an_environment_are_replaced(void **state)
{
	char *envp[] = { (char *)(uintptr_t)"LEAKTRACE_SESSION=old", (char *)(uintptr_t)"LD_PRELOAD=libleaktrace.so",
		         (char *)(uintptr_t)"LEAKTRACE_SESSION=older", (char *)(uintptr_t)"LEAKTRACE_SESSIONS=3", NULL };
	char *copy[8];

	found();
	assert_true(lt_session_envp_size(envp) <= 8);
	lt_session_envp(envp, copy);
	assert_string_equal(copy[0], handed_on());
	assert_ptr_equal(copy[1], envp[1]);
	assert_ptr_equal(copy[2], envp[3]);
	assert_null(copy[3]);
	assert_int_equal(lt_session_envp_size(copy), 0); /* fine as it is */
}

static void put_into_environ(void *argument)
{
	char **before = environ;

	found();
	CHILD_CHECK(!getenv("LEAKTRACE_SESSION"));
	lt_session_environ();
	CHILD_CHECK(environ != before);
	CHILD_CHECK(getenv("LEAKTRACE_SESSION"));
	CHILD_CHECK(getenv("PATH"));
	lt_session_set_key(&(const struct leaktrace_key){ 1, 2, 3, 4 });
	CHILD_CHECK(strstr(getenv("LEAKTRACE_SESSION"), ";0000000000000001-0000000000000002-00000003-00000004;"));
	unsetenv("LEAKTRACE_SESSION"); /* the program's right */
	lt_session_environ();
	CHILD_CHECK(!getenv("LEAKTRACE_SESSION"));
}

static void environ_gets_the_session_once(void **state)
{
	unsetenv("LEAKTRACE_SESSION");
	setenv("PATH", "/bin", 0);
	assert_int_equal(in_child(put_into_environ, NULL), 0);
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(founded_session_has_a_directory_of_its_name_here),
		TEST(name_of_a_session_is_the_time_of_its_founding),
		TEST(directory_of_the_options_is_made_absolute),
		TEST(scope_is_as_the_options_say_or_as_r_started_it),
		TEST(session_handed_on_is_joined),
		TEST(key_of_an_image_is_its_childrens_parent),
		TEST(written_session_is_read_field_by_field),
		TEST(damaged_session_founds_a_new_one),
		TEST(parent_of_a_damaged_session_is_none),
		TEST(environment_of_a_program_gets_it_only_if_it_preloads_us),
		TEST(other_sessions_of_an_environment_are_replaced),
		TEST(environ_gets_the_session_once),
	};

	return cmocka_run_group_tests(tests, remember, NULL);
}
