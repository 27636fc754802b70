/* SPDX-License-Identifier: MIT
 *
 * An open-addressing hash of 16-byte entries in 1024 shards. A shard has all blocks of some regions of 256 KiB, so two threads,
 * whose allocator gives them regions of their own, rarely meet in one; in a shard the blocks of 256 bytes are neighbours, as
 * they are in the program's memory. An entry whose block was freed keeps its key: the allocator will give out the same address
 * again, and finds the entry by its first compare; but those at the end of a run are emptied. Nothing is moved at a free. An
 * address that does not come again gives its entry to another on the way to the end of its run.
 *
 *     used entries (live or freed) <= 25/32 of the slots;  after growth live = 9/16 of the slots: 20 to 29 bytes per block
 *
 * A shard that is full gets a new array, of the size that its live blocks ask for: the longest pause is the copy of a shard,
 * some 10,000 entries at 10 million live blocks. Until the new array is published by one store the old one is whole: a signal
 * handler that interrupts the growth may fork, and its child sees a table.
 *
 * Measured and turned down (instructions for an insertion and a removal, tests/bench/churn.c; bytes per live block):
 *   64 shards of 24-byte entries with linear probing, half full, deletion by shifting back: 174, 48 to 96 bytes;
 *   a shadow of the address space, 8 bytes for each 32: 65, but 200 to 500 bytes where live blocks are sparse (design of a
 *   prototype); a bucket per page of memory with splits (extendible hashing): no cheaper, and a freed block's bucket must stay.
 *
 * What no entry can hold (4 GiB and more, addresses that are not multiples of 8 or beyond 2^47) goes to a list that is searched
 * from its start.
 *
 * Failure: a shard that can't grow fills up to its tail; beyond, blocks are not tracked (the caller counts them).
 */
#include "trace/live.h"
#include "base/arena.h"
#include "trace/record.h"
#include <string.h>

#define FIRST_SLOTS 92 /* with the tail and the header a bit less than 2 KiB */
#define FEW 128 /* blocks; so many in 256 KiB have little to do with its memory, and may well have more of ours */
#define SECOND_BYTES 4096
#define SPARES 4
#define GROWTHS 16 /* at a time, for a block whose run reaches the end of the array */
#define PATIENT_NS 200000000
#define IMPATIENT_NS 5000000

struct lt_live_shard lt_live_shards[LT_LIVE_SHARDS];
uint32_t lt_live_odd_count;
struct lt_live_layer *lt_live_inherited;

/* Each shard's at first: no room. */
static struct {
	struct lt_live_array array;
	struct lt_live_entry entries[1 + 15 + 1];
} nothing = { .array = { .slots = 1, .bound = 1 } }; /* no last entry: there is no room before it */

static struct {
	struct lt_lock lock; /* rank 3 */
	uint32_t used, size;
	struct lt_block *blocks; /* address 0: free */
} odd;

struct lt_live_layer {
	struct lt_live_layer *outer;
	uint32_t odd_used;
	struct lt_block *odd;
	struct lt_live_array *arrays[LT_LIVE_SHARDS]; /* under the lock of the shard of today; NULL: empty */
};

int lt_live_init(void)
{
	for (unsigned i = 0; i < LT_LIVE_SHARDS; i++)
		lt_live_shards[i].array = &nothing.array;
	return 0;
}

/* Entries but for the last. */
static uint32_t size_of(const struct lt_live_array *array)
{
	return array == &nothing.array ? 16 : (uint32_t)array->slots + LT_LIVE_TAIL - 1;
}

static uint32_t room_of(const struct lt_live_array *array)
{
	return (uint32_t)(array->slots <= 8 * FEW ? array->slots / 2 : array->slots * 25 / 32);
}

static size_t bytes_of(uint64_t slots)
{
	return sizeof(struct lt_live_array) + (slots + LT_LIVE_TAIL) * sizeof(struct lt_live_entry);
}

/* Where a shard's growth finds its next array, when it is only the freed entries that are too many: a system call less. [0]:
 * the first ones, which are the arena's, and it takes nothing back; [1]: mappings. */
static struct lt_live_array *spares[2][SPARES];

