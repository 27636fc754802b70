/* SPDX-License-Identifier: MIT
 *
 * What lies in the heap beside live blocks: the allocator's own words, which point into the last bytes of a neighbouring block;
 * freed chunks, which still hold the pointers of their former owners; other arenas; large blocks; pools.
 *
 * Sizes of 16 * n + 8 bytes use their chunk to the last byte in glibc: the head of the next chunk, which bins and top point
 * to, begins within those 8 bytes.
 */
#include "leaks.h"
#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>

static void *volatile slot;
static void *volatile cells[256];

/* `lost` blocks between blocks that are freed: the bins point into each lost block. */
#define NEIGHBOURS(name, lost_size, freed_size) \
	MALLOCS(name##_lost) \
	MALLOCS(name##_freed) \
	SITE static void name##_allocate(void) \
	{ \
		for (int i = 0; i < 20; i++) { \
			name##_lost(lost_size); \
			cells[i] = name##_freed(freed_size); \
		} \
		name##_lost(lost_size); \
	} \
	SITE static void name##_free(void) \
	{ \
		for (int i = 0; i < 20; i++) { \
			free(cells[i]); \
			cells[i] = NULL; \
		} \
	}
NEIGHBOURS(fast, 24, 56)
NEIGHBOURS(unsorted, 104, 2000)
NEIGHBOURS(large_bin, 1016, 5000)

static void fast_bin(void)
{
	fast_allocate();
	fast_free();
}

static void unsorted_bin(void)
{
	unsorted_allocate();
	unsorted_free();
}

static void sorted_bins(void)
{
	large_bin_allocate();
	large_bin_free();
	free(malloc(100000)); /* sorts the unsorted ones into their bins */
}

MALLOCS(small_lost)
MALLOCS(small_freed)
static void small_bin(void)
{
	for (int i = 0; i < 40; i++) {
		small_lost(40);
		cells[i] = small_freed(200);
	}
	small_lost(40);
	for (int i = 0; i < 40; i++) {
		free(cells[i]);
		cells[i] = NULL;
	}
	free(malloc(100000));
}

/* The rest of a split chunk. */
MALLOCS(split_lost)
MALLOCS(split_taken)
static void last_remainder(void)
{
	cells[0] = malloc(3000);
	split_lost(72);
	free(cells[0]);
	cells[0] = NULL;
	split_taken(88);
	split_taken(88);
}

MALLOCS(before_top)
static void top(void)
{
	before_top(5000 * 16 + 8);
}

/* Many blocks, one by one the last before top. */
MALLOCS(before_top_small)
static void top_many(void)
{
	for (size_t i = 0; i < 100; i++)
		before_top_small(24 + 16 * (i % 5));
}

MALLOCS(beside_tcache)
static void tcache(void)
{
	for (int i = 0; i < 14; i++) {
		cells[i] = malloc(120);
		beside_tcache(120);
	}
	for (int i = 0; i < 7; i++) {
		free(cells[i]);
		cells[i] = NULL;
	}
	for (int i = 7; i < 14; i++) {
		free(cells[i]);
		cells[i] = NULL;
	}
}

/* What neighbours hold stays as it is when others are freed around it. */
MALLOCS(held_amid)
MALLOCS(lost_amid)
static void mixed_neighbours(void)
{
	static void *volatile kept[40];
	for (size_t i = 0; i < 40; i++) {
		size_t size = 24 + 16 * (i % 8);
		kept[i] = held_amid(size);
		cells[i] = malloc(size);
		lost_amid(size);
		cells[40 + i] = malloc(size * 11);
	}
	for (int i = 0; i < 80; i++) {
		free(cells[i]);
		cells[i] = NULL;
	}
	cells[0] = malloc(70000);
	free(cells[0]);
	cells[0] = NULL;
}

/* ------------------------------------------------------------------ other arenas */

MALLOCS(arena_lost)
MALLOCS(arena_held)
MALLOCS(arena_child)
static void *in_arena(void *unused)
{
	for (int i = 0; i < 10; i++) {
		void *volatile freed = malloc(1000);
		arena_lost(24 + 16 * 8);
		free(freed);
	}
	void **block = arena_held(91);
	block[3] = arena_child(92);
	slot = block;
	return unused;
}

static void run_thread(void *(*function)(void *))
{
	pthread_t thread;
	REQUIRE(!pthread_create(&thread, NULL, function, NULL));
	REQUIRE(!pthread_join(thread, NULL));
}

static void arena(void)
{
	run_thread(in_arena);
}

MALLOCS(large_arena)
static void *fill_arena(void *unused)
{
	for (int i = 0; i < 1000; i++)
		large_arena(100008);
	return unused;
}

/* More than the 64 MiB of one heap of an arena. */
static void arena_of_two_heaps(void)
{
	run_thread(fill_arena);
}

/* ------------------------------------------------------------------ freed memory */

#define STALE(name, parent_size) \
	MALLOCS(name##_child) \
	static void name(void) \
	{ \
		void **parent = malloc(parent_size); \
		memset(parent, 0, parent_size); \
		parent[(parent_size) / 8 - 2] = name##_child(111); \
		slot = parent; \
		cells[0] = malloc(24); \
		free(parent); \
		free(cells[0]); \
		cells[0] = NULL; \
	}
STALE(stale_tcache, 200)
STALE(stale_unsorted, 4000)
STALE(stale_mapped, 400000)

MALLOCS(stale_moved)
MALLOCS(stale_moved_child)
static void stale_after_realloc(void)
{
	void **block = stale_moved(1000);
	block[100] = stale_moved_child(112);
	cells[0] = malloc(1000);
	block = realloc(block, 50000);
	REQUIRE(block);
	block[100] = NULL;
	slot = block;
	TOUCH(block);
}

/* A list whose nodes are freed but for the last. */
MALLOCS(freed_list)
MALLOCS(end_of_freed_list)
static void stale_list(void)
{
	void **head = freed_list(300);
	slot = head;
	for (int i = 0; i < 30; i++) {
		void **next = i < 29 ? freed_list(300) : end_of_freed_list(113);
		head[10] = next;
		head = next;
	}
	head = slot;
	for (int i = 0; i < 30; i++) {
		void **next = head[10];
		free(head);
		head = next;
	}
}

/* A block that was not written since it was allocated, where a pointer lay before. */
MALLOCS(unwritten_child)
SITE static void *unwritten(void)
{
	void *block = malloc(200);
	KEEP_FRAME();
	return block;
}

static void unwritten_block(void)
{
	void **before = unwritten();
	before[10] = unwritten_child(114);
	TOUCH(before);
	free(before);
	slot = unwritten();
}

/* ------------------------------------------------------------------ large blocks, pools */

MALLOCS(mapped_held)
MALLOCS(mapped_lost)
MALLOCS(mapped_lost_child)
MALLOCS(mapped_child)
static void mapped_blocks(void)
{
	void **block = mapped_held(1 << 20);
	block[100000] = mapped_child(121);
	slot = block;
	block = mapped_lost(1 << 20);
	block[100000] = mapped_lost_child(122);
}

SITE static void *huge(void)
{
	void *block = malloc(1u << 30);
	KEEP_FRAME();
	return block;
}

MALLOCS(huge_child)
static void huge_untouched(void)
{
	void **block = huge();
	REQUIRE(block);
	block[(1 << 27) - 1] = huge_child(123);
	slot = block;
}

SITE static void *huge_lost(void)
{
	void *block = malloc(1u << 30);
	KEEP_FRAME();
	return block;
}

static void huge_untouched_lost(void)
{
	REQUIRE(huge_lost());
}

MALLOCS(pool_chunk)
MALLOCS(pool_object)
static void pool(void)
{
	char *chunk = pool_chunk(4096);
	static void *volatile objects[3];
	for (int i = 0; i < 3; i++) {
		void **object = (void **)(chunk + 64 + 128 * i);
		object[0] = pool_object(124);
		objects[i] = object;
	}
}

/* A page of a live block that can't be read: what lies in it can't be seen, and nothing breaks. */
SITE static char *pages(void)
{
	void *block = NULL;
	REQUIRE(!posix_memalign(&block, 4096, 4 * 4096));
	memset(block, 0, 4 * 4096);
	return block;
}

MALLOCS(in_unreadable)
MALLOCS(in_read_only)
MALLOCS(in_readable)
static void protected_pages(void)
{
	char *block = pages();
	*(void **)(block + 100 * 8) = in_readable(125);
	*(void **)(block + 4096 + 100 * 8) = in_unreadable(126);
	*(void **)(block + 2 * 4096 + 100 * 8) = in_read_only(127);
	slot = block;
	REQUIRE(!mprotect(block + 4096, 4096, PROT_NONE));
	REQUIRE(!mprotect(block + 2 * 4096, 4096, PROT_READ));
}

MALLOCS(trimmed_lost)
static void trimmed(void)
{
	for (int i = 0; i < 100; i++)
		cells[i] = malloc(50000);
	trimmed_lost(24 + 16 * 40);
	for (int i = 0; i < 100; i++) {
		free(cells[i]);
		cells[i] = NULL;
	}
	malloc_trim(0);
}

#define LOW "Valgrind's heap is at low addresses, where numbers of a gigabyte's range are taken for pointers"

LEAK_CASES = {
	{ "fast_bin", fast_bin, { { "fast_lost", DEFINITE, 21, 504 }, { "fast_freed", GONE, 0, 0 } } },
	{ "unsorted_bin", unsorted_bin, { { "unsorted_lost", DEFINITE, 21, 2184 }, { "unsorted_freed", GONE, 0, 0 } } },
	{ "sorted_bins", sorted_bins, { { "large_bin_lost", DEFINITE, 21, 21336 }, { "large_bin_freed", GONE, 0, 0 } } },
	{ "small_bin", small_bin, { { "small_lost", DEFINITE, 41, 1640 }, { "small_freed", GONE, 0, 0 } } },
	{ "last_remainder", last_remainder, { { "split_lost", DEFINITE, 1, 72 }, { "split_taken", DEFINITE, 2, 176 } } },
	{ "top", top, { { "before_top", DEFINITE, 1, 80008 } } },
	{ "top_many", top_many, { { "before_top_small", DEFINITE, 100, 5600 } } },
	{ "tcache", tcache, { { "beside_tcache", DEFINITE, 14, 1680 } } },
	{ "mixed_neighbours", mixed_neighbours, { { "held_amid", REACHABLE, 40, 3200 }, { "lost_amid", DEFINITE, 40, 3200 } } },
	{ "arena", arena, { { "arena_lost", DEFINITE, 10, 1520 }, { "arena_held", REACHABLE, 1, 91 },
		{ "arena_child", REACHABLE, 1, 92 } } },
	{ "arena_of_two_heaps", arena_of_two_heaps, { { "large_arena", DEFINITE, 1000, 100008000 } },
		.flags = LEAKS_NO_VALGRIND, .why = LOW },
	{ "stale_tcache", stale_tcache, { { "stale_tcache_child", DEFINITE, 1, 111 } } },
	{ "stale_unsorted", stale_unsorted, { { "stale_unsorted_child", DEFINITE, 1, 111 } } },
	{ "stale_mapped", stale_mapped, { { "stale_mapped_child", DEFINITE, 1, 111 } } },
	{ "stale_after_realloc", stale_after_realloc, { { "stale_moved_child", DEFINITE, 1, 112 } } },
	{ "stale_list", stale_list, { { "freed_list", GONE, 0, 0 }, { "end_of_freed_list", DEFINITE, 1, 113 } } },
	{ "unwritten_block", unwritten_block, { { "unwritten", REACHABLE, 1, 200 },
		{ "unwritten_child", REACHABLE, 1, 114, { DEFINITE, 1, 114 } } },
		.why = "the word is in a live block; that the program has not written it since malloc() "
			"only an emulator can know" },
	{ "mapped_blocks", mapped_blocks, { { "mapped_held", REACHABLE, 1, 1048576 }, { "mapped_child", REACHABLE, 1, 121 },
		{ "mapped_lost", DEFINITE, 1, 1048576 }, { "mapped_lost_child", INDIRECT, 1, 122 } } },
	{ "huge_untouched", huge_untouched, { { "huge", REACHABLE, 1, 1073741824 }, { "huge_child", REACHABLE, 1, 123 } } },
	{ "huge_untouched_lost", huge_untouched_lost, { { "huge_lost", DEFINITE, 1, 1073741824 } },
		.flags = LEAKS_NO_VALGRIND, .why = LOW },
	{ "pool", pool, { { "pool_chunk", POSSIBLE, 1, 4096 }, { "pool_object", POSSIBLE, 3, 372 } } },
	{ "protected_pages", protected_pages, { { "pages", REACHABLE, 1, 16384 }, { "in_readable", REACHABLE, 1, 125 },
		{ "in_unreadable", DEFINITE, 1, 126 }, { "in_read_only", REACHABLE, 1, 127 } } },
	{ "trimmed", trimmed, { { "trimmed_lost", DEFINITE, 1, 664 } } },
};
LEAK_CASE_COUNT;
