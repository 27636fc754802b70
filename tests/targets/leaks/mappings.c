/* SPDX-License-Identifier: MIT
 *
 * Pointers in memory that the program got from the kernel itself: mappings of all kinds, and the break.
 */
#include "leaks.h"
#include <fcntl.h>
#include <malloc.h>
#include <sys/mman.h>
#include <sys/shm.h>

enum { PAGE = 4096, RW = PROT_READ | PROT_WRITE };

static void **map(size_t size, int protection, int flags, int fd)
{
	void *memory = mmap(NULL, size, protection, flags, fd, 0);
	REQUIRE(memory != MAP_FAILED);
	return (void **)memory;
}

static int file_of(off_t size)
{
	int fd = memfd_create("leaks", MFD_CLOEXEC);
	REQUIRE(fd >= 0 && !ftruncate(fd, size));
	return fd;
}

static int disk_file_of(off_t size)
{
	const char *dir = getenv("TMPDIR");
	char path[4096];
	REQUIRE(strlen(dir ? dir : "/tmp") < sizeof path - 32);
	strcpy(path, dir ? dir : "/tmp");
	strcat(path, "/leaks.XXXXXX");
	int fd = mkstemp(path);
	REQUIRE(fd >= 0 && !unlink(path) && !ftruncate(fd, size));
	return fd;
}

