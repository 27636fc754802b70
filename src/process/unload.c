/* SPDX-License-Identifier: MIT
 *
 * dlclose, and what the tracer has cached by code address: unwind rules, kept stacks, trie nodes. Another thread may load other
 * code at the same addresses before the caches can be emptied, which takes a closed gate; and the gate can't be closed while a
 * thread is parked in a signal handler that interrupted the tracer.
 *
 * lt_code_unsure is the number of dlclose calls under way, plus 1 while emptying is owed. A recording that began while it was
 * not 0 does without the caches: slower, never wrong. It is enough to look when the recording begins: code that is on its stack
 * is not unloaded meanwhile, and code that came to the place of other code came after the increment. What a recording that began
 * before it still adds, the emptying takes away, for that waits until the recording is over.
 *
 * What is owed is tried again by later recordings, each time for a moment only, and by later dlclose calls. Whether anything was
 * unloaded is told by the loader's own count: a comparison of lists by this thread would miss what another has noticed, or what
 * was unloaded and loaded again.
 *
 * (Turned down: to keep the caches where the gate can't be closed, which left wrong rules in use for good. To empty them before
 * the real dlclose: they fill again before it is done.)
 */
#include "base/sys.h"
#include "process/process.h"
#include "trace/intern.h"
#include "trace/modules.h"
#include "trace/record.h"
#include "trace/unwind.h"

#define RETRY_EVERY_NS 10000000
#define RETRY_NS 100000

static uint64_t emptied_at; /* unloads by the loader when the caches were emptied last */
static bool owed;
static int64_t next_retry;

/* The gate is closed. */
static void empty(uint64_t unloads)
{
	lt_intern_flush();
	lt_unwind_flush();
	lt_record_forget_stacks();
	emptied_at = unloads;
	if (__atomic_exchange_n(&owed, false, __ATOMIC_RELAXED))
		lt_sub_relaxed(&lt_code_unsure, 1);
	lt_record_settle();
}

static void owe(void)
{
	if (!__atomic_exchange_n(&owed, true, __ATOMIC_RELAXED))
		lt_add_relaxed(&lt_code_unsure, 1);
	lt_record_settle();
}

void lt_unload_begin(void)
{
	int saved = errno;
	if (lt_recording()) {
		lt_tracer_enter();
		if (!*lt_alive)
			lt_fork_child_unseen(false);
		lt_tracer_leave();
	}
	lt_thread.unloading++;
	lt_add_seq(&lt_code_unsure, 1); /* before the real dlclose; the loader's lock brings it to who loads code after that */
	lt_record_settle();
	errno = saved;
}

void lt_unload_end(void)
{
	int saved = errno;
	if (lt_recording()) {
		lt_tracer_enter();
		if (!*lt_alive)
			lt_fork_child_unseen(false);
		uint64_t unloads = lt_modules_unloads();
		if (lt_modules_scan() || unloads != lt_load_relaxed(&emptied_at)) {
			bool again = lt_load_relaxed(&owed);
			bool closed = again ? lt_fork_try_stop_threads(RETRY_NS) : lt_fork_stop_threads();
			if (closed)
				empty(unloads);
			else
				owe();
			if (closed || !again)
				lt_fork_resume_threads();
		}
		lt_tracer_leave();
	} else if (lt_load_relaxed(&lt_state) == LT_ON) {
		owe(); /* in a signal handler that interrupted the tracer */
	}
	lt_thread.unloading--;
	lt_sub_relaxed(&lt_code_unsure, 1);
	lt_record_settle();
	errno = saved;
}

bool lt_unload_retry(void)
{
	int64_t now = lt_load_relaxed(&owed) ? lt_sys_clock(CLOCK_MONOTONIC) : 0;
	if (now > lt_load_relaxed(&next_retry)) {
		lt_store_relaxed(&next_retry, now + RETRY_EVERY_NS);
		if (lt_fork_try_stop_threads(RETRY_NS)) {
			empty(emptied_at); /* so the next dlclose does it again: the loader's lock is none of a fork child's first calls */
			lt_fork_resume_threads();
		}
	}
	return !lt_load_relaxed(&lt_code_unsure);
}

/* The calls of other threads never end here. What they left, the first recording empties; this thread may be inside one. */
void lt_unload_fork_child(void)
{
	next_retry = 0;
	owed = lt_code_unsure;
	lt_code_unsure = lt_thread.unloading + owed;
	lt_record_settle();
}
