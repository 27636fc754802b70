/* SPDX-License-Identifier: MIT
 *
 * Growth per task, from the live blocks that a site keeps by epoch of birth (dump-format.h).
 *
 * A leak adds the same in every epoch; start-up memory lies in startup_*. What a worker sets up once (lazy loading, caches,
 * first use of a library) mostly lies in the first epoch, and R's byte compiler, which comes in at the second call of a
 * function, makes another such step later on. So of the epochs that are complete the first is left out if there are at least
 * FEW of them, and the largest of the rest if there are more: what grows steadily stays exact, a single step is no growth.
 * (Turned down: the mean over all, which one step of 2 MB ranks first; the median, which is 0 for what leaks now and then.)
 * Of samples the largest epoch is mostly the one that chance favoured: without it the rest would come out too low. So there it
 * is left out only if it is larger than chance makes it.
 * With no complete epoch all tasks count. The epoch of the task in progress never counts: its blocks have had no time to be
 * freed.
 */
#include "growth.h"

#define FEW 3
#define SURE 4 /* standard errors, and blocks, by which the largest epoch of a sampled process is more than chance */

uint64_t lt_growth_tasks(const struct leaktrace_process *process)
{
	/* A forked worker without a task of its own is one task from fork to its result. */
	if (process->flags & LEAKTRACE_PROCESS_FORK_TASK)
		return process->tasks ? 1 : 0;
	return process->tasks;
}

/* Adds survivors, with their share of what is uncertain of the site's live blocks. */
static void add(struct lt_growth *growth, const struct leaktrace_site *site, const struct leaktrace_process *process,
		uint64_t blocks, uint64_t bytes)
{
	uint64_t sample_bytes = lt_sample_bytes(process);

	growth->blocks += blocks;
	growth->bytes += bytes;
	if (sample_bytes) {
		const struct lt_estimate live = lt_estimate_site(site, sample_bytes);
		struct lt_spread share = lt_spread_share(&live.spread, blocks, live.blocks);

		growth->blocks_variance = lt_variance_add(growth->blocks_variance, share.blocks);
		share = lt_spread_share(&live.spread, bytes, live.bytes);
		growth->bytes_variance = lt_variance_add(growth->bytes_variance, share.bytes);
	}
}

/* Whether `largest` of `epochs` epochs that hold `bytes` may be so by chance: if a recorded block stands for so many bytes as
 * it does on average, the variance of what an epoch holds is that times its bytes. */
static bool by_chance(const struct leaktrace_site *site, const struct leaktrace_process *process, uint64_t largest, uint64_t bytes,
		      uint64_t epochs)
{
	const struct lt_estimate live = lt_estimate_site(site, lt_sample_bytes(process));
	double block, mean;

	if (!live.spread.bytes || !live.bytes || epochs < 2)
		return false;
	block = (double)live.spread.bytes / (double)live.bytes;
	mean = (double)(bytes - largest) / (double)(epochs - 1);
	return (double)largest <= mean + SURE * (sqrt(mean * block) + block);
}

void lt_growth_add(struct lt_growth *growth, const struct leaktrace_site *site, const struct leaktrace_process *process,
		   int again)
{
	uint64_t tasks = lt_growth_tasks(process), width, complete, first, largest, left_out, blocks = 0, bytes = 0;

	if (!tasks)
		return;
	if (!again)
		growth->all_tasks += tasks;
	if (process->flags & LEAKTRACE_PROCESS_FORK_TASK) {
		add(growth, site, process, site->startup_blocks, site->startup_bytes);
		growth->tasks += again ? 0 : 1;
		return;
	}
	width = site->epoch_shift < 63 ? UINT64_C(1) << site->epoch_shift : UINT64_MAX;
	complete = tasks / width < LEAKTRACE_EPOCHS ? tasks / width : LEAKTRACE_EPOCHS;
	if (!complete) {
		/* All tasks lie in the first epoch, which is still open. */
		add(growth, site, process, site->epoch[0].blocks, site->epoch[0].bytes);
		growth->tasks += again ? 0 : tasks;
		return;
	}
	first = complete >= FEW ? 1 : 0;
	largest = first;
	for (uint64_t e = first; e < complete; e++) {
		blocks += site->epoch[e].blocks;
		bytes += site->epoch[e].bytes;
		if (site->epoch[e].bytes > site->epoch[largest].bytes)
			largest = e;
	}
	left_out = first;
	if (complete > FEW && !by_chance(site, process, site->epoch[largest].bytes, bytes, complete - first)) {
		blocks -= site->epoch[largest].blocks;
		bytes -= site->epoch[largest].bytes;
		left_out++;
	}
	add(growth, site, process, blocks, bytes);
	growth->tasks += again ? 0 : (complete - left_out) * width;
}