#define IN_MAPPING(name, size, ...) \
	MALLOCS(by_##name) \
	static void name(void) \
	{ \
		void **memory = __VA_ARGS__; \
		memory[77] = by_##name(size); \
		TOUCH(memory); \
	}
IN_MAPPING(private_anonymous, 301, map(PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1))
IN_MAPPING(shared_anonymous, 302, map(PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1))
IN_MAPPING(private_file, 303, map(PAGE, RW, MAP_PRIVATE, disk_file_of(PAGE)))
IN_MAPPING(shared_file, 304, map(PAGE, RW, MAP_SHARED, disk_file_of(PAGE)))
IN_MAPPING(shared_memfd, 305, map(PAGE, RW, MAP_SHARED, file_of(PAGE)))
IN_MAPPING(executable, 306, map(PAGE, RW | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1))
IN_MAPPING(grows_down, 307, map(PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN, -1))
IN_MAPPING(locked, 308, map(PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1))

MALLOCS(by_system_v)
static void system_v(void)
{
	int id = shmget(IPC_PRIVATE, PAGE, 0600);
	REQUIRE(id >= 0);
	void **memory = (void **)shmat(id, NULL, 0);
	REQUIRE(memory != (void *)-1 && !shmctl(id, IPC_RMID, NULL));
	memory[5] = by_system_v(309);
}

#define PROTECTED(name, size, protection) \
	MALLOCS(by_##name) \
	static void name(void) \
	{ \
		void **memory = map(PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1); \
		memory[77] = by_##name(size); \
		REQUIRE(!mprotect(memory, PAGE, protection)); \
	}
PROTECTED(unreadable, 310, PROT_NONE)
PROTECTED(read_only, 311, PROT_READ)
PROTECTED(executable_only, 312, PROT_READ | PROT_EXEC)

/* Data that is made read-only, as the loader does with relocated constants. */
MALLOCS(by_relro)
static void relro(void)
{
	static void *page[PAGE / sizeof(void *)] __attribute__((aligned(PAGE))) = { (void *)page };
	page[10] = by_relro(313);
	REQUIRE(!mprotect(page, PAGE, PROT_READ));
}

MALLOCS(by_unmapped)
static void unmapped(void)
{
	void **memory = map(PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	memory[77] = by_unmapped(314);
	TOUCH(memory);
	REQUIRE(!munmap(memory, PAGE));
}

MALLOCS(by_dropped)
static void dropped(void)
{
	void **memory = map(PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	memory[77] = by_dropped(315);
	TOUCH(memory);
	REQUIRE(!madvise(memory, PAGE, MADV_DONTNEED));
}

MALLOCS(by_moved)
static void moved(void)
{
	void **memory = map(PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	memory[77] = by_moved(316);
	REQUIRE(mremap(memory, PAGE, 64 * PAGE, MREMAP_MAYMOVE) != MAP_FAILED);
}

MALLOCS(by_guarded)
static void guarded(void)
{
	char *memory = (char *)map(3 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	REQUIRE(!mprotect(memory + PAGE, PAGE, RW));
	((void **)(memory + PAGE))[PAGE / 8 - 1] = by_guarded(317);
}

/* The file shrinks under the mapping: reading its second page is SIGBUS. */
MALLOCS(by_truncated)
static void truncated(void)
{
	int fd = file_of(2 * PAGE);
	void **memory = map(2 * PAGE, RW, MAP_SHARED, fd);
	memory[77] = by_truncated(318);
	REQUIRE(!ftruncate(fd, PAGE));
}

MALLOCS(by_truncated_first)
static void truncated_before(void)
{
	int fd = file_of(2 * PAGE);
	void **memory = map(2 * PAGE, RW, MAP_SHARED, fd);
	REQUIRE(!ftruncate(fd, 0));
	TOUCH(memory);
	memory = map(PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	memory[77] = by_truncated_first(319);
}

/* ------------------------------------------------------------------ beside malloc's own mappings */

MALLOCS(large_beside)
MALLOCS(large_beside_child)
MALLOCS(by_page_below)
MALLOCS(by_page_above)
SITE static void lose_large(void)
{
	char *block = large_beside(1 << 20);
	((void **)block)[1000] = large_beside_child(320);
	char *start = (char *)((uintptr_t)block & ~(uintptr_t)(PAGE - 1));
	size_t size = ((1 << 20) + PAGE) & ~(size_t)(PAGE - 1);
	void **below = (void **)mmap(start - PAGE, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	void **above = (void **)mmap(start + size, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if ((void *)below == MAP_FAILED)
		below = map(PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	if ((void *)above == MAP_FAILED)
		above = map(PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	below[PAGE / 8 - 1] = by_page_below(321);
	above[0] = by_page_above(322);
}

static void adjacent(void)
{
	lose_large();
}

/* A row of mappings of both, which the kernel shows as one. */
MALLOCS(row_block)
MALLOCS(row_child)
MALLOCS(by_row)
static void row(void)
{
	for (int i = 0; i < 8; i++) {
		void **block = row_block(200008);
		block[9] = row_child(323);
		map(PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1)[511] = by_row(324);
	}
}

/* ------------------------------------------------------------------ the break */

MALLOCS(by_break)
static void break_after_malloc(void)
{
	void *block = by_break(331);
	void **memory = (void **)sbrk(PAGE);
	REQUIRE(memory != (void *)-1);
	memory = (void **)(((uintptr_t)memory + 15) & ~(uintptr_t)15);
	memory[40] = block;
}

/* malloc finds the break moved and goes on behind. */
MALLOCS(by_break_between)
MALLOCS(lost_between_breaks)
MALLOCS(held_between_breaks)
static void break_between(void)
{
	static void *volatile slot[5];
	for (int i = 0; i < 5; i++) {
		void *block = by_break_between(332);
		void **memory = (void **)sbrk(PAGE);
		REQUIRE(memory != (void *)-1);
		memory = (void **)(((uintptr_t)memory + 15) & ~(uintptr_t)15);
		memory[40 + i] = block;
		for (int j = 0; j < 30; j++)
			lost_between_breaks(8008);
		slot[i] = held_between_breaks(333);
	}
}

MALLOCS(by_break_first)
static void **break_memory;

/* Before the program's first malloc; the loader's and the tracer's may come first. */
__attribute__((constructor)) static void break_first(void)
{
	break_memory = (void **)sbrk(PAGE);
	REQUIRE((void *)break_memory != (void *)-1);
	break_memory = (void **)(((uintptr_t)break_memory + 15) & ~(uintptr_t)15);
}

static void break_before_malloc(void)
{
	break_memory[40] = by_break_first(334);
}

MALLOCS(by_break_returned)
static void break_returned(void)
{
	void *block = by_break_returned(335);
	void **memory = (void **)sbrk(4 * PAGE);
	REQUIRE(memory != (void *)-1);
	((void **)(((uintptr_t)memory + 2 * PAGE) & ~(uintptr_t)15))[40] = block;
	REQUIRE(brk(memory) == 0);
}

/* ------------------------------------------------------------------ sparse */

MALLOCS(by_sparse)
static void sparse(void)
{
	size_t size = (size_t)1 << 30;
	void **memory = map(size, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	memory[size / 8 - 3] = by_sparse(341);
}

/* Reading a page of it would allocate it: $LEAKS_FILE, on a tmpfs, shows how much was. */
MALLOCS(by_sparse_shared)
static void sparse_shared(void)
{
	size_t size = (size_t)1 << 30;
	const char *path = getenv("LEAKS_FILE");
	int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : memfd_create("leaks", MFD_CLOEXEC);
	REQUIRE(fd >= 0 && !ftruncate(fd, (off_t)size));
	void **memory = map(size, RW, MAP_SHARED | MAP_NORESERVE, fd);
	memory[size / 16] = by_sparse_shared(342);
}

MALLOCS(by_vast)
static void vast(void)
{
	size_t size = (size_t)1 << 38;
	void **memory = map(size, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	memory[size / 16] = by_vast(343);
}

MALLOCS(by_many)
static void many(void)
{
	for (int i = 0; i < 3000; i++) {
		char *memory = (char *)map(2 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1);
		REQUIRE(!mprotect(memory + PAGE, PAGE, PROT_NONE));
		((void **)memory)[i % 512] = by_many(344);
	}
}

#define ONE(name, kind, size) { #name, name, { { "by_" #name, kind, 1, size } } }
LEAK_CASES = {
	ONE(private_anonymous, REACHABLE, 301), ONE(shared_anonymous, REACHABLE, 302), ONE(private_file, REACHABLE, 303),
	ONE(shared_file, REACHABLE, 304), ONE(shared_memfd, REACHABLE, 305), ONE(executable, REACHABLE, 306),
	ONE(grows_down, REACHABLE, 307), ONE(locked, REACHABLE, 308), ONE(system_v, REACHABLE, 309),
	ONE(unreadable, DEFINITE, 310), ONE(read_only, DEFINITE, 311), ONE(executable_only, DEFINITE, 312),
	ONE(relro, DEFINITE, 313),
	ONE(unmapped, DEFINITE, 314), ONE(dropped, DEFINITE, 315), ONE(moved, REACHABLE, 316), ONE(guarded, REACHABLE, 317),
	ONE(truncated, REACHABLE, 318),
	{ "truncated_before", truncated_before, { { "by_truncated_first", REACHABLE, 1, 319 } } },
	{ "adjacent", adjacent, { { "large_beside", DEFINITE, 1, 1048576 }, { "large_beside_child", INDIRECT, 1, 320 },
		{ "by_page_below", REACHABLE, 1, 321 }, { "by_page_above", REACHABLE, 1, 322 } } },
	{ "row", row, { { "row_block", DEFINITE, 8, 1600064 }, { "row_child", INDIRECT, 8, 2584 },
		{ "by_row", REACHABLE, 8, 2592 } } },
	{ "break_after_malloc", break_after_malloc, { { "by_break", REACHABLE, 1, 331 } } },
	{ "break_between", break_between, { { "by_break_between", REACHABLE, 5, 1660 },
		{ "lost_between_breaks", DEFINITE, 150, 1201200 },
		{ "held_between_breaks", REACHABLE, 5, 1665 } } },
	{ "break_before_malloc", break_before_malloc, { { "by_break_first", REACHABLE, 1, 334 } } },
	ONE(break_returned, DEFINITE, 335),
	ONE(sparse, REACHABLE, 341),
	ONE(sparse_shared, REACHABLE, 342),
	{ "vast", vast, { { "by_vast", REACHABLE, 1, 343 } }, .flags = LEAKS_NO_VALGRIND, .why = "Valgrind would read all of it" },
	{ "many", many, { { "by_many", REACHABLE, 3000, 1032000 } } },
};
LEAK_CASE_COUNT;
