/* SPDX-License-Identifier: MIT
 *
 * Which of many address ranges, nested or overlapping, is the innermost around an address.
 *
 * Ranges are [low, high). Fill by lt_ranges_add(), sort once, then ask. Invariant after sorting: reach[i] is the largest
 * `high` of items[0..i], so that a search can stop as soon as nothing before can reach the address.
 */
#ifndef LT_RANGES_H
#define LT_RANGES_H

#include <stddef.h>
#include <stdint.h>

struct lt_range {
	uint64_t low, high;
	uint64_t value; /* the user's; of equal ranges the one with the lowest value is found */
};

struct lt_ranges {
	struct lt_range *items;
	uint64_t *reach;
	size_t count, room;
};

/* Empty ranges are passed over. */
void lt_ranges_add(struct lt_ranges *ranges, uint64_t low, uint64_t high, uint64_t value);
void lt_ranges_sort(struct lt_ranges *ranges);
void lt_ranges_clear(struct lt_ranges *ranges);

/* Of the ranges around `address`, the one that begins last; of these the shortest. NULL: none. */
const struct lt_range *lt_ranges_find(const struct lt_ranges *ranges, uint64_t address);

#endif
