/* SPDX-License-Identifier: MIT
 *
 * Bump allocation from 64 KiB mappings; larger requests get a mapping of their own. One lock, held for some instructions
 * and one mmap at the most. Fails by NULL, and then its callers record less.
 */
#include "base/arena.h"
#include "base/lock.h"

#define ARENA_PIECE 65536

static struct lt_lock arena_lock;
static char *arena_next, *arena_end;
static uint64_t arena_bytes;

void *lt_map(size_t size)
{
	size = (size + 4095) & ~(size_t)4095;
	void *memory = lt_sys_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (lt_sys_mmap_failed(memory))
		return NULL;
	lt_add_relaxed(&arena_bytes, size);
	return memory;
}

void lt_unmap(void *memory, size_t size)
{
	size = (size + 4095) & ~(size_t)4095;
	if (memory && lt_sys_munmap(memory, size) == 0)
		lt_sub_relaxed(&arena_bytes, size);
}

void *lt_arena_alloc(size_t size)
{
	size = (size + 15) & ~(size_t)15;
	if (size > ARENA_PIECE / 4)
		return lt_map(size);
	lt_lock(&arena_lock);
	if ((size_t)(arena_end - arena_next) < size) {
		char *piece = lt_map(ARENA_PIECE);
		if (!piece) {
			lt_unlock(&arena_lock);
			return NULL;
		}
		arena_next = piece;
		arena_end = piece + ARENA_PIECE;
	}
	void *memory = arena_next;
	arena_next += size;
	lt_unlock(&arena_lock);
	return memory;
}

uint64_t lt_arena_bytes(void)
{
	return lt_load_relaxed(&arena_bytes);
}

void lt_arena_fork_child(void)
{
	arena_lock.held = 0;
}
