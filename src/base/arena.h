/* SPDX-License-Identifier: MIT
 *
 * The tracer's own memory: anonymous mappings, never from malloc.
 */
#ifndef LT_ARENA_H
#define LT_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed memory of its own mapping (whole pages). NULL when the kernel refuses. Any context. */
void *lt_map(size_t size);
/* The same; a fork child shares it. */
void *lt_map_shared(size_t size);
void lt_unmap(void *memory, size_t size);

/* `size` zeroed bytes, 16-byte aligned, never given back; for small things that live as long as the process. NULL when there
 * is no memory. Any context but a signal handler that interrupted it; takes no lock of a rank. */
void *lt_arena_alloc(size_t size);

/* Bytes mapped by the tracer so far and not unmapped, and the most that there were in this process. */
uint64_t lt_arena_bytes(void);
uint64_t lt_arena_peak(void);

/* Keeps both there, too, from now on, while *alive is not 0 (it is where the dump is not this process's). At start and in a fork child,
 * one thread. */
void lt_arena_show(uint64_t *bytes, uint64_t *peak, const uint64_t *alive);

/* Calls visit for each mapping of the tracer: [low, high). Returns false if there were more than are remembered (4096). */
bool lt_arena_visit(void (*visit)(uintptr_t low, uintptr_t high, void *arg), void *arg);

/* In a fork child, before anything else of this module; and in any other copy. Nothing is kept in the parent's dump any more. */
void lt_arena_fork_child(void);

#endif
