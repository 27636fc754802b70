/* SPDX-License-Identifier: MIT
 *
 * What the parts of the scan share. One thread, so there are no locks. All of it is memory by lt_map(), its buffers too, so that
 * it is known as the tracer's and never scanned: copies of the program's words in a static buffer would be roots.
 */
#ifndef LT_SCAN_WORK_H
#define LT_SCAN_WORK_H

#include "base/atomic.h"
#include "base/text.h"
#include "scan/scan.h"
#include <stdbool.h>

#define LT_WORD sizeof(uintptr_t)
#define LT_NONE UINT32_MAX

/* ---- maps.c: the lines of /proc/thread-self/maps, sorted, never overlapping ---- */

enum lt_map_flag {
	LT_MAP_READ = 1u << 0,
	LT_MAP_WRITE = 1u << 1,
	LT_MAP_EXEC = 1u << 2,
	LT_MAP_SHARED = 1u << 3,
	LT_MAP_FILE = 1u << 4,   /* of a file or a device */
	LT_MAP_DEVICE = 1u << 5, /* reading it could hang or do something */
	LT_MAP_HEAP = 1u << 6,   /* [heap]: the kernel's name for where brk is */
	LT_MAP_STACK = 1u << 7,  /* [stack]: of the main thread */
	LT_MAP_BSS = 1u << 8,    /* nameless, and a file's writable data ends where it begins */
};

struct lt_map_line {
	uintptr_t low, high;
	uint32_t flags;
};

int lt_maps_read(struct lt_scan_work *w);
/* The line that holds address; NULL: none. */
const struct lt_map_line *lt_maps_find(const struct lt_scan_work *w, uintptr_t address);
/* Readable, writable, and safe to read. */
static inline bool lt_maps_root(const struct lt_map_line *line)
{
	return (line->flags & (LT_MAP_READ | LT_MAP_WRITE | LT_MAP_DEVICE)) == (LT_MAP_READ | LT_MAP_WRITE);
}

/* ---- ranges.c: sets of addresses ---- */

struct lt_ranges {
	struct lt_range *all;
	size_t count, room;
	bool failed; /* no memory: something is missing in it */
};

void lt_ranges_add(struct lt_ranges *ranges, uintptr_t low, uintptr_t high);
/* Sorts, and joins what touches or overlaps. */
void lt_ranges_join(struct lt_ranges *ranges);
void lt_ranges_free(struct lt_ranges *ranges);

/* ---- pages.c: reading memory without paging it in, and without dying ---- */

/* Takes words; `address` is where they really lie, for `from` may be a copy. */
typedef void lt_words_fn(struct lt_scan_work *w, const uintptr_t *from, const uintptr_t *to, uintptr_t address);

enum lt_pages_how {
	LT_PAGES_PRIVATE, /* private and anonymous */
	LT_PAGES_FILE,    /* private, of a file: only pages that were written to */
	LT_PAGES_SHARED,  /* in the page cache, or shared memory */
	LT_PAGES_CAREFUL, /* private, but may be protected or unmapped */
};

int lt_pages_open(struct lt_scan_work *w);
/* Calls `words` for all readable words of [low, high) on pages that exist. */
void lt_pages_read(struct lt_scan_work *w, uintptr_t low, uintptr_t high, enum lt_pages_how how, lt_words_fn *words);
/* For a range inside one line. */
enum lt_pages_how lt_pages_how(const struct lt_map_line *line);
/* True if the private page that holds address has contents. Neighbours are asked for at the same time. */
bool lt_pages_there(struct lt_scan_work *w, uintptr_t address);
/* Copies words from any address; false if they can't be read. */
bool lt_pages_copy(const void *from, void *to, size_t size);

/* ---- index.c: blocks in order, and the block at an address ---- */

void lt_index_sort(struct lt_scan_block *blocks, uint32_t count);
int lt_index_make(struct lt_scan_work *w);
void lt_index_free(struct lt_scan_work *w);
/* The block that holds address; LT_NONE. */
uint32_t lt_index_find(const struct lt_scan_work *w, uintptr_t address);
void lt_index_prefetch(const struct lt_scan_work *w, uintptr_t address);
void lt_index_prefetch_block(const struct lt_scan_work *w, uintptr_t address);

