/* SPDX-License-Identifier: MIT
 *
 * A hash table that only grows: 16-byte entries (two keys of up to 48 bits, a value), read without a lock while one writer adds.
 *
 * Open addressing, linear probing. An entry is published by the release store of its second word, whose lower half, the value, is
 * never 0; a reader that finds 0 there has reached the end of its chain.
 *
 *     used entries (of the present array and the one before) <= 5/8 of the slots; 26 to 51 bytes per entry
 *
 * Growth is no pause: a new array takes the place of the old one, which hangs from it and is read after it, and each addition moves
 * 16 slots more. So a reader may miss what is being moved, and must look again under the writer's lock, as it does with what is not
 * there at all. The old array is unmapped when it is empty if this is the only thread, for others may be reading in it; else
 * by lt_table_settle().
 */
#ifndef LT_TABLE_H
#define LT_TABLE_H

#include "base/arena.h"
#include "base/atomic.h"

#define LT_TABLE_KEY_MAX ((UINT64_C(1) << 48) - 1)

/* key:  a | low 16 bits of b << 48
 * rest: high 32 bits of b << 32 | value; 0: not used */
struct lt_table_entry {
	uint64_t key, rest;
};

struct lt_table_array {
	uint64_t mask;
	struct lt_table_array *old; /* whose entries are being moved here; NULL: none */
	struct lt_table_array *emptied; /* of those that this one grew out of, the latest that is still mapped */
	uint64_t moved; /* slots of `old` */
	struct lt_table_entry entries[];
};

struct lt_table {
	struct lt_table_array *array;
	uint64_t used;
	uint64_t limit; /* of `used`, before it must grow */
};

static inline uint64_t lt_table_hash(uint64_t a, uint64_t b)
{
	return (a * 0x9e3779b97f4a7c15ULL + b * 0x9fb21c651e98df25ULL) >> 32;
}

/* 0: not there, or just being moved. Any thread, no lock. */
static inline uint32_t lt_table_find(const struct lt_table *table, uint64_t a, uint64_t b)
{
	const struct lt_table_array *array = lt_load_acquire(&table->array); /* pairs with lt_table_put */
	uint64_t key = a | b << 48, rest;
	for (; array; array = lt_load_acquire(&array->old)) /* pairs with lt_table_put */
		for (uint64_t i = lt_table_hash(a, b);; i++) {
			const struct lt_table_entry *e = &array->entries[i & array->mask];
			rest = lt_load_acquire(&e->rest); /* pairs with lt_table_put */
			if (!(uint32_t)rest)
				break;
			if (e->key == key && rest >> 32 == b >> 16)
				return (uint32_t)rest;
		}
	return 0;
}

int lt_table_grow(struct lt_table *table);

/* Room for one more. Under the owner's lock. Returns 0 or -ENOMEM. */
static inline int lt_table_reserve(struct lt_table *table)
{
	return lt_likely(table->used < table->limit) ? 0 : lt_table_grow(table);
}

/* Adds what is not there, after lt_table_reserve(); both keys at most LT_TABLE_KEY_MAX. */
void lt_table_put(struct lt_table *table, uint64_t a, uint64_t b, uint32_t value);

/* Both. */
static inline int lt_table_add(struct lt_table *table, uint64_t a, uint64_t b, uint32_t value)
{
	int error = lt_table_reserve(table);
	if (!error)
		lt_table_put(table, a, b, value);
	return error;
}

/* Unmaps what it grew out of. With the gate closed. */
void lt_table_settle(struct lt_table *table);

/* Empties it. It keeps its array, for what was in it mostly comes again. With the gate closed. */
void lt_table_empty(struct lt_table *table);

/* Empties it and unmaps its arrays. With the gate closed, or in a fork child. */
void lt_table_reset(struct lt_table *table);

/* Empties it and keeps its arrays: in a fork child whose only thread may go on in any of these functions. */
void lt_table_clear(struct lt_table *table);

#endif
