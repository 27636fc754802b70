/* SPDX-License-Identifier: MIT
 *
 * base/sandbox.h: what filters forbid. No filter is installed here; prepare() and finish() are called as if one had been.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/sandbox.h"
#include "base/sys.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/wait.h>

#define LOAD(at) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at)
#define NUMBER offsetof(struct seccomp_data, nr)
#define ARGUMENT(i) (offsetof(struct seccomp_data, args) + 8 * (i))
#define IF(op, value, yes, no) BPF_JUMP(BPF_JMP | op | BPF_K, value, yes, no)
#define RETURN(what) BPF_STMT(BPF_RET | BPF_K, what)
#define COUNT(array) (sizeof(array) / sizeof *(array))

static bool forbids(long n, long a)
{
	return lt_sandbox_forbids(n, a, 2, 3, 4, 5, 6);
}

static void add(struct sock_filter *filter, size_t count, bool installed)
{
	struct sock_fprog program = { (unsigned short)count, filter };
	assert_true(lt_sandbox_prepare(&program));
	lt_sandbox_finish(installed);
}

/* Each test is in a child, for a filter stays. */
static void in_child(void (*test)(void))
{
	int status;
	pid_t pid = fork();
	if (!pid) {
		test();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}
#define IN_CHILD(name)                        \
	static void name(void **state)        \
	{                                     \
		(void)state;                  \
		in_child(name##_here);        \
	}
#define CHECK(condition)                      \
	do {                                  \
		if (!(condition))             \
			_exit(__LINE__ % 255 + 1); \
	} while (0)

static void without_a_filter_nothing_is_forbidden_here(void)
{
	CHECK(!lt_sandboxed && lt_sys_getppid() > 0);
}
IN_CHILD(without_a_filter_nothing_is_forbidden)

static void only_allow_and_log_are_no_refusal_here(void)
{
	struct sock_filter filter[] = {
		LOAD(NUMBER),
		IF(BPF_JEQ, 1001, 0, 1), RETURN(SECCOMP_RET_ALLOW),
		IF(BPF_JEQ, 1002, 0, 1), RETURN(SECCOMP_RET_LOG),
		IF(BPF_JEQ, 1003, 0, 1), RETURN(SECCOMP_RET_ERRNO | 38),
		IF(BPF_JEQ, 1004, 0, 1), RETURN(SECCOMP_RET_TRAP),
		IF(BPF_JEQ, 1005, 0, 1), RETURN(SECCOMP_RET_TRACE),
		IF(BPF_JEQ, 1006, 0, 1), RETURN(SECCOMP_RET_USER_NOTIF),
		IF(BPF_JEQ, 1007, 0, 1), RETURN(SECCOMP_RET_KILL_THREAD),
		RETURN(SECCOMP_RET_KILL_PROCESS),
	};
	add(filter, COUNT(filter), true);
	CHECK(lt_sandboxed && !forbids(1001, 0) && !forbids(1002, 0));
	for (int n = 1003; n < 1009; n++)
		CHECK(forbids(n, 0));
	CHECK(lt_sys_getppid() == -EPERM && lt_sys_getpid() == getpid());
}
IN_CHILD(only_allow_and_log_are_no_refusal)

static void arguments_and_arithmetic_count_here(void)
{
	/* Allowed: 7, whose first argument has bit 4 and is 96 to 103, or ten less than 1000 times its number. */
	struct sock_filter filter[] = {
		LOAD(offsetof(struct seccomp_data, arch)),
		IF(BPF_JEQ, AUDIT_ARCH_X86_64, 1, 0),
		RETURN(SECCOMP_RET_KILL_PROCESS),
		LOAD(ARGUMENT(0) + 4), /* the upper half */
		IF(BPF_JEQ, 0, 1, 0),
		RETURN(SECCOMP_RET_KILL_PROCESS),
		LOAD(ARGUMENT(0)),
		BPF_STMT(BPF_ST, 3),
		IF(BPF_JGE, 96, 0, 3),
		IF(BPF_JGT, 103, 2, 0),
		IF(BPF_JSET, 4, 0, 1),
		RETURN(SECCOMP_RET_ALLOW),
		LOAD(NUMBER),
		BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, 1000),
		BPF_STMT(BPF_ALU | BPF_SUB | BPF_K, 10),
		BPF_STMT(BPF_MISC | BPF_TAX, 0),
		BPF_STMT(BPF_LD | BPF_MEM, 3),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_X, 0, 0, 1),
		RETURN(SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_JMP | BPF_JA, 1),
		RETURN(SECCOMP_RET_ALLOW),
		RETURN(SECCOMP_RET_KILL_PROCESS),
	};
	add(filter, COUNT(filter), true);
	CHECK(!forbids(7, 100) && !forbids(7, 103) && forbids(7, 96) && forbids(7, 104) && forbids(7, 95));
	CHECK(!forbids(7, 6990) && forbids(7, 6991) && !forbids(8, 7990));
	CHECK(forbids(7, 100 + (1L << 32)));
}

