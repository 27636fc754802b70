/* SPDX-License-Identifier: MIT
 *
 * Growth per task, from the live blocks that a site keeps by epoch of birth (dump-format.h).
 *
 * A leak adds the same in every epoch; start-up memory lies in startup_*. What a worker sets up once (lazy loading, caches,
 * first use of a library) mostly lies in the first epoch, and R's byte compiler, which comes in at the second call of a
 * function, makes another such step later on. So of the epochs that are complete the first is left out if there are at least
 * FEW of them, and the largest of the rest if there are more: what grows steadily stays exact, a single step is no growth.
 * (Turned down: the mean over all, which one step of 2 MB ranks first; the median, which is 0 for what leaks now and then.)
 * With no complete epoch all tasks count. The epoch of the task in progress never counts: its blocks have had no time to be
 * freed.
 */
#include "growth.h"

#define FEW 3

uint64_t lt_growth_tasks(const struct leaktrace_process *process)
{
	/* A forked worker without a task of its own is one task from fork to its result. */
	if (process->flags & LEAKTRACE_PROCESS_FORK_TASK)
		return process->tasks ? 1 : 0;
	return process->tasks;
}

void lt_growth_add(struct lt_growth *growth, const struct leaktrace_site *site, const struct leaktrace_process *process,
		   int again)
{
	uint64_t tasks = lt_growth_tasks(process), width, complete, first, largest, left_out;

	if (!tasks)
		return;
	if (!again)
		growth->all_tasks += tasks;
	if (process->flags & LEAKTRACE_PROCESS_FORK_TASK) {
		growth->blocks += site->startup_blocks;
		growth->bytes += site->startup_bytes;
		growth->tasks += again ? 0 : 1;
		return;
	}
	width = site->epoch_shift < 63 ? UINT64_C(1) << site->epoch_shift : UINT64_MAX;
	complete = tasks / width < LEAKTRACE_EPOCHS ? tasks / width : LEAKTRACE_EPOCHS;
	if (!complete) {
		/* All tasks lie in the first epoch, which is still open. */
		growth->blocks += site->epoch[0].blocks;
		growth->bytes += site->epoch[0].bytes;
		growth->tasks += again ? 0 : tasks;
		return;
	}
	first = complete >= FEW ? 1 : 0;
	largest = first;
	for (uint64_t e = first; e < complete; e++) {
		growth->blocks += site->epoch[e].blocks;
		growth->bytes += site->epoch[e].bytes;
		if (site->epoch[e].bytes > site->epoch[largest].bytes)
			largest = e;
	}
	left_out = first;
	if (complete > FEW) {
		growth->blocks -= site->epoch[largest].blocks;
		growth->bytes -= site->epoch[largest].bytes;
		left_out++;
	}
	growth->tasks += again ? 0 : (complete - left_out) * width;
}
