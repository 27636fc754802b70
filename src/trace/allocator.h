/* SPDX-License-Identifier: MIT
 *
 * An allocator's library behind our hooks (jemalloc, tcmalloc, mimalloc), and the memory that it took from the kernel: its heap, its
 * own words about it, and what it keeps for later. None of that is a root for the scan, but the program's own mappings are, and
 * the kernel joins both in one line of maps. So hooks of mmap and the like note the pages of calls that come from the library's code.
 *
 * One bit a page, in a table that exists only where there is such a library. Any thread, any context; no locks.
 */
#ifndef LT_ALLOCATOR_H
#define LT_ALLOCATOR_H

#include "base/atomic.h"
#include "base/range.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LT_ALLOCATOR_DATA 4

struct lt_allocator {
	struct lt_range code; /* the whole object; low == high: there is none */
	struct lt_range data[LT_ALLOCATOR_DATA]; /* its variables */
	unsigned data_count;
	intptr_t tls_low, tls_high; /* its thread-local variables, as distances from a thread pointer */
};
extern LT_HIDDEN struct lt_allocator lt_allocator;

/* `code` is where a call returns to. */
static inline bool lt_allocator_is(const void *code)
{
	return (uintptr_t)code - lt_allocator.code.low < lt_allocator.code.high - lt_allocator.code.low;
}

/* What is mapped, and what is not any more. */
void lt_allocator_took(uintptr_t address, size_t size);
void lt_allocator_gave(uintptr_t address, size_t size);

bool lt_allocator_has(uintptr_t address);
/* In ascending order, neighbours joined as far as they lie in one GiB. */
void lt_allocator_visit(void (*visit)(uintptr_t low, uintptr_t high, void *arg), void *arg);

#endif
