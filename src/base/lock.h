/* SPDX-License-Identifier: MIT
 *
 * A spin lock for short sections that call nothing. Ranks, lowest taken first (docs/ARCHITECTURE.md has the story):
 *   1 modules, 2 intern, 3 live-table shard, 4 dump growth.
 * A thread that holds a lock may take only locks of a higher rank. After a fork the child resets all of them
 * (lt_fork_child): thanks to the gate nobody held one, but for a child made by a raw system call.
 *
 * Whoever may have interrupted the holder (a signal handler that exits), or must not wait for ever (the end of a process, whose
 * other threads may be parked in signal handlers), waits until a deadline.
 */
#ifndef LT_LOCK_H
#define LT_LOCK_H

#include "base/atomic.h"
#include "base/sys.h"
#include <stdbool.h>

#define LT_LOCK_PATIENCE_NS 200000000

struct lt_lock {
	int held; /* LT_HELD or 0 */
};
#define LT_HELD 2

/* `deadline`: of CLOCK_MONOTONIC, in ns. Returns 0 when taken, -EBUSY. */
static inline int lt_lock_until(struct lt_lock *lock, int64_t deadline)
{
	for (unsigned round = 0;; round++) {
		if (!lt_load_relaxed(&lock->held) && !lt_exchange_acquire(&lock->held, LT_HELD)) /* pairs with lt_unlock */
			return 0;
		if (!(round & 15) && lt_sys_clock(CLOCK_MONOTONIC) > deadline)
			return -EBUSY;
		lt_sys_wait(round);
	}
}

/* False: somebody else has it. (x86 sets a bit and tells what it was by one instruction, if it is not the lowest; the exchange takes
 * two more to ask.) */
static lt_always_inline bool lt_lock_at_once(struct lt_lock *lock)
{
	return lt_likely(!(__atomic_fetch_or(&lock->held, LT_HELD, __ATOMIC_ACQUIRE) & LT_HELD)); /* pairs with lt_unlock */
}

static inline void lt_lock(struct lt_lock *lock)
{
	for (unsigned round = 0; lt_exchange_acquire(&lock->held, LT_HELD);) /* pairs with lt_unlock */
		while (lt_load_relaxed(&lock->held))
			lt_sys_wait(round++);
}

static lt_always_inline void lt_unlock(struct lt_lock *lock)
{
	lt_store_release(&lock->held, 0); /* pairs with the acquiring exchanges above */
}

#endif
