/* SPDX-License-Identifier: MIT
 *
 * The table of live blocks: address -> size, site, task. The functions of the hot path are here, to be inlined; live.c has the
 * rest, and the design.
 */
#ifndef LT_LIVE_H
#define LT_LIVE_H

#include "base/atomic.h"
#include "base/lock.h"
#include "trace/gate.h"
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lt_block {
	uintptr_t address; /* 0: none */
	uint64_t size;
	uint32_t site; /* from 1 */
	uint32_t task; /* at most LT_LIVE_TASK_MAX */
};

/* key:   address / 8 << 20 | low 20 bits of task; 0: never used
 * value: size << 32 | high 9 bits of task << 23 | site; 0: freed */
struct lt_live_entry {
	uint64_t key, value;
};

#define LT_LIVE_TASK_MAX ((1u << 29) - 1)
#define LT_LIVE_SITE_MAX ((1u << 23) - 1)
#define LT_LIVE_TAIL 32 /* entries behind the last home */

/* Entries at homes from 0 to slots - 1 + 15, and a tail; the last one has no key, and ends each search. */
struct lt_live_array {
	uint64_t slots;
	uint32_t room; /* so many unused entries may be taken until it must grow */
	uint32_t reserved;
	uint64_t no_key, bound; /* like an entry before the first; 1: ends a search for freed ones */
	_Alignas(16) struct lt_live_entry entries[];
};

#define LT_LIVE_LAST (UINT64_C(1) << 23) /* value of the last entry: no site */

static_assert(offsetof(struct lt_live_array, no_key) + sizeof(struct lt_live_entry) == offsetof(struct lt_live_array, entries), "entries[-1]");

struct lt_live_shard {
	_Alignas(64) struct lt_lock lock; /* rank 3; only taken where there are other threads */
	struct lt_live_array *array;
};

#define LT_LIVE_SHARDS_LOG2 10
#define LT_LIVE_SHARDS (1u << LT_LIVE_SHARDS_LOG2)
extern LT_HIDDEN struct lt_live_shard lt_live_shards[LT_LIVE_SHARDS];
extern LT_HIDDEN uint32_t lt_live_odd_count; /* blocks that no entry can hold */

/* 0 when there is no memory for the table. Start only. */
int lt_live_init(void);

int lt_live_insert_slowly(const struct lt_block *block, struct lt_block *old);
bool lt_live_remove_odd(uintptr_t address, struct lt_block *block);

/* In a fork child, what its ancestors had: it begins with an empty table of its own, so it neither copies their pages one by one
 * nor looks through their blocks for its own. NULL: nothing. */
extern LT_HIDDEN struct lt_live_layer *lt_live_inherited;
bool lt_live_remove_inherited(uintptr_t address, struct lt_block *block);

static_assert(sizeof(struct lt_live_shard) == 64 && LT_LIVE_SHARDS == 1024, "lt_live_shard()");

/* Each 256 KiB of a heap has the next shard: address >> 18, modulo their number. */
static lt_always_inline struct lt_live_shard *lt_live_shard(uintptr_t address)
{
	return (struct lt_live_shard *)((char *)lt_live_shards + (address >> 12 & 0xffc0));
}

static lt_always_inline struct lt_live_entry *lt_live_home(struct lt_live_array *array, uintptr_t address)
{
	uint64_t spread = (uint32_t)(address >> 8) * 0x9e3779b1u;
	return (struct lt_live_entry *)((char *)array->entries + (spread * array->slots >> 32 << 4) + (address & 0xf0));
}

/* No entry holds it: it goes to a list of its own. (Sites and tasks are never too high.) */
static lt_always_inline bool lt_live_is_odd(uintptr_t address, uint64_t size)
{
	return (address & (UINT64_C(0x1ffff) << 47 | 7)) || size >> 32;
}

static lt_always_inline uint64_t lt_live_size(uint64_t value)
{
	return value >> 32;
}

static lt_always_inline uint32_t lt_live_site(uint64_t value)
{
	return (uint32_t)value & LT_LIVE_SITE_MAX;
}

static lt_always_inline uint32_t lt_live_task(uint64_t key, uint64_t value)
{
	return ((uint32_t)value >> 23) << 20 | (uint32_t)(key & 0xfffff);
}

/* Not 0. */
static lt_always_inline bool lt_live_has_task(uint64_t key, uint64_t value)
{
	return key & 0xfffff || value & 0xff800000;
}

/* The bits of a task in key and value. */
static lt_always_inline uint64_t lt_live_task_in_key(uint32_t task)
{
	return task & 0xfffff;
}

static lt_always_inline uint64_t lt_live_task_in_value(uint32_t task)
{
	return (uint64_t)(task >> 20) << 23;
}

static inline struct lt_block lt_live_unpack(const struct lt_live_entry *e)
{
	return (struct lt_block){ .address = e->key >> 20 << 3, .size = lt_live_size(e->value), .site = lt_live_site(e->value),
		                  .task = lt_live_task(e->key, e->value) };
}

/* The common cases of an insertion: the address was here before, or comes to an unused entry. False: lt_live_insert_slowly() must
 * do it. `in_key`, `in_value`: the task's bits. Inside the gate; takes a lock of rank 3 where there are other threads. */
