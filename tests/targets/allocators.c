/* SPDX-License-Identifier: MIT
 *
 * What an allocator has to do with, one case by argument. Blocks are cleared, so that no links of the allocator's are left in them.
 *
 *   plain     leak_plain() 3 blocks of 100 bytes, lost; 20,000 others that are freed; sizes up to 300,000
 *   lists     lost_list(), kept_list(): 20,000 nodes each; lost_ring(): 20; lost_alone() 8 blocks, each of a size of its own, lost
 *   mapped    in_mapping(), in_sbrk(): blocks that only the program's own mmap and sbrk memory lead to; many mappings of its own
 *             between the allocator's
 *   big       leak_big() 8 MiB, leak_huge() 1 GiB never touched, lost; kept_big(); 300 of 1 to 40 MiB come and go
 *   resized   leak_resized() 2 blocks that went through many sizes, lost
 *   aligned   leak_aligned() 13 blocks, lost; usable sizes
 *   forks     20 children that free, realloc and keep what they inherited, and lose 2 blocks each in leak_child()
 *   threads   eight threads that free what others allocated; leak_thread() 10 blocks each, lost
 *   snapshot  leak_early() 4 blocks, lost; a snapshot; leak_late() 4
 *   execs     leak_image() 1 block, lost; the program itself again, twice
 */
#include "leaktrace/leaktrace.h"
#include "target.h"
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>

struct node {
	struct node *next;
	char rest[40];
};

static void *volatile kept[64];
static unsigned seed = 4711;

static unsigned some(unsigned below)
{
	seed = seed * 1664525u + 1013904223u;
	return (unsigned)((uint64_t)seed * below >> 32);
}

/* Below the caller's frame. */
SITE static void clear_stack(void)
{
	char stack[16384];
	memset(stack, 0, sizeof stack);
	__asm__ volatile("" : : "r"(stack) : "memory");
}

#define LEAK(name, count, size) \
	SITE static void name(void) \
	{ \
		for (int i = 0; i < (count); i++) { \
			void *block = calloc(1, size); \
			REQUIRE(block); \
			__asm__ volatile("" : : "r"(block) : "memory"); \
		} \
	}

LEAK(leak_plain, 3, 100)
LEAK(leak_big, 1, 8 << 20)
LEAK(leak_child, 2, 300)
LEAK(leak_early, 4, 400)
LEAK(leak_late, 4, 400)
LEAK(leak_image, 1, 500)

static void plain(void)
{
	static void *slots[512];
	leak_plain();
	for (int i = 0; i < 20000; i++) {
		unsigned at = some(512);
		free(slots[at]);
		slots[at] = malloc(some(10) ? some(2000) : some(300000));
		REQUIRE(slots[at]);
	}
	for (int i = 0; i < 512; i++)
		free(slots[i]);
	memset(slots, 0, sizeof slots);
}

#define LIST(name) \
	SITE static struct node *name(int count, struct node *end) \
	{ \
		struct node *head = end; \
		while (count--) { \
			struct node *node = calloc(1, sizeof *node); \
			REQUIRE(node); \
			node->next = head; \
			head = node; \
		} \
		return head; \
	}

LIST(lost_list)
LIST(kept_list)
LIST(lost_ring)

/* Likely to be the first of what the allocator has for this size, to which words of its own may point. */
SITE static void lost_alone(void)
{
	for (size_t size = 1200; size < 200000; size *= 2) {
		void *block = calloc(1, size);
		REQUIRE(block);
		__asm__ volatile("" : : "r"(block) : "memory");
	}
}

static void lists(void)
{
	lost_alone();
	lost_list(20000, NULL);
	kept[0] = kept_list(20000, NULL);
	struct node *first = lost_ring(1, NULL);
	first->next = lost_ring(19, first);
}

#define MAKES(name) \
	SITE static void *name(size_t size) \
	{ \
		void *block = calloc(1, size); \
		REQUIRE(block); \
		KEEP_FRAME(); \
		return block; \
	}

MAKES(in_mapping)
MAKES(in_sbrk)
MAKES(kept_big)

static void mapped(void)
{
	enum { MAPPINGS = 32 };
	for (int i = 0; i < MAPPINGS; i++) {
		void **mapping = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		REQUIRE(mapping != MAP_FAILED);
		mapping[i] = in_mapping(600);
		free(kept_big(3 << 20)); /* the allocator maps, perhaps side by side */
		kept[i] = kept_big(100000);
	}
	void **own = sbrk(4096);
	REQUIRE(own != (void *)-1);
	own = (void **)(((uintptr_t)own + 63) & -(uintptr_t)64);
	own[3] = in_sbrk(700);
}

SITE static void leak_huge(void)
{
	void *block = malloc((size_t)1 << 30);
	REQUIRE(block);
	__asm__ volatile("" : : "r"(block) : "memory");
}

