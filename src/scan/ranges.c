/* SPDX-License-Identifier: MIT
 *
 * A growing array of [low, high). It is filled in nearly ascending order (one range per mmapped chunk, some per arena), so an
 * insertion sort that first looks whether anything is out of order, and falls back to a heap sort, is all it needs.
 * Failure: `failed` is set, and the scan gives up, for a missing range would be taken for roots.
 */
#include "base/arena.h"
#include "scan/work.h"
#include <string.h>

#define FIRST_ROOM 512

void lt_ranges_add(struct lt_ranges *ranges, uintptr_t low, uintptr_t high)
{
	const struct lt_range *last = ranges->count ? &ranges->all[ranges->count - 1] : NULL;
	if (low >= high || (last && low >= last->low && high <= last->high)) /* a foreign mapping: once per block in it */
		return;
	if (last && last->high == low) { /* chunk after chunk */
		ranges->all[ranges->count - 1].high = high;
		return;
	}
	if (ranges->count == ranges->room) {
		size_t room = ranges->room ? 2 * ranges->room : FIRST_ROOM;
		struct lt_range *all = lt_map(room * sizeof *all);
		if (!all) {
			ranges->failed = true;
			return;
		}
		if (ranges->count)
			memcpy(all, ranges->all, ranges->count * sizeof *all);
		lt_unmap(ranges->all, ranges->room * sizeof *all);
		ranges->all = all;
		ranges->room = room;
	}
	ranges->all[ranges->count++] = (struct lt_range){ low, high };
}

static void sift(struct lt_range *all, size_t root, size_t count)
{
	for (size_t child; (child = 2 * root + 1) < count; root = child) {
		if (child + 1 < count && all[child + 1].low > all[child].low)
			child++;
		if (all[root].low >= all[child].low)
			return;
		struct lt_range swap = all[root];
		all[root] = all[child];
		all[child] = swap;
	}
}

static void sort(struct lt_range *all, size_t count)
{
	size_t sorted = 1;
	while (sorted < count && all[sorted - 1].low <= all[sorted].low)
		sorted++;
	if (sorted >= count)
		return;
	for (size_t i = count / 2; i--;)
		sift(all, i, count);
	for (size_t end = count; end-- > 1;) {
		struct lt_range swap = all[0];
		all[0] = all[end];
		all[end] = swap;
		sift(all, 0, end);
	}
}

void lt_ranges_join(struct lt_ranges *ranges)
{
	struct lt_range *all = ranges->all;
	size_t kept = 0;
	sort(all, ranges->count);
	for (size_t i = 0; i < ranges->count; i++) {
		if (kept && all[i].low <= all[kept - 1].high) {
			if (all[i].high > all[kept - 1].high)
				all[kept - 1].high = all[i].high;
		} else {
			all[kept++] = all[i];
		}
	}
	ranges->count = kept;
}

void lt_ranges_free(struct lt_ranges *ranges)
{
	lt_unmap(ranges->all, ranges->room * sizeof *ranges->all);
	memset(ranges, 0, sizeof *ranges);
}
