/* SPDX-License-Identifier: MIT
 *
 * Which memory is the allocator's: freed blocks hold stale pointers, and its own words point into live ones (bins and top point to
 * chunks, whose headers lie in the last bytes that the block before may use). None of it is a root, but what the program took
 * by sbrk and mmap is, in the same mappings, the kernel's line for which says nothing of where one ends and the other begins. So
 * glibc's heaps are followed as glibc lays them out, found by what lies in memory, not by private symbols:
 *
 *   arena          the last of its 127 bins is never used and points to itself twice; the pattern finds main_arena in the data of
 *                  libc. Its words are excluded.
 *   other heaps    at multiples of 64 MiB; the first word leads to an arena that is recognised the same way; excluded as a whole
 *   mmapped chunk  a tracked block whose header has bit 2; the header tells where the mapping began and ends
 *   main heap      chunk after chunk by their sizes, from one tracked block to the next, so it works for brk and for the
 *                  mappings that glibc takes when brk fails. It ends with the arena's top chunk, or with two chunks of 16
 *                  bytes, which glibc puts where somebody else has moved brk: what lies between those and the next chunk
 *                  is the program's. Where a heap begins before its first tracked block is tried out: the lowest place
 *                  from which sizes lead to that block.
 *
 * An allocator's library that stands behind us (jemalloc, tcmalloc, mimalloc): all that it took from the kernel is no root, nor are its
 * variables; see trace/allocator.h. Blocks that none of that explains are of yet another one. Nothing is known of its layout: the
 * whole mapping around such a block is no root, if it is anonymous and not a program's .bss; the note says so.
 *
 * Of a sample (option sample) only some blocks are given, and what leads to them lies in others. So each chunk in use that the
 * walks pass and that is no given block is judged like one, and forgotten then. A mmapped chunk that was not recorded is a root.
 * Of an allocator's library nobody knows which of its memory is in use: what only that leads to is possible.
 *
 * Turned down: excluding [heap] (the program's own sbrk is in it; without address randomisation the program's .bss too); mp_
 * for the start of the heap (its layout changes); skipping free chunks by glibc's lists (a block is tracked or not).
 * Failure: a header that the program has overwritten: the walk goes on at the next tracked block; the gap is no root. A
 * beginning that isn't found in bounded time: freed chunks before the first tracked block count as the program's.
 */
#include "base/arena.h"
#include "scan/work.h"
#include "trace/allocator.h"
#include <string.h>

#define HEAP_MAX (UINT64_C(64) << 20)
#define CHUNK_HEAD (2 * LT_WORD)
#define CHUNK_MIN (4 * LT_WORD)
#define PREVIOUS_IN_USE 1
#define IS_MMAPPED 2
#define NOT_MAIN_ARENA 4
#define FLAGS 7
#define TCACHE_MAX 1040
#define TCACHE 0x290 /* size of the chunk with a thread's lists of free chunks, the first of its heap (glibc 2.30 and later) */

#define BINS 127
#define BIN_WORDS ((BINS - 1) * 2) /* from the first bin's words to the last's */
#define BEFORE_BINS (14 * LT_WORD) /* locks, flags, 10 fast bins, top, last_remainder */
#define AFTER_BINS (9 * LT_WORD)   /* the last bin, a map of bins, links to other arenas, sizes */
#define ARENA_SIZE (BEFORE_BINS + BIN_WORDS * LT_WORD + AFTER_BINS)
#define ARENAS 8
#define TRIES (INT64_C(32) << 20) /* some 0.2 s */
#define MIXED_COST 64             /* a system call instead of a load */

/* Neighbouring lines: a program that protects part of a block cuts the line of its heap; and so does fork, for what a child's heap
 * grows by is never joined to what it inherited. */
struct area {
	uintptr_t low, high;
	bool mixed; /* not all readable */
};

struct malloc_walk {
	struct lt_scan_work *w;
	struct area area; /* the last one asked for */
	uintptr_t tops[ARENAS]; /* chunks, ascending */
	unsigned top_count, top_next;
	bool open;           /* a heap is being walked */
	uintptr_t start, at; /* it is known from start to at, where the next chunk should be */
	uintptr_t closed;    /* end of the last heap */
	int64_t tries; /* left for finding where heaps begin */
};

