/* SPDX-License-Identifier: MIT
 *
 * A hash table that only grows: 24-byte entries (two keys, a value), read without a lock while one writer adds.
 *
 * Open addressing, linear probing, at most half full. An entry is published by the release store of its value, which is never
 * 0; a reader that finds 0 has reached the end of its chain. Growing copies into a new array; the old one stays mapped, since
 * readers may be in it (all old ones together are smaller than the present one), and hangs from the new one. To empty a table,
 * close the gate.
 */
#ifndef LT_TABLE_H
#define LT_TABLE_H

#include "base/arena.h"
#include "base/atomic.h"

struct lt_table_entry {
	uint64_t a, b;
	uint32_t value;
	uint32_t unused;
};

struct lt_table_array {
	uint64_t mask;
	struct lt_table_array *old; /* that this one grew out of; NULL: none */
	struct lt_table_entry entries[];
};

struct lt_table {
	struct lt_table_array *array;
	uint64_t used;
};

static inline uint64_t lt_table_hash(uint64_t a, uint64_t b)
{
	return (a * 0x9e3779b97f4a7c15ULL + b * 0x9fb21c651e98df25ULL) >> 32;
}

/* 0: not there. Any thread, no lock. */
static inline uint32_t lt_table_find(const struct lt_table *table, uint64_t a, uint64_t b)
{
	const struct lt_table_array *array = lt_load_acquire(&table->array); /* pairs with lt_table_add */
	if (lt_unlikely(!array))
		return 0;
	for (uint64_t i = lt_table_hash(a, b);; i++) {
		const struct lt_table_entry *e = &array->entries[i & array->mask];
		uint32_t value = lt_load_acquire(&e->value); /* pairs with lt_table_add */
		if (!value)
			return 0;
		if (e->a == a && e->b == b)
			return value;
	}
}

/* Adds what is not there. Under the owner's lock. Returns 0 or -ENOMEM. */
int lt_table_add(struct lt_table *table, uint64_t a, uint64_t b, uint32_t value);

/* Empties it. It keeps its array, for what was in it mostly comes again. With the gate closed. */
void lt_table_empty(struct lt_table *table);

/* Empties it and unmaps its arrays. With the gate closed, or in a fork child. */
void lt_table_reset(struct lt_table *table);

/* Empties it and keeps its array: in a fork child whose only thread may go on in any of these functions. */
void lt_table_clear(struct lt_table *table);

#endif
