/* SPDX-License-Identifier: MIT
 *
 * Growth per task: how many blocks and bytes of a finished task outlive it, on average.
 */
#ifndef LT_GROWTH_H
#define LT_GROWTH_H

#include <leaktrace/dump-format.h>
#include <stdint.h>

#include "estimate.h"

/* Sums over processes: the mean is bytes / tasks. Integers, so that the order of summing does not matter. */
struct lt_growth {
	uint64_t blocks, bytes; /* survivors of the tasks looked at */
	uint64_t tasks;         /* that were looked at */
	uint64_t all_tasks;     /* that the processes completed */
	lt_variance blocks_variance, bytes_variance; /* of the survivors, where they are estimates */
};

/* Adds what one site of one process survived with. `again`: the process was counted for this site before (a module loaded
 * twice gives two stacks that are one to us): its tasks are not added a second time. */
void lt_growth_add(struct lt_growth *growth, const struct leaktrace_site *site, const struct leaktrace_process *process,
		   int again);

/* Tasks that the process completed. */
uint64_t lt_growth_tasks(const struct leaktrace_process *process);

static inline double lt_growth_bytes(const struct lt_growth *growth)
{
	return growth->tasks ? (double)growth->bytes / (double)growth->tasks : 0;
}

static inline double lt_growth_blocks(const struct lt_growth *growth)
{
	return growth->tasks ? (double)growth->blocks / (double)growth->tasks : 0;
}

/* Standard errors of these two. */
static inline double lt_growth_bytes_error(const struct lt_growth *growth)
{
	return growth->tasks ? lt_standard_error(growth->bytes_variance) / (double)growth->tasks : 0;
}

static inline double lt_growth_blocks_error(const struct lt_growth *growth)
{
	return growth->tasks ? lt_standard_error(growth->blocks_variance) / (double)growth->tasks : 0;
}

/* What the growth came to over all tasks: the measure that sites are ranked by. */
static inline double lt_growth_total(const struct lt_growth *growth)
{
	return lt_growth_bytes(growth) * (double)growth->all_tasks;
}

#endif
