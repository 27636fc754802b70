/* SPDX-License-Identifier: MIT
 *
 * The writer's half of the table; see table.h.
 */
#include "trace/table.h"
#include <errno.h>
#include <string.h>

#define FIRST_ENTRIES 1024

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
	uint64_t n = old ? 2 * (old->mask + 1) : FIRST_ENTRIES;
	struct lt_table_array *array = lt_map(sizeof *array + n * sizeof array->entries[0]);
	if (!array)
		return -ENOMEM;
	array->mask = n - 1;
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

void lt_table_reset(struct lt_table *table)
{
	if (table->array)
		lt_unmap(table->array, sizeof *table->array + (table->array->mask + 1) * sizeof table->array->entries[0]);
	table->array = 0;
	table->used = 0;
}

void lt_table_clear(struct lt_table *table)
{
	if (table->array)
		memset(table->array->entries, 0, (table->array->mask + 1) * sizeof table->array->entries[0]);
	table->used = 0;
}
