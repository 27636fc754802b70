/* SPDX-License-Identifier: MIT
 *
 * prctl and syscall, by which programs install seccomp filters (libseccomp by the latter), and become the reaper of their orphans. Both
 * are passed on as they are.
 */
#include "base/sys.h"
#include "hooks/real.h"
#include "process/adopted.h"
#include "process/request.h"
#include "process/signals.h"
#include "trace/record.h"
#include <linux/seccomp.h>
#include <sys/prctl.h>

#define EXPORT __attribute__((visibility("default")))

/* The library's own prototypes are variadic, which on all CPUs that we know is called alike, with arguments in registers. */
EXPORT int lt_hook_prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d) __asm__("prctl");
EXPORT long lt_hook_syscall(long n, long a, long b, long c, long d, long e, long f) __asm__("syscall"); /* x86_64 */

/* Our handlers of fatal signals make these calls, the last one by libc's trampoline. */
static bool handlers_work(void)
{
	return !lt_sandbox_will_forbid(SYS_rt_sigaction, SIGSEGV, (long)&lt_sandboxed, 0, 8, 0, 0) &&
	       !lt_sandbox_will_forbid(SYS_rt_tgsigqueueinfo, lt_sys_getpid(), lt_sys_gettid(), SIGSEGV, (long)&lt_sandboxed, 0, 0) &&
	       !lt_sandbox_will_forbid(SYS_rt_sigreturn, 0, 0, 0, 0, 0, 0);
}

/* Returns whether finish() is to be called. */
static bool prepare(const void *program)
{
	bool prepared = lt_sandbox_prepare(program);
	if (prepared && !handlers_work())
		lt_signals_suspend();
	return prepared;
}

static void finish(bool prepared, bool installed)
{
	int saved = errno;
	if (prepared && !installed)
		lt_signals_resume();
	if (prepared)
		lt_sandbox_finish(installed);
	if (installed) /* the handler of a last request could do nothing */
		lt_request_leave(lt_sys_getpid());
	errno = saved;
}

EXPORT int lt_hook_prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)
{
	lt_real_init();
	if (option == PR_SET_SECCOMP) {
		bool prepared = prepare(a == SECCOMP_MODE_STRICT ? NULL : (const void *)b);
		int result = lt_real.prctl(option, a, b, c, d);
		finish(prepared, result == 0);
		return result;
	}
	int result = lt_real.prctl(option, a, b, c, d);
	if (option == PR_SET_CHILD_SUBREAPER && !result)
		lt_adopted_set_reaper(a != 0);
	return result;
}

#if defined __x86_64__ /* elsewhere base/sys.h makes its calls by libc's */
static __attribute__((noinline)) long install(long n, long a, long b, long c, long d, long e, long f)
{
	bool strict = n == SYS_prctl ? b == SECCOMP_MODE_STRICT : a == SECCOMP_SET_MODE_STRICT;
	bool prepared = prepare(strict ? NULL : (const void *)c);
	long result = lt_real.syscall(n, a, b, c, d, e, f);
	bool listens = n == SYS_seccomp && b & (long)SECCOMP_FILTER_FLAG_NEW_LISTENER;
	finish(prepared, listens ? result >= 0 : result == 0);
	return result;
}

/* A tail call: a system call may return twice, or on another stack. */
EXPORT __attribute__((optimize("optimize-sibling-calls"))) long lt_hook_syscall(long n, long a, long b, long c, long d, long e, long f)
{
	lt_real_init();
	if (n == SYS_seccomp ? a <= SECCOMP_SET_MODE_FILTER : n == SYS_prctl && a == PR_SET_SECCOMP)
		return install(n, a, b, c, d, e, f);
	return lt_real.syscall(n, a, b, c, d, e, f);
}
#endif