static void put_spare(struct lt_live_array *array)
{
	bool mapped = array->slots > FIRST_SLOTS;
	for (unsigned i = 0; i < SPARES; i++) {
		struct lt_live_array *none = NULL;
		if (!lt_load_relaxed(&spares[mapped][i]) &&
		    __atomic_compare_exchange_n(&spares[mapped][i], &none, array, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
			return; /* pairs with take_spare */
	}
	if (mapped)
		lt_unmap(array, bytes_of(array->slots));
}

static struct lt_live_array *take_spare(bool mapped, uint32_t slots)
{
	for (unsigned i = 0; i < SPARES; i++) {
		if (!lt_load_relaxed(&spares[mapped][i]))
			continue;
		struct lt_live_array *spare = lt_exchange_acquire(&spares[mapped][i], NULL); /* pairs with put_spare */
		if (spare && spare->slots >= slots && spare->slots / 2 <= slots + FIRST_SLOTS) {
			memset(spare->entries, 0, (spare->slots + LT_LIVE_TAIL) * sizeof *spare->entries);
			return spare;
		}
		if (spare)
			put_spare(spare);
	}
	return NULL;
}

/* Room for `live` blocks and more. A shard that has outgrown its first array never has one like it again. NULL: no memory. */
static struct lt_live_array *make_array(uint32_t live, bool first)
{
	uint32_t slots = live < FEW ? 8 * live : (uint32_t)((uint64_t)live * 16 / 9);
	bool mapped = !first || slots > FIRST_SLOTS;
	size_t bytes = bytes_of(FIRST_SLOTS);
	if (mapped)
		bytes = (bytes_of(slots > FIRST_SLOTS ? slots : FIRST_SLOTS + 1) + SECOND_BYTES - 1) & ~(size_t)(SECOND_BYTES - 1);
	struct lt_live_array *array = take_spare(mapped, slots);
	if (!array) {
		array = mapped ? lt_map(bytes) : lt_arena_alloc(bytes);
		if (!array)
			return NULL;
		array->slots = (bytes - sizeof *array) / sizeof *array->entries - LT_LIVE_TAIL;
	}
	array->room = room_of(array);
	array->bound = 1;
	array->entries[size_of(array)].value = LT_LIVE_LAST;
	return array;
}

/* False: the run reaches the end. */
static bool copy(struct lt_live_array *to, const struct lt_live_array *from)
{
	for (uint32_t i = 0, n = size_of(from); i < n; i++) {
		const struct lt_live_entry *e = &from->entries[i];
		if (!e->value)
			continue;
		struct lt_live_entry *place = lt_live_home(to, e->key >> 20 << 3), *end = &to->entries[size_of(to)];
		while (place < end && place->key)
			place++;
		if (place == end)
			return false;
		*place = *e;
		to->room--;
	}
	return true;
}

/* `times`: it was done just so often, and a run still reaches the end. */
static int grow(struct lt_live_shard *shard, unsigned times)
{
	struct lt_live_array *old = shard->array, *array;
	uint32_t live = 1;
	for (uint32_t i = 0, n = size_of(old); i < n; i++)
		live += !!old->entries[i].value;
	live += times * FIRST_SLOTS;
	while ((array = make_array(live, old->slots <= FIRST_SLOTS)) && !copy(array, old)) {
		put_spare(array);
		live += live / 2 + FIRST_SLOTS; /* addresses that fall on one another: a run beyond the tail */
	}
	if (!array)
		return -ENOMEM;
	lt_store_release(&shard->array, array); /* for a signal handler that forks now */
	if (old != &nothing.array)
		put_spare(old);
	return 0;
}

/* Under the shard's lock. */
static int place(struct lt_live_shard *shard, const struct lt_block *block, struct lt_block *old)
{
	uint64_t key = (uint64_t)block->address << 17 | (block->task & 0xfffff);
	uint64_t value = block->size << 32 | (uint64_t)(block->task >> 20) << 23 | block->site;
	for (unsigned grown = 0;;) {
		struct lt_live_array *array = shard->array;
		struct lt_live_entry *e = lt_live_home(array, block->address), *end = &array->entries[size_of(array)];
		struct lt_live_entry *freed = NULL;
		while (e->key && e->key >> 20 != key >> 20) {
			if (!freed && !e->value)
				freed = e;
			e++;
		}
		if (!e->key && freed) {
			e = freed;
		} else if (!e->key && (e == end ? grown < GROWTHS : !array->room && !grown)) {
			if (grow(shard, grown) && (e == end || array == &nothing.array))
				return -ENOMEM;
			grown++;
			continue;
		} else if (!e->key) {
			if (e == end)
				return -ENOMEM;
			array->room -= array->room > 0;
		} else if (e->value) {
			*old = lt_live_unpack(e);
			lt_store_relaxed(&e->value, 0);
			lt_signal_fence();
		}
		lt_store_relaxed(&e->key, key);
		lt_signal_fence();
		lt_store_relaxed(&e->value, value);
		return 0;
	}
}

static void change_odd_count(int change)
{
	lt_add_relaxed(&lt_live_odd_count, (uint32_t)change);
	lt_record_settle();
}

static int insert_odd(const struct lt_block *block, struct lt_block *old)
{
	uint32_t i, size = odd.size ? 2 * odd.size : 4096 / sizeof *odd.blocks;
	int error = 0;
	lt_lock(&odd.lock);
	for (i = 0; i < odd.used && odd.blocks[i].address && odd.blocks[i].address != block->address; i++)
		;
	if (i == odd.size) {
		struct lt_block *blocks = lt_map(size * sizeof *blocks);
		if (!blocks) {
			error = -ENOMEM;
			goto out;
		}
		if (odd.size)
			memcpy(blocks, odd.blocks, odd.size * sizeof *blocks);
		lt_unmap(odd.blocks, odd.size * sizeof *blocks);
		odd.blocks = blocks;
		odd.size = size;
	}
	for (uint32_t j = i; j < odd.used; j++)
		if (odd.blocks[j].address == block->address) {
			*old = odd.blocks[j];
			odd.blocks[j].address = 0;
			change_odd_count(-1);
		}
	odd.blocks[i] = *block;
	if (i == odd.used)
		odd.used++;
	change_odd_count(1);
out:
	lt_unlock(&odd.lock);
	return error;
}

bool lt_live_remove_odd(uintptr_t address, struct lt_block *block)
{
	bool found = false;
	lt_lock(&odd.lock);
	for (uint32_t i = 0; i < odd.used && !found; i++)
		if (odd.blocks[i].address == address) {
			*block = odd.blocks[i];
			odd.blocks[i].address = 0;
			change_odd_count(-1);
			found = true;
		}
	lt_unlock(&odd.lock);
	return found;
}

/* A block that is odd, or that needs growth, or whose address has an entry or may be in the list of the odd. */
int lt_live_insert_slowly(const struct lt_block *block, struct lt_block *old)
{
	struct lt_live_shard *shard = lt_live_shard(block->address);
	int error = 0;
	if (lt_live_is_odd(block->address, block->size)) {
		lt_live_remove(block->address, old);
		return insert_odd(block, old);
	}
	if (lt_load_relaxed(&lt_live_odd_count))
		lt_live_remove_odd(block->address, old);
	lt_lock(&shard->lock);
	error = place(shard, block, old);
	lt_unlock(&shard->lock);
	return error;
}

static struct lt_live_entry *find(struct lt_live_array *array, uintptr_t address)
{
	struct lt_live_entry *e = lt_live_home(array, address);
	while ((e->key ^ (uint64_t)address << 17) >> 20 && e->key)
		e++;
	return e->key && e->value ? e : NULL;
}

bool lt_live_remove_inherited(uintptr_t address, struct lt_block *block)
{
	struct lt_live_shard *shard = lt_live_shard(address);
	bool found = false;
	for (struct lt_live_layer *layer = lt_live_inherited; layer && !found; layer = layer->outer) {
		struct lt_live_array *array = layer->arrays[shard - lt_live_shards];
		if (array && !(address & 7)) {
			lt_lock(&shard->lock);
			struct lt_live_entry *e = find(array, address);
			if (e) {
				*block = lt_live_unpack(e);
				lt_store_relaxed(&e->value, 0);
				found = true;
			}
			lt_unlock(&shard->lock);
		}
		if (!layer->odd_used || found)
			continue;
		lt_lock(&odd.lock);
		for (uint32_t i = 0; i < layer->odd_used && !found; i++)
			if (layer->odd[i].address == address) {
				*block = layer->odd[i];
				layer->odd[i].address = 0;
				found = true;
			}
		lt_unlock(&odd.lock);
	}
	return found;
}

/* A block of `layer` that something newer is at: its free was not seen. */
static bool is_hidden(const struct lt_live_layer *layer, const struct lt_live_shard *shard, uintptr_t address)
{
	if (!layer)
		return false;
	if (find(shard->array, address))
		return true;
	for (const struct lt_live_layer *inner = lt_live_inherited; inner != layer; inner = inner->outer) {
		struct lt_live_array *array = inner->arrays[shard - lt_live_shards];
		if (array && find(array, address))
			return true;
	}
	return false;
}

struct visiting {
	int64_t deadline;
	bool (*visit)(const struct lt_block *block, void *arg);
	void *arg;
	bool more;
	unsigned skipped;
};

/* `layer` NULL: the process's own. */
static void visit_shard(struct visiting *v, struct lt_live_shard *shard, const struct lt_live_layer *layer)
{
	struct lt_live_array *const *array = layer ? &layer->arrays[shard - lt_live_shards] : &shard->array;
	if (!lt_load_relaxed(array) || lt_load_relaxed(array) == &nothing.array)
		return;
	if (lt_lock_until(&shard->lock, v->deadline)) {
		v->skipped += room_of(*array) - (*array)->room;
		return;
	}
	for (uint32_t i = 0, n = size_of(*array); i < n && v->more; i++)
		if ((*array)->entries[i].value) {
			struct lt_block block = lt_live_unpack(&(*array)->entries[i]);
			if (!is_hidden(layer, shard, block.address))
				v->more = v->visit(&block, v->arg);
		}
	lt_unlock(&shard->lock);
}

static void visit_odd(struct visiting *v, const struct lt_block *blocks, uint32_t used)
{
	if (!v->more || !used)
		return;
	if (lt_lock_until(&odd.lock, v->deadline)) {
		v->skipped += used;
		return;
	}
	for (uint32_t i = 0; i < used && v->more; i++)
		if (blocks[i].address)
			v->more = v->visit(&blocks[i], v->arg);
	lt_unlock(&odd.lock);
}

static unsigned visit_layers(bool patient, bool inherited, bool (*visit)(const struct lt_block *block, void *arg), void *arg)
{
	struct visiting v = {
		.deadline = lt_sys_clock(CLOCK_MONOTONIC) + (patient ? PATIENT_NS : IMPATIENT_NS), .visit = visit, .arg = arg, .more = true,
	};
	const struct lt_live_layer *layer = NULL;
	do {
		for (unsigned s = 0; s < LT_LIVE_SHARDS && v.more; s++)
			visit_shard(&v, &lt_live_shards[s], layer);
		if (layer)
			visit_odd(&v, layer->odd, layer->odd_used);
		else if (lt_load_relaxed(&lt_live_odd_count))
			visit_odd(&v, odd.blocks, odd.used);
		layer = layer ? layer->outer : lt_live_inherited;
	} while (inherited && layer && v.more);
	return v.skipped;
}

unsigned lt_live_visit(bool patient, bool (*visit)(const struct lt_block *block, void *arg), void *arg)
{
	return visit_layers(patient, true, visit, arg);
}

unsigned lt_live_visit_own(bool patient, bool (*visit)(const struct lt_block *block, void *arg), void *arg)
{
	return visit_layers(patient, false, visit, arg);
}

static bool count_one(const struct lt_block *block, void *arg)
{
	++*(uint64_t *)arg;
	return true;
}

uint64_t lt_live_count(void)
{
	uint64_t count = lt_load_relaxed(&lt_live_odd_count);
	for (unsigned s = 0; s < LT_LIVE_SHARDS && !lt_live_inherited; s++) {
		const struct lt_live_array *array = lt_live_shards[s].array;
		for (uint32_t i = 0, n = array == &nothing.array ? 0 : size_of(array); i < n; i++)
			count += !!array->entries[i].value;
	}
	if (lt_live_inherited) {
		count = 0;
		lt_live_visit(true, count_one, &count);
	}
	return count;
}

uint64_t lt_live_most(void)
{
	uint64_t most = lt_load_relaxed(&lt_live_odd_count);
	for (unsigned s = 0; s < LT_LIVE_SHARDS; s++)
		most += size_of(lt_live_shards[s].array);
	for (const struct lt_live_layer *layer = lt_live_inherited; layer; layer = layer->outer) {
		most += layer->odd_used;
		for (unsigned s = 0; s < LT_LIVE_SHARDS; s++)
			most += layer->arrays[s] ? size_of(layer->arrays[s]) : 0;
	}
	return most;
}

unsigned lt_live_fork_child(void)
{
	struct lt_live_layer *layer = lt_map(sizeof *layer);
	unsigned lost = 0;
	bool any = false;
	for (unsigned s = 0; s < LT_LIVE_SHARDS; s++) {
		struct lt_live_shard *shard = &lt_live_shards[s];
		bool empty = shard->array == &nothing.array;
		/* The array of one that was held stays mapped: it may be anything just now. */
		if (shard->lock.held || (!layer && !empty)) {
			lost++;
		} else if (!empty) {
			layer->arrays[s] = shard->array;
			any = true;
		}
		shard->array = &nothing.array;
		shard->lock.held = 0;
	}
	if (odd.lock.held || (!layer && odd.used)) {
		lost++;
	} else if (odd.used) {
		layer->odd_used = odd.used;
		layer->odd = odd.blocks;
		any = true;
	}
	odd.used = odd.size = 0;
	odd.blocks = NULL;
	odd.lock.held = 0;
	lt_live_odd_count = 0;
	if (any) {
		layer->outer = lt_live_inherited;
		lt_live_inherited = layer;
	} else {
		lt_unmap(layer, sizeof *layer);
	}
	return lost;
}