static struct malloc_walk *arenas_for; /* of the pass that looks for arenas */

static bool is_empty_bin(const uintptr_t *words, uintptr_t address)
{
	return words[0] == address - CHUNK_HEAD && words[1] == words[0];
}

/* The head of a list of free chunks, or an empty one. */
static bool may_be_bin(const uintptr_t *words)
{
	return words[0] && words[1] && !((words[0] | words[1]) & (LT_WORD - 1));
}

static void look_for_arena(struct lt_scan_work *w, const uintptr_t *from, const uintptr_t *to, uintptr_t address)
{
	const size_t words = (size_t)(to - from);
	for (size_t i = BIN_WORDS + BEFORE_BINS / LT_WORD; i + AFTER_BINS / LT_WORD <= words; i++) {
		uintptr_t here = address + i * LT_WORD;
		if (lt_likely(from[i] != here - CHUNK_HEAD) || !is_empty_bin(from + i, here) ||
		    is_empty_bin(from + i + 2, here + CHUNK_HEAD))
			continue;
		unsigned bins_before = 0;
		for (size_t bin = i - BIN_WORDS; bin < i; bin += 2)
			bins_before += may_be_bin(from + bin);
		/* Any empty bin before one in use looks like the last; but then words before the first bin are taken for bins. */
		if (bins_before < BINS - 1 || !from[i - BIN_WORDS - 2])
			continue;
		uintptr_t bins = here - BIN_WORDS * LT_WORD, top = from[i - BIN_WORDS - 2];
		lt_ranges_add(&w->not_roots, bins - BEFORE_BINS, here + AFTER_BINS);
		w->glibc = true;
		if (top != bins - CHUNK_HEAD && arenas_for->top_count < ARENAS) /* not the one before the first allocation */
			arenas_for->tops[arenas_for->top_count++] = top;
	}
}

static bool is_arena(uintptr_t address)
{
	static const unsigned offsets[] = { 14 * LT_WORD, 13 * LT_WORD }; /* of the bins: from glibc 2.27, before */
	for (unsigned i = 0; i < 2; i++) {
		uintptr_t last[2], at = address + offsets[i] + BIN_WORDS * LT_WORD;
		if (lt_pages_copy((const void *)at, last, sizeof last) && is_empty_bin(last, at))
			return true;
	}
	return false;
}

/* What a heap begins with: its arena, the heap before, its size, how much of it was ever accessible. Returns that; 0: none. */
static uint64_t heap_at(struct lt_scan_work *w, uintptr_t low, uintptr_t high)
{
	uintptr_t head[4], first;
	if (high - low < w->page || !lt_pages_there(w, low) || !lt_pages_copy((const void *)low, head, sizeof head))
		return 0;
	uintptr_t base = head[0] & -HEAP_MAX, size = head[2], accessible = head[3];
	if (!size || size > HEAP_MAX || size > high - low || accessible < size || accessible > HEAP_MAX || size % w->page)
		return 0;
	if (head[0] <= base || head[0] - base > 256 || !lt_pages_copy((const void *)base, &first, sizeof first) || first != head[0])
		return 0;
	return is_arena(head[0]) ? accessible : 0;
}

static void exclude_heaps(struct lt_scan_work *w)
{
	for (size_t i = 0; i < w->line_count; i++) {
		const struct lt_map_line *line = &w->lines[i];
		if (!lt_maps_root(line) || (line->flags & (LT_MAP_FILE | LT_MAP_SHARED)))
			continue;
		uintptr_t low = (line->low + HEAP_MAX - 1) & -HEAP_MAX;
		for (; low >= line->low && low < line->high; low += HEAP_MAX) {
			uint64_t size = heap_at(w, low, line->high);
			if (size)
				lt_ranges_add(&w->not_roots, low, size < line->high - low ? low + size : line->high);
		}
	}
}

