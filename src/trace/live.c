/* SPDX-License-Identifier: MIT
 *
 * 64 shards, each an open-addressing hash of 24-byte entries with linear probing, at most half full, deletion by shifting
 * back; a shard's spin lock (rank 3) is on its own cache line. A shard grows by itself, so the longest pause is the copy of
 * one 64th of the table. Turned down for now: a shadow of the address space (three times cheaper, but 200 to 500 bytes per
 * block where live blocks are sparse).
 *
 * Failure: when a shard can't grow it fills up to 7/8; beyond, blocks are not tracked (the caller counts them).
 */
#include "trace/live.h"
#include "base/arena.h"
#include "base/lock.h"
#include <string.h>

#define SHARDS 64
#define FIRST_ENTRIES 256
#define PATIENT_NS 200000000
#define IMPATIENT_NS 5000000

struct shard {
	_Alignas(64) struct lt_lock lock;
	uint32_t shift; /* entries are 1 << (64 - shift) */
	uint64_t used, mask;
	struct lt_block *entries;
};

static struct shard shards[SHARDS];

static inline uint64_t hash_of(uintptr_t address)
{
	return (address >> 4) * 0x9e3779b97f4a7c15ULL;
}

static inline struct shard *shard_of(uint64_t hash)
{
	return &shards[hash >> 58];
}

static inline uint64_t slot_of(const struct shard *shard, uint64_t hash)
{
	return (hash << 6) >> shard->shift;
}

int lt_live_init(void)
{
	struct lt_block *all = lt_map(SHARDS * FIRST_ENTRIES * sizeof *all);
	if (!all)
		return -ENOMEM;
	for (unsigned i = 0; i < SHARDS; i++) {
		shards[i].entries = all + (size_t)i * FIRST_ENTRIES;
		shards[i].mask = FIRST_ENTRIES - 1;
		shards[i].shift = 64 - 8;
	}
	return 0;
}

static void place(struct shard *shard, const struct lt_block *block)
{
	uint64_t i = slot_of(shard, hash_of(block->address));
	while (shard->entries[i].address)
		i = (i + 1) & shard->mask;
	shard->entries[i] = *block;
	shard->used++;
}

static int grow(struct shard *shard)
{
	struct lt_block *old = shard->entries;
	uint64_t n = shard->mask + 1;
	struct lt_block *entries = lt_map(2 * n * sizeof *entries);
	if (!entries)
		return -ENOMEM;
	shard->entries = entries;
	shard->mask = 2 * n - 1;
	shard->shift--;
	shard->used = 0;
	for (uint64_t i = 0; i < n; i++)
		if (old[i].address)
			place(shard, &old[i]);
	if (n > FIRST_ENTRIES) /* the first ones share one mapping */
		lt_unmap(old, n * sizeof *old);
	return 0;
}

int lt_live_insert(const struct lt_block *block, struct lt_block *old)
{
	uint64_t hash = hash_of(block->address);
	struct shard *shard = shard_of(hash);
	int error = 0;
	old->address = 0;
	lt_lock(&shard->lock);
	uint64_t i = slot_of(shard, hash);
	for (; shard->entries[i].address; i = (i + 1) & shard->mask)
		if (shard->entries[i].address == block->address) {
			*old = shard->entries[i];
			shard->entries[i] = *block;
			goto out;
		}
	if (shard->used * 2 > shard->mask) {
		error = grow(shard);
		if (error && shard->used * 8 > shard->mask * 7)
			goto out;
		error = 0;
		place(shard, block);
	} else {
		shard->entries[i] = *block;
		shard->used++;
	}
out:
	lt_unlock(&shard->lock);
	return error;
}

bool lt_live_remove(uintptr_t address, struct lt_block *block)
{
	uint64_t hash = hash_of(address);
	struct shard *shard = shard_of(hash);
	bool found = false;
	lt_lock(&shard->lock);
	struct lt_block *entries = shard->entries;
	uint64_t i = slot_of(shard, hash);
	for (; entries[i].address; i = (i + 1) & shard->mask) {
		if (entries[i].address != address)
			continue;
		*block = entries[i];
		found = true;
		/* Close the gap: move up each later entry of the run whose home slot isn't behind the gap. */
		uint64_t gap = i;
		for (uint64_t j = (i + 1) & shard->mask; entries[j].address; j = (j + 1) & shard->mask) {
			uint64_t home = slot_of(shard, hash_of(entries[j].address));
			if (((j - home) & shard->mask) >= ((j - gap) & shard->mask)) {
				entries[gap] = entries[j];
				gap = j;
			}
		}
		entries[gap].address = 0;
		shard->used--;
		break;
	}
	lt_unlock(&shard->lock);
	return found;
}

unsigned lt_live_visit(bool patient, bool (*visit)(const struct lt_block *block, void *arg), void *arg)
{
	int64_t deadline = lt_sys_clock(CLOCK_MONOTONIC) + (patient ? PATIENT_NS : IMPATIENT_NS);
	unsigned skipped = 0;
	bool more = true;
	for (unsigned s = 0; s < SHARDS && more; s++) {
		struct shard *shard = &shards[s];
		if (lt_lock_until(&shard->lock, deadline)) {
			skipped += (unsigned)lt_load_relaxed(&shard->used);
			continue;
		}
		for (uint64_t i = 0; i <= shard->mask && more; i++)
			if (shard->entries[i].address)
				more = visit(&shard->entries[i], arg);
		lt_unlock(&shard->lock);
	}
	return skipped;
}

uint64_t lt_live_count(void)
{
	uint64_t count = 0;
	for (unsigned s = 0; s < SHARDS; s++)
		count += lt_load_relaxed(&shards[s].used);
	return count;
}

unsigned lt_live_fork_child(void)
{
	unsigned lost = 0;
	for (unsigned s = 0; s < SHARDS; s++) {
		struct shard *shard = &shards[s];
		if (shard->lock.held) {
			/* It may have been growing: what `entries` and `mask` are just now fits together in its first part only. */
			memset(shard->entries, 0, FIRST_ENTRIES * sizeof *shard->entries);
			shard->mask = FIRST_ENTRIES - 1;
			shard->shift = 64 - 8;
			shard->used = 0;
			shard->lock.held = 0;
			lost++;
		}
	}
	return lost;
}
