/* SPDX-License-Identifier: MIT
 *
 * Phases; each ends by its name on stdout and a line from stdin, when recording may be switched from outside:
 *
 *   before   leak_before() 10 blocks of 100 bytes; holder() makes a block that is kept, for pointers
 *   during   leak_during() 10 of 100; held() 4 of 200, to which only the holder points; freed(), moved() and shrunk(), of which
 *            pointers are kept
 *   after    leak_after() 10 of 100; frees what freed() made, moves the others; a fork child calls leak_child() 10 times and ends
 *            by exit(0)
 *
 * With an argument it switches by itself instead, on before the second phase, off behind it.
 */
#include "leaktrace/leaktrace.h"
#include "target.h"
#include <stdbool.h>

static void **kept;
static void *one, *two, *three;

#define LEAK(name)                               \
	SITE static void name(void)              \
	{                                        \
		for (int i = 0; i < 10; i++) {   \
			void *block = malloc(100); \
			memset(block, 0, 100);   \
			KEEP_FRAME();            \
		}                                \
	}

LEAK(leak_before)
LEAK(leak_during)
LEAK(leak_after)
LEAK(leak_child)

SITE static void holder(void)
{
	kept = calloc(4, sizeof *kept);
	KEEP_FRAME();
}

SITE static void held(void)
{
	for (int i = 0; i < 4; i++)
		kept[i] = malloc(200);
	KEEP_FRAME();
}

SITE static void freed(void)
{
	one = malloc(1000);
	KEEP_FRAME();
}

SITE static void moved(void)
{
	two = malloc(2000);
	KEEP_FRAME();
}

SITE static void shrunk(void)
{
	three = malloc(3000);
	KEEP_FRAME();
}

SITE static void clear_stack(void)
{
	char stack[8192];
	memset(stack, 0, sizeof stack);
	__asm__ volatile("" : : "r"(stack) : "memory");
}

static void phase(const char *name, bool by_itself)
{
	char byte;

	clear_stack();
	say(name);
	while (!by_itself && read(0, &byte, 1) == 1 && byte != '\n')
		;
}

int main(int argc, char **argv)
{
	bool by_itself = argc > 1;
	int status;

	leak_before();
	holder();
	phase("before\n", by_itself);
	if (by_itself)
		leaktrace_start();
	leak_during();
	held();
	freed();
	moved();
	shrunk();
	phase("during\n", by_itself);
	if (by_itself)
		leaktrace_stop();
	leak_after();
	free(one);
	one = NULL;
	two = realloc(two, 200000);
	three = realloc(three, 10);
	REQUIRE(two && three);
	pid_t child = fork();
	REQUIRE(child >= 0);
	if (!child) {
		leak_child();
		free(kept[3]);
		kept[3] = NULL;
		exit(0);
	}
	REQUIRE(waitpid(child, &status, 0) == child && status == 0);
	phase("after\n", by_itself);
	return 0;
}
