/* SPDX-License-Identifier: MIT
 *
 * What the scan takes for roots: the program's memory, not malloc's, not what is stale. In children where a test changes the
 * process for good.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <alloca.h>
#include <malloc.h>
#include <sys/syscall.h>

#include "base/sys.h"
#include "scan_world.h"
#include "trace/allocator.h"
#include "tracer.h"

#define PAGE 4096
#define MAP_HERE (MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE)

static uintptr_t data[4] = { 1 };
static uintptr_t bss[4];
static __thread uintptr_t thread_local_word;

static NOINLINE void keep(void *where, uint32_t number, uint64_t into)
{
	*(volatile uintptr_t *)where = at(number, into);
}

static NOINLINE char *map(size_t size, int flags, int fd)
{
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (memory == MAP_FAILED)
		abort();
	return memory;
}

static void data_bss_and_tls_are_roots(void **state)
{
	for (unsigned i = 0; i < 4; i++)
		make(100);
	keep(&data[1], 0, 0);
	keep(&bss[1], 1, 0);
	keep(&thread_local_word, 2, 0);
	assert_judged("rrrd");
	data[1] = bss[1] = thread_local_word = 0;
}

static void mappings_of_the_program_are_roots(void **state)
{
	char *anonymous = map(PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1), *shared = map(PAGE, MAP_SHARED | MAP_ANONYMOUS, -1);
	int memory_file = memfd_create("test", MFD_CLOEXEC);

	assert_int_equal(ftruncate(memory_file, 2 * PAGE), 0);
	char *file = map(2 * PAGE, MAP_SHARED, memory_file), *private_file = map(PAGE, MAP_PRIVATE, memory_file);
	char *read_only = map(PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1), *none = map(PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	for (unsigned i = 0; i < 7; i++)
		make(100);
	keep(anonymous + 16, 0, 0);
	keep(shared + PAGE - 8, 1, 0);
	keep(file + PAGE, 2, 0);
	keep(private_file + 8, 3, 0);
	keep(read_only, 4, 0);
	keep(none, 5, 0);
	mprotect(read_only, PAGE, PROT_READ);
	mprotect(none, PAGE, PROT_NONE);
	assert_judged("rrrrddd");
	munmap(anonymous, PAGE);
	munmap(shared, PAGE);
	munmap(file, 2 * PAGE);
	munmap(private_file, PAGE);
	munmap(read_only, PAGE);
	munmap(none, PAGE);
	close(memory_file);
}

static void shrunken_file_does_no_harm(void **state)
{
	int memory_file = memfd_create("test", MFD_CLOEXEC);

	assert_int_equal(ftruncate(memory_file, 4 * PAGE), 0);
	char *shared = map(4 * PAGE, MAP_SHARED, memory_file), *private = map(4 * PAGE, MAP_PRIVATE, memory_file);

	for (unsigned i = 0; i < 4; i++)
		make(100);
	keep(shared + 8, 0, 0);
	keep(shared + 3 * PAGE, 1, 0);
	keep(private + 8, 2, 0);
	keep(private + 3 * PAGE, 3, 0);
	assert_int_equal(ftruncate(memory_file, PAGE), 0);
	assert_judged("rdrd");
	munmap(shared, 4 * PAGE);
	munmap(private, 4 * PAGE);
	close(memory_file);
}

static void own_ranges_and_mappings_of_the_tracer_are_no_roots(void **state)
{
	char *ours = lt_map(PAGE), *theirs = map(PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	make(100);
	make(100);
	make(100);
	keep(ours, 0, 0);
	keep(theirs, 1, 0);
	keep(theirs + 64, 2, 0);
	world->own[world->own_count++] = (struct lt_range){ (uintptr_t)theirs, (uintptr_t)theirs + 64 };
	assert_judged("ddr");
	lt_unmap(ours, PAGE);
	munmap(theirs, PAGE);
}

static void thread_local_variables_of_the_tracer_are_no_roots(void **state)
{
	make(100);
	make(100);
	keep(&thread_local_word, 0, 0);
	keep(&data[1], 1, 0);
	world->scan.own_tls_low = (intptr_t)&thread_local_word - (intptr_t)thread_pointer();
	world->scan.own_tls_high = world->scan.own_tls_low + (intptr_t)sizeof thread_local_word;
	assert_judged(thread_pointer() ? "dr" : "rr");
	thread_local_word = data[1] = 0;
}

/* Of all sizes, below and above the threshold of mmap, freed in several orders: chunks linked into all kinds of bins. */
static NOINLINE void make_and_free_neighbours(uint32_t *first, uint32_t *count)
{
	enum { N = 600 };
	void *freed[N];

	*first = world->count;
	for (unsigned i = 0; i < N; i++) {
		uint64_t size = 24 + i % 37 * 56 + (i % 11 == 0 ? 3000 : 0);

		make(malloc_usable_size((void *)at(make(size), 0))); /* all of what it may use */
		freed[i] = malloc(i % 5 ? size : 20 * size);
		keep(freed[i], world->count - 1, 0);
		if (size > 64)
			keep((char *)freed[i] + 56, world->count - 1, 0); /* not in what free() overwrites */
	}
	for (unsigned i = 0; i < N; i++)
		free(freed[i * 7 % N]);
	*count = world->count - *first;
	memset(freed, 0, sizeof freed);
}

