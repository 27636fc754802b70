/* SPDX-License-Identifier: MIT
 *
 * Interning: the same stack, string and site get the same number for the life of the image.
 */
#ifndef LT_INTERN_H
#define LT_INTERN_H

#include "leaktrace/dump-format.h"
#include "r/r.h"
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

/* The trie node of a stack from lt_stack_take(); notes the nodes of its frames. 0 if there is no room. No lock held. */
uint32_t lt_intern_stack(struct lt_stack *stack);

/* The trie node of an R stack, innermost first. Likewise. */
uint32_t lt_intern_r(const struct lt_r_call *calls, unsigned n);

/* The site of two stacks; `flags` count only when it is new. 0 when there is no room. */
uint32_t lt_intern_site(uint32_t native, uint32_t r, uint32_t flags);

/* The record of a site of this image in the dump; NULL for others (of an ancestor, or 0). No lock. */
struct leaktrace_site *lt_site(uint32_t id);

/* The lowest id of a site of this image, and the id that the next new one will get. */
uint32_t lt_site_first(void);
uint32_t lt_site_next(void);

/* Code was unloaded: forget what is cached by address. With the gate closed. */
void lt_intern_flush(void);

/* In a fork child, before its modules are written: all empty, site ids go on from where they are. `interrupted`: by a signal
 * handler that this runs in, in a function of this module perhaps. */
void lt_intern_fork_child(bool interrupted);

#endif
