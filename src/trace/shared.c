/* SPDX-License-Identifier: MIT
 *
 * The rarer part of what one of several threads does; see shared.h.
 *
 * Its counts of live blocks are brought in by its own thread, and by any other that needs the process's figures at once. `settled`
 * is moved on to what the thread has counted by a compare-and-swap, and the difference belongs to whoever did it. What the
 * thread has counted is the sum of several words, which it changes when room is made again: `version` is odd meanwhile. Others try
 * again then, for a while; what they can't read, they leave out.
 */
#include "trace/shared.h"
#include "base/arena.h"
#include "process/process.h"

#define ROOM (INT64_C(8192) << 24)
#define ENOUGH_BYTES 8192
#define ENOUGH_BLOCKS 64
#define LARGE (UINT64_C(1) << 32) /* not through lt_slot.allocations or frees */
#define SHARE_NS 1000000
#define READS 1000

static bool sites_shared; /* no records are one thread's any more */

void lt_count_begin(void)
{
	sites_shared = false;
	for (uint32_t i = 0; i < LT_SLOTS; i++) {
		struct lt_slot *slot = &lt_slots[i];
		slot->sites = i <= LT_SITES_OWN ? i : 0;
		slot->stripe = i && i <= LT_SITES_OWN ? i - 1 : LT_SITES_OWN + i % LT_SITES_SHARED;
		slot->allocations = slot->frees = slot->allocations_room = slot->frees_room = slot->counted = slot->settled = 0;
		slot->version = 0;
	}
}

/* Blocks and bytes in one word: blocks * 2^48 + bytes. */
static int64_t pack(int64_t blocks, int64_t bytes)
{
	return (int64_t)((uint64_t)blocks << 48) + bytes;
}

static int64_t bytes_in(int64_t packed)
{
	return (int64_t)((uint64_t)packed << 16) >> 16;
}

static int64_t blocks_in(int64_t packed)
{
	return (packed - bytes_in(packed)) >> 48;
}

/* The same of a sum of lt_count_weight(). */
static int64_t packed(int64_t weights)
{
	int64_t blocks = weights & 0xffffff;
	return pack(blocks, (weights >> 24) - 127 * blocks);
}

static int64_t count_of(const struct lt_slot *slot)
{
	return lt_load_relaxed(&slot->counted) + packed(lt_load_relaxed(&slot->allocations_room) - lt_load_relaxed(&slot->allocations)) -
	       packed(lt_load_relaxed(&slot->frees_room) - lt_load_relaxed(&slot->frees));
}

static bool read_count(const struct lt_slot *slot, int64_t *count)
{
	for (unsigned i = 0; i < READS; i++) {
		uint32_t version = lt_load_acquire(&slot->version); /* pairs with lt_count_come_in */
		*count = count_of(slot);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (!(version & 1) && lt_load_relaxed(&slot->version) == version)
			return true;
		if (version & 1)
			lt_sys_wait(i);
	}
	return false;
}

