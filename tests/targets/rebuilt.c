/* SPDX-License-Identifier: MIT
 *
 * Two versions of a program that leaks: what `diff` has to see between them. Never the same build: VERSION and options differ.
 *
 * leak_kept(): 3 blocks of 100 bytes in both. leak_more(): 2 of 200, in version 2 5 of 200. leak_old(): 1 of 300, version 1
 * only. leak_new(): 4 of 400, version 2 only. Each lies another number of frames below main(), some of them in steps that a
 * compiler inlines when it optimises, and version 2 has its functions on other lines and in another order.
 */
#include "target.h"

void *rebuilt_kept[16];
int rebuilt_more_code(int number);

#if VERSION == 2
/* Moves what follows to other lines and addresses. */
SITE int rebuilt_more_code(int number)
{
	for (int i = 0; i < 100; i++)
		number = number * 31 + i;
	return number;
}

SITE static void leak_new(void)
{
	for (int i = 0; i < 4; i++)
		rebuilt_kept[i] = malloc(400);
	KEEP_FRAME();
}
#endif

SITE static void leak_more(void)
{
	for (int i = 0; i < (VERSION == 2 ? 5 : 2); i++)
		rebuilt_kept[i] = malloc(200);
	KEEP_FRAME();
}

static void innermost(void)
{
	leak_more();
	KEEP_FRAME();
}

static void middle(void)
{
	innermost();
	KEEP_FRAME();
}

#if VERSION == 1
SITE static void leak_old(void)
{
	rebuilt_kept[0] = malloc(300);
	KEEP_FRAME();
}
#endif

SITE static void leak_kept(void)
{
	for (int i = 0; i < 3; i++)
		rebuilt_kept[i] = malloc(100);
	KEEP_FRAME();
}

static void step(void)
{
	leak_kept();
#if VERSION == 2
	middle();
	KEEP_FRAME();
}

int main(void)
{
	step();
	leak_new();
	return rebuilt_more_code(0) == 1;
}
#else
	middle();
	KEEP_FRAME();
}

int main(void)
{
	leak_old();
	step();
	return 0;
}
#endif