static void find_area(struct malloc_walk *walk, const struct lt_map_line *line)
{
	const uint32_t kind = LT_MAP_FILE | LT_MAP_SHARED | LT_MAP_DEVICE | LT_MAP_HEAP | LT_MAP_STACK | LT_MAP_BSS;
	const struct lt_map_line *lines = walk->w->lines, *end = lines + walk->w->line_count, *low = line, *high = line;
	if (line->low >= walk->area.low && line->high <= walk->area.high)
		return;
	while (low > lines && low[-1].high == low->low && !((low[-1].flags ^ line->flags) & kind))
		low--;
	while (high + 1 < end && high[1].low == high->high && !((high[1].flags ^ line->flags) & kind))
		high++;
	walk->area = (struct area){ low->low, high->high, false };
	for (line = low; line <= high; line++)
		walk->area.mixed |= !(line->flags & LT_MAP_READ);
}

/* The two words before a block: the size of the chunk before, if that is free; the own size, and flags. */
static bool read_head(const struct malloc_walk *walk, uintptr_t chunk, uintptr_t head[2])
{
	if (lt_unlikely(walk->area.mixed))
		return lt_pages_copy((const void *)chunk, head, CHUNK_HEAD);
	head[0] = ((const uintptr_t *)chunk)[0];
	head[1] = ((const uintptr_t *)chunk)[1];
	return true;
}

/* A chunk of the main heap that may lie at `chunk`; returns its size, 0: none. */
static uintptr_t chunk_size(const struct malloc_walk *walk, uintptr_t chunk)
{
	uintptr_t head[2], high = walk->area.high;
	if (chunk < walk->area.low || chunk >= high || high - chunk < CHUNK_HEAD || chunk % CHUNK_HEAD ||
	    !read_head(walk, chunk, head))
		return 0;
	uintptr_t size = head[1] & ~(uintptr_t)FLAGS;
	return (head[1] & (IS_MMAPPED | NOT_MAIN_ARENA)) || size % CHUNK_HEAD || size > high - chunk ? 0 : size;
}

static bool is_fence(const struct malloc_walk *walk, uintptr_t chunk)
{
	return chunk_size(walk, chunk) == CHUNK_HEAD && chunk_size(walk, chunk + CHUNK_HEAD) == CHUNK_HEAD;
}

/* Do sizes lead from `chunk` to `target`, or to a fence before it? */
static bool leads(struct malloc_walk *walk, uintptr_t chunk, uintptr_t target)
{
	uintptr_t head[2], size = chunk_size(walk, chunk);
	if (size < CHUNK_MIN || size > target - chunk || !read_head(walk, chunk, head) || !(head[1] & PREVIOUS_IN_USE))
		return false; /* the first chunk of a heap always has that bit */
	while (chunk + size < target) {
		if (walk->tries <= 0)
			return false;
		walk->tries -= walk->area.mixed ? MIXED_COST : 1;
		chunk += size;
		if (is_fence(walk, chunk))
			return true;
		if (!read_head(walk, chunk, head) || (!(head[1] & PREVIOUS_IN_USE) && head[0] != size))
			return false;
		size = chunk_size(walk, chunk);
		if (size < CHUNK_MIN)
			return false;
	}
	return chunk + size == target;
}

static uintptr_t find_start(struct malloc_walk *walk, uintptr_t low, uintptr_t target)
{
	const uintptr_t page = walk->w->page, first = (low + CHUNK_HEAD - 1) & -CHUNK_HEAD;
	for (low = first; low < target && walk->tries > 0; low += CHUNK_HEAD) {
		walk->tries -= walk->area.mixed ? MIXED_COST : 1;
		if ((low % page == 0 || low == first) && !lt_pages_there(walk->w, low))
			low = (low & -page) + page - CHUNK_HEAD;
		else if (leads(walk, low, target))
			return low;
	}
	return target;
}

static void close_heap(struct malloc_walk *walk, uintptr_t end)
{
	lt_ranges_add(&walk->w->not_roots, walk->start, end);
	walk->closed = end;
	walk->open = false;
}

