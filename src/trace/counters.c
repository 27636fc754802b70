/* SPDX-License-Identifier: MIT
 *
 * The rarer part of the counters; see counters.h.
 */
#include "trace/counters.h"
#include "base/options.h"
#include "dump/blocks.h"

#define PENDING_BYTES 4096
#define PENDING_BLOCKS 32

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

/* Adds to the process's counters what a stripe has, or what is too much for it. True: that made a new peak. */
static bool count_shared(struct leaktrace_process *process, int64_t blocks, int64_t bytes)
{
	lt_add_relaxed(&process->live_blocks, (uint64_t)blocks);
	uint64_t live = lt_add_relaxed(&process->live_bytes, (uint64_t)bytes);
	uint64_t peak = lt_load_relaxed(&process->peak_live_bytes);
	while (bytes > 0 && live > peak)
		if (__atomic_compare_exchange_n(&process->peak_live_bytes, &peak, live, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
			lt_add_relaxed(&process->peak_seq, 1);
			return true;
		}
	return false;
}

static inline int64_t bytes_in(int64_t pending)
{
	return (int64_t)((uint64_t)pending << 16) >> 16;
}

static inline int64_t blocks_in(int64_t pending)
{
	return (pending - bytes_in(pending)) >> 48;
}

static bool count_pending(struct leaktrace_process *process, int64_t pending)
{
	return count_shared(process, blocks_in(pending), bytes_in(pending));
}

/* For one of several threads: its stripe keeps up to PENDING_* back. In one word: blocks * 2^48 + bytes. */
bool lt_count_striped(int64_t blocks, int64_t bytes)
{
	struct lt_stripe *stripe = &lt_stripes[lt_thread.stripe - 1];
	if (lt_unlikely(bytes >= PENDING_BYTES || bytes <= -PENDING_BYTES))
		return count_shared(lt_process, blocks, bytes);
	int64_t pending = lt_add_relaxed(&stripe->pending, blocks * (INT64_C(1) << 48) + bytes);
	int64_t sum = bytes_in(pending), count = blocks_in(pending);
	if (lt_likely(sum < PENDING_BYTES && sum > -PENDING_BYTES && count < PENDING_BLOCKS && count > -PENDING_BLOCKS))
		return false;
	return count_pending(lt_process, __atomic_exchange_n(&stripe->pending, 0, __ATOMIC_RELAXED));
}

void lt_count_pending(int64_t *blocks, int64_t *bytes)
{
	*blocks = *bytes = 0;
	for (unsigned i = 0; i < LT_STRIPES; i++) {
		*blocks += blocks_in(lt_load_relaxed(&lt_stripes[i].pending));
		*bytes += bytes_in(lt_load_relaxed(&lt_stripes[i].pending));
	}
}

void lt_count_settle(void)
{
	for (unsigned i = 0; i < LT_STRIPES; i++)
		if (lt_load_relaxed(&lt_stripes[i].pending))
			count_pending(lt_process, __atomic_exchange_n(&lt_stripes[i].pending, 0, __ATOMIC_RELAXED));
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
	lock_site(site, alone);
	note_peak_before(site);
	site->allocations += weight;
	site->allocated_bytes += bytes;
	site->sampled++;
	count_variance(site, size, weight, 1);
	count_birth(site, task, (int64_t)weight, (int64_t)bytes);
	if (count_shared(lt_process, (int64_t)weight, (int64_t)bytes))
		note_peak(site, lt_load_relaxed(&lt_process->peak_seq));
	unlock_site(site, alone);
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
	lock_site(site, alone);
	note_peak_before(site);
	site->frees += weight;
	site->freed_bytes += bytes;
	site->temporary += temporary ? weight : 0;
	count_variance(site, size, weight, (uint64_t)-1);
	count_birth(site, task, -(int64_t)weight, -(int64_t)bytes);
	count_shared(lt_process, -(int64_t)weight, -(int64_t)bytes);
	unlock_site(site, alone);
}