/* "20 of 99 programs": top, bins and links of free chunks point into neighbouring blocks. */
static void freed_chunks_and_words_of_malloc_are_no_roots(void **state)
{
	uint32_t first, count;

	make_and_free_neighbours(&first, &count);
	assert_int_equal(judge(), 0);
	for (uint32_t i = first; i < first + count; i++)
		assert_int_equal(kind(i), 'd');
	assert_string_equal(world->scan.note, "");
}

/* A block handed out again holds links of free chunks in its first words. */
static NOINLINE void reuse_without_clearing(void)
{
	void *chunks[40];

	for (unsigned i = 0; i < 40; i++) {
		chunks[i] = malloc(2000);
		memset(chunks[i], 0, 2000);
		track_at((void *)memset(malloc(2040), 0, 2040), 2040, true);
	}
	for (unsigned i = 0; i < 40; i++)
		free(chunks[i]);
	free(malloc(100000)); /* sorts them into bins */
	for (unsigned i = 0; i < 40; i++)
		track_at(malloc(2000), 2000, true);
	memset(chunks, 0, sizeof chunks);
}

static void links_left_in_a_reused_block_are_no_pointers(void **state)
{
	reuse_without_clearing();
	bss[0] = 0;
	for (unsigned i = 40; i < 80; i++)
		make(sizeof(uintptr_t));
	assert_int_equal(judge(), 0);
	for (unsigned i = 0; i < world->count; i++)
		assert_int_equal(kind(i), 'd');
}

static void mmapped_blocks_are_no_roots_and_not_paged_in(void **state)
{
	uint64_t size = UINT64_C(1) << 30;

	mallopt(M_MMAP_THRESHOLD, 1 << 20);
	void *large = malloc(size);
	assert_non_null(large);
	track_at(large, size, true);
	large = NULL;
	make(4 << 20);
	make(100);
	make(100);
	point(0, size / 2 & ~7, 2, 0); /* the one page that is there */
	point(1, 4096, 3, 0);
	point(1, 8, 0, 0);
	keep(&data[1], 0, 0);
	assert_judged("rdri");
	assert_true(world->scan.scanned_bytes < 64 << 20);
	data[1] = 0;
}

static void sparse_reserve_of_the_program_is_not_paged_in(void **state)
{
	uint64_t size = UINT64_C(8) << 30;
	char *reserve = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	unsigned char there[3];

	assert_true(reserve != MAP_FAILED);
	make(100);
	keep(reserve + size / 2, 0, 0);
	assert_judged("r");
	assert_true(world->scan.scanned_bytes < 64 << 20);
	assert_int_equal(mincore(reserve + size / 2 - PAGE, 3 * PAGE, there), 0);
	assert_int_equal((there[0] & 1) * 4 + (there[1] & 1) * 2 + (there[2] & 1), 2);
	munmap(reserve, size);
}

