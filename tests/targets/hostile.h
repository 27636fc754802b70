/* SPDX-License-Identifier: MIT
 *
 * For hostile.c and its like: 1000 blocks of 333 bytes over many different stacks (or one), in leak(); one more in a child. Each program ends
 * with status 0 (97: no child could be made), as it does without the preload.
 */
#ifndef HOSTILE_H
#define HOSTILE_H

#include "target.h"
#include <errno.h>

static void *keep[1000];

SITE static void *leak(void)
{
	void *block = malloc(333);
	KEEP_FRAME();
	return block;
}

SITE static void *deeper(unsigned path, unsigned bits)
{
	void *block;
	if (!bits)
		block = leak();
	else if (path & 1)
		block = deeper(path >> 1, bits - 1);
	else
		block = deeper(path >> 1, bits - 1);
	KEEP_FRAME();
	return block;
}

static unsigned ways = 1024; /* 1: all from one place, so that the dump need not grow, and its report is short */

static inline void leak_from(unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		keep[i] = deeper(i % ways, 10);
}

static inline void leak_all(void)
{
	leak_from(0, 1000);
}

/* The 333 KB that are to come out of what malloc has got already; the last block keeps that from being trimmed. */
static inline void reserve_memory(void)
{
	void *reserve[11];
	for (int i = 0; i < 11; i++)
		REQUIRE((reserve[i] = malloc(100000)));
	for (int i = 0; i < 10; i++)
		free(reserve[i]);
	keep[0] = reserve[10];
}

struct kind {
	const char *name;
	void (*begin)(void), (*end)(void); /* end: in main and in the child, behind the leaks */
};
static const char *path, *self; /* its first argument behind the kind; the program */

static inline int run_kind(const struct kind *kinds, size_t count, int argc, char **argv)
{
	size_t i = 0;
	REQUIRE(argc >= 2);
	self = argv[0];
	path = argv[2];
	while (i < count && strcmp(kinds[i].name, argv[1]))
		i++;
	REQUIRE(i < count);
	kinds[i].begin();
	if (!keep[999])
		leak_all();
	pid_t pid = fork();
	if (pid < 0)
		return 97;
	if (!pid) {
		keep[0] = leak();
		if (kinds[i].end)
			kinds[i].end();
		_exit(0);
	}
	int status = 0;
	if (waitpid(pid, &status, 0) < 0)
		REQUIRE(errno == ECHILD && !strcmp(argv[1], "sigchld"));
	REQUIRE(status == 0);
	if (kinds[i].end)
		kinds[i].end();
	return 0;
}

#endif
