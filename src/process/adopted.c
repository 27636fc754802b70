/* SPDX-License-Identifier: MIT
 *
 * A classifier is nobody's child. So when its helper has ended it becomes the child of the next reaper: init, who does not mind; or the
 * first process of a container, or a child subreaper, which may be traced, too, and would get to know in wait() of a child that it
 * never had. Such a process waits for its children through the hooks, and these reap classifiers first.
 *
 * Known by /proc/PID/stat, also when it has ended: the name, a session of its own, and that it never called exec. Turned down: to keep it
 * a child of the process that made it (CLONE_PARENT), which is mostly gone first; a table of classifiers, which an exec'd image would
 * not share; an exit status of its own, which others may have.
 *
 * What is left to be seen: SIGCHLD for it, once, where there is a handler; and wait() returns ECHILD when the last classifier has ended,
 * not before.
 */
#include "process/adopted.h"
#include "base/atomic.h"
#include "base/sys.h"
#include "base/text.h"
#include "hooks/real.h"
#include <string.h>
#include <sys/prctl.h>

#define FORKED_WITHOUT_EXEC 0x40 /* PF_FORKNOEXEC, in field 9 since Linux 2.6 */

static int subreaper; /* the process that is one, for its children are none */

void lt_adopted_init(void)
{
	int is = 0;
	if (lt_syscall6(SYS_prctl, PR_GET_CHILD_SUBREAPER, (long)&is, 0, 0, 0, 0) == 0)
		lt_adopted_set_reaper(is);
}

void lt_adopted_set_reaper(bool is)
{
	lt_store_relaxed(&subreaper, is ? lt_sys_getpid() : 0);
}

bool lt_adopted_is_reaper(void)
{
	int pid = lt_sys_getpid();
	if (pid != 1 && pid != lt_load_relaxed(&subreaper))
		return false;
	return !lt_sandboxed || !lt_sandbox_forbids(SYS_waitid, P_ALL, 0, 0, WEXITED | WNOWAIT, 0, 0); /* the program may use wait4() only */
}

/* PID (NAME) STATE PPID PGRP SESSION TTY TPGID FLAGS … */
static bool is_classifier(pid_t pid)
{
	char path[32], stat[512];
	uint64_t value[7];
	struct lt_text text = LT_TEXT(path);
	lt_text_add(&text, "/proc/");
	lt_text_add_decimal(&text, (uint64_t)pid);
	lt_text_add(&text, "/stat");
	if (lt_text_read_file(path, stat, sizeof stat) <= 0)
		return false;
	const char *name = strchr(stat, '('), *p = strrchr(stat, ')');
	if (!name || !p || strncmp(name, "(leaktrace)", 11) || !p[1] || !p[2])
		return false;
	p += 3; /* the state */
	for (unsigned i = 1; i < 7; i++) {
		while (*p == ' ' || *p == '-')
			p++;
		if (lt_text_parse_decimal(&p, &value[i]))
			return false;
	}
	return value[3] == (uint64_t)pid && value[6] & FORKED_WITHOUT_EXEC;
}

bool lt_adopted_reap(pid_t pid)
{
	return pid > 0 && is_classifier(pid) && lt_syscall6(SYS_wait4, pid, 0, WNOHANG | __WALL, 0, 0, 0) == pid;
}

pid_t lt_adopted_next(int options)
{
	int saved = errno;
	int how = WEXITED | WNOWAIT | (options & (WNOHANG | WCONTINUED | __WALL | __WCLONE | __WNOTHREAD)) |
	          (options & WUNTRACED ? WSTOPPED : 0);
	for (;;) {
		siginfo_t info = { 0 };
		int result = lt_real.waitid(P_ALL, 0, &info, how);
		if (result || !info.si_pid) { /* none, or interrupted: the program's own call says so */
			if (result && errno == EINTR)
				return -EINTR;
			errno = saved;
			return 0;
		}
		if (!lt_adopted_reap(info.si_pid)) {
			errno = saved;
			return info.si_pid;
		}
	}
}