/* A mapping of malloc's may touch one of the program's, in one line of maps. */
static void mapping_next_to_a_mmapped_block_is_a_root(void **state)
{
	mallopt(M_MMAP_THRESHOLD, 1 << 20);
	make((1 << 20) + 100);
	make(100);
	make(100);
	uintptr_t chunk = at(0, 0) - 16;
	uintptr_t size = ((uintptr_t *)chunk)[1] & ~(uintptr_t)7;
	char *below = mmap((void *)(chunk - PAGE), PAGE, PROT_READ | PROT_WRITE, MAP_HERE, -1, 0);
	char *above = mmap((void *)(chunk + size), PAGE, PROT_READ | PROT_WRITE, MAP_HERE, -1, 0);

	if (below != MAP_FAILED)
		keep(below, 1, 0);
	if (above != MAP_FAILED)
		keep(above, 2, 0);
	assert_int_equal(judge(), 0);
	assert_int_equal(kind(0), 'd');
	assert_int_equal(kind(1), below != MAP_FAILED ? 'r' : 'd');
	assert_int_equal(kind(2), above != MAP_FAILED ? 'r' : 'd');
	if (below != MAP_FAILED)
		munmap(below, PAGE);
	if (above != MAP_FAILED)
		munmap(above, PAGE);
}

/* The program's own sbrk, before, between and behind malloc's. */
static NOINLINE uintptr_t *sbrk_words(size_t size)
{
	uintptr_t *words = sbrk((intptr_t)size);

	memset(words, 0, size);
	return words;
}

static NOINLINE void fill_heap(unsigned megabytes)
{
	for (unsigned i = 0; i < megabytes * 16; i++)
		make(65000);
}

/* Until malloc has had to go around. */
static NOINLINE void fill_heap_beyond(uintptr_t *words)
{
	fill_heap(1);
	while (at(world->count - 1, 0) < (uintptr_t)words)
		make(65000);
}

static void own_sbrk(void *unused)
{
	uintptr_t *first, *second, *third;
	void *stale = malloc(500);

	world_start(NULL);
	fill_heap(1);
	first = sbrk_words(3 * 8); /* odd, so that malloc has to align */
	keep(&first[1], 0, 0);
	fill_heap_beyond(first);
	second = sbrk_words(100000);
	keep(&second[3], 1, 0);
	keep(&second[12499], 2, 0);
	free(malloc(120000)); /* a free chunk right behind it */
	fill_heap_beyond(second);
	third = sbrk_words(PAGE);
	keep(&third[511], 3, 0);
	keep((char *)stale + 104, 5, 0);
	free(stale);
	CHILD_CHECK(judge() == 0);
	for (unsigned i = 0; i < 4; i++)
		CHILD_CHECK(kind(i) == 'r');
	for (unsigned i = 4; i < world->count; i++)
		CHILD_CHECK(kind(i) == 'd');
	CHILD_CHECK(!world->scan.note[0]);
}

static void sbrk_of_the_program_is_a_root(void **state)
{
	assert_int_equal(in_child(own_sbrk, NULL), 0);
}

