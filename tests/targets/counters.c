/* SPDX-License-Identifier: MIT
 *
 * Known counts: temporary() makes 100 blocks of 10 bytes, each freed before the next allocation; paired() makes 50 pairs of
 * 20 bytes, so that the first of each pair is not temporary and the second is; at_peak() holds 30 blocks of 4000 bytes at the
 * same time, then frees 20 of them; after_peak() leaks 5 of 100. mark() and the tasks go by leaktrace.h: 16 tasks that leak 3
 * blocks of 70 in per_task() each, and allocate 1 of 900 in first_task_only() in the first.
 */
#include "target.h"
#include <leaktrace/leaktrace.h>

static void *keep[256];
static int kept;

SITE static void temporary(void)
{
	for (int i = 0; i < 100; i++)
		free(malloc(10));
}

SITE static void paired(void)
{
	for (int i = 0; i < 50; i++) {
		void *first = malloc(20), *second = malloc(20);
		free(second);
		free(first);
	}
}

SITE static void at_peak(void)
{
	void *block[30];
	for (int i = 0; i < 30; i++)
		block[i] = malloc(4000);
	for (int i = 0; i < 20; i++)
		free(block[i]);
	for (int i = 20; i < 30; i++)
		keep[kept++] = block[i];
}

SITE static void after_peak(void)
{
	for (int i = 0; i < 5; i++)
		keep[kept++] = malloc(100);
}

SITE static void per_task(void)
{
	for (int i = 0; i < 3; i++)
		keep[kept++] = malloc(70);
}

SITE static void first_task_only(void)
{
	keep[kept++] = malloc(900);
	KEEP_FRAME();
}

int main(void)
{
	temporary();
	paired();
	at_peak();
	after_peak();
	leaktrace_mark("tasks begin");
	for (int i = 0; i < 16; i++) {
		leaktrace_task_begin();
		if (!i)
			first_task_only();
		per_task();
		leaktrace_task_end();
	}
	return 0;
}
