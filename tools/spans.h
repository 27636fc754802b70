/* SPDX-License-Identifier: MIT
 *
 * When a process was recorded, where recording was switched on and off: its record says for how long, its events say when.
 */
#ifndef LT_SPANS_H
#define LT_SPANS_H

#include "merge.h"

struct lt_span {
	int64_t from_ns, to_ns; /* to_ns 0: recording is still on */
};

/* Of how much of its life it was recorded, ns, as far as that is known; -1: of all of it. */
int64_t lt_spans_recorded(const struct lt_process *process);

/* The spans of a process that was not recorded all the time, in order, to be freed; their number is *count. NULL where there are
 * none, or (*count is not 0) where events are missing and they would not add up to what was recorded. All must be loaded. */
struct lt_span *lt_spans_make(const struct lt_merge *merge, uint32_t process, size_t *count);

#endif
