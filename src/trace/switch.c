/* SPDX-License-Identifier: MIT
 *
 * Recording is switched on and off, while other threads allocate and free as fast as they can.
 *
 * A block that is recorded must not be freed past us. So where it is switched on for the first time, frees are looked up first, and
 * only then is the first block recorded; and from then on they are always looked up. A thread that loaded the old hook of free
 * just before has a block that was made before. Where it is switched off, a thread that is inside a hook records one more block;
 * its free is seen like any other's.
 *
 * One at a time does the work, the `worker`; who comes meanwhile says what it wants and waits until that is so, unless it
 * may have interrupted the worker, or something that the worker waits for: a call from outside (process/remote.c) comes at any
 * instruction of the main thread. The worker looks again when it is done; so the last wish is what becomes of it. Turned down: a lock
 * (a caller that interrupted its holder would wait for ever), and the gate closed meanwhile (a pause for all threads, and 50 ms of it
 * where one is parked inside).
 */
#include "trace/record.h"
#include "base/options.h"
#include "base/sys.h"
#include "dump/dump.h"
#include "process/process.h"
#include <errno.h>

bool lt_active = true, lt_was_off, lt_was_on;
static bool wanted = true;
static int worker; /* thread id; 0: none */

void lt_switch_init(void)
{
	wanted = lt_active = lt_was_on = lt_options.active;
	lt_was_off = !lt_active;
}

void lt_switch_begin_dump(void)
{
	lt_process->recording_since_ns = lt_active ? lt_process->start_ns : 0;
	if (lt_was_off) {
		lt_process->flags |= LEAKTRACE_PROCESS_PAUSED;
		lt_events_prepare(); /* it will be switched, from outside perhaps, while the tracer is at work */
	}
}

/* The process's record says for how long it was on; the events say when. */
static void note(bool on)
{
	if (lt_load_relaxed(&lt_state) != LT_ON || !*lt_alive)
		return;
	int64_t now = lt_sys_clock(CLOCK_REALTIME), since = lt_process->recording_since_ns;
	if (!on && since)
		lt_add_relaxed(&lt_process->recorded_ns, (uint64_t)(now - since));
	lt_store_relaxed(&lt_process->recording_since_ns, on ? now : 0);
	__atomic_fetch_or(&lt_process->flags, LEAKTRACE_PROCESS_PAUSED, __ATOMIC_RELAXED);
	lt_event(on ? LEAKTRACE_EVENT_START : LEAKTRACE_EVENT_STOP, 0, 0, NULL);
}

static void apply(bool on)
{
	if (on) {
		lt_was_on = true;
		lt_hooks_switch(); /* of free and realloc */
		note(true);
		__atomic_thread_fence(__ATOMIC_SEQ_CST); /* who is given a recorded block finds their free looked up */
		lt_store_seq(&lt_active, true);
		lt_hooks_switch();
	} else {
		lt_was_off = true;
		lt_store_seq(&lt_active, false);
		lt_hooks_switch();
		note(false);
	}
}

void lt_record_switch(bool on)
{
	int saved = errno, tid = lt_sys_gettid();
	if (lt_unlikely(!*lt_alive))
		lt_fork_child_unseen(false); /* its parent's worker is not here */
	lt_store_seq(&wanted, on);
	for (unsigned round = 0; lt_load_seq(&wanted) != lt_load_seq(&lt_active) || lt_load_seq(&worker);) {
		int none = 0;
		if (__atomic_compare_exchange_n(&worker, &none, tid, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
			for (bool wish; (wish = lt_load_seq(&wanted)) != lt_active;)
				apply(wish);
			lt_store_seq(&worker, 0); /* and then `wanted` is loaded again: who found a worker stored it before */
		} else if (none == tid || lt_thread.depth) {
			break;
		} else {
			lt_sys_wait(round++);
		}
	}
	errno = saved;
}

/* A worker of the parent's may be in the midst of it; it is not here, or it is what this handler interrupted, and goes on. */
void lt_switch_fork_child(void)
{
	worker = 0;
	lt_active = wanted;
	lt_was_on |= lt_active;
	lt_was_off |= !lt_active;
	lt_hooks_switch();
}
