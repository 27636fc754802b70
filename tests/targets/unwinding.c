/* SPDX-License-Identifier: MIT
 *
 * Stacks that are not a plain row of functions: a signal handler 10 times, code without unwind data between two functions, a
 * loop that allocates from two branches of a deep stack in turn, 1024 ways through a recursion, each three times. Prints the
 * lowest free descriptor at the end: the tracer must not keep any.
 */
#include "target.h"
#include <alloca.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>

static void *volatile keep[4000];
static int kept;

SITE static void leak_in_handler(int signal)
{
	keep[kept++] = malloc(77);
	KEEP_FRAME();
}

SITE static void leak_from_jit(void)
{
	keep[kept++] = malloc(88);
	KEEP_FRAME();
}

SITE static void leak_left(void)
{
	keep[kept++] = malloc(10);
	KEEP_FRAME();
}

SITE static void leak_right(int inner)
{
	memset(alloca(64 + (size_t)inner), inner, 64);
	keep[kept++] = malloc(20);
	KEEP_FRAME();
}

SITE static void branch(int depth, int inner)
{
	if (depth)
		branch(depth - 1, inner);
	else if (inner & 1)
		leak_left();
	else
		leak_right(inner);
	KEEP_FRAME();
}

/* Each `path` is a stack of its own. */
SITE static void leak_on_path(unsigned depth, unsigned path)
{
	if (!depth)
		keep[kept++] = malloc(8);
	else if (path & 1)
		leak_on_path(depth - 1, path >> 1);
	else
		leak_on_path(depth - 1, path >> 1);
	KEEP_FRAME();
}

/* push %rbp; mov %rsp,%rbp; call *%rdi; pop %rbp; ret */
static const unsigned char code[] = { 0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3 };

int main(void)
{
	signal(SIGUSR1, leak_in_handler);
	for (int i = 0; i < 10; i++)
		raise(SIGUSR1);

#if defined __x86_64__
	void *jit = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	REQUIRE(jit != MAP_FAILED);
	memcpy(jit, code, sizeof code);
	REQUIRE(!mprotect(jit, 4096, PROT_READ | PROT_EXEC));
	((void (*)(void (*)(void)))jit)(leak_from_jit);
#else
	leak_from_jit();
#endif

	for (int i = 0; i < 400; i++)
		branch(20 + i / 100, i);

	for (int i = 0; i < 3 << 10; i++)
		leak_on_path(10, i & 0x3ff);

	int fd = open("/dev/null", O_RDONLY);
	char digits[] = { (char)('0' + fd / 10), (char)('0' + fd % 10), '\n', 0 };
	say(digits);
	return 0;
}