/* A chunk in use that is no given block. Those that a fast bin holds look like that, but hardly anything leads to them. */
static void add_fill(struct lt_scan_work *w, uintptr_t chunk, uintptr_t size)
{
	if (w->fill_count == w->fill_room) {
		uint64_t room = w->fill_room ? UINT64_C(2) * w->fill_room : 4096;
		struct lt_scan_block *larger = room <= UINT32_MAX ? lt_map(room * sizeof *larger) : NULL;
		if (!larger) {
			w->not_roots.failed = true;
			return;
		}
		if (w->fill)
			memcpy(larger, w->fill, w->fill_count * sizeof *larger);
		lt_unmap(w->fill, w->fill_room * sizeof *larger);
		w->fill = larger;
		w->fill_room = (uint32_t)room;
	}
	w->fill[w->fill_count++] = (struct lt_scan_block){
		.address = chunk + CHUNK_HEAD, .size = size - LT_WORD, .state = LT_BLOCK_CHUNK | LT_BLOCK_FILL,
	};
}

/* A thread's lists, or a chunk in such a list: those have the same key in their second word (glibc 2.34 and later). It is taken
 * from the lists, whose heads follow 64 counters of 2 bytes. */
static bool is_tcache(struct lt_scan_work *w, uintptr_t chunk, uintptr_t size, uintptr_t first, bool mixed)
{
	const uintptr_t *heads = (const uintptr_t *)(chunk + CHUNK_HEAD + 128);
	uintptr_t entry[2];
	if (chunk != first || size != TCACHE) {
		if (!w->tcache_key || size > TCACHE_MAX)
			return false;
		if (!mixed)
			return ((const uintptr_t *)(chunk + CHUNK_HEAD))[1] == w->tcache_key;
		return lt_pages_copy((const void *)(chunk + CHUNK_HEAD), entry, sizeof entry) && entry[1] == w->tcache_key;
	}
	if (mixed)
		return true;
	for (unsigned i = 0; i < 64 && !w->tcache_key; i++)
		if (heads[i] && lt_pages_copy((const void *)heads[i], entry, sizeof entry))
			w->tcache_key = entry[1];
	return true;
}

/* The same of another heap than the main one. All of it that has chunks is readable. */
static void fill_heap(struct lt_scan_work *w, uintptr_t low, uintptr_t high)
{
	const uintptr_t *info = (const uintptr_t *)low;
	uintptr_t base = info[0] & -HEAP_MAX, end = low + info[2];
	uintptr_t first = low + (info[0] - base) + (base == low ? ARENA_SIZE : 0);
	first = (first + CHUNK_HEAD - 1) & -CHUNK_HEAD;
	end = end < high ? end : high;
	for (uintptr_t chunk = first, size; chunk < end && end - chunk > CHUNK_MIN; chunk += size) {
		size = ((const uintptr_t *)chunk)[1] & ~(uintptr_t)FLAGS;
		if (size < CHUNK_MIN || size % CHUNK_HEAD || size > end - chunk - CHUNK_HEAD)
			return; /* the top, a fence, or overwritten */
		uint32_t given = lt_index_find(w, chunk + CHUNK_HEAD);
		if (((const uintptr_t *)(chunk + size))[1] & PREVIOUS_IN_USE && !is_tcache(w, chunk, size, first, false) && given == LT_NONE)
			add_fill(w, chunk, size);
	}
}

/* Goes on until `target`, or the end of the heap. */
static void walk_to(struct malloc_walk *walk, uintptr_t target)
{
	while (walk->open && walk->at < target) {
		uintptr_t size = chunk_size(walk, walk->at);
		if (size >= CHUNK_MIN) {
			uintptr_t next[2];
			if (walk->w->scan->sampled && size + CHUNK_HEAD <= walk->area.high - walk->at &&
			    read_head(walk, walk->at + size, next) && next[1] & PREVIOUS_IN_USE &&
			    !is_tcache(walk->w, walk->at, size, walk->start, walk->area.mixed))
				add_fill(walk->w, walk->at, size);
			walk->at += size;
		} else if (size && is_fence(walk, walk->at)) {
			close_heap(walk, walk->at + 2 * CHUNK_HEAD);
		} else if (target == UINTPTR_MAX) {
			close_heap(walk, walk->at);
		} else { /* overwritten */
			walk->w->chunks_broken = true;
			walk->at = target;
		}
	}
}

/* Goes over to the area of `line`: what is being walked in another one ends there. */
static void enter(struct malloc_walk *walk, const struct lt_map_line *line)
{
	if (line->low >= walk->area.low && line->high <= walk->area.high)
		return;
	walk_to(walk, UINTPTR_MAX);
	find_area(walk, line);
}

