/* SPDX-License-Identifier: MIT
 *
 * Sampling (option sample): which allocations are recorded, and which frees are of recorded blocks. What a recorded block counts
 * for is in leaktrace/dump-format.h.
 */
#ifndef LT_SAMPLE_H
#define LT_SAMPLE_H

#include "base/atomic.h"
#include "base/options.h"
#include "trace/thread.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LT_SAMPLE_SLOTS (1u << 18)
extern LT_HIDDEN uint8_t lt_sample_slots[LT_SAMPLE_SLOTS];

static inline uint8_t *lt_sample_slot(uintptr_t address)
{
	return &lt_sample_slots[address >> 4 & (LT_SAMPLE_SLOTS - 1)];
}

/* False: the block was not recorded, or sampling is on and it was not in the sample. Any context. */
static inline bool lt_sample_may_have(const void *block)
{
	return lt_load_relaxed(lt_sample_slot((uintptr_t)block)) || !lt_options.sample;
}

/* Counts an allocation of `size` bytes, if it neither ends the thread's stretch nor is of 0 bytes: else false. */
static inline bool lt_sample_passes(size_t size)
{
	uint64_t ahead = lt_thread.ahead;
	if (lt_unlikely(size - 1 >= ahead))
		return false;
	lt_thread.ahead = ahead - size;
	return true;
}

/* For an allocation that the thread has not counted: counts it. True: it is in the sample. Any context. */
bool lt_sample_take(size_t size);

/* The block was recorded, or is no more. */
void lt_sample_mark(uintptr_t address);
void lt_sample_unmark(uintptr_t address);

/* In a fork child: or it would draw the same numbers as its parent and all its siblings. */
void lt_sample_fork_child(void);

#endif
