/* SPDX-License-Identifier: MIT
 *
 * Built with each sanitizer that the compilers have. By argument: clean, leak, use (of freed memory), twice (freed), fork (a child that
 * leaks, too), exec (itself, as leak), env (says what LD_PRELOAD is).
 */
#include "target.h"
#include <pthread.h>

static char *volatile kept;
static int raced;

SITE static void leak(void)
{
	void *volatile block = malloc(123);
	block = NULL;
	(void)block;
}

SITE static void clear_stack(void)
{
	char stack[8192];
	memset(stack, 0, sizeof stack);
	__asm__ volatile("" : : "r"(stack) : "memory");
}

static void *race(void *unused)
{
	for (int i = 0; i < 1000; i++)
		*(volatile int *)&raced += 1;
	return NULL;
}

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "clean";
	kept = malloc(50);
	if (!strcmp(how, "leak") || !strcmp(how, "fork"))
		leak();
	clear_stack();
	if (!strcmp(how, "use")) {
		free(kept);
		return kept[1];
	}
	if (!strcmp(how, "twice")) {
		free(kept);
		free(kept);
	}
	if (!strcmp(how, "race")) {
		pthread_t thread;
		REQUIRE(!pthread_create(&thread, NULL, race, NULL));
		race(NULL);
		REQUIRE(!pthread_join(thread, NULL));
	}
	if (!strcmp(how, "fork")) {
		pid_t pid = fork();
		if (!pid) {
			leak();
			clear_stack();
			exit(4);
		}
		say(WEXITSTATUS(reap(pid)) ? "ended\n" : "ended well\n");
	}
	if (!strcmp(how, "exec"))
		execl(argv[0], argv[0], "leak", NULL);
	if (!strcmp(how, "env"))
		say(getenv("LD_PRELOAD") ? getenv("LD_PRELOAD") : "none");
	say("\ndone\n");
	return 3;
}