enum lt_live_lock {
	LT_LIVE_WAIT,  /* where there are */
	LT_LIVE_ALONE, /* lt_gate_is_alone(): there are none */
	LT_LIVE_TRY,   /* false if it can't be had at once */
};
static lt_always_inline bool lt_live_lock(struct lt_live_shard *shard, enum lt_live_lock how)
{
	if (how == LT_LIVE_TRY)
		return lt_lock_at_once(&shard->lock);
	if (how == LT_LIVE_WAIT)
		lt_lock(&shard->lock);
	return true;
}

static lt_always_inline bool lt_live_put(uintptr_t address, uint64_t size, uint32_t site, uint64_t in_key, uint64_t in_value,
                                         enum lt_live_lock how)
{
	struct lt_live_shard *shard = lt_live_shard(address);
	uint64_t key = (uint64_t)address << 17 | address >> 47, found;
	bool done = true;
	if (lt_unlikely(key & 0xfffff || size >> 32)) /* lt_live_is_odd() */
		return false;
	key |= in_key;
	if (lt_unlikely(!lt_live_lock(shard, how)))
		return false;
	struct lt_live_array *array = shard->array;
	struct lt_live_entry *e = lt_live_home(array, address), *freed = NULL;
	while (lt_unlikely((found = e->key)) && (found ^ key) >> 20) {
		if (!e->value)
			freed = e;
		e++;
	}
	if (found)
		done = !e->value;
	else if (lt_unlikely(freed != NULL))
		e = freed;
	else if (lt_likely(array->room && !e->value))
		array->room--;
	else
		done = false;
	if (lt_likely(done)) {
		lt_store_relaxed(&e->key, key);
		lt_signal_fence(); /* at no moment this block's value with another's key */
		lt_store_relaxed(&e->value, size << 32 | in_value | site);
	}
	if (how != LT_LIVE_ALONE)
		lt_unlock(&shard->lock);
	return done;
}

/* Adds a block. An entry of the same address that is still there (its free was missed) is replaced and put in *old, whose
 * address is 0 otherwise. Returns 0 or -ENOMEM. Likewise. */
static inline int lt_live_insert(const struct lt_block *block, struct lt_block *old)
{
	old->address = 0;
	if (lt_likely(!lt_load_relaxed(&lt_live_odd_count)) &&
	    lt_likely(lt_live_put(block->address, block->size, block->site, lt_live_task_in_key(block->task), lt_live_task_in_value(block->task),
	                          lt_gate_is_alone() ? LT_LIVE_ALONE : LT_LIVE_WAIT)))
		return 0;
	return lt_live_insert_slowly(block, old);
}

/* Takes out a block that has an entry: its key and value. False: there is none. Likewise. */
static lt_always_inline bool lt_live_take(uintptr_t address, uint64_t *key, uint64_t *value, enum lt_live_lock how)
{
	struct lt_live_shard *shard = lt_live_shard(address);
	if (lt_unlikely(!lt_live_lock(shard, how)))
		return false;
	struct lt_live_array *array = shard->array;
	struct lt_live_entry *e = lt_live_home(array, address);
	while (((*key = e->key) ^ (uint64_t)address << 17) >> 20 && *key)
		e++;
	*value = e->value; /* no site in an unused entry */
	bool found = lt_live_site(*value);
	if (lt_likely(found)) {
		lt_store_relaxed(&e->value, 0);
		if (!e[1].key) /* the end of its run: it is no way to any other, and so may those before it be that were freed */
			do {
				lt_store_relaxed(&e->key, 0);
				array->room++;
				e--;
			} while (lt_unlikely(!e->value && e->key)); /* ends at array->bound */
	}
	if (how != LT_LIVE_ALONE)
		lt_unlock(&shard->lock);
	return found;
}

/* Takes the block out. Returns false if it was not there. Likewise. */
static inline bool lt_live_remove(uintptr_t address, struct lt_block *block)
{
	uint64_t key, value;
	if (lt_likely(!(address & 7) && lt_live_take(address, &key, &value, lt_gate_is_alone() ? LT_LIVE_ALONE : LT_LIVE_WAIT))) {
		*block = (struct lt_block){ address, lt_live_size(value), lt_live_site(value), lt_live_task(key, value) };
		return true;
	}
	if (lt_unlikely(lt_load_relaxed(&lt_live_odd_count)) && lt_live_remove_odd(address, block))
		return true;
	return lt_unlikely(lt_live_inherited != NULL) && lt_live_remove_inherited(address, block);
}

/* Calls visit for each block, shard by shard, under the shard's lock, until it returns false. For the locks of all
 * it waits 200 ms, 5 ms with `patient` false, for it may have interrupted a holder, or a holder may never go on; a shard whose
 * lock can't be had is skipped. Returns a number that the blocks in those do not exceed. */
unsigned lt_live_visit(bool patient, bool (*visit)(const struct lt_block *block, void *arg), void *arg);
/* The same, of the blocks that are not inherited. */
unsigned lt_live_visit_own(bool patient, bool (*visit)(const struct lt_block *block, void *arg), void *arg);

/* The number of blocks, by a look at all entries; and a number that they do not exceed, by a look at all shards. */
uint64_t lt_live_count(void);
uint64_t lt_live_most(void);

/* In a fork child: all locks free, all blocks inherited. A shard whose lock was held (only after a raw fork) is emptied; returns
 * their number, with no memory that of all. */
unsigned lt_live_fork_child(void);

#endif
