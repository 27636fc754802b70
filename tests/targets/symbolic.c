/* SPDX-License-Identifier: MIT
 *
 * With -DLIBRARY a library with a malloc of its own, linked with -Bsymbolic: what it calls itself is its own, whoever else is there.
 * Without, a program that hands blocks to it and takes some from it. leak_symbolic(): 2 blocks of 100 bytes.
 */
#include "target.h"

void *symbolic_make(void);
void symbolic_unmake(void *block);
unsigned long symbolic_asked(void);

#if defined LIBRARY
static char heap[4 << 20] __attribute__((aligned(4096)));
static size_t used;
static unsigned long asked;

void *malloc(size_t size)
{
	size_t at = (used + 31) & -(size_t)16;
	asked++;
	if (at + size > sizeof heap)
		return NULL;
	memcpy(heap + at - sizeof size, &size, sizeof size);
	used = at + size;
	return heap + at;
}

void free(void *block)
{
}

void *calloc(size_t n, size_t size)
{
	return malloc(n * size);
}

void *realloc(void *old, size_t size)
{
	size_t before = 0;
	void *block = malloc(size);
	if (old)
		memcpy(&before, (char *)old - sizeof before, sizeof before);
	if (old && block)
		memcpy(block, old, before < size ? before : size);
	return block;
}

void *symbolic_make(void)
{
	return malloc(50);
}

void symbolic_unmake(void *block)
{
	free(block);
}

unsigned long symbolic_asked(void)
{
	return asked;
}
#else
SITE static void leak_symbolic(void)
{
	for (int i = 0; i < 2; i++) {
		void *block = calloc(1, 100);
		REQUIRE(block);
		__asm__ volatile("" : : "r"(block) : "memory");
	}
}

int main(void)
{
	unsigned long before = symbolic_asked();
	leak_symbolic();
	free(symbolic_make());
	symbolic_unmake(malloc(60));
	void *block = realloc(symbolic_make(), 5000);
	REQUIRE(block);
	free(block);
	for (unsigned long i = symbolic_asked() - before; i; i--)
		say("+");
	say("\n");
	return 0;
}
#endif
