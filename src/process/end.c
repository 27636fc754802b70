/* SPDX-License-Identifier: MIT
 *
 * The end of an image: the final list of blocks, a classifier that judges them, then the end record, whose kind is stored last.
 * Reached by exit (a handler that was registered before all others and so runs after them, library destructors included; on_exit
 * tells it the status), quick_exit (likewise), the hooks of _exit, _Exit and exec, and fatal signals, abort's among them.
 *
 * All signals are blocked meanwhile, so that mclapply's SIGTERM does not cut a forked worker's list short; SIGKILL can, and
 * then the list before is valid. A vfork child gets here with its parent's memory: its PID is not the dump's.
 */
#include "base/sys.h"
#include "dump/blocks.h"
#include "dump/dump.h"
#include "process/classify.h"
#include "process/process.h"
#include "process/request.h"
#include "r/r.h"
#include "trace/counters.h"
#include "trace/gate.h"
#include "trace/record.h"
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

int lt_quick_exit_status;

void lt_end_early(void)
{
	__atomic_fetch_or(&lt_process->flags, (uint32_t)LEAKTRACE_PROCESS_STOPPED, __ATOMIC_RELAXED);
	lt_record_end();
	lt_hooks_switch();
	lt_gate_abandon();
	if (lt_fork_is_stopping_threads())
		lt_fork_resume_threads();
}

/* Of a process that is recorded no further. */
static void end_stopped(enum leaktrace_end_kind kind, int code)
{
	bool mine = lt_dump_open() && (uint32_t)lt_sys_getpid() == lt_process->key.pid && !lt_process->end_kind;
	if (!mine || !(lt_process->flags & LEAKTRACE_PROCESS_STOPPED) || kind == LEAKTRACE_END_EXEC) /* exec may fail */
		return;
	lt_process->end_ns = lt_sys_clock(CLOCK_REALTIME);
	lt_process->end_code = code;
	lt_store_release(&lt_process->end_kind, (uint32_t)kind); /* pairs with the reader of the file */
}

/* A child of mclapply, where R does not call the hook of R_Serialize. The master sends SIGTERM as soon as it has the result. */
static bool ends_task(enum leaktrace_end_kind kind, int code)
{
	return lt_process->flags & LEAKTRACE_PROCESS_FORK_TASK && lt_thread.r_main && !lt_r_calls_hooks() &&
	       (kind == LEAKTRACE_END__EXIT || (kind == LEAKTRACE_END_SIGNAL && code == SIGTERM)) && lt_r_leaves_child();
}

/* Of the threads that end the process at the same time. A fork child has a number of its own. */
static bool is_first(void)
{
	static int ending;
	int pid = lt_sys_getpid();
	return lt_exchange_acquire(&ending, pid) != pid; /* pairs with nothing: whoever comes second only goes away */
}

bool lt_end(enum leaktrace_end_kind kind, int code, bool patient, const void *context)
{
	uint64_t all = ~UINT64_C(0), before = 0;
	if (lt_load_relaxed(&lt_state) != LT_ON) {
		end_stopped(kind, code);
		return false;
	}
	if (lt_thread.depth) /* in a signal handler that interrupted us: our locks may be held below */
		patient = false;
	lt_tracer_enter();
	if (!*lt_alive)
		lt_fork_child_unseen(true);
	bool last = kind != LEAKTRACE_END_EXEC; /* exec may fail */
	bool mine = lt_dump_open() && (uint32_t)lt_sys_getpid() == lt_process->key.pid && !lt_process->end_kind && (!last || is_first());
	if (mine) {
		struct rusage usage;
		lt_syscall6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&before, 8, 0, 0);
		lt_request_leave(lt_sys_getpid());
		lt_events_settle(patient);
		if (lt_thread.depth == 1 && ends_task(kind, code))
			lt_task_end();
		/* Two lists with the same blocks, and the verdict's says more. */
		bool listed = kind == LEAKTRACE_END_EXEC || !lt_classify_end_due() || lt_dump_left() >= 2 * lt_blocks_room();
		lt_blocks_write(true, patient, listed);
		if (lt_syscall6(SYS_getrusage, RUSAGE_SELF, (long)&usage, 0, 0, 0, 0) == 0)
			lt_process->max_rss = (uint64_t)usage.ru_maxrss * 1024;
		lt_process->end_ns = lt_sys_clock(CLOCK_REALTIME);
		lt_process->end_code = code;
		int error = lt_classify_end(context, last);
		if (last)
			lt_record_end();
		if (error && !listed)
			lt_blocks_write(true, patient, true);
		lt_store_release(&lt_process->end_kind, (uint32_t)kind); /* pairs with the reader of the file */
		if (last && error)
			lt_dump_trim();
		if (kind == LEAKTRACE_END_EXEC)
			lt_syscall6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&before, 0, 8, 0, 0);
		if (kind == LEAKTRACE_END_EXIT)
			lt_syscall6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&before, 0, 8, 0, 0);
	}
	lt_tracer_leave();
	return mine;
}

void lt_end_undo(int error)
{
	lt_process->end_ns = 0;
	lt_classify_undo();
	__atomic_fetch_and(&lt_process->flags, ~(uint32_t)LEAKTRACE_PROCESS_BLOCKS_FINAL, __ATOMIC_RELAXED);
	lt_store_release(&lt_process->end_kind, LEAKTRACE_END_NONE);
	if (lt_process->role == LEAKTRACE_ROLE_FORK)
		lt_request_fork_child();
	lt_event(LEAKTRACE_EVENT_EXEC_FAILED, lt_process->key.pid, error, NULL);
}

static void on_exit_last(int status, void *arg)
{
	lt_end(LEAKTRACE_END_EXIT, status & 0xff, true, NULL);
}

static void on_quick_exit_last(void *arg)
{
	lt_end(LEAKTRACE_END__EXIT, lt_quick_exit_status, true, NULL);
}

/* Weak: not every libc has both; musl's loader then takes us in, and we do nothing. */
extern int __cxa_at_quick_exit(void (*handler)(void *), void *dso_handle) __attribute__((weak));
extern __typeof__(on_exit) on_exit __attribute__((weak));

void lt_end_init(void)
{
	on_exit(on_exit_last, NULL);
	__cxa_at_quick_exit(on_quick_exit_last, NULL);
}
