/* SPDX-License-Identifier: MIT
 *
 * Blocks in order of their addresses, and the way from an address to its block.
 *
 * Sort: in place, by the most significant differing byte first (American flag), for a second array of millions of blocks would
 * be needed otherwise. Each level looks for the bits in which its addresses differ at all, so a heap at 0x55… and mappings
 * at 0x7f… cost one pass and not four.
 *
 * Index: per GiB of address space with blocks an array of 4 bytes per granule of 512 bytes: the first block that is in that
 * granule. From there on it is a step or two through the sorted array, at most 16 for the smallest chunks of glibc. Pages of it
 * that are not needed are never touched: 0.8 % of the memory that the blocks lie in. Large blocks (1 MiB) would fill thousands of
 * granules each, a reserve of 100 GiB 800 MiB; they are in the granules of their ends, and by their number in a list that is
 * searched when a granule is empty. Turned down: binary search over all blocks (20 cache misses for a million).
 *
 * Blocks that overlap (a free that was missed) are found by the lower address first.
 */
#include "base/arena.h"
#include "base/sys.h"
#include "scan/work.h"

#define GIB_SHIFT 30
#define GRANULE_SHIFT 9
#define GRANULES (UINT32_C(1) << (GIB_SHIFT - GRANULE_SHIFT))
#define GRANULES_BYTES (GRANULES * sizeof(uint32_t))
#define LARGE (UINT64_C(1) << 20)

#define FEW 32
#define LEVELS 8

/* Per level of the sort; not on the stack, which may be a small one. */
static struct {
	uint32_t next[256], end[256];
} digits[LEVELS];

static void sort_few(struct lt_scan_block *blocks, uint32_t count)
{
	for (uint32_t i = 1; i < count; i++) {
		struct lt_scan_block block = blocks[i];
		uint32_t j = i;
		for (; j && blocks[j - 1].address > block.address; j--)
			blocks[j] = blocks[j - 1];
		blocks[j] = block;
	}
}

static void sort_level(struct lt_scan_block *blocks, uint32_t count, unsigned level)
{
	if (count <= FEW) {
		sort_few(blocks, count);
		return;
	}
	uintptr_t differing = 0;
	bool sorted = true;
	for (uint32_t i = 1; i < count; i++) {
		differing |= blocks[i].address ^ blocks[0].address;
		sorted &= blocks[i - 1].address <= blocks[i].address;
	}
	if (sorted)
		return;
	unsigned top = 63 - (unsigned)__builtin_clzll(differing), shift = top < 7 ? 0 : top - 7;
	uint32_t *next = digits[level].next, *end = digits[level].end;
	for (unsigned digit = 0; digit < 256; digit++)
		end[digit] = 0;
	for (uint32_t i = 0; i < count; i++)
		end[blocks[i].address >> shift & 255]++;
	for (uint32_t digit = 0, at = 0; digit < 256; digit++) {
		next[digit] = at;
		at += end[digit];
		end[digit] = at;
	}
	for (unsigned digit = 0; digit < 256; digit++)
		while (next[digit] < end[digit]) {
			struct lt_scan_block block = blocks[next[digit]];
			for (unsigned home; (home = block.address >> shift & 255) != digit;) {
				struct lt_scan_block other = blocks[next[home]];
				blocks[next[home]++] = block;
				block = other;
			}
			blocks[next[digit]++] = block;
		}
	for (uint32_t digit = 0, low = 0; shift && digit < 256; low = end[digit++])
		if (end[digit] - low > 1)
			sort_level(blocks + low, end[digit] - low, level + 1);
}

/* At most 8 levels: each consumes 8 of 64 bits. */
void lt_index_sort(struct lt_scan_block *blocks, uint32_t count)
{
	sort_level(blocks, count, 0);
}

static void note_large(struct lt_scan_work *w, uint32_t block, uint32_t large)
{
	size_t first = (w->blocks[block].address >> GIB_SHIFT) - w->gib_first;
	size_t last = ((lt_block_end(&w->blocks[block]) - 1) >> GIB_SHIFT) - w->gib_first;
	for (size_t g = first; g <= last; g++) {
		struct lt_index_gib *gib = &w->gibs[g];
		if (!gib->large_count)
			gib->large = large;
		gib->large_count = large + 1 - gib->large;
	}
	w->large[large] = block;
}

