/* SPDX-License-Identifier: MIT
 *
 * The gate: a thread is inside it while it records (unwinds, takes our locks, changes our tables). fork closes the gate and
 * waits until all are outside, so that a child never inherits a lock of ours, of libunwind or of the loader that one of our
 * own calls took, nor a table in the middle of a change.
 */
#ifndef LT_GATE_H
#define LT_GATE_H

#include "base/atomic.h"
#include "trace/thread.h"

/* What a thread changes in recording, for some threads each: on a cache line of its own. */
struct lt_stripe {
	_Alignas(64) int inside; /* of the gate */
	int64_t pending; /* of process.live_blocks and live_bytes; see record.c */
};
#define LT_STRIPES 16
extern LT_HIDDEN struct lt_stripe lt_stripes[LT_STRIPES];
extern LT_HIDDEN int lt_gate_closed;

/* The process has one thread, as far as libc knows (glibc 2.32: __libc_single_threaded); never true with an older one. Another
 * can't come while this one is inside the gate, but from a signal handler that calls pthread_create, which POSIX forbids. */
extern LT_HIDDEN const char *lt_gate_alone;
static lt_always_inline bool lt_single_threaded(void)
{
	return lt_likely(*lt_gate_alone);
}

/* This thread is inside the gate, and came in as the only one: no lock is needed, nor a locked instruction. */
static inline bool lt_gate_is_alone(void)
{
	return !lt_thread.inside;
}

void lt_gate_enter_slowly(void);
void lt_gate_leave_slowly(void);

/* Enters, waiting while the gate is closed; may nest in one thread. No lock held. Any context. */
static inline void lt_gate_enter(void)
{
	if (lt_single_threaded() && !lt_load_relaxed(&lt_gate_closed)) {
		lt_thread.gate++;
		lt_signal_fence();
	} else {
		lt_gate_enter_slowly();
	}
}

/* For one of several threads, where the gate is open. False: lt_gate_enter() must do it. */
static inline bool lt_gate_enter_shared(void)
{
	uint32_t stripe = lt_thread.stripe;
	if (lt_unlikely(!stripe || lt_thread.gate))
		return false;
	int *inside = &lt_stripes[stripe - 1].inside;
	lt_thread.gate = 1;
	lt_signal_fence();
	lt_add_seq(inside, 1); /* pairs with lt_gate_close */
	lt_signal_fence();
	if (lt_unlikely(lt_load_seq(&lt_gate_closed))) {
		lt_sub_release(inside, 1);
		lt_signal_fence();
		lt_thread.gate = 0;
		return false;
	}
	lt_thread.inside = 1;
	lt_signal_fence();
	return true;
}

static inline void lt_gate_leave(void)
{
	lt_signal_fence();
	if (lt_unlikely(lt_thread.inside))
		lt_gate_leave_slowly();
	else
		lt_thread.gate--;
}

/* Start only: asks libc for the number of threads from now on. */
void lt_gate_init(void);

/* Closes the gate and waits until every other thread is outside, at most some 50 ms. Returns false when that time was too
 * short: a thread hangs in the loader, or was cancelled inside. One closer at a time. */
bool lt_gate_close(void);
/* Likewise, with a time of the caller's. */
bool lt_gate_close_within(int64_t ns);
void lt_gate_open(void);

/* In a fork child: open, with only this thread's entries inside. */
void lt_gate_fork_child(void);

#endif
