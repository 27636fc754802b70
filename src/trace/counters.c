/* SPDX-License-Identifier: MIT
 *
 * The rarer part of the counters; see counters.h.
 */
#include "trace/counters.h"
#include "base/options.h"
#include "dump/blocks.h"
#include "trace/shared.h"

__attribute__((noinline, cold)) void lt_count_widen(struct leaktrace_site *site, uint32_t task)
{
	while ((task - 1) >> site->epoch_shift >= LEAKTRACE_EPOCHS) {
		for (unsigned i = 0; i < LEAKTRACE_EPOCHS; i++) {
			uint64_t b = 0, s = 0;
			if (2 * i < LEAKTRACE_EPOCHS) {
				b = site->epoch[2 * i].blocks + site->epoch[2 * i + 1].blocks;
				s = site->epoch[2 * i].bytes + site->epoch[2 * i + 1].bytes;
			}
			site->epoch[i].blocks = b;
			site->epoch[i].bytes = s;
		}
		site->epoch_shift++;
	}
}

/* `sign` 1 or -1. */
static void count_variance(struct leaktrace_site *site, uint64_t size, uint64_t weight, uint64_t sign)
{
	site->variance_blocks += sign * leaktrace_sample_variance_blocks(weight);
	site->variance_bytes += sign * leaktrace_sample_variance_bytes(size, weight, lt_options.sample);
}

void lt_count_sampled_alloc(struct leaktrace_site *site, uint64_t size, uint32_t task, bool alone)
{
	uint64_t weight = leaktrace_sample_weight(size, lt_options.sample), bytes = weight * size;
	bool locked = false;
	if (!alone)
		site = lt_site_begin(site, &locked);
	note_peak_before(site);
	site->allocations += weight;
	site->allocated_bytes += bytes;
	site->sampled++;
	count_variance(site, size, weight, 1);
	count_birth(site, task, (int64_t)weight, (int64_t)bytes);
	if (lt_count_live((int64_t)weight, (int64_t)bytes))
		note_peak(site, lt_load_relaxed(&lt_process->peak_seq));
	lt_site_end(site, locked);
}

void lt_count_inherited_free(uint32_t id, uint64_t blocks, uint64_t bytes)
{
	lt_add_relaxed(&lt_process->inherited_freed_blocks, blocks);
	lt_add_relaxed(&lt_process->inherited_freed_bytes, bytes);
	lt_blocks_inherited_free(id, blocks, bytes);
}

void lt_count_sampled_free(uint32_t id, uint64_t size, uint32_t task, bool temporary, bool alone)
{
	struct leaktrace_site *site = lt_site(id);
	uint64_t weight = leaktrace_sample_weight(size, lt_options.sample), bytes = weight * size;
	if (!site) {
		lt_count_inherited_free(id, weight, bytes);
		return;
	}
	bool locked = false;
	if (!alone)
		site = lt_site_begin(site, &locked);
	note_peak_before(site);
	site->frees += weight;
	site->freed_bytes += bytes;
	site->temporary += temporary ? weight : 0;
	count_variance(site, size, weight, (uint64_t)-1);
	count_birth(site, task, -(int64_t)weight, -(int64_t)bytes);
	lt_count_live(-(int64_t)weight, -(int64_t)bytes);
	lt_site_end(site, locked);
}
