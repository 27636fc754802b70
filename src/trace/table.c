/* SPDX-License-Identifier: MIT
 *
 * The writer's half of the table; see table.h.
 */
#include "trace/table.h"
#include "base/sys.h"
#include <errno.h>
#include <string.h>

#define FIRST_ENTRIES 1024
#define FAST_ENTRIES 16384 /* up to here it grows by four, for most programs get there while they start */
#define PAGE 4096

static void place(struct lt_table_array *array, uint64_t a, uint64_t b, uint32_t value)
{
	uint64_t i = lt_table_hash(a, b);
	while (array->entries[i & array->mask].value)
		i++;
	struct lt_table_entry *e = &array->entries[i & array->mask];
	e->a = a;
	e->b = b;
	lt_store_release(&e->value, value); /* pairs with lt_table_find */
}

static int grow(struct lt_table *table)
{
	struct lt_table_array *old = table->array;
	uint64_t n = old ? (old->mask < FAST_ENTRIES ? 4 : 2) * (old->mask + 1) : FIRST_ENTRIES;
	struct lt_table_array *array = lt_map(sizeof *array + n * sizeof array->entries[0]);
	if (!array)
		return -ENOMEM;
	array->mask = n - 1;
	array->old = old;
	table->used = 0;
	for (uint64_t i = 0; old && i <= old->mask; i++) {
		const struct lt_table_entry *e = &old->entries[i];
		if (e->value) {
			place(array, e->a, e->b, e->value);
			table->used++;
		}
	}
	lt_store_release(&table->array, array); /* pairs with lt_table_find */
	return 0;
}

int lt_table_add(struct lt_table *table, uint64_t a, uint64_t b, uint32_t value)
{
	if (!table->array || table->used * 2 > table->array->mask) {
		int error = grow(table);
		if (error && (!table->array || table->used * 8 > table->array->mask * 7))
			return error;
	}
	place(table->array, a, b, value);
	table->used++;
	return 0;
}

static void unmap(struct lt_table_array *array)
{
	while (array) {
		struct lt_table_array *old = array->old;
		lt_unmap(array, sizeof *array + (array->mask + 1) * sizeof array->entries[0]);
		array = old;
	}
}

void lt_table_empty(struct lt_table *table)
{
	struct lt_table_array *array = table->array;
	table->used = 0;
	if (!array)
		return;
	unmap(array->old);
	array->old = NULL;
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
	table->used = 0;
}

void lt_table_clear(struct lt_table *table)
{
	if (table->array)
		memset(table->array->entries, 0, (table->array->mask + 1) * sizeof table->array->entries[0]);
	table->used = 0;
}