static inline uintptr_t lt_block_end(const struct lt_scan_block *block)
{
	return block->address + (block->size ? block->size : 1);
}

/* ---- malloc.c: which memory is the allocator's; threads.c: which is a dead stack; roots.c ---- */

enum lt_block_state {
	LT_BLOCK_CAREFUL = 1u << 0, /* not all of it is in readable memory */
	LT_BLOCK_SHARED = 1u << 1,  /* in a shared mapping */
	LT_BLOCK_CHUNK = 1u << 2,   /* glibc's: its chunk's header is sound */
	LT_BLOCK_FILL = 1u << 3,    /* not given, but found by malloc.c */
};

void lt_malloc_exclude(struct lt_scan_work *w);
/* Of a sample: marks what is led to by memory of an allocator behind us that is no given block. */
void lt_malloc_read_rest(struct lt_scan_work *w);
void lt_threads_exclude(struct lt_scan_work *w);
/* Where the list of a live thread's dynamic TLS blocks begins, which glibc has by an interior pointer; 0: not known. */
uintptr_t lt_threads_tls_blocks(const struct lt_scan_thread *thread);
/* Calls `words` for the words of all roots with any of `flags` wanted (0: any) and none unwanted. */
void lt_roots_read(struct lt_scan_work *w, uint32_t wanted, uint32_t unwanted, lt_words_fn *words);

/* ---- mark.c, heuristics.c ---- */

lt_words_fn lt_mark_words;
/* Registers and dynamic TLS. */
void lt_mark_threads(struct lt_scan_work *w);
/* The blocks of another heap are reachable from the start. */
void lt_mark_owned(struct lt_scan_work *w, const struct lt_scan_heap *heap);
void lt_mark_run(struct lt_scan_work *w, const struct lt_scan_heap *heap);
bool lt_heuristics_match(struct lt_scan_work *w, const struct lt_scan_block *block, uintptr_t address);

/* ---- */

enum lt_phase {
	LT_PHASE_REACHABLE, /* from roots and what they lead to by start pointers alone */
	LT_PHASE_POSSIBLE,
	LT_PHASE_LOST,
};

#define LT_PAGEMAP_ENTRIES 1024
#define LT_COPY_BYTES 65536
#define LT_MAPS_BYTES 16384
#define LT_VTABLES 512

struct lt_index_gib {
	uint32_t *granules; /* NULL: only large blocks, or none */
	uint32_t large, large_count; /* in large[] */
};

struct lt_scan_work {
	struct lt_scan *scan;
	struct lt_scan_block *blocks;
	uint32_t count;

	/* Words outside [low, low + span) point to no block: tried first, and nearly all data ends there. */
	uintptr_t low, span;
	enum lt_phase phase;
	uint32_t list;   /* blocks to be scanned: index + 1, then by `next` */
	uint32_t leader; /* of the lost clique */
	const struct lt_scan_block *scanning; /* NULL: roots */
	uint8_t found; /* flags of what is found to be reachable now */
	uint64_t scanned;

	/* Of a sample, glibc's chunks in use that are no given blocks: they are judged, too, for they lead to those. */
	struct lt_scan_block *fill;
	uint32_t fill_count, fill_room;
	uintptr_t tcache_key; /* 0: not known */

	struct lt_index_gib *gibs;
	size_t gib_first, gib_count;
	uint32_t *large;
	uint32_t large_count;

	struct lt_map_line *lines;
	size_t line_count, line_room;

	struct lt_ranges not_roots;
	uintptr_t page; /* its size */
	int pagemap;    /* descriptor, -1: mincore is asked instead */
	uintptr_t window; /* address of pagemap_entries[0] for lt_pages_there(); 0: none */
	bool glibc;       /* glibc's malloc is in use */
	bool allocator;   /* an allocator's library is */

	/* for the note */
	bool foreign_malloc, swap_unknown, copy_refused, chunks_broken;
	uint64_t unreadable;

	struct {
		uintptr_t address;
		bool is;
	} vtables[LT_VTABLES];
	uint64_t entries[LT_PAGEMAP_ENTRIES];
	uint64_t window_entries[LT_PAGEMAP_ENTRIES];
	unsigned char incore[LT_PAGEMAP_ENTRIES];
	char maps[LT_MAPS_BYTES];
	_Alignas(16) char copy[LT_COPY_BYTES];
};

#endif