/* Where brk can't grow, malloc takes mappings for its main heap. */
static void no_brk(void *unused)
{
	char *wall;

	world_start(NULL);
	make(100);
	wall = mmap((char *)(((uintptr_t)sbrk(0) + 4095) & -4096UL), PAGE, PROT_NONE, MAP_HERE, -1, 0);
	CHILD_CHECK(wall != MAP_FAILED);
	char *before = map(PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	uint32_t first = world->count, count;
	uintptr_t far = (uintptr_t)wall + (UINT64_C(1) << 32);
	for (unsigned i = 0; i < 20000 && at(world->count - 1, 0) < far; i++)
		make(65000);
	CHILD_CHECK(at(world->count - 1, 0) > far);
	fill_heap(3);
	make_and_free_neighbours(&first, &count);
	keep(before, 1, 0);
	CHILD_CHECK(judge() == 0);
	CHILD_CHECK(kind(1) == 'r');
	for (unsigned i = 2; i < world->count; i++)
		CHILD_CHECK(kind(i) == 'd');
}

static void heap_without_brk_is_followed(void **state)
{
	assert_int_equal(in_child(no_brk, NULL), 0);
}

/* A program that protects part of a block, or unmaps it behind malloc's back. */
static void protected_block(void *unused)
{
	world_start(NULL);
	uint32_t block = make(16 * PAGE);
	make(100);
	make(100);
	uintptr_t page = (at(block, 0) + 2 * PAGE) & -(uintptr_t)PAGE;
	point(block, page - at(block, 0), 1, 0);
	point(block, page - at(block, 0) + PAGE, 2, 0);
	mprotect((void *)page, PAGE, PROT_NONE);
	keep(&data[1], block, 0);
	CHILD_CHECK(judge() == 0);
	CHILD_CHECK(kind(0) == 'r');
	CHILD_CHECK(kind(1) == 'd');
	CHILD_CHECK(kind(2) == 'r');
}

static void protected_part_of_a_block_is_passed_over(void **state)
{
	assert_int_equal(in_child(protected_block, NULL), 0);
}

static void overwritten_headers(void *unused)
{
	world_start(NULL);
	for (unsigned i = 0; i < 9; i++)
		make(200);
	memset((void *)(at(4, 0) - 16), 0x41, 16);
	keep(&data[1], 3, 0);
	CHILD_CHECK(judge() == 0);
	CHILD_CHECK(!strcmp(kinds(), "dddrddddd"));
	CHILD_CHECK(strstr(world->scan.note, "damaged"));
}

static void overwritten_header_is_survived(void **state)
{
	assert_int_equal(in_child(overwritten_headers, NULL), 0);
}

/* Blocks of another allocator: in a mapping of which nothing is known. */
static void blocks_of_an_unknown_allocator_hide_their_mapping(void **state)
{
	char *heap = map(16 * PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	mprotect(heap + 15 * PAGE, PAGE, PROT_NONE); /* not in one line with others */
	mprotect(heap, PAGE, PROT_NONE);
	for (unsigned i = 1; i < 4; i++)
		track_at(heap + i * PAGE + 48, 64, false);
	keep(heap + 3 * PAGE, 0, 0); /* a stale word, or the allocator's own */
	point(1, 8, 2, 0);
	keep(&data[1], 1, 0);
	assert_judged("drr");
	assert_non_null(strstr(world->scan.note, "allocator"));
	data[1] = 0;
	munmap(heap, 16 * PAGE);
}

/* Of the heap: page 0 no access, 1 to 9 the allocator's, 10 and 11 the program's, in one line. */
static NOINLINE char *allocators_heap(void)
{
	char *heap = map(12 * PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	mprotect(heap, PAGE, PROT_NONE);
	lt_allocator_took((uintptr_t)heap, 10 * PAGE);
	lt_allocator.data[0] = (struct lt_range){ (uintptr_t)&bss, (uintptr_t)(&bss + 1) };
	lt_allocator.data_count = 1;
	for (unsigned i = 1; i < 6; i++)
		track_at(heap + i * PAGE + 48, 64, false);
	keep(heap + 9 * PAGE, 0, 0); /* a stale word, or the allocator's own */
	keep(&bss[1], 1, 0);         /* likewise */
	keep(heap + 11 * PAGE, 2, 0);
	point(2, 8, 3, 0);
	keep(heap + 3 * PAGE + 48 + 64, 4, 0); /* behind a block: one that was not recorded */
	return heap;
}

static void allocators_heap_end(char *heap)
{
	bss[1] = 0;
	lt_allocator.data_count = 0;
	lt_allocator_gave((uintptr_t)heap, 10 * PAGE);
	munmap(heap, 12 * PAGE);
}

static void memory_that_an_allocator_took_is_no_root(void **state)
{
	char *heap = allocators_heap();

	assert_judged("ddrrd");
	assert_string_equal(world->scan.note, "");
	allocators_heap_end(heap);
}

static void of_a_sample_what_an_allocators_memory_leads_to_is_possible(void **state)
{
	char *heap = allocators_heap();

	world->scan.sampled = true;
	assert_judged("pdrrp");
	assert_non_null(strstr(world->scan.note, "not recorded"));
	allocators_heap_end(heap);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_start, world_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(data_bss_and_tls_are_roots),
		TEST(mappings_of_the_program_are_roots),
		TEST(shrunken_file_does_no_harm),
		TEST(own_ranges_and_mappings_of_the_tracer_are_no_roots),
		TEST(thread_local_variables_of_the_tracer_are_no_roots),
		TEST(freed_chunks_and_words_of_malloc_are_no_roots),
		TEST(links_left_in_a_reused_block_are_no_pointers),
		TEST(mmapped_blocks_are_no_roots_and_not_paged_in),
		TEST(sparse_reserve_of_the_program_is_not_paged_in),
		TEST(mapping_next_to_a_mmapped_block_is_a_root),
		TEST(sbrk_of_the_program_is_a_root),
		TEST(heap_without_brk_is_followed),
		TEST(protected_part_of_a_block_is_passed_over),
		TEST(overwritten_header_is_survived),
		TEST(blocks_of_an_unknown_allocator_hide_their_mapping),
		TEST(memory_that_an_allocator_took_is_no_root),
		TEST(of_a_sample_what_an_allocators_memory_leads_to_is_possible),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
