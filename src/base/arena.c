/* SPDX-License-Identifier: MIT
 *
 * Bump allocation from 64 KiB mappings; larger requests get a mapping of their own. One lock, held for some instructions
 * and one mmap at the most. Fails by NULL, and then its callers record less.
 *
 * Where the mappings are is remembered for the reachability scan, which must not take the tracer's tables for the program's
 * memory: a fixed table of slots, claimed without a lock since lt_map is called in any context. Turned down: one reserved
 * range for all of them (RLIMIT_AS), names by prctl (the kernel may be built without), and a list through the mappings
 * themselves (lt_unmap would have to unlink without a lock).
 *
 * What is mapped is counted, once for ourselves and once where the dump's reader sees it: the latter is a parent's in a fork child
 * that has no dump of its own yet, so the former goes on there.
 */
#include "base/arena.h"
#include "base/lock.h"

#define ARENA_PIECE 65536

static struct lt_lock arena_lock;
static char *arena_next, *arena_end;
static uint64_t arena_bytes, arena_peak;

static struct {
	uint64_t *bytes, *peak; /* NULL: nowhere */
	const uint64_t *alive;
} shown;

#define MAPPINGS 4096
#define CLAIMED 1 /* no address of a mapping */

static struct {
	uintptr_t low; /* 0: free */
	size_t size;
} mappings[MAPPINGS];
static unsigned mappings_used; /* slots from here on were never claimed */
static bool mappings_missing;

static void remember(uintptr_t low, size_t size)
{
	for (unsigned i = 0; i < MAPPINGS; i++) {
		uintptr_t none = 0;
		if (lt_load_relaxed(&mappings[i].low) ||
		    !__atomic_compare_exchange_n(&mappings[i].low, &none, CLAIMED, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
			continue;
		mappings[i].size = size;
		lt_store_release(&mappings[i].low, low); /* pairs with lt_arena_visit */
		for (unsigned used = lt_load_relaxed(&mappings_used); used <= i;)
			if (__atomic_compare_exchange_n(&mappings_used, &used, i + 1, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
				break;
		return;
	}
	lt_store_relaxed(&mappings_missing, true);
}

static void forget(uintptr_t low)
{
	unsigned used = lt_load_relaxed(&mappings_used);
	for (unsigned i = 0; i < used; i++)
		if (lt_load_relaxed(&mappings[i].low) == low) {
			lt_store_relaxed(&mappings[i].low, 0);
			return;
		}
}

bool lt_arena_visit(void (*visit)(uintptr_t low, uintptr_t high, void *arg), void *arg)
{
	unsigned used = lt_load_relaxed(&mappings_used);
	for (unsigned i = 0; i < used; i++) {
		uintptr_t low = lt_load_acquire(&mappings[i].low); /* pairs with remember() */
		if (low > CLAIMED)
			visit(low, low + mappings[i].size, arg);
	}
	return !lt_load_relaxed(&mappings_missing);
}

static void raise_to(uint64_t *most, uint64_t value)
{
	for (uint64_t now = lt_load_relaxed(most); value > now;)
		if (__atomic_compare_exchange_n(most, &now, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
			break;
}

/* `size` wraps around where less is mapped. */
static void count(uint64_t size)
{
	uint64_t bytes = lt_add_relaxed(&arena_bytes, size);
	raise_to(&arena_peak, bytes);
	if (shown.bytes && lt_load_relaxed(shown.alive)) {
		lt_add_relaxed(shown.bytes, size);
		raise_to(shown.peak, bytes);
	}
}

static void *map(size_t size, int flags)
{
	size = (size + 4095) & ~(size_t)4095;
	void *memory = lt_sys_mmap(NULL, size, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
	if (lt_sys_mmap_failed(memory))
		return NULL;
	count(size);
	remember((uintptr_t)memory, size);
	return memory;
}

void *lt_map(size_t size)
{
	return map(size, MAP_PRIVATE);
}

void *lt_map_shared(size_t size)
{
	return map(size, MAP_SHARED);
}

void lt_unmap(void *memory, size_t size)
{
	size = (size + 4095) & ~(size_t)4095;
	if (!memory)
		return;
	forget((uintptr_t)memory); /* first: another thread may be given the address at once */
	if (lt_sys_munmap(memory, size) == 0)
		count(-(uint64_t)size);
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

uint64_t lt_arena_peak(void)
{
	return lt_load_relaxed(&arena_peak);
}

void lt_arena_show(uint64_t *bytes, uint64_t *peak, const uint64_t *alive)
{
	*bytes = arena_bytes;
	*peak = arena_peak;
	shown.bytes = bytes;
	shown.peak = peak;
	shown.alive = alive;
}

void lt_arena_fork_child(void)
{
	arena_lock.held = 0;
	arena_peak = arena_bytes;
	shown.bytes = NULL;
}