static void arguments_and_arithmetic_count(void **state)
{
	(void)state;
#if defined __x86_64__
	in_child(arguments_and_arithmetic_count_here);
#endif
}

static void the_strictest_filter_wins_here(void)
{
	struct sock_filter not_7[] = { LOAD(NUMBER), IF(BPF_JEQ, 7, 0, 1), RETURN(SECCOMP_RET_KILL_PROCESS), RETURN(SECCOMP_RET_ALLOW) };
	struct sock_filter not_8[] = { LOAD(NUMBER), IF(BPF_JEQ, 8, 0, 1), RETURN(SECCOMP_RET_KILL_PROCESS), RETURN(SECCOMP_RET_ALLOW) };
	add(not_7, COUNT(not_7), true);
	add(not_8, COUNT(not_8), true);
	CHECK(forbids(7, 0) && forbids(8, 0) && !forbids(9, 0));
}
IN_CHILD(the_strictest_filter_wins)

static void a_filter_that_was_refused_forbids_nothing_here(void)
{
	struct sock_filter none[] = { RETURN(SECCOMP_RET_KILL_PROCESS) };
	struct sock_fprog program = { 1, none };
	CHECK(lt_sandbox_prepare(&program));
	CHECK(lt_sandbox_will_forbid(7, 0, 0, 0, 0, 0, 0) && !forbids(7, 0));
	lt_sandbox_finish(false);
	CHECK(!lt_sandboxed && !forbids(7, 0));
}
IN_CHILD(a_filter_that_was_refused_forbids_nothing)

static void strict_mode_allows_four_calls_here(void)
{
	CHECK(lt_sandbox_prepare(NULL));
	lt_sandbox_finish(true);
	CHECK(!forbids(SYS_read, 0) && !forbids(SYS_write, 0) && !forbids(SYS_exit, 0) && !forbids(SYS_rt_sigreturn, 0));
	CHECK(forbids(SYS_exit_group, 0) && forbids(SYS_mmap, 0) && forbids(SYS_getpid, 0));
}
IN_CHILD(strict_mode_allows_four_calls)

static void what_cannot_be_read_forbids_all_here(void)
{
	struct sock_fprog program = { 5, (struct sock_filter *)(uintptr_t)4096 };
	CHECK(lt_sandbox_prepare(&program));
	lt_sandbox_finish(true);
	CHECK(forbids(SYS_read, 0) && forbids(7, 0));
}
IN_CHILD(what_cannot_be_read_forbids_all)

static void more_filters_than_there_is_room_for_forbid_all_here(void)
{
	static struct sock_filter all[4000];
	for (size_t i = 0; i < COUNT(all); i++)
		all[i] = (struct sock_filter)RETURN(SECCOMP_RET_ALLOW);
	for (int i = 0; i < 4; i++)
		add(all, COUNT(all), true);
	CHECK(!forbids(7, 0));
	add(all, COUNT(all), true);
	CHECK(forbids(7, 0));
}
IN_CHILD(more_filters_than_there_is_room_for_forbid_all)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_filter_nothing_is_forbidden),
		cmocka_unit_test(only_allow_and_log_are_no_refusal),
		cmocka_unit_test(arguments_and_arithmetic_count),
		cmocka_unit_test(the_strictest_filter_wins),
		cmocka_unit_test(a_filter_that_was_refused_forbids_nothing),
		cmocka_unit_test(strict_mode_allows_four_calls),
		cmocka_unit_test(what_cannot_be_read_forbids_all),
		cmocka_unit_test(more_filters_than_there_is_room_for_forbid_all),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