/* A chunk of the area that is known to be there. */
static void known_chunk(struct malloc_walk *walk, uintptr_t chunk, uintptr_t size, bool top)
{
	walk_to(walk, chunk);
	while (!walk->open) {
		uintptr_t low = walk->closed > walk->area.low && walk->closed <= chunk ? walk->closed : walk->area.low;
		walk->open = true;
		walk->start = walk->at = find_start(walk, low, chunk);
		walk_to(walk, chunk); /* a fence on the way: a heap without a tracked block */
	}
	walk->at = chunk + size;
	if (top)
		close_heap(walk, walk->at);
}

static void tops_below(struct malloc_walk *walk, uintptr_t address)
{
	for (; walk->top_next < walk->top_count && walk->tops[walk->top_next] < address; walk->top_next++) {
		uintptr_t top = walk->tops[walk->top_next], size;
		const struct lt_map_line *line = lt_maps_find(walk->w, top);
		if (!line || !lt_maps_root(line))
			continue;
		enter(walk, line);
		size = chunk_size(walk, top);
		if (size >= CHUNK_MIN)
			known_chunk(walk, top, size, true);
	}
}

/* A block whose allocator is not known; so its neighbourhood isn't either. */
static void exclude_foreign(struct lt_scan_work *w, const struct lt_map_line *line, const struct lt_scan_block *block)
{
	if (line->flags & (LT_MAP_FILE | LT_MAP_STACK | LT_MAP_BSS | LT_MAP_SHARED)) {
		lt_ranges_add(&w->not_roots, block->address, lt_block_end(block));
		return;
	}
	w->foreign_malloc = true;
	lt_ranges_add(&w->not_roots, line->low, line->high);
}

static bool exclude_mmapped(struct malloc_walk *walk, const struct lt_scan_block *block)
{
	const struct area *area = &walk->area;
	uintptr_t chunk = block->address - CHUNK_HEAD, head[2], page = walk->w->page;
	if (!read_head(walk, chunk, head) || (head[1] & FLAGS) != IS_MMAPPED || head[0] > chunk - area->low)
		return false;
	uintptr_t low = chunk - head[0], high = chunk + (head[1] & ~(uintptr_t)FLAGS);
	if (low % page || high % page || high > area->high || high <= chunk || high < lt_block_end(block))
		return false;
	lt_ranges_add(&walk->w->not_roots, low, high);
	return true;
}

static void exclude_block(struct malloc_walk *walk, const struct lt_map_line *line, struct lt_scan_block *block,
                          const struct lt_ranges *heaps, size_t *heap)
{
	struct lt_scan_work *w = walk->w;
	uintptr_t address = block->address, chunk = address - CHUNK_HEAD;
	if (lt_allocator_has(address))
		return;
	while (*heap < heaps->count && address >= heaps->all[*heap].high)
		++*heap;
	if (*heap < heaps->count && address >= heaps->all[*heap].low + CHUNK_HEAD) {
		block->state |= LT_BLOCK_CHUNK;
		return;
	}
	if (!w->glibc || (line->flags & (LT_MAP_FILE | LT_MAP_SHARED)) || address % CHUNK_HEAD ||
	    address - line->low < CHUNK_HEAD) {
		exclude_foreign(w, line, block);
		return;
	}
	tops_below(walk, chunk);
	enter(walk, line);
	if (exclude_mmapped(walk, block)) {
		block->state |= LT_BLOCK_CHUNK;
		return;
	}
	uintptr_t size = chunk_size(walk, chunk);
	if (size >= CHUNK_MIN && size - LT_WORD >= block->size) {
		block->state |= LT_BLOCK_CHUNK;
		known_chunk(walk, chunk, size, false);
	} else if (walk->open) { /* overwritten */
		w->chunks_broken = true;
		known_chunk(walk, chunk, CHUNK_HEAD + ((block->size + CHUNK_HEAD - 1) & -CHUNK_HEAD), false);
	} else {
		exclude_foreign(w, line, block);
	}
}

