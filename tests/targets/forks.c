/* SPDX-License-Identifier: MIT
 *
 * Ways to make a child that shares no memory: forks KIND with KIND fork, _Fork, syscall, clone, nested, many.
 *
 * leak_parent(): 3 blocks of 100 bytes, before the fork; leak_child(): 5 of 200, in the child, which frees one of the
 * parent's first; leak_after(): 1 of 300, in the parent, after the fork. nested: the child forks again, and leak_grandchild()
 * leaks 7 of 400 there. many: ten children, one after the other.
 */
#include "target.h"
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>

static void *parent_block[3], *child_block[5], *after_block, *grandchild_block[7];

SITE static void leak_parent(void)
{
	for (int i = 0; i < 3; i++)
		parent_block[i] = malloc(100);
}

SITE static void leak_child(void)
{
	for (int i = 0; i < 5; i++)
		child_block[i] = malloc(200);
}

SITE static void leak_after(void)
{
	after_block = malloc(300);
	KEEP_FRAME();
}

SITE static void leak_grandchild(void)
{
	for (int i = 0; i < 7; i++)
		grandchild_block[i] = malloc(400);
}

static int in_child(void *unused)
{
	(void)unused;
	free(parent_block[1]);
	leak_child();
	return 0;
}

static pid_t make_child(const char *kind)
{
	if (!strcmp(kind, "_Fork"))
		return _Fork();
	if (!strcmp(kind, "syscall"))
		return (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
	return fork();
}

int main(int argc, char **argv)
{
	REQUIRE(argc == 2);
	const char *kind = argv[1];
	leak_parent();
	if (!strcmp(kind, "clone")) {
		static char stack[1 << 18] __attribute__((aligned(64)));
		pid_t pid = clone(in_child, stack + sizeof stack, SIGCHLD, NULL);
		REQUIRE(pid > 0 && reap(pid) == 0);
		leak_after();
		return 0;
	}
	for (int i = 0; i < (strcmp(kind, "many") ? 1 : 10); i++) {
		pid_t pid = make_child(kind);
		REQUIRE(pid >= 0);
		if (!pid) {
			in_child(NULL);
			if (!strcmp(kind, "nested")) {
				pid = fork();
				REQUIRE(pid >= 0);
				if (!pid) {
					free(child_block[0]);
					leak_grandchild();
					_exit(7);
				}
				REQUIRE(WEXITSTATUS(reap(pid)) == 7);
			}
			_exit(0);
		}
		REQUIRE(reap(pid) == 0);
	}
	leak_after();
	return 0;
}
