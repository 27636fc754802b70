/* SPDX-License-Identifier: MIT
 *
 * The counters of sites and of the process, in the mapped dump. Each is right at any moment; two of them may be one operation
 * apart. The only thread there is adds to them with plain instructions, of which no signal handler sees a half. So does one of
 * several in records of its own; for others see shared.h.
 *
 * Live at the peak: process.peak_seq grows whenever live_bytes passes its highest value. A site that is about to change and
 * last changed under an older peak_seq was, at that peak, as it is now: so it notes its present figures first. If this very
 * change makes the new peak, it notes the figures after it. The reader takes the noted ones where peak_seen is the process's
 * peak_seq, the present ones elsewhere: no site is visited at a peak.
 *
 * Live by birth: 8 epochs of 2^epoch_shift tasks; when a task falls behind the last epoch, the site's pairs of epochs are added
 * up and the width doubles.
 */
#ifndef LT_COUNTERS_H
#define LT_COUNTERS_H

#include "base/sys.h"
#include "dump/dump.h"
#include "trace/gate.h"
#include "trace/intern.h"
#include "trace/live.h"

void lt_count_widen(struct leaktrace_site *site, uint32_t task);

/* Brings process.live_blocks and live_bytes up to date. Any context. */
void lt_count_settle(void);

/* By how much they lag. */
void lt_count_pending(int64_t *blocks, int64_t *bytes);

/* Room for so much more is left again; what was counted before comes in if it is much. True: it made a new peak. By the slot's thread. */
bool lt_count_come_in(struct lt_slot *slot);

/* Blocks live in the process: at once, by any thread. True: it made a new peak. */
bool lt_count_live(int64_t blocks, int64_t bytes);

/* For one of several threads: the record that it is to change in place of `site`, of the same stacks, until lt_site_end(). */
struct leaktrace_site *lt_site_begin(struct leaktrace_site *site, bool *locked);
static inline void lt_site_end(struct leaktrace_site *site, bool locked)
{
	if (locked)
		lt_store_release(&site->flags, site->flags & ~LEAKTRACE_SITE_BUSY); /* pairs with lt_site_begin */
}

/* Start, and in a fork child: nothing is counted. */
void lt_count_begin(void);

static inline void count_birth(struct leaktrace_site *site, uint32_t task, int64_t blocks, int64_t bytes)
{
	if (!task) {
		site->startup_blocks += (uint64_t)blocks;
		site->startup_bytes += (uint64_t)bytes;
		return;
	}
	uint32_t epoch = (task - 1) >> site->epoch_shift;
	if (lt_unlikely(epoch >= LEAKTRACE_EPOCHS)) {
		lt_count_widen(site, task);
		epoch = (task - 1) >> site->epoch_shift;
	}
	site->epoch[epoch].blocks += (uint64_t)blocks;
	site->epoch[epoch].bytes += (uint64_t)bytes;
}

static lt_always_inline void note_peak(struct leaktrace_site *site, uint64_t seq)
{
	site->peak_blocks = site->allocations - site->frees;
	site->peak_bytes = site->allocated_bytes - site->freed_bytes;
	site->peak_seen = seq;
}

/* The site is about to change. */
static lt_always_inline void note_peak_before(struct leaktrace_site *site)
{
	uint64_t seq = lt_load_relaxed(&lt_process->peak_seq);
	if (lt_unlikely(site->peak_seen != seq))
		note_peak(site, seq);
}

/* An allocation at a site whose record is this thread's. False: nothing was done, for the epochs must be widened first. */
static lt_always_inline bool count_alloc_at(struct leaktrace_site *site, size_t size, uint32_t task)
{
	if (lt_unlikely(task)) {
		uint32_t epoch = (task - 1) >> site->epoch_shift;
		if (lt_unlikely(epoch >= LEAKTRACE_EPOCHS))
			return false;
		site->epoch[epoch].blocks++;
		site->epoch[epoch].bytes += size;
	} else {
		site->startup_blocks++;
		site->startup_bytes += size;
	}
	note_peak_before(site);
	lt_signal_fence(); /* or gcc keeps in registers what only the rare case needs */
	site->allocations++;
	site->allocated_bytes += size;
	return true;
}

/* Likewise, a free of a block that was born there, with that key and value in the table (trace/live.h). Epochs are wide enough: they
 * were when the block was born. */
static lt_always_inline void count_free_at(struct leaktrace_site *site, uint64_t key, uint64_t value)
{
	uint64_t size = lt_live_size(value);
	note_peak_before(site);
	lt_signal_fence();
	site->frees++;
	site->freed_bytes += size;
	if (lt_unlikely(lt_live_has_task(key, value))) {
		uint32_t epoch = (lt_live_task(key, value) - 1) >> site->epoch_shift & (LEAKTRACE_EPOCHS - 1);
		site->epoch[epoch].blocks--;
		site->epoch[epoch].bytes -= size;
	} else {
		site->startup_blocks--;
		site->startup_bytes -= size;
	}
}

/* By the only thread there is. False: nothing was done, likewise. */
static lt_always_inline bool count_alloc_alone(struct leaktrace_site *site, size_t size, uint32_t task)
{
	struct leaktrace_process *process = lt_process;
	if (lt_unlikely(!count_alloc_at(site, size, task)))
		return false;
	process->live_blocks++;
	uint64_t live = process->live_bytes += size;
	if (lt_unlikely(live > process->peak_live_bytes)) {
		process->peak_live_bytes = live;
		lt_signal_fence();
		note_peak(site, ++process->peak_seq);
	}
	return true;
}

static lt_always_inline void count_free_alone(struct leaktrace_site *site, uint64_t key, uint64_t value)
{
	struct leaktrace_process *process = lt_process;
	count_free_at(site, key, value);
	process->live_blocks--;
	process->live_bytes -= lt_live_size(value);
}

/* By one of several threads, of which nobody knows whose record it is. */
void lt_count_alloc_shared(struct leaktrace_site *site, uint64_t size, uint32_t task);
void lt_count_free_shared(struct leaktrace_site *site, uint64_t size, uint32_t task, bool temporary);

/* By any thread; `alone`: lt_gate_is_alone(). */
static lt_always_inline void count_alloc(struct leaktrace_site *site, size_t size, uint32_t task, bool alone)
{
	if (lt_unlikely(!alone)) {
		lt_count_alloc_shared(site, size, task);
		return;
	}
	while (lt_unlikely(!count_alloc_alone(site, size, task)))
		lt_count_widen(site, task);
}

/* So many blocks of a site of an ancestor. */
void lt_count_inherited_free(uint32_t id, uint64_t blocks, uint64_t bytes);

static lt_always_inline void count_free(uint32_t id, uint64_t size, uint32_t task, bool temporary, bool alone)
{
	struct leaktrace_process *process = lt_process;
	struct leaktrace_site *site = lt_site(id);
	if (lt_unlikely(!site)) {
		lt_count_inherited_free(id, 1, size);
		return;
	}
	if (lt_unlikely(!alone)) {
		lt_count_free_shared(site, size, task, temporary);
		return;
	}
	note_peak_before(site);
	site->frees++;
	site->freed_bytes += size;
	site->temporary += temporary;
	count_birth(site, task, -1, -(int64_t)size);
	process->live_blocks--;
	process->live_bytes -= size;
}

/* The same of a block of a sample, which counts as many. */
void lt_count_sampled_alloc(struct leaktrace_site *site, uint64_t size, uint32_t task, bool alone);
void lt_count_sampled_free(uint32_t id, uint64_t size, uint32_t task, bool temporary, bool alone);

#endif
