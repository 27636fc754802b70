/* SPDX-License-Identifier: MIT
 *
 * The hot path of one of several threads, to be inlined into its hooks: as that of the only one (recording.h), but for the gate, the
 * locks of the live table and the counters.
 *
 * Records of sites. Each of the first threads (slots 1 to LT_SITES_OWN) has records of its own, that only it changes, and needs no
 * lock for: leaktrace_site.process is its slot's `sites`. A block that another thread frees is counted as freed in a record of that
 * one, of the same stacks. So the figures of a single record may be negative (they are numbers modulo 2^64); those of all records of
 * the same stacks together are exact, and it is these that the reader knows as a site. All other threads share LT_SITES_SHARED
 * records of each site; who changes these has their spin bit.
 *
 * Where there is no room for a record to count a free in, records of one thread end: with the gate closed all become everybody's.
 *
 * Turned down: the spin bit for each (a locked instruction more for each allocation and free, and threads that free one another's
 * blocks wait for one another); records that become everybody's one by one, when another thread first comes to one (membarrier() for
 * each, and then a wait for its owner, which may have lost its CPU).
 *
 * The process's live figures would be one cache line for all threads. So each thread keeps what it counted back, until that is some
 * 8 KiB or 64 blocks of allocations or of frees; then it brings the difference in, if it is as much. A peak is found when it comes
 * in: up to 16 KiB for each thread off.
 */
#ifndef LT_SHARED_H
#define LT_SHARED_H

#include "trace/counters.h"
#include "trace/gate.h"
#include "trace/recording.h"

#define LT_SITES_OWN 16
#define LT_SITES_SHARED (LT_SITE_STRIPES - LT_SITES_OWN)

/* A block in lt_slot.allocations and frees: (bytes + 127) << 24 | 1, so that neither many small ones nor few large ones take long
 * until they come in. */
static lt_always_inline int64_t lt_count_weight(uint64_t size)
{
	return (int64_t)(size << 24) + ((INT64_C(127) << 24) + 1);
}

/* False: nothing was done. */
static lt_always_inline bool count_alloc_own(struct lt_slot *slot, struct leaktrace_site *site, size_t size, uint32_t task)
{
	if (lt_unlikely(site->process != slot->sites) || lt_unlikely(!count_alloc_at(site, size, task)))
		return false;
	slot->allocations -= lt_count_weight(size);
	return true;
}

/* Likewise; of a block with that key and value that was taken out of the table. */
static lt_always_inline bool lt_shared_count_own_free(struct lt_slot *slot, const void *block, uint64_t key, uint64_t value)
{
	if (lt_unlikely(!lt_site_is_of_image(lt_live_site(value))))
		return false;
	struct leaktrace_site *site = lt_site_of_image(lt_live_site(value));
	if (lt_unlikely(site->process != slot->sites))
		return false;
	if (lt_unlikely(lt_thread.last_block == lt_veiled(block))) {
		lt_thread.last_block = 0;
		site->temporary++;
	}
	count_free_at(site, key, value);
	slot->frees -= lt_count_weight(lt_live_size(value));
	return true;
}

static lt_always_inline bool lt_shared_put(void *block, size_t size, const struct leaktrace_site *site)
{
	return lt_live_put((uintptr_t)block, size, site->id, lt_task.in_key, lt_task.in_value, LT_LIVE_TRY);
}

/* The stacks of a slot are its thread's alone, and emptied when it is another's. */
static lt_always_inline const struct lt_shape *lt_shared_expected(struct lt_slot *slot, const uintptr_t *hook)
{
	return lt_recording_expected(slot->scratch, hook, lt_shape_key(hook, true));
}

/* The rest of a malloc, to be jumped to from the hook (whose caller is their own), with lt_thread.depth 1 and the thread inside by
 * lt_gate_enter_own(): the site must be found; there is one, and the block has no place yet in the table; it has one and is to be
 * counted; it is counted, and that is to come in. */
void *lt_shared_find_site(size_t size, void *block);
void *lt_shared_insert(size_t size, void *block, struct leaktrace_site *site);
void *lt_shared_count(size_t size, void *block, struct leaktrace_site *site);
void *lt_shared_come_in(size_t size, void *block, struct leaktrace_site *site);

static lt_always_inline void *lt_shared_end(struct lt_slot *slot, void *block)
{
	lt_thread.last_block = lt_veiled(block); /* last_ahead and `ahead` are the same for good */
	lt_gate_leave_own(slot);
	lt_thread.depth = 0;
	return block;
}

/* For lt_shared_count_own_free(), which did nothing. */
void lt_shared_count_free(const void *block, uint64_t key, uint64_t value);

#endif
