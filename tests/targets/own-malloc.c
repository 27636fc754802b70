/* SPDX-License-Identifier: MIT
 *
 * Programs that bring a malloc of their own, by -D:
 *
 *   OWN_ALL     the whole family, from an array, never given back
 *   OWN_SOME    only malloc, calloc, realloc and free of it
 *   OWN_LATE    OWN_ALL, and it can't be used before the program's constructors have run
 *   OWN_COUNTS  malloc and free pass on to the next ones, found by dlsym at the first call, and are counted
 *   OWN_NONE    none, but its address is taken, in code that is not position-independent: that is an address in the program
 *
 * Prints what the program's malloc was asked for, which must be the same under the preload. leak_own(): 2 blocks of 100 bytes.
 */
#include "target.h"
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>

static unsigned long asked;
extern void *(*volatile own_pointer)(size_t);

#if defined OWN_COUNTS
static void *(*next_malloc)(size_t);
static void (*next_free)(void *);

void *malloc(size_t size)
{
	if (!next_malloc)
		*(void **)&next_malloc = dlsym(RTLD_NEXT, "malloc");
	asked++;
	return next_malloc(size);
}

void free(void *block)
{
	if (!next_free)
		*(void **)&next_free = dlsym(RTLD_NEXT, "free");
	next_free(block);
}
#elif defined OWN_NONE
void *(*volatile own_pointer)(size_t) = malloc;
#else
static char heap[4 << 20] __attribute__((aligned(4096)));
static size_t used;
#if defined OWN_LATE
static int ready;
__attribute__((constructor)) static void get_ready(void)
{
	ready = 1;
}
#else
static const int ready = 1;
#endif

static void *take(size_t alignment, size_t size)
{
	if (!ready)
		_exit(97);
	size_t at = (used + 16 + alignment - 1) & -alignment;
	asked++;
	if (size > sizeof heap || at > sizeof heap - size) {
		errno = ENOMEM;
		return NULL;
	}
	memcpy(heap + at - sizeof size, &size, sizeof size);
	used = at + size;
	return heap + at;
}

static size_t size_of(const void *block)
{
	size_t size;
	memcpy(&size, (const char *)block - sizeof size, sizeof size);
	return size;
}

void *malloc(size_t size)
{
	return take(16, size);
}

void free(void *block)
{
}

void *calloc(size_t n, size_t size)
{
	size_t bytes;
	if (__builtin_mul_overflow(n, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return take(16, bytes); /* never used before */
}

void *realloc(void *old, size_t size)
{
	void *block = take(16, size);
	if (old && block)
		memcpy(block, old, size_of(old) < size ? size_of(old) : size);
	return block;
}

#if !defined OWN_SOME
int posix_memalign(void **block, size_t alignment, size_t size)
{
	*block = take(alignment, size);
	return *block ? 0 : ENOMEM;
}

void *memalign(size_t alignment, size_t size)
{
	return take(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return take(alignment, size);
}

size_t malloc_usable_size(void *block)
{
	return block ? size_of(block) : 0;
}
#endif
#endif

SITE static void leak_own(void)
{
	for (int i = 0; i < 2; i++) {
		void *block = malloc(100);
		REQUIRE(block);
		memset(block, 0, 100);
		__asm__ volatile("" : : "r"(block) : "memory");
	}
}

SITE static void clear_stack(void)
{
	char stack[8192];
	memset(stack, 0, sizeof stack);
	__asm__ volatile("" : : "r"(stack) : "memory");
}

int main(void)
{
	char *text = strdup("text"), *number = calloc(3, 7);
	void *aligned = NULL;
	REQUIRE(text && number);
	text = realloc(text, 5000);
	REQUIRE(text && !strcmp(text, "text"));
	free(text);
	free(number);
	REQUIRE(!posix_memalign(&aligned, 128, 300) && (uintptr_t)aligned % 128 == 0);
	FILE *file = fopen("/dev/null", "w"); /* libc's own calls */
	REQUIRE(file && fprintf(file, "%d", 7) == 1 && !fclose(file));
	leak_own();
	clear_stack();
	fflush(stdout);
	pid_t pid = fork();
	REQUIRE(pid >= 0);
	if (!pid) {
		leak_own();
		clear_stack();
		_exit(4);
	}
	printf("child %d, asked %lu times\n", WEXITSTATUS(reap(pid)), asked);
	return 0;
}
