/* SPDX-License-Identifier: MIT
 *
 * The reachability scan: which of the live blocks can the program still get at? Judged as Valgrind's memcheck does.
 *
 * It runs in a process of one thread whose memory nobody else writes to: a forked copy of the traced process. It reads all of
 * that memory, writes to none but the tracer's, and calls neither malloc nor stdio. It fails as a whole (-errno) only without
 * memory, without /proc, or for bad arguments; what it could not look at is said in `note`.
 */
#ifndef LT_SCAN_H
#define LT_SCAN_H

#include "base/range.h"
#include "leaktrace/dump-format.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 32 bytes. The caller fills the first four (the rest zero) in any order; lt_scan_run() sorts them by address. */
struct lt_scan_block {
	uintptr_t address;
	uint64_t size; /* as asked for; 0 is judged as 1 */
	uint32_t site, task;
	uint32_t next; /* the scan's: work list, by index + 1 */
	uint8_t kind;  /* result: enum leaktrace_kind */
	uint8_t flags; /* result: LEAKTRACE_BLOCK_INTERIOR, _R_GARBAGE; other bits are left alone */
	uint8_t state; /* the scan's */
	uint8_t unused;
};
_Static_assert(sizeof(struct lt_scan_block) == 32, "millions of them");

#define LT_SCAN_REGISTERS 32
#define LT_SCAN_BLOCKS_MAX (UINT32_MAX - 1)

/* A thread that lives. All others that there are traces of are dead, or were left behind in the parent by a fork. */
struct lt_scan_thread {
	uint32_t tid;
	uint32_t registers;  /* used of reg[] */
	uintptr_t sp;        /* the lowest address of its stack that counts; 0: unknown. A thread that was stopped anywhere may keep
	                        live words in the red zone: then it is the stack pointer - 128 on x86_64, as memcheck has it. For one that
	                        captured itself in a function, it is that function's caller's: what is below is the tracer's */
	uintptr_t stack_low, stack_high; /* 0: found by sp and tp */
	uintptr_t pc;        /* where it was stopped; 0: unknown, or it captured itself in a function */
	uintptr_t tp;        /* thread pointer (fs base); 0: unknown */
	uintptr_t reg[LT_SCAN_REGISTERS]; /* general registers, the stack pointer too: memcheck takes it as a pointer */
};

/* A heap with a collector of its own, inside some of the blocks (R's): who knows its nodes says what counts in it. */
struct lt_scan_heap {
	bool (*owns)(uintptr_t block, uint64_t size); /* the block is part of that heap: reachable, and not scanned */
	const struct lt_range *live; /* roots: words in nodes that live, and that may point out of the heap */
	size_t live_count;
	const struct lt_range *garbage; /* the same in nodes that only garbage holds, which is still to be finalized */
	size_t garbage_count;
};

struct lt_scan {
	/* given */
	struct lt_scan_block *blocks;
	uint64_t count;
	const struct lt_scan_thread *threads;
	unsigned thread_count;
	bool threads_missing; /* there are more */
	/* The tracer's own: its module's data, the mapped dump. What lt_map() gave is known. */
	const struct lt_range *own;
	unsigned own_count;
	/* The tracer's thread-local variables (lt_thread remembers the thread's last block), as distances from each thread's tp. */
	intptr_t own_tls_low, own_tls_high;
	bool sampled; /* there are more blocks than those given: found where the allocator is glibc's */
	uint32_t first_site; /* blocks of lower sites were inherited: judged, but not counted in `kinds` */
	/* Called once, when lt_scan_block_size() can be: true if there is such a heap, and *heap is filled. NULL: none. */
	bool (*collect)(struct lt_scan *scan, struct lt_scan_heap *heap);

	/* results */
	struct {
		uint64_t blocks, bytes;
	} kinds[LEAKTRACE_KINDS];
	uint64_t scanned_bytes;
	uint64_t root_bytes; /* of these, outside tracked blocks */
	char note[384];      /* what was not looked at, or judged in a coarser way; empty: nothing to say */

	struct lt_scan_work *work; /* the scan's */
};

/* Judges all blocks. 0, -ENOMEM, -EINVAL (too many blocks), or why /proc/thread-self/maps can't be read. A process that is not
 * dumpable (it dropped privileges) must be made so before (PR_SET_DUMPABLE), or which pages are swapped out is unknown. */
int lt_scan_run(struct lt_scan *scan);

/* For `collect`: bytes of the block that begins at `address`; 0: none does. */
uint64_t lt_scan_block_size(const struct lt_scan *scan, uintptr_t address);

#endif
