/* SPDX-License-Identifier: MIT
 *
 * Roots: all readable and writable mappings but what is in not_roots. Read-only memory is none, as for memcheck.
 */
#include "scan/work.h"

void lt_roots_read(struct lt_scan_work *w, uint32_t wanted, uint32_t unwanted, lt_words_fn *words)
{
	struct lt_ranges *not = &w->not_roots;
	size_t next = 0;
	lt_ranges_join(not);
	const size_t count = not->count; /* `words` may add ranges: those don't count in this pass */
	for (size_t i = 0; i < w->line_count; i++) {
		const struct lt_map_line *line = &w->lines[i];
		uintptr_t at = line->low;
		if (!lt_maps_root(line) || (wanted && !(line->flags & wanted)) || (line->flags & unwanted))
			continue;
		while (at < line->high) {
			while (next < count && not->all[next].high <= at)
				next++;
			uintptr_t low = next < count && not->all[next].low < line->high ? not->all[next].low : line->high;
			uintptr_t high = next < count ? not->all[next].high : line->high;
			if (low > at)
				lt_pages_read(w, at, low, lt_pages_how(line), words);
			if (low == line->high)
				break;
			at = high;
		}
	}
}