static bool note_granule(struct lt_scan_work *w, uintptr_t address, uint32_t block)
{
	struct lt_index_gib *gib = &w->gibs[(address >> GIB_SHIFT) - w->gib_first];
	if (!gib->granules) {
		gib->granules = lt_map(GRANULES_BYTES);
		if (!gib->granules)
			return false;
	}
	uint32_t *granule = &gib->granules[address >> GRANULE_SHIFT & (GRANULES - 1)];
	if (!*granule)
		*granule = block + 1;
	return true;
}

int lt_index_make(struct lt_scan_work *w)
{
	uintptr_t high = 0;
	if (!w->count)
		return 0;
	for (uint32_t i = 0; i < w->count; i++) {
		uintptr_t end = lt_block_end(&w->blocks[i]);
		if (end <= w->blocks[i].address) /* wraps: no block */
			return -EINVAL;
		high = end > high ? end : high;
		w->large_count += w->blocks[i].size >= LARGE;
	}
	w->low = w->blocks[0].address;
	w->span = high - w->low;
	w->gib_first = w->low >> GIB_SHIFT;
	w->gib_count = ((high - 1) >> GIB_SHIFT) + 1 - w->gib_first;
	w->gibs = lt_map(w->gib_count * sizeof *w->gibs);
	w->large = lt_map((w->large_count + 1) * sizeof *w->large);
	if (!w->gibs || !w->large)
		return -ENOMEM;
	for (uint32_t i = 0, large = 0; i < w->count; i++) {
		uintptr_t address = w->blocks[i].address, last = lt_block_end(&w->blocks[i]) - 1;
		if (w->blocks[i].size >= LARGE) {
			note_large(w, i, large++);
			if (!note_granule(w, address, i) || !note_granule(w, last, i))
				return -ENOMEM;
			continue;
		}
		for (uintptr_t granule = address >> GRANULE_SHIFT; granule <= last >> GRANULE_SHIFT; granule++)
			if (!note_granule(w, granule << GRANULE_SHIFT, i))
				return -ENOMEM;
	}
	return 0;
}

void lt_index_free(struct lt_scan_work *w)
{
	for (size_t g = 0; w->gibs && g < w->gib_count; g++)
		lt_unmap(w->gibs[g].granules, GRANULES_BYTES);
	lt_unmap(w->gibs, w->gib_count * sizeof *w->gibs);
	lt_unmap(w->large, (w->large_count + 1) * sizeof *w->large);
}

static uint32_t find_large(const struct lt_scan_work *w, const struct lt_index_gib *gib, uintptr_t address)
{
	uint32_t low = gib->large, high = gib->large + gib->large_count; /* the last that begins at or below address */
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (w->blocks[w->large[middle]].address <= address)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == gib->large)
		return LT_NONE;
	uint32_t block = w->large[low - 1];
	return address < lt_block_end(&w->blocks[block]) ? block : LT_NONE;
}

uint32_t lt_index_find(const struct lt_scan_work *w, uintptr_t address)
{
	if (address - w->low >= w->span)
		return LT_NONE;
	const struct lt_index_gib *gib = &w->gibs[(address >> GIB_SHIFT) - w->gib_first];
	if (gib->granules) {
		uint32_t i = gib->granules[address >> GRANULE_SHIFT & (GRANULES - 1)];
		if (i) {
			for (i--; i < w->count && w->blocks[i].address <= address; i++)
				if (address < lt_block_end(&w->blocks[i]))
					return i;
			return LT_NONE;
		}
	}
	return gib->large_count ? find_large(w, gib, address) : LT_NONE;
}

/* Two steps of the look-up, for addresses in [low, low + span). */
void lt_index_prefetch(const struct lt_scan_work *w, uintptr_t address)
{
	const struct lt_index_gib *gib = &w->gibs[(address >> GIB_SHIFT) - w->gib_first];
	if (gib->granules)
		__builtin_prefetch(&gib->granules[address >> GRANULE_SHIFT & (GRANULES - 1)]);
}

void lt_index_prefetch_block(const struct lt_scan_work *w, uintptr_t address)
{
	const struct lt_index_gib *gib = &w->gibs[(address >> GIB_SHIFT) - w->gib_first];
	uint32_t block = gib->granules ? gib->granules[address >> GRANULE_SHIFT & (GRANULES - 1)] : 0;
	if (block)
		__builtin_prefetch(&w->blocks[block - 1]);
}
