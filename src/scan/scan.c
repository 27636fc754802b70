/* SPDX-License-Identifier: MIT
 *
 * The order of a scan: sort and index the blocks; read the mappings; take away from the roots what is the tracer's, the
 * allocator's, and dead stacks; of a sample, add the blocks that were not recorded; mark from roots and registers; judge what is
 * left; add up.
 */
#include "base/options.h"
#include "base/arena.h"
#include "base/sys.h"
#include "scan/work.h"
#include <string.h>

static void add_own(uintptr_t low, uintptr_t high, void *arg)
{
	lt_ranges_add(arg, low, high);
}

/* The tracer's memory, all that is mapped up to here. */
static void exclude_own(struct lt_scan_work *w)
{
	for (unsigned i = 0; i < w->scan->own_count; i++)
		lt_ranges_add(&w->not_roots, w->scan->own[i].low, w->scan->own[i].high);
	if (!lt_arena_visit(add_own, &w->not_roots))
		w->not_roots.failed = true;
}

static void count_kinds(struct lt_scan *scan)
{
	memset(scan->kinds, 0, sizeof scan->kinds);
	for (uint64_t i = 0; i < scan->count; i++) {
		const struct lt_scan_block *block = &scan->blocks[i];
		if (block->site < scan->first_site)
			continue;
		uint64_t weight = leaktrace_sample_weight(block->size, lt_options.sample);
		scan->kinds[block->kind].blocks += weight;
		scan->kinds[block->kind].bytes += weight * block->size;
	}
}

static void add_note(struct lt_text *note, bool wanted, const char *what)
{
	if (!wanted)
		return;
	if (note->length)
		lt_text_add(note, "; ");
	lt_text_add(note, what);
}

static void write_note(struct lt_scan_work *w)
{
	struct lt_text note = LT_TEXT(w->scan->note);
	w->scan->note[0] = 0;
	add_note(&note, w->foreign_malloc,
	         "the allocator is not glibc's: mappings with blocks in them are no roots, the program's own memory there neither");
	add_note(&note, w->allocator && w->scan->sampled,
	         "the allocator is not glibc's: what only blocks lead to that were not recorded is possible");
	add_note(&note, w->chunks_broken, "the heap is damaged: headers of blocks were overwritten");
	add_note(&note, w->swap_unknown, "pagemap can't be read: memory that is swapped out was not scanned");
	add_note(&note, w->copy_refused, "process_vm_readv is not allowed: shared, swapped and protected memory was not scanned");
	if (w->unreadable) {
		add_note(&note, true, "unreadable bytes: ");
		lt_text_add_decimal(&note, w->unreadable);
	}
}

uint64_t lt_scan_block_size(const struct lt_scan *scan, uintptr_t address)
{
	uint32_t i = lt_index_find(scan->work, address);
	return i != LT_NONE && scan->work->blocks[i].address == address ? scan->work->blocks[i].size : 0;
}

/* The given blocks and what fills the gaps between them, in an array of their own. */
static int add_fill(struct lt_scan_work *w)
{
	uint64_t count = (uint64_t)w->count + w->fill_count;
	struct lt_scan_block *all = count <= LT_SCAN_BLOCKS_MAX ? lt_map(count * sizeof *all) : NULL;
	if (!all)
		return -ENOMEM;
	memcpy(all, w->blocks, w->count * sizeof *all);
	memcpy(all + w->count, w->fill, w->fill_count * sizeof *all);
	lt_index_free(w);
	w->gibs = NULL;
	w->large = NULL;
	w->large_count = 0;
	w->blocks = all;
	w->count = (uint32_t)count;
	lt_index_sort(all, w->count);
	return lt_index_make(w);
}

/* Both are sorted. */
static void take_results(struct lt_scan_work *w)
{
	struct lt_scan_block *given = w->scan->blocks;
	for (uint32_t i = 0; given != w->blocks && i < w->count; i++)
		if (!(w->blocks[i].state & LT_BLOCK_FILL))
			*given++ = w->blocks[i];
}

static int run(struct lt_scan_work *w)
{
	struct lt_scan *scan = w->scan;
	int error;
	lt_index_sort(w->blocks, w->count);
	if ((error = lt_index_make(w)) || (error = lt_maps_read(w)) || (error = lt_pages_open(w)))
		return error;
	exclude_own(w);
	lt_malloc_exclude(w);
	lt_threads_exclude(w);
	if (w->not_roots.failed)
		return -ENOMEM;
	if (w->fill_count && (error = add_fill(w)))
		return error;
	struct lt_scan_heap heap = { 0 };
	if (scan->collect && scan->collect(scan, &heap))
		lt_mark_owned(w, &heap);
	w->scanned = 0;
	lt_roots_read(w, 0, 0, lt_mark_words);
	scan->root_bytes = w->scanned;
	lt_mark_threads(w);
	lt_mark_run(w, &heap);
	scan->scanned_bytes = w->scanned;
	take_results(w);
	count_kinds(scan);
	write_note(w);
	return 0;
}

int lt_scan_run(struct lt_scan *scan)
{
	if (scan->count > LT_SCAN_BLOCKS_MAX)
		return -EINVAL;
	struct lt_scan_work *w = lt_map(sizeof *w);
	if (!w)
		return -ENOMEM;
	w->scan = scan;
	w->blocks = scan->blocks;
	w->count = (uint32_t)scan->count;
	w->pagemap = -1;
	scan->work = w;
	for (uint32_t i = 0; i < w->count; i++) {
		w->blocks[i].kind = LEAKTRACE_KIND_UNKNOWN;
		w->blocks[i].flags &= (uint8_t)~(LEAKTRACE_BLOCK_INTERIOR | LEAKTRACE_BLOCK_R_GARBAGE);
		w->blocks[i].next = 0;
		w->blocks[i].state = 0;
	}
	int error = run(w);
	if (w->pagemap >= 0)
		lt_sys_close(w->pagemap);
	lt_index_free(w);
	lt_unmap(w->fill, w->fill_room * sizeof *w->fill);
	if (w->blocks != scan->blocks)
		lt_unmap(w->blocks, w->count * sizeof *w->blocks);
	lt_ranges_free(&w->not_roots);
	lt_unmap(w->lines, w->line_room * sizeof *w->lines);
	lt_unmap(w, sizeof *w);
	scan->work = NULL;
	return error;
}
