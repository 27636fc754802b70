/* SPDX-License-Identifier: MIT
 *
 * Marking, in memcheck's terms: only aligned words are pointers; one to the start reaches a block, one into it makes it possible;
 * what only possible blocks lead to is possible. Of the rest, in the order of addresses, each block that is not yet taken leads
 * a clique of all that it leads to, by start or interior pointers alike: it is definite, they are indirect. One that led a clique
 * before and is pointed to from a later one becomes indirect; so of a cycle just one block is definite.
 *
 * Three phases, in each of which a block is scanned at most once. memcheck scans a possible block again when a better
 * pointer to it turns up; here those that only interior pointers lead to wait until all reachable ones are known.
 *
 * The list of blocks to scan runs through the blocks themselves, so it can't overflow. A block is on it at most once: it is put
 * there when its kind changes, and kinds change in one direction in a phase.
 *
 * Words outside [low, low + span) are no pointers to blocks. That is one subtraction and one comparison per word, and nearly all
 * data that isn't pointers ends there.
 */
#include "scan/work.h"

#define DIRECT (4 * UINT64_C(4096)) /* smaller blocks are read without asking which of their pages exist */

#define WAITING 32
#define LARGE_CHUNK 1024 /* from here on glibc's free chunks are linked by size too */

static void push(struct lt_scan_work *w, uint32_t i)
{
	__builtin_prefetch((const void *)w->blocks[i].address); /* a hint: harmless where nothing is mapped */
	w->blocks[i].next = w->list;
	w->list = i + 1;
}

static uintptr_t chunk_size(const struct lt_scan_block *block)
{
	return ((const uintptr_t *)block->address)[-1] & ~(uintptr_t)7;
}

/* glibc links free chunks by words at their start, two, or four in large ones, and malloc() hands a chunk out with these in it.
 * They point to chunks, whose headers begin in the last word that the block before may use: an interior pointer if the program
 * asked for that word too. memcheck sees no such words, for they are not initialized. So: such a word of a block that is glibc's,
 * pointing to the end of such a block's chunk. The price: where the program itself has nothing but such a pointer, to the last
 * word of an array that fills its chunk, the array is definite and not possible. */
static bool is_chunk_link(const struct lt_scan_work *w, const struct lt_scan_block *block, uintptr_t value, uintptr_t where)
{
	const struct lt_scan_block *from = w->scanning;
	if (!from || !(from->state & block->state & LT_BLOCK_CHUNK) || where - from->address >= 4 * LT_WORD)
		return false;
	if (where - from->address >= 2 * LT_WORD && chunk_size(from) < LARGE_CHUNK)
		return false;
	return value == block->address - 2 * LT_WORD + chunk_size(block);
}

static void meet(struct lt_scan_work *w, uintptr_t value, uintptr_t where)
{
	uint32_t i = lt_index_find(w, value);
	if (i == LT_NONE)
		return;
	struct lt_scan_block *block = &w->blocks[i];
	bool start = value == block->address;
	if (w->phase == LT_PHASE_LOST) {
		if (block->kind == LEAKTRACE_KIND_UNKNOWN && !is_chunk_link(w, block, value, where)) {
			block->kind = LEAKTRACE_KIND_INDIRECT;
			push(w, i);
		} else if (block->kind == LEAKTRACE_KIND_DEFINITE && i != w->leader && !is_chunk_link(w, block, value, where)) {
			block->kind = LEAKTRACE_KIND_INDIRECT; /* what it leads to is indirect already */
		}
		return;
	}
	if (block->kind == LEAKTRACE_KIND_REACHABLE) {
		if (start)
			block->flags &= (uint8_t)~LEAKTRACE_BLOCK_INTERIOR;
		return;
	}
	if (!start && block->kind == LEAKTRACE_KIND_UNKNOWN && is_chunk_link(w, block, value, where))
		return;
	if (w->phase == LT_PHASE_POSSIBLE) {
		if (block->kind == LEAKTRACE_KIND_UNKNOWN) {
			block->kind = LEAKTRACE_KIND_POSSIBLE;
			push(w, i);
		}
	} else if (start || lt_heuristics_match(w, block, value)) {
		block->kind = LEAKTRACE_KIND_REACHABLE;
		block->flags |= w->found;
		if (!start)
			block->flags |= LEAKTRACE_BLOCK_INTERIOR;
		push(w, i);
	} else {
		block->kind = LEAKTRACE_KIND_POSSIBLE; /* scanned in the next phase, unless it turns out to be reachable */
	}
}

/* Pointers wait until there are some, so that their ways through the index, two cache misses each, overlap. */
struct waiting {
	unsigned count;
	uintptr_t values[WAITING], where[WAITING];
};

static void meet_waiting(struct lt_scan_work *w, struct waiting *waiting)
{
	for (unsigned i = 0; i < waiting->count; i++)
		lt_index_prefetch_block(w, waiting->values[i]);
	for (unsigned i = 0; i < waiting->count; i++)
		meet(w, waiting->values[i], waiting->where[i]);
	waiting->count = 0;
}