static void big(void)
{
	static void *slots[16];
	leak_big();
	leak_huge();
	kept[0] = kept_big(8 << 20);
	for (int i = 0; i < 300; i++) {
		unsigned at = some(16);
		free(slots[at]);
		slots[at] = malloc((size_t)(1 + some(40)) << 20);
		REQUIRE(slots[at]);
		*(char *)slots[at] = 1;
	}
	for (int i = 0; i < 16; i++)
		free(slots[i]);
	memset(slots, 0, sizeof slots);
}

SITE static void leak_resized(void)
{
	static const size_t sizes[] = { 10, 1000, 100000, 10000000, 5000000, 2000, 30, 4096, 4097, 70000, 64 };
	for (int k = 0; k < 2; k++) {
		char *block = NULL;
		for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
			block = i % 3 ? realloc(block, sizes[i]) : reallocarray(block, sizes[i], 1);
			REQUIRE(block && (!i || block[0] == 7));
			block[0] = 7;
		}
		REQUIRE(!realloc(block, (size_t)PTRDIFF_MAX - 100 + (unsigned)k) && block[0] == 7);
		memset(block, 0, 64);
		KEEP_FRAME();
	}
}

SITE static void leak_aligned(void)
{
	for (size_t alignment = 8; alignment <= 32768; alignment *= 2) {
		void *block;
		REQUIRE(!posix_memalign(&block, alignment, 3 * alignment) && (uintptr_t)block % alignment == 0);
		REQUIRE(malloc_usable_size(block) >= 3 * alignment);
		memset(block, 0, malloc_usable_size(block));
		free(block);
		block = alignment % 3 ? memalign(alignment, 3 * alignment) : aligned_alloc(alignment, 3 * alignment);
		REQUIRE(block && (uintptr_t)block % alignment == 0);
		memset(block, 0, malloc_usable_size(block));
	}
}

static void forks(void)
{
	enum { BLOCKS = 40 };
	for (int i = 0; i < BLOCKS; i++)
		kept[i] = calloc(1, 1000 + some(100) * 100);
	for (int child = 0; child < 20; child++) {
		pid_t pid = fork();
		REQUIRE(pid >= 0);
		if (!pid) {
			for (int i = 0; i < BLOCKS; i++) {
				if (i % 3 == 0) {
					free(kept[i]);
					kept[i] = NULL;
				} else if (i % 3 == 1) {
					kept[i] = realloc(kept[i], 50000);
					REQUIRE(kept[i]);
				}
			}
			leak_child();
			clear_stack();
			if (child % 2)
				exit(child);
			_exit(child);
		}
		REQUIRE(WEXITSTATUS(reap(pid)) == child);
	}
	for (int i = 0; i < BLOCKS; i++)
		free(kept[i]);
	memset((void *)kept, 0, sizeof kept);
}

enum { THREADS = 8, SHARED = 256, TURNS = 4000 };
static void *shared[SHARED];

LEAK(leak_thread, 10, 200)

static void *churn(void *number)
{
	unsigned mine = (unsigned)(uintptr_t)number * 7919;
	leak_thread();
	for (int i = 0; i < TURNS; i++) {
		mine = mine * 1664525u + 1013904223u;
		void *block = malloc((mine >> 8) % 3000 + 1);
		free(__atomic_exchange_n(&shared[mine >> 24], block, __ATOMIC_ACQ_REL));
	}
	clear_stack();
	return NULL;
}

static void threads(void)
{
	pthread_t thread[THREADS];
	for (uintptr_t i = 0; i < THREADS; i++)
		REQUIRE(!pthread_create(&thread[i], NULL, churn, (void *)(i + 1)));
	for (int i = 0; i < THREADS; i++)
		REQUIRE(!pthread_join(thread[i], NULL));
	for (int i = 0; i < SHARED; i++)
		free(shared[i]);
	memset(shared, 0, sizeof shared);
}

static void snapshot(void)
{
	leak_early();
	clear_stack();
	leaktrace_snapshot("in between");
	leak_late();
}

static void execs(char **argv)
{
	char next[2] = { (char)(argv[2] ? argv[2][0] + 1 : '1'), 0 };
	leak_image();
	clear_stack();
	if (next[0] > '2')
		return;
	execl("/proc/self/exe", argv[0], argv[1], next, NULL);
	_exit(97);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} cases[] = {
		{ "plain", plain }, { "lists", lists }, { "mapped", mapped }, { "big", big }, { "resized", leak_resized },
		{ "aligned", leak_aligned }, { "forks", forks }, { "threads", threads }, { "snapshot", snapshot },
	};
	const char *name = argc > 1 ? argv[1] : "";
	if (!strcmp(name, "execs"))
		execs(argv);
	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
		if (!strcmp(name, cases[i].name))
			cases[i].run();
	clear_stack();
	say("done\n");
	return 5;
}
