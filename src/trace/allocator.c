/* SPDX-License-Identifier: MIT
 *
 * The pages of an allocator behind us: a bit each, in leaves for 1 GiB of addresses. Set and cleared by atomic operations, so nothing
 * is held when a thread forks. Addresses beyond 2^47 are not known (the kernel gives them out only if they are asked for).
 */
#include "trace/allocator.h"
#include "base/arena.h"

#define PAGE_SHIFT 12
#define LEAF_SHIFT 30
#define LEAVES (UINT64_C(1) << (47 - LEAF_SHIFT))
#define LEAF_PAGES (UINT64_C(1) << (LEAF_SHIFT - PAGE_SHIFT))
#define LEAF_BYTES (LEAF_PAGES / 8)
#define LEAF_MASK (LEAF_PAGES - 1)

struct lt_allocator lt_allocator;
static uint64_t **leaves;

static uint64_t **table(void)
{
	uint64_t **known = lt_load_acquire(&leaves), **made; /* pairs with the exchange below */
	if (known || !(made = lt_map(LEAVES * sizeof *made)))
		return known;
	if (__atomic_compare_exchange_n(&leaves, &known, made, false, __ATOMIC_RELEASE, __ATOMIC_ACQUIRE)) /* pairs with the load above */
		return made;
	lt_unmap(made, LEAVES * sizeof *made);
	return known;
}

static uint64_t *leaf_of(uint64_t page, bool make)
{
	uint64_t **all = make ? table() : lt_load_acquire(&leaves); /* pairs with the exchange in table() */
	if (!all || page / LEAF_PAGES >= LEAVES)
		return NULL;
	uint64_t **leaf = &all[page / LEAF_PAGES], *known = lt_load_acquire(leaf), *made; /* pairs with the exchange below */
	if (known || !make || !(made = lt_map(LEAF_BYTES)))
		return known;
	if (__atomic_compare_exchange_n(leaf, &known, made, false, __ATOMIC_RELEASE, __ATOMIC_ACQUIRE)) /* pairs with the load above */
		return made;
	lt_unmap(made, LEAF_BYTES);
	return known;
}

/* Pages from `page` to before `end`, a word of bits at a time. */
static void change(uint64_t page, uint64_t end, bool take)
{
	for (uint64_t next; page < end; page = next) {
		next = (page | 63) + 1 < end ? (page | 63) + 1 : end;
		uint64_t *leaf = leaf_of(page, take), bits = next - page == 64 ? UINT64_MAX : ((UINT64_C(1) << (next - page)) - 1) << page % 64;
		if (!leaf)
			next = (page | LEAF_MASK) + 1;
		else if (take)
			__atomic_fetch_or(&leaf[(page & LEAF_MASK) / 64], bits, __ATOMIC_RELAXED);
		else
			__atomic_fetch_and(&leaf[(page & LEAF_MASK) / 64], ~bits, __ATOMIC_RELAXED);
	}
}

/* By sbrk it may take parts of pages: those stay the program's. */
void lt_allocator_took(uintptr_t address, size_t size)
{
	change((address + (1 << PAGE_SHIFT) - 1) >> PAGE_SHIFT, (address + size) >> PAGE_SHIFT, true);
}

void lt_allocator_gave(uintptr_t address, size_t size)
{
	change(address >> PAGE_SHIFT, (address + size + (1 << PAGE_SHIFT) - 1) >> PAGE_SHIFT, false);
}

bool lt_allocator_has(uintptr_t address)
{
	uint64_t page = address >> PAGE_SHIFT, *leaf = leaf_of(page, false);
	return leaf && leaf[(page & LEAF_MASK) / 64] >> page % 64 & 1;
}

void lt_allocator_visit(void (*visit)(uintptr_t low, uintptr_t high, void *arg), void *arg)
{
	for (uint64_t i = 0; leaves && i < LEAVES; i++) {
		const uint64_t *leaf = leaves[i];
		uint64_t first = i * LEAF_PAGES, page = 0, start;
		while (leaf && page < LEAF_PAGES) {
			if (page % 64 == 0 && !leaf[page / 64]) {
				page += 64;
				continue;
			}
			for (start = page; page < LEAF_PAGES && leaf[page / 64] >> page % 64 & 1; page++)
				;
			if (page > start)
				visit((first + start) << PAGE_SHIFT, (first + page) << PAGE_SHIFT, arg);
			else
				page++;
		}
	}
}
