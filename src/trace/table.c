/* SPDX-License-Identifier: MIT
 *
 * The writer's half of the table; see table.h.
 *
 * An array that is unmapped at once was read by this thread alone, and not in a hook that a signal handler interrupted: such a handler
 * adds nothing unless the image ends in it, and exec may fail.
 */
#include "trace/table.h"
#include "base/sys.h"
#include "trace/gate.h"
#include <errno.h>
#include <string.h>

#define FIRST_ENTRIES 64 /* with the header less than a page */
#define MOVED_AT_ONCE 16
#define PAGE 4096

static size_t bytes_of(uint64_t entries)
{
	return sizeof(struct lt_table_array) + entries * sizeof(struct lt_table_entry);
}

static inline void place(struct lt_table_array *array, uint64_t hash, uint64_t key, uint64_t rest)
{
	struct lt_table_entry *e = &array->entries[hash & array->mask], *end = &array->entries[array->mask];
	while (e->rest)
		e = e == end ? array->entries : e + 1;
	e->key = key;
	lt_store_release(&e->rest, rest); /* pairs with lt_table_find */
}

/* And what it grew out of: while there is an old one, what came before hangs from that. */
static void unmap(struct lt_table_array *array)
{
	while (array) {
		struct lt_table_array *next = array->old ? array->old : array->emptied;
		lt_unmap(array, bytes_of(array->mask + 1));
		array = next;
	}
}

/* All of it is in `array` by now. */
static void leave_old(struct lt_table_array *array)
{
	struct lt_table_array *old = array->old;
	lt_store_release(&array->old, NULL); /* pairs with lt_table_find */
	if (lt_single_threaded() && lt_thread.depth <= 1) {
		array->emptied = old->emptied;
		lt_unmap(old, bytes_of(old->mask + 1));
	} else {
		array->emptied = old;
	}
}

static void move(struct lt_table_array *array, uint64_t slots)
{
	const struct lt_table_array *old = array->old;
	uint64_t i = array->moved, n = old->mask + 1 - i > slots ? i + slots : old->mask + 1;
	for (; i < n; i++) {
		const struct lt_table_entry *e = &old->entries[i];
		uint64_t key = e->key, rest = e->rest;
		if (rest)
			place(array, lt_table_hash(key & LT_TABLE_KEY_MAX, key >> 48 | rest >> 32 << 16), key, rest);
	}
	array->moved = n;
	if (n > old->mask)
		leave_old(array);
}

int lt_table_grow(struct lt_table *table)
{
	struct lt_table_array *old = table->array;
	uint64_t n = old ? 2 * (old->mask + 1) : FIRST_ENTRIES;
	struct lt_table_array *array = lt_map(bytes_of(n));
	if (!array) {
		table->limit = old ? old->mask - old->mask / 8 : 0;
		return table->used < table->limit ? 0 : -ENOMEM;
	}
	if (old && old->old) /* never: it is empty long before */
		move(old, old->old->mask + 1);
	array->mask = n - 1;
	array->old = old;
	table->limit = n * 5 / 8;
	lt_store_release(&table->array, array); /* pairs with lt_table_find */
	return 0;
}

void lt_table_put(struct lt_table *table, uint64_t a, uint64_t b, uint32_t value)
{
	place(table->array, lt_table_hash(a, b), a | b << 48, b >> 16 << 32 | value);
	table->used++;
	if (table->array->old)
		move(table->array, MOVED_AT_ONCE);
}

void lt_table_settle(struct lt_table *table)
{
	if (table->array && table->array->emptied) {
		unmap(table->array->emptied);
		table->array->emptied = NULL;
	}
}

void lt_table_empty(struct lt_table *table)
{
	struct lt_table_array *array = table->array;
	table->used = 0;
	if (!array)
		return;
	unmap(array->old ? array->old : array->emptied);
	array->old = array->emptied = NULL;
	/* The whole pages go back to the kernel, if it takes them (not from locked memory). */
	char *start = (char *)array->entries, *end = (char *)&array->entries[array->mask + 1], *pages = (char *)array + PAGE;
	size_t size = (size_t)(end - pages) & ~(size_t)(PAGE - 1);
	if (lt_sys_madvise(pages, size, MADV_DONTNEED)) {
		memset(start, 0, (size_t)(end - start));
	} else {
		memset(start, 0, (size_t)(pages - start));
		memset(pages + size, 0, (size_t)(end - pages) - size);
	}
}

void lt_table_reset(struct lt_table *table)
{
	unmap(table->array);
	table->array = NULL;
	table->used = table->limit = 0;
}

void lt_table_clear(struct lt_table *table)
{
	for (struct lt_table_array *array = table->array; array; array = array->old)
		memset(array->entries, 0, (array->mask + 1) * sizeof array->entries[0]);
	table->used = 0;
}
