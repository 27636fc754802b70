/* SPDX-License-Identifier: MIT
 *
 * Striped counters, so that threads don't share a cache line; a thread picks its stripe by the address of its TLS.
 *
 * enter: count++, then look at `closed` (both sequentially consistent); if closed, count-- and wait. close: closed = 1, then
 * sum the counts (sequentially consistent). So either the closer sees the count or the entering thread sees `closed`.
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
#include "trace/thread.h"

/* glibc from 2.32 on: no other thread is there. */
extern char __libc_single_threaded __attribute__((weak));

#define STRIPES 16
#define CLOSE_TIMEOUT_NS 50000000
#define DOUBTFUL_TIMEOUT_NS 200000

static struct {
	_Alignas(64) int inside;
} stripes[STRIPES];
static int closed;

void lt_gate_enter(void)
{
	if (lt_unlikely(!lt_thread.stripe))
		lt_thread.stripe = 1 + (uint32_t)(((uintptr_t)&lt_thread >> 12) * 0x9e3779b97f4a7c15ULL >> 60) % STRIPES;
	int *inside = &stripes[lt_thread.stripe - 1].inside;
	bool nested = lt_thread.gate++;
	lt_signal_fence();
	for (unsigned round = 0;; round++) {
		lt_add_seq(inside, 1); /* pairs with lt_gate_close */
		if (lt_likely(!lt_load_seq(&closed)) || nested)
			break;
		lt_sub_release(inside, 1);
		lt_sys_wait(64 + round);
	}
	lt_signal_fence();
	lt_thread.inside++;
	lt_signal_fence();
}

void lt_gate_leave(void)
{
	lt_signal_fence();
	lt_thread.inside--;
	lt_signal_fence();
	lt_sub_release(&stripes[lt_thread.stripe - 1].inside, 1); /* pairs with the loads in lt_gate_close */
	lt_signal_fence();
	lt_thread.gate--;
}

bool lt_gate_close(void)
{
	return lt_gate_close_within(CLOSE_TIMEOUT_NS);
}

bool lt_gate_close_within(int64_t ns)
{
	lt_store_seq(&closed, 1); /* pairs with lt_gate_enter */
	bool doubtful = lt_thread.gate != lt_thread.inside;
	if (doubtful && &__libc_single_threaded && __libc_single_threaded)
		return true;
	int64_t deadline = lt_sys_clock(CLOCK_MONOTONIC) + (doubtful && ns > DOUBTFUL_TIMEOUT_NS ? DOUBTFUL_TIMEOUT_NS : ns);
	for (unsigned round = 0;; round++) {
		int sum = 0;
		for (unsigned i = 0; i < STRIPES; i++)
			sum += lt_load_seq(&stripes[i].inside);
		if (sum <= (int)lt_thread.inside)
			return true;
		if (lt_sys_clock(CLOCK_MONOTONIC) > deadline)
			return false;
		lt_sys_wait(64 + round);
	}
}

void lt_gate_open(void)
{
	lt_store_seq(&closed, 0);
}

void lt_gate_fork_child(void)
{
	for (unsigned i = 0; i < STRIPES; i++)
		stripes[i].inside = 0;
	if (lt_thread.stripe)
		stripes[lt_thread.stripe - 1].inside = (int)lt_thread.gate;
	lt_thread.inside = lt_thread.gate;
	closed = 0;
}
