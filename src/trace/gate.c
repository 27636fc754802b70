/* SPDX-License-Identifier: MIT
 *
 * Striped counters, so that threads don't share a cache line; a thread picks its stripe by the address of its TLS.
 *
 * enter: count++, then look at `closed` (both sequentially consistent); if closed, count-- and wait. close: closed = 1, then
 * sum the counts (sequentially consistent). So either the closer sees the count or the entering thread sees `closed`.
 * Waiting is yielding, then sleeping 50 µs at a time: a fork takes about as long.
 */
#include "trace/gate.h"
#include "base/atomic.h"
#include "base/sys.h"
#include "trace/thread.h"

#define STRIPES 16
#define CLOSE_TIMEOUT_NS 50000000

static struct {
	_Alignas(64) int inside;
} stripes[STRIPES];
static int closed;

static void nap(unsigned round)
{
	if (round < 100) {
		lt_sys_yield();
	} else {
		struct timespec some = { 0, 50000 };
		lt_syscall6(SYS_nanosleep, (long)&some, 0, 0, 0, 0, 0);
	}
}

void lt_gate_enter(void)
{
	if (lt_unlikely(!lt_thread.stripe))
		lt_thread.stripe = 1 + (uint32_t)(((uintptr_t)&lt_thread >> 12) * 0x9e3779b97f4a7c15ULL >> 60) % STRIPES;
	int *inside = &stripes[lt_thread.stripe - 1].inside;
	for (unsigned round = 0;; round++) {
		lt_add_seq(inside, 1); /* pairs with lt_gate_close */
		if (lt_likely(!lt_load_seq(&closed)) || lt_thread.gate)
			break;
		lt_sub_release(inside, 1);
		nap(round);
	}
	lt_thread.gate++;
}

void lt_gate_leave(void)
{
	lt_thread.gate--;
	lt_sub_release(&stripes[lt_thread.stripe - 1].inside, 1); /* pairs with the loads in lt_gate_close */
}

bool lt_gate_close(void)
{
	lt_store_seq(&closed, 1); /* pairs with lt_gate_enter */
	int64_t deadline = lt_sys_clock(CLOCK_MONOTONIC) + CLOSE_TIMEOUT_NS;
	for (unsigned round = 0;; round++) {
		int sum = 0;
		for (unsigned i = 0; i < STRIPES; i++)
			sum += lt_load_seq(&stripes[i].inside);
		if (sum <= (int)lt_thread.gate)
			return true;
		if (lt_sys_clock(CLOCK_MONOTONIC) > deadline)
			return false;
		nap(round);
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
	closed = 0;
}
