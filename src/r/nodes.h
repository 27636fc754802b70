/* SPDX-License-Identifier: MIT
 *
 * R's heap as R's own collector keeps it: classes of nodes, their pages, and the lists of large vectors; and two bits for each
 * place where a node may begin.
 */
#ifndef LT_R_NODES_H
#define LT_R_NODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomic.h"
#include "r/runtime.h"

#define LT_R_CLASSES 8
#define LT_R_SMALL_CLASSES 6
#define LT_R_CUSTOM_CLASS 6
#define LT_R_LARGE_CLASS 7
#define LT_R_CUSTOM_HEAD 32 /* before a vector with an allocator of its own lies that R_allocator_t (R_ext/Rallocators.h) */

/* R_GenHeap[] in memory.c, R 3.6 to 4.5: the same on all 64-bit machines, if built without EXPEL_OLD_TO_NEW, as it always is. */
struct lt_r_class {
	const struct lt_r_node *old[2], *new, *free;
	char old_pegs[2][56], new_peg[56];
	const struct lt_r_node *old_to_new[2];
	char old_to_new_pegs[2][56];
	int old_count[2], allocated, page_count;
	const struct lt_r_page *pages;
};
static_assert(sizeof(struct lt_r_class) == 352, "R_GenHeap's element");

struct lt_r_page {
	const struct lt_r_page *next; /* nodes follow */
};
#define LT_R_PAGE 7960

static inline unsigned lt_r_node_size(unsigned class)
{
	static const uint8_t sizes[LT_R_SMALL_CLASSES] = { 56, 56, 64, 80, 112, 176 };

	return sizes[class];
}

/* Bits: one uint64_t per 32 places of 8 bytes; its lower half tells where nodes begin, the upper half which of them are marked, so
 * that one load answers both. Nothing is written into R's memory, whose pages would be copied by that. */
#define LT_R_CHUNK_SHIFT 28
#define LT_R_CHUNK_WORDS ((size_t)1 << (LT_R_CHUNK_SHIFT - 8))
#define LT_R_CHUNKS ((size_t)1 << (47 - LT_R_CHUNK_SHIFT))

struct lt_r_heap {
	const struct lt_r_class *classes; /* R_GenHeap */
	uint64_t **chunks;                /* by address >> LT_R_CHUNK_SHIFT */
	uint64_t nodes;                   /* live, dead and free ones */
};

/* Finds R's heap and where its nodes begin. Returns 0, -ENOENT (R has none yet, or it is laid out in another way), -EBUSY (R was in
 * the middle of changing it), -ENOMEM. */
int lt_r_heap_open(struct lt_r_heap *heap);
void lt_r_heap_close(struct lt_r_heap *heap);

/* The one of collect.c; for tests. */
const struct lt_r_heap *lt_r_heap(void);

static inline uint64_t *lt_r_bits(const struct lt_r_heap *heap, uintptr_t address)
{
	if (lt_unlikely(address >> 47))
		return NULL;
	uint64_t *chunk = heap->chunks[address >> LT_R_CHUNK_SHIFT];
	return lt_likely(chunk != NULL) ? &chunk[address >> 8 & (LT_R_CHUNK_WORDS - 1)] : NULL;
}

static inline uint64_t lt_r_start_bit(uintptr_t address)
{
	return UINT64_C(1) << (address >> 3 & 31);
}

static inline uint64_t lt_r_mark_bit(uintptr_t address)
{
	return UINT64_C(1) << (32 + (address >> 3 & 31));
}

/* A node begins at `address`. */
static inline bool lt_r_heap_node(const struct lt_r_heap *heap, uintptr_t address)
{
	const uint64_t *bits = address & 7 ? NULL : lt_r_bits(heap, address);

	return bits && *bits & lt_r_start_bit(address);
}

static inline bool lt_r_heap_marked(const struct lt_r_heap *heap, uintptr_t address)
{
	const uint64_t *bits = lt_r_bits(heap, address);

	return bits && *bits & lt_r_mark_bit(address);
}

#endif
