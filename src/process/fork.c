/* SPDX-License-Identifier: MIT
 *
 * Forks. Our atfork handlers are the first registered: `prepare` runs last before the fork, after those of the program (which
 * may allocate and take locks), `parent` and `child` run first after it. Between them the gate is closed, so the child inherits
 * no lock of ours and no half-changed table. A child starts a dump of its own; the live table that it inherited is private
 * memory and goes on, its blocks known as inherited by their site ids.
 *
 * A child made without handlers (_Fork, clone, syscall) is noticed by the first hook in it, by a page that the kernel wiped
 * (MADV_WIPEONFORK, Linux 4.14): its parent's other threads may have been anywhere, so a shard of the live table whose lock
 * was held is emptied, and libunwind is not used.
 *
 * A child that a signal handler made while its thread was in the tracer will go on there when the handler returns. So it only
 * lets go of its parent's dump (private memory takes its place), and begins its own like a child made without handlers: in the
 * first hook that is called outside the tracer, or at its end. What its handler allocates before is not recorded.
 *
 * A vfork child shares our memory, and its allocations really are its
 * parent's; its exec and _exit are told apart by the PID (end.c).
 */
#include "base/arena.h"
#include "base/log.h"
#include "base/lock.h"
#include "base/sys.h"
#include "dump/blocks.h"
#include "dump/dump.h"
#include "process/classify.h"
#include "process/process.h"
#include "process/request.h"
#include "trace/gate.h"
#include "trace/intern.h"
#include "trace/live.h"
#include "trace/modules.h"
#include "trace/counters.h"
#include "trace/record.h"
#include "trace/unwind.h"
#include <pthread.h>

static int closer; /* the thread that closes the gate; 0: none. A lock that knows its holder */
static bool threads_stopped;
static unsigned nested; /* forks in signal handlers that interrupted the closer */

bool lt_fork_stop_threads(void)
{
	int tid = lt_sys_gettid(), none = 0;
	for (unsigned round = 0; !__atomic_compare_exchange_n(&closer, &none, tid, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
	     none = 0) { /* pairs with lt_fork_resume_threads */
		if (none == tid) {
			nested++;
			return threads_stopped;
		}
		lt_sys_wait(64 + round++);
	}
	return threads_stopped = lt_gate_close();
}

bool lt_fork_try_stop_threads(int64_t ns)
{
	int none = 0;
	if (!__atomic_compare_exchange_n(&closer, &none, lt_sys_gettid(), false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return false; /* pairs with lt_fork_resume_threads */
	threads_stopped = lt_gate_close_within(ns);
	if (!threads_stopped)
		lt_fork_resume_threads();
	return threads_stopped;
}

void lt_fork_resume_threads(void)
{
	if (nested) {
		nested--;
		return;
	}
	threads_stopped = false; /* for a signal handler that forks right now */
	lt_gate_open();
	lt_store_release(&closer, 0); /* pairs with lt_fork_stop_threads */
}

/* What a child knows of the image that made it. */
static struct {
	bool left; /* its dump is out of reach, and the rest is valid */
	bool safe; /* what lt_gate_close() said before the fork */
	struct leaktrace_key key;
	uint64_t blocks, bytes; /* live at the fork */
} parent;

/* The part that can't wait: nothing is written to the parent's dump from here on. */
static void leave_parent(bool safe, bool interrupted)
{
	if (parent.left)
		return;
	const struct leaktrace_process *p = lt_process;
	int64_t blocks, bytes;
	lt_count_pending(&blocks, &bytes);
	parent.key = p->key;
	parent.blocks = (uint64_t)blocks + p->live_blocks + p->inherited_blocks - p->inherited_freed_blocks;
	parent.bytes = (uint64_t)bytes + p->live_bytes + p->inherited_bytes - p->inherited_freed_bytes;
	parent.safe = safe;
	parent.left = true;
	lt_log_quiet();
	lt_arena_fork_child();
	closer = 0;
	nested = 0;
	lt_gate_fork_child();
	lt_dump_fork_child(interrupted);
}

static void child(bool safe, bool interrupted)
{
	leave_parent(safe, interrupted);
	const struct leaktrace_key key = parent.key;
	parent.left = false;
	*lt_alive = 1;
	lt_gate_fork_child();
	unsigned lost = lt_live_fork_child();
	lt_record_fork_child();
	lt_switch_fork_child();
	lt_intern_fork_child(interrupted);
	lt_unwind_fork_child(parent.safe);
	lt_unload_fork_child();
	lt_blocks_fork_child(safe && !interrupted);
	lt_events_fork_child();
	lt_classify_fork_child();
	lt_identity_fork_child();
	lt_signals_fork_child();
	if (lt_start_dump(&key, &key, LEAKTRACE_ROLE_FORK)) {
		lt_store_relaxed(&lt_state, LT_OFF);
		lt_alive[LT_OPEN] = 0;
		lt_record_settle();
		lt_hooks_switch();
		return;
	}
	lt_arena_show(&lt_process->tracer_bytes, &lt_process->tracer_peak_bytes, lt_alive);
	lt_process->inherited_blocks = parent.blocks;
	lt_process->inherited_bytes = parent.bytes;
	if (lost)
		lt_process->flags |= LEAKTRACE_PROCESS_INHERIT_LOST;
	lt_task_fork_child();
	lt_request_fork_child();
	lt_modules_fork_child();
	lt_alive[LT_OPEN] = 1;
	lt_record_settle();
}

/* This thread is in the tracer below a signal handler: its own entry into a hook is the first. */
static bool interrupted(void)
{
	return lt_thread.depth > 1 || lt_gate_is_inside();
}

void lt_fork_child_unseen(bool last)
{
	if (lt_load_relaxed(&lt_state) != LT_ON)
		return;
	if (interrupted() && !last)
		leave_parent(false, true);
	else
		child(false, interrupted());
}

static void on_prepare(void)
{
	if (lt_load_relaxed(&lt_state) != LT_ON)
		return;
	lt_tracer_enter();
	if (!*lt_alive)
		lt_fork_child_unseen(false);
	if (lt_fork_stop_threads())
		lt_intern_settle();
	lt_count_settle();
	lt_blocks_fork_prepare();
	lt_thread.forking = true;
}

/* In the handler after a fork; it is to be finished. */
static lt_always_inline void come_back(void)
{
	if (lt_thread.depth == 1)
		lt_tracer_here();
	lt_thread.forking = false;
}

static void on_parent(void)
{
	if (lt_load_relaxed(&lt_state) != LT_ON)
		return;
	come_back();
	lt_blocks_fork_parent();
	lt_fork_resume_threads();
	lt_tracer_leave();
}

static void on_child(void)
{
	if (lt_load_relaxed(&lt_state) != LT_ON)
		return;
	come_back();
	if (interrupted())
		leave_parent(threads_stopped, true);
	else
		child(threads_stopped, false);
	lt_tracer_leave();
}

bool lt_fork_is_stopping_threads(void)
{
	return lt_load_relaxed(&closer) == lt_sys_gettid();
}

void lt_fork_undo(void)
{
	if (*lt_alive)
		on_parent();
	else
		on_child();
}

/* glibc's (weak, see end.c); pthread_atfork() itself is in libc_nonshared.a and would tie the handlers to our own object. */
extern int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *dso_handle)
	__attribute__((weak));

void lt_fork_init(void)
{
	uint64_t *page = lt_map(4096);
	if (page && lt_sys_madvise(page, 4096, MADV_WIPEONFORK) == 0) {
		*page = 1;
		lt_alive = page;
	}
	__register_atfork(on_prepare, on_parent, on_child, NULL);
}
