/* SPDX-License-Identifier: MIT
 *
 * The tracer's own memory: anonymous private mappings, never from malloc.
 */
#ifndef LT_ARENA_H
#define LT_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed memory of its own mapping (whole pages). NULL when the kernel refuses. Any context. */
void *lt_map(size_t size);
void lt_unmap(void *memory, size_t size);

/* `size` zeroed bytes, 16-byte aligned, never given back; for small things that live as long as the process. NULL when there
 * is no memory. Any context but a signal handler that interrupted it; takes no lock of a rank. */
void *lt_arena_alloc(size_t size);

/* Private bytes mapped by the tracer so far and not unmapped. */
uint64_t lt_arena_bytes(void);

/* Calls visit for each mapping of the tracer: [low, high). Returns false if there were more than are remembered (4096). */
bool lt_arena_visit(void (*visit)(uintptr_t low, uintptr_t high, void *arg), void *arg);

/* In a fork child, before anything else of this module. */
void lt_arena_fork_child(void);

#endif