static void find_arenas(struct malloc_walk *walk)
{
	arenas_for = walk;
	lt_roots_read(walk->w, LT_MAP_FILE, LT_MAP_SHARED, look_for_arena);
	for (unsigned i = 1; i < walk->top_count; i++)
		for (unsigned j = i; j && walk->tops[j] < walk->tops[j - 1]; j--) {
			uintptr_t swap = walk->tops[j];
			walk->tops[j] = walk->tops[j - 1];
			walk->tops[j - 1] = swap;
		}
}

static void add_taken(uintptr_t low, uintptr_t high, void *arg)
{
	lt_ranges_add(arg, low, high);
}

static void exclude_allocator(struct lt_scan_work *w)
{
	w->allocator = lt_allocator.data_count > 0;
	for (unsigned i = 0; i < lt_allocator.data_count; i++)
		lt_ranges_add(&w->not_roots, lt_allocator.data[i].low, lt_allocator.data[i].high);
	lt_allocator_visit(add_taken, &w->not_roots);
}

static void read_part(struct lt_scan_work *w, uintptr_t low, uintptr_t high)
{
	for (size_t i = 0; i < w->line_count && low < high; i++) {
		const struct lt_map_line *line = &w->lines[i];
		uintptr_t from = line->low > low ? line->low : low, to = line->high < high ? line->high : high;
		if (from < to && lt_maps_root(line))
			lt_pages_read(w, from, to, lt_pages_how(line), lt_mark_words);
	}
}

/* But for the blocks in it. */
static void read_rest(uintptr_t low, uintptr_t high, void *arg)
{
	struct lt_scan_work *w = arg;
	uint32_t first = 0, last = w->count;
	while (first < last) {
		uint32_t middle = first + (last - first) / 2;
		if (lt_block_end(&w->blocks[middle]) <= low)
			first = middle + 1;
		else
			last = middle;
	}
	for (uint32_t i = first; low < high && i < w->count && w->blocks[i].address < high; i++) {
		if (w->blocks[i].address > low)
			read_part(w, low, w->blocks[i].address & -LT_WORD);
		uintptr_t end = (lt_block_end(&w->blocks[i]) + LT_WORD - 1) & -LT_WORD;
		low = end > low ? end : low;
	}
	if (low < high)
		read_part(w, low, high);
}

void lt_malloc_read_rest(struct lt_scan_work *w)
{
	if (w->allocator && w->scan->sampled)
		lt_allocator_visit(read_rest, w);
}

void lt_malloc_exclude(struct lt_scan_work *w)
{
	struct malloc_walk walk = { .w = w, .tries = TRIES };
	struct lt_ranges own, heaps;
	size_t line = 0, heap = 0;

	exclude_allocator(w);
	find_arenas(&walk);
	own = w->not_roots; /* heaps come into a set of their own, for the walk below */
	w->not_roots = (struct lt_ranges){ 0 };
	if (w->glibc)
		exclude_heaps(w);
	heaps = w->not_roots;
	w->not_roots = own;
	for (uint32_t i = 0; i < w->count; i++) {
		struct lt_scan_block *block = &w->blocks[i];
		if (i + 16 < w->count)
			__builtin_prefetch((const void *)(w->blocks[i + 16].address - LT_WORD));
		while (line < w->line_count && w->lines[line].high <= block->address)
			line++;
		const struct lt_map_line *at =
			line < w->line_count && w->lines[line].low <= block->address ? &w->lines[line] : NULL;
		if (!at || !lt_maps_root(at) || lt_block_end(block) > at->high)
			block->state |= LT_BLOCK_CAREFUL; /* protected in part, or not there at all */
		if (!at || !lt_maps_root(at))
			continue;
		if (at->flags & LT_MAP_SHARED)
			block->state |= LT_BLOCK_SHARED;
		exclude_block(&walk, at, block, &heaps, &heap);
	}
	tops_below(&walk, UINTPTR_MAX);
	walk_to(&walk, UINTPTR_MAX);
	for (size_t i = 0; i < heaps.count; i++) {
		lt_ranges_add(&w->not_roots, heaps.all[i].low, heaps.all[i].high);
		if (w->scan->sampled)
			fill_heap(w, heaps.all[i].low, heaps.all[i].high);
	}
	w->not_roots.failed |= heaps.failed;
	lt_ranges_free(&heaps);
}
