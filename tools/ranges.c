/* SPDX-License-Identifier: MIT
 *
 * Sorted ranges. Real tables hardly overlap, so the backward scan is one or two steps; an interval tree would pay for the
 * exception on every lookup.
 */
#include "ranges.h"

#include "xalloc.h"

void lt_ranges_add(struct lt_ranges *ranges, uint64_t low, uint64_t high, uint64_t value)
{
	if (low >= high)
		return;
	LT_GROW(ranges->items, ranges->count, ranges->room);
	ranges->items[ranges->count++] = (struct lt_range){low, high, value};
}

/* A backward scan must meet the best first: of equal beginnings the shortest, of equal ranges the lowest value. */
static int compare(const void *left, const void *right)
{
	const struct lt_range *a = left, *b = right;

	if (a->low != b->low)
		return a->low < b->low ? -1 : 1;
	if (a->high != b->high)
		return a->high > b->high ? -1 : 1;
	return a->value > b->value ? -1 : a->value < b->value;
}

void lt_ranges_sort(struct lt_ranges *ranges)
{
	uint64_t reach = 0;

	if (!ranges->count)
		return;
	qsort(ranges->items, ranges->count, sizeof *ranges->items, compare);
	free(ranges->reach);
	ranges->reach = lt_xcalloc(ranges->count, sizeof *ranges->reach);
	for (size_t i = 0; i < ranges->count; i++) {
		if (reach < ranges->items[i].high)
			reach = ranges->items[i].high;
		ranges->reach[i] = reach;
	}
}

void lt_ranges_clear(struct lt_ranges *ranges)
{
	free(ranges->items);
	free(ranges->reach);
	*ranges = (struct lt_ranges){0};
}

const struct lt_range *lt_ranges_find(const struct lt_ranges *ranges, uint64_t address)
{
	size_t low = 0, high = ranges->reach ? ranges->count : 0;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (ranges->items[middle].low <= address)
			low = middle + 1;
		else
			high = middle;
	}
	while (low-- > 0 && ranges->reach[low] > address)
		if (ranges->items[low].high > address)
			return &ranges->items[low];
	return NULL;
}
