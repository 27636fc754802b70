/* SPDX-License-Identifier: MIT
 *
 * Striped counters, so that threads don't share a cache line; threads get the stripes in turn.
 *
 * enter: count++, then look at `closed` (both sequentially consistent); if closed, count-- and wait. close: closed = 1, then
 * sum the counts (sequentially consistent). So either the closer sees the count or the entering thread sees `closed`.
 *
 * The only thread there is counts nothing but lt_thread.gate. It was inside in that way if lt_thread.inside is 0 when it leaves.
 *
 * A signal handler that closes the gate (it forks) must not wait for the thread that it interrupted, so the closer leaves its own
 * entries out of the sum: lt_thread.inside, those that are certainly in its stripe. Interrupted between the two counts, its sum
 * is one too high, or not; lt_thread.gate, raised before the stripe and lowered after it, tells that this may be so. If there are
 * other threads the closer then waits for a short while only, less than the period of any timer whose handler this may be, or
 * the program would not get on. (To take `gate` for its own share let it pass while another thread was inside.)
 */
#include "trace/gate.h"
#include "base/atomic.h"
#include "base/sys.h"
#include "trace/record.h"
#include "trace/thread.h"

extern char __libc_single_threaded __attribute__((weak));
static const char never = 0;
const char *lt_gate_alone = &never;

#define CLOSE_TIMEOUT_NS 50000000
#define DOUBTFUL_TIMEOUT_NS 200000

struct lt_stripe lt_stripes[LT_STRIPES];
int lt_gate_closed;

void lt_gate_init(void)
{
	if (&__libc_single_threaded)
		lt_gate_alone = &__libc_single_threaded;
}

/* The first thread has the first stripe, for its own as long as there are fewer threads than stripes. */
static void choose_stripe(void)
{
	static uint32_t chosen;
	lt_thread.stripe = 1 + (lt_add_relaxed(&chosen, 1) - 1) % LT_STRIPES;
}

void lt_gate_enter_slowly(void)
{
	if (lt_unlikely(!lt_thread.stripe))
		choose_stripe();
	int *inside = &lt_stripes[lt_thread.stripe - 1].inside;
	bool nested = lt_thread.gate++;
	lt_signal_fence();
	for (unsigned round = 0;; round++) {
		lt_add_seq(inside, 1); /* pairs with lt_gate_close */
		if (lt_likely(!lt_load_seq(&lt_gate_closed)) || nested)
			break;
		lt_sub_release(inside, 1);
		lt_sys_wait(64 + round);
	}
	lt_signal_fence();
	lt_thread.inside++;
	lt_signal_fence();
}

void lt_gate_leave_slowly(void)
{
	lt_thread.inside--;
	lt_signal_fence();
	lt_sub_release(&lt_stripes[lt_thread.stripe - 1].inside, 1); /* pairs with the loads in lt_gate_close */
	lt_signal_fence();
	lt_thread.gate--;
}

bool lt_gate_close(void)
{
	return lt_gate_close_within(CLOSE_TIMEOUT_NS);
}

bool lt_gate_close_within(int64_t ns)
{
	lt_alive[LT_PLAIN] = lt_alive[LT_OPEN] = 0; /* for signal handlers: the only thread there is looks at nothing else */
	lt_store_seq(&lt_gate_closed, 1); /* pairs with lt_gate_enter */
	bool doubtful = lt_thread.gate != lt_thread.inside;
	if (doubtful && lt_single_threaded())
		return true;
	int64_t deadline = lt_sys_clock(CLOCK_MONOTONIC) + (doubtful && ns > DOUBTFUL_TIMEOUT_NS ? DOUBTFUL_TIMEOUT_NS : ns);
	for (unsigned round = 0;; round++) {
		int sum = 0;
		for (unsigned i = 0; i < LT_STRIPES; i++)
			sum += lt_load_seq(&lt_stripes[i].inside);
		if (sum <= (int)lt_thread.inside)
			return true;
		if (lt_sys_clock(CLOCK_MONOTONIC) > deadline)
			return false;
		lt_sys_wait(64 + round);
	}
}

void lt_gate_open(void)
{
	lt_store_seq(&lt_gate_closed, 0);
	lt_alive[LT_OPEN] = *lt_alive && lt_load_relaxed(&lt_state) == LT_ON;
	lt_record_settle();
}

void lt_gate_fork_child(void)
{
	for (unsigned i = 0; i < LT_STRIPES; i++)
		lt_stripes[i].inside = 0;
	lt_thread.inside = lt_thread.stripe ? lt_thread.gate : 0;
	if (lt_thread.stripe)
		lt_stripes[lt_thread.stripe - 1].inside = (int)lt_thread.inside;
	lt_gate_closed = 0;
}