bool lt_count_live(int64_t blocks, int64_t bytes)
{
	struct leaktrace_process *process = lt_process;
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

static bool settle(struct lt_slot *slot, int64_t count)
{
	int64_t settled = lt_load_relaxed(&slot->settled);
	if (settled == count || !__atomic_compare_exchange_n(&slot->settled, &settled, count, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		return false; /* somebody else does it */
	return lt_count_live(blocks_in(count - settled), bytes_in(count - settled));
}

__attribute__((noinline)) bool lt_count_come_in(struct lt_slot *slot)
{
	int64_t count = count_of(slot), lag = count - lt_load_relaxed(&slot->settled);
	lt_store_relaxed(&slot->version, slot->version + 1);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	lt_store_relaxed(&slot->counted, count);
	lt_store_relaxed(&slot->allocations, ROOM);
	lt_store_relaxed(&slot->allocations_room, ROOM);
	lt_store_relaxed(&slot->frees, ROOM);
	lt_store_relaxed(&slot->frees_room, ROOM);
	lt_store_release(&slot->version, slot->version + 1); /* pairs with read_count */
	int64_t bytes = bytes_in(lag), blocks = blocks_in(lag);
	if (bytes < ENOUGH_BYTES && bytes > -ENOUGH_BYTES && blocks < ENOUGH_BLOCKS && blocks > -ENOUGH_BLOCKS)
		return false;
	return settle(slot, count);
}

void lt_count_settle(void)
{
	int64_t count;
	for (uint32_t i = 1; i < LT_SLOTS_OWN; i++)
		if (read_count(&lt_slots[i], &count))
			settle(&lt_slots[i], count);
}

void lt_count_pending(int64_t *blocks, int64_t *bytes)
{
	int64_t count;
	*blocks = *bytes = 0;
	for (uint32_t i = 1; i < LT_SLOTS_OWN; i++)
		if (read_count(&lt_slots[i], &count)) {
			*blocks += blocks_in(count - lt_load_relaxed(&lt_slots[i].settled));
			*bytes += bytes_in(count - lt_load_relaxed(&lt_slots[i].settled));
		}
}

/* From inside. Where a thread can't be waited for, the records stay whose they are, and a count in one of them may be lost: this thread
 * is going to change it all the same. */
static __attribute__((noinline, cold)) void share_sites(void)
{
	if (lt_load_relaxed(&sites_shared) || !lt_fork_try_stop_threads(SHARE_NS))
		return;
	for (uint32_t i = 0; i < LT_SLOTS; i++)
		lt_slots[i].sites = 0;
	sites_shared = true;
	lt_fork_resume_threads();
}

uint32_t lt_site_owner(uint32_t stripe)
{
	return stripe < LT_SITES_OWN && !lt_load_relaxed(&sites_shared) ? stripe + 1 : LT_SITE_OF_ALL;
}

struct leaktrace_site *lt_site_begin(struct leaktrace_site *site, bool *locked)
{
	uint32_t mine = lt_slot_of_thread()->sites;
	if (site->process != mine && site->process != LT_SITE_OF_ALL && !lt_load_relaxed(&sites_shared)) {
		uint32_t id = lt_intern_site(site->native, site->r, lt_slot_of_thread()->stripe, site->flags & ~(uint32_t)LEAKTRACE_SITE_BUSY);
		struct leaktrace_site *own = id ? lt_site(id) : NULL;
		if (lt_likely(own != NULL))
			site = own;
		else
			share_sites();
	}
	*locked = site->process != mine;
	if (lt_likely(!*locked))
		return site;
	for (unsigned round = 0; __atomic_fetch_or(&site->flags, LEAKTRACE_SITE_BUSY, __ATOMIC_ACQUIRE) & LEAKTRACE_SITE_BUSY;) /* pairs with lt_site_end */
		lt_sys_wait(round++);
	return site;
}

/* False: there is no slot that can take it. */
static bool count_in_slot(int64_t *room, uint64_t size)
{
	if (lt_unlikely(!lt_slot_is_own(lt_thread.slot)) || lt_unlikely(size >= LARGE))
		return false;
	*room -= lt_count_weight(size);
	return true;
}

void lt_count_alloc_shared(struct leaktrace_site *site, uint64_t size, uint32_t task)
{
	struct lt_slot *slot = lt_thread.slot;
	bool locked, peak = false;
	site = lt_site_begin(site, &locked);
	note_peak_before(site);
	site->allocated_bytes += size;
	site->allocations++;
	count_birth(site, task, 1, (int64_t)size);
	if (lt_unlikely(!count_in_slot(&slot->allocations, size)))
		peak = lt_count_live(1, (int64_t)size);
	else if (slot->allocations < 0)
		peak = lt_count_come_in(slot);
	if (peak)
		note_peak(site, lt_load_relaxed(&lt_process->peak_seq));
	lt_site_end(site, locked);
}

void lt_count_free_shared(struct leaktrace_site *site, uint64_t size, uint32_t task, bool temporary)
{
	struct lt_slot *slot = lt_thread.slot;
	bool locked;
	site = lt_site_begin(site, &locked);
	note_peak_before(site);
	site->frees++;
	site->freed_bytes += size;
	site->temporary += temporary;
	count_birth(site, task, -1, -(int64_t)size);
	lt_site_end(site, locked);
	if (lt_unlikely(!count_in_slot(&slot->frees, size)))
		lt_count_live(-1, -(int64_t)size);
	else if (slot->frees < 0)
		lt_count_come_in(slot);
}

__attribute__((noinline)) void *lt_shared_find_site(size_t size, void *block)
{
	const uintptr_t *hook = __builtin_frame_address(0);
	struct lt_slot *slot = lt_thread.slot;
	uintptr_t veiled = lt_veiled(block); /* as there */
	struct leaktrace_site *site = lt_recording_other_site(slot->scratch, size, hook, slot->stripe);
	__asm__ volatile("" : "+r"(veiled) : : "memory");
	block = (void *)~veiled;
	if (lt_unlikely(!site) || lt_unlikely(!lt_shared_put(block, size, site)))
		lt_record_insert(site, block, size);
	else if (lt_unlikely(!count_alloc_own(slot, site, size, lt_task_current())))
		lt_count_alloc_shared(site, size, lt_task_current());
	else if (lt_unlikely(slot->allocations < 0) && lt_count_come_in(slot))
		note_peak(site, lt_load_relaxed(&lt_process->peak_seq));
	return lt_shared_end(slot, block);
}

__attribute__((noinline)) void *lt_shared_insert(size_t size, void *block, struct leaktrace_site *site)
{
	lt_record_insert(site, block, size);
	return lt_shared_end(lt_thread.slot, block);
}

__attribute__((noinline)) void *lt_shared_count(size_t size, void *block, struct leaktrace_site *site)
{
	lt_count_alloc_shared(site, size, lt_task_current());
	return lt_shared_end(lt_thread.slot, block);
}

__attribute__((noinline)) void *lt_shared_come_in(size_t size, void *block, struct leaktrace_site *site)
{
	if (lt_count_come_in(lt_thread.slot))
		note_peak(site, lt_load_relaxed(&lt_process->peak_seq));
	return lt_shared_end(lt_thread.slot, block);
}

void lt_shared_count_free(const void *block, uint64_t key, uint64_t value)
{
	bool temporary = lt_thread.last_block == lt_veiled(block);
	if (temporary)
		lt_thread.last_block = 0;
	count_free(lt_live_site(value), lt_live_size(value), lt_live_task(key, value), temporary, false);
}
