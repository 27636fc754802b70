/* SPDX-License-Identifier: MIT
 *
 * Interning: the same stack, string and site get the same number for the life of the image.
 */
#ifndef LT_INTERN_H
#define LT_INTERN_H

#include "base/atomic.h"
#include "leaktrace/dump-format.h"
#include "r/r.h"
#include "trace/table.h"
#include "trace/unwind.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The reference of a string in the dump; the same for the same bytes. 0: empty, or no room. Takes the intern lock (rank 2). */
uint32_t lt_intern_string(const char *bytes, size_t length);
/* The same, but 0 where a lock can't be had for 200 ms: for contexts that may have interrupted its holder. */
uint32_t lt_intern_string_bounded(const char *bytes, size_t length);

/* The trie node of a native stack of `n` return addresses, innermost first. 0 if n is 0 or there is no room. No lock held. */
uint32_t lt_intern_native(const uintptr_t *pcs, unsigned n);

/* The same without the table by address, for option check. */
uint32_t lt_intern_anew(const uintptr_t *pcs, unsigned n);

extern LT_HIDDEN struct lt_table lt_intern_by_address, lt_intern_by_stacks;
uint32_t lt_intern_frame_slowly(uint32_t parent, uintptr_t pc);
uint32_t lt_intern_site_slowly(uint32_t native, uint64_t r, uint32_t flags);

/* The node of a frame inside that of `parent`. 0 if there is no room. No lock held. */
static inline uint32_t lt_intern_frame(uint32_t parent, uintptr_t pc)
{
	uint32_t node = lt_table_find(&lt_intern_by_address, pc, parent);
	return lt_likely(node) ? node : lt_intern_frame_slowly(parent, pc);
}

/* The trie node of a stack from lt_stack_take(); notes the nodes of its frames. 0 if there is no room. No lock held. */
static inline uint32_t lt_intern_stack(struct lt_stack *stack)
{
	uint32_t i = stack->first ? stack->first : stack->known, node = 0;
	if (i && !stack->first)
		node = stack->frames[i - 1].node;
	for (uint32_t count = lt_stack_count(stack); i < count; i++) {
		node = stack->frames[i].node = lt_intern_frame(node, stack->frames[i].pc);
		if (lt_unlikely(!node))
			break;
	}
	stack->known = stack->first ? 0 : i;
	return node;
}

/* The same of one that was taken while code was being unloaded. */
uint32_t lt_intern_unsure(struct lt_stack *stack);

/* The trie node of an R stack, innermost first. Likewise. */
uint32_t lt_intern_r(const struct lt_r_call *calls, unsigned n);
/* The node of an R call inside that of `parent`. Likewise. */
uint32_t lt_intern_r_call(uint32_t parent, const struct lt_r_call *call);

/* The site of two stacks for threads of a stripe (0 … LT_SITE_STRIPES - 1): each stripe has a record of its own, or threads
 * would fight for its cache lines; the reader adds them up. See shared.h, whose is also what a new record's `process` is. `flags` count
 * only when it is new. 0 when there is no room. */
#define LT_SITE_STRIPES 24
#define LT_SITE_OF_ALL UINT32_MAX
uint32_t lt_site_owner(uint32_t stripe);
static inline uint32_t lt_intern_site(uint32_t native, uint32_t r, uint32_t stripe, uint32_t flags)
{
	uint32_t id = lt_table_find(&lt_intern_by_stacks, native + 1ULL, (uint64_t)stripe << 32 | r);
	return lt_likely(id) ? id : lt_intern_site_slowly(native, (uint64_t)stripe << 32 | r, flags);
}

#define LT_SITE_LEAF 512
#define LT_SITE_LEAVES 16384 /* 8 million sites: LT_LIVE_SITE_MAX + 1 */
extern LT_HIDDEN struct leaktrace_site **lt_site_leaves[LT_SITE_LEAVES];
extern LT_HIDDEN uint32_t lt_site_lowest;

/* The record of a site of this image in the dump; NULL for others (of an ancestor, or 0). No lock. */
static lt_always_inline struct leaktrace_site *lt_site(uint32_t id)
{
	if (lt_unlikely(id >= LT_SITE_LEAVES * LT_SITE_LEAF))
		return NULL;
	struct leaktrace_site **leaf = lt_load_acquire(&lt_site_leaves[id / LT_SITE_LEAF]); /* pairs with new_site */
	return lt_likely(leaf != NULL) ? leaf[id % LT_SITE_LEAF] : NULL;
}

/* Of one that this image or an ancestor has: it is this image's, and then its record. */
static lt_always_inline bool lt_site_is_of_image(uint32_t id)
{
	return lt_likely(id >= lt_site_lowest);
}

static lt_always_inline struct leaktrace_site *lt_site_of_image(uint32_t id)
{
	return lt_site_leaves[id / LT_SITE_LEAF][id % LT_SITE_LEAF];
}

/* The first of any stripe; 0: there is none. */
uint32_t lt_intern_site_of_any(uint32_t native, uint32_t r);

/* The lowest id of a record of this image for the same stacks. */
uint32_t lt_site_first_of(uint32_t id);

/* The lowest id of a site of this image, and the id that the next new one will get. */
uint32_t lt_site_first(void);
uint32_t lt_site_next(void);

/* Code was unloaded: forget what is cached by address. With the gate closed. */
void lt_intern_flush(void);

/* Gives back the memory of tables that grew. With the gate closed. */
void lt_intern_settle(void);

/* In a fork child, before its modules are written: all empty, site ids go on from where they are. `interrupted`: by a signal
 * handler that this runs in, in a function of this module perhaps. */
void lt_intern_fork_child(bool interrupted);

#endif