void lt_mark_words(struct lt_scan_work *w, const uintptr_t *from, const uintptr_t *to, uintptr_t address)
{
	const uintptr_t low = w->low, span = w->span, *at = from;
	struct waiting waiting;
	waiting.count = 0;
	w->scanned += (uint64_t)((const char *)to - (const char *)from);
	while (at < to) {
		const uintptr_t *end = at + 8;
		if (lt_likely(to - at >= 8)) {
			unsigned in = at[0] - low < span;
			in |= at[1] - low < span;
			in |= at[2] - low < span;
			in |= at[3] - low < span;
			in |= at[4] - low < span;
			in |= at[5] - low < span;
			in |= at[6] - low < span;
			in |= at[7] - low < span;
			if (lt_likely(!in)) {
				at = end;
				continue;
			}
		} else {
			end = to;
		}
		for (; at < end; at++) {
			if (*at - low >= span)
				continue;
			lt_index_prefetch(w, *at);
			waiting.values[waiting.count] = *at;
			waiting.where[waiting.count++] = address + (uintptr_t)((const char *)at - (const char *)from);
		}
		if (waiting.count > WAITING - 8)
			meet_waiting(w, &waiting);
	}
	meet_waiting(w, &waiting);
}

static void scan_block(struct lt_scan_work *w, const struct lt_scan_block *block)
{
	unsigned state = block->state;
	uintptr_t low = (block->address + LT_WORD - 1) & -LT_WORD, high = (block->address + block->size) & -LT_WORD;
	if (low >= high)
		return;
	if (state & LT_BLOCK_SHARED)
		lt_pages_read(w, low, high, LT_PAGES_SHARED, lt_mark_words);
	else if (state & LT_BLOCK_CAREFUL)
		lt_pages_read(w, low, high, LT_PAGES_CAREFUL, lt_mark_words);
	else if (high - low >= DIRECT)
		lt_pages_read(w, low, high, LT_PAGES_PRIVATE, lt_mark_words);
	else
		lt_mark_words(w, (const uintptr_t *)low, (const uintptr_t *)high, low);
}

static void scan_listed(struct lt_scan_work *w)
{
	while (w->list) {
		struct lt_scan_block *block = &w->blocks[w->list - 1];
		w->list = block->next;
		w->scanning = block;
		scan_block(w, block);
		w->scanning = NULL;
	}
}

void lt_mark_owned(struct lt_scan_work *w, const struct lt_scan_heap *heap)
{
	for (uint32_t i = 0; i < w->count; i++)
		if (heap->owns(w->blocks[i].address, w->blocks[i].size))
			w->blocks[i].kind = LEAKTRACE_KIND_REACHABLE;
}

static void mark_ranges(struct lt_scan_work *w, const struct lt_range *ranges, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct lt_map_line *line = lt_maps_find(w, ranges[i].low);
		if (!line || !lt_maps_root(line) || ranges[i].high > line->high) /* two lines: of two kinds, a large vector of the program's */
			lt_pages_read(w, ranges[i].low, ranges[i].high, LT_PAGES_CAREFUL, lt_mark_words);
		else if (ranges[i].high - ranges[i].low < DIRECT && lt_pages_how(line) == LT_PAGES_PRIVATE)
			lt_mark_words(w, (const uintptr_t *)ranges[i].low, (const uintptr_t *)ranges[i].high, ranges[i].low);
		else
			lt_pages_read(w, ranges[i].low, ranges[i].high, lt_pages_how(line), lt_mark_words);
	}
}

static void meet_one(struct lt_scan_work *w, uintptr_t value)
{
	if (value - w->low < w->span)
		meet(w, value, 0);
}

void lt_mark_threads(struct lt_scan_work *w)
{
	for (unsigned t = 0; t < w->scan->thread_count; t++) {
		const struct lt_scan_thread *thread = &w->scan->threads[t];
		unsigned n = thread->registers < LT_SCAN_REGISTERS ? thread->registers : LT_SCAN_REGISTERS;
		for (unsigned r = 0; r < n; r++)
			meet_one(w, thread->reg[r]);
		meet_one(w, lt_threads_tls_blocks(thread));
	}
}

/* After the roots, which have put on the list what they reach. What is to be finalized still can be freed, so it is not lost. */
void lt_mark_run(struct lt_scan_work *w, const struct lt_scan_heap *heap)
{
	mark_ranges(w, heap->live, heap->live_count);
	scan_listed(w);
	w->found = LEAKTRACE_BLOCK_R_GARBAGE;
	mark_ranges(w, heap->garbage, heap->garbage_count);
	scan_listed(w);
	w->phase = LT_PHASE_POSSIBLE;
	for (uint32_t i = 0; i < w->count; i++)
		if (w->blocks[i].kind == LEAKTRACE_KIND_POSSIBLE)
			push(w, i);
	lt_malloc_read_rest(w);
	scan_listed(w);
	w->phase = LT_PHASE_LOST;
	for (uint32_t i = 0; i < w->count; i++) {
		if (w->blocks[i].kind != LEAKTRACE_KIND_UNKNOWN)
			continue;
		w->blocks[i].kind = LEAKTRACE_KIND_DEFINITE;
		w->leader = i;
		push(w, i);
		scan_listed(w);
	}
}
