/* SPDX-License-Identifier: MIT
 *
 * Children: a block is its own process's; what a child inherited is its parent's, and is judged there. Valgrind judges each
 * process by itself, so its figures for inherited blocks are those of all processes.
 */
#include "leaks.h"
#include <pthread.h>
#include <spawn.h>

static void *volatile slot, *volatile child_slot;

MALLOCS(of_parent)
MALLOCS(of_parent_lost)
MALLOCS(of_child)
MALLOCS(of_child_lost)
MALLOCS(of_grandchild)
MALLOCS(after_child)

#define TWICE "Valgrind counts an inherited block in each process that has it"

/* Forks; the child runs `body` and leaves by _exit(0). */
#define CHILD(...) \
	do { \
		pid_t pid = fork(); \
		REQUIRE(pid >= 0); \
		if (!pid) { \
			__VA_ARGS__; \
			leaks_wipe(); \
			_exit(0); \
		} \
		REQUIRE(reap(pid) == 0); \
	} while (0)

static void child_leaks(void)
{
	slot = of_parent(101);
	of_parent_lost(102);
	CHILD(child_slot = of_child(103); of_child_lost(104));
	after_child(105);
}

/* The child drops the pointer: no leak, for the block is the parent's, who holds it. */
static void child_drops(void)
{
	slot = of_parent(101);
	CHILD(slot = NULL);
}

static void parent_drops(void)
{
	slot = of_parent(101);
	CHILD();
	slot = NULL;
}

static void child_frees(void)
{
	slot = of_parent(101);
	CHILD(free(slot); slot = NULL);
}

/* A function of its own: no register keeps an address within the block. */
SITE static void hang_child(void **block)
{
	block[2] = of_child(103);
}

/* The child's block hangs on an inherited one. */
static void child_hangs(void)
{
	void **block = of_parent(101);
	slot = block;
	CHILD(hang_child(block));
}

/* ... on an inherited one that is lost in the child. */
static void child_hangs_on_lost(void)
{
	void **block = of_parent(101);
	slot = block;
	CHILD(hang_child(block); slot = NULL; block = NULL);
	block = NULL;
}

/* The child's own table, the parent's element: the pointer to its own block is the last one of an inherited block. */
static void child_stale(void)
{
	void **block = of_parent(101);
	slot = block;
	CHILD(hang_child(block); free(block));
	block = NULL;
}

SITE static void make_grandchild(void)
{
	child_slot = of_child(103);
	CHILD(of_grandchild(106));
}

static void grandchild(void)
{
	slot = of_parent(101);
	CHILD(make_grandchild());
}

static void many_children(void)
{
	for (int i = 0; i < 8; i++)
		CHILD(of_child_lost(104); child_slot = of_child(103));
}

/* Other threads do not live on in the child: what they held there is held by nothing. */
static void *volatile *foreign_slot;
SITE static void *holder_thread(void *unused)
{
	void *volatile local[10] = { NULL };
	foreign_slot = &local[5];
	for (;;)
		pause();
	return unused;
}

static void forked_away_thread(void)
{
	pthread_t thread;
	REQUIRE(!pthread_create(&thread, NULL, holder_thread, NULL));
	while (!foreign_slot)
		sched_yield();
	leaks_nap();
	CHILD(*foreign_slot = of_child(103));
}

SITE static void *forking_thread(void *unused)
{
	void *volatile local = of_parent(101);
	TOUCH(&local);
	CHILD(child_slot = of_child(103); of_child_lost(104));
	return unused;
}

/* The child's only thread is not the first one: its stack is a thread's stack. */
static void fork_in_thread(void)
{
	pthread_t thread;
	REQUIRE(!pthread_create(&thread, NULL, forking_thread, NULL) && !pthread_join(thread, NULL));
}

SITE static void *frame_thread(void *unused)
{
	pid_t pid = fork();
	REQUIRE(pid >= 0);
	if (!pid) {
		void *volatile local = of_child(103);
		TOUCH(&local);
		leaks_end(0);
	}
	REQUIRE(reap(pid) == 0);
	return unused;
}

static void fork_in_thread_holds(void)
{
	pthread_t thread;
	REQUIRE(!pthread_create(&thread, NULL, frame_thread, NULL) && !pthread_join(thread, NULL));
}

/* Shares our memory until it ends: its blocks are ours. */
static void vfork_child(void)
{
	slot = of_parent(101);
	pid_t pid = vfork();
	REQUIRE(pid >= 0);
	if (!pid) {
		of_child_lost(104);
		_exit(0);
	}
	REQUIRE(reap(pid) == 0);
}

static void fork_and_exec(void)
{
	slot = of_parent(101);
	CHILD(child_slot = of_child(103); execl("/bin/true", "true", (char *)NULL));
}

LEAK_CASES = {
	{ "child_leaks", child_leaks, { { "of_parent", REACHABLE, 1, 101, { REACHABLE, 2, 202 } },
		{ "of_parent_lost", DEFINITE, 1, 102, { DEFINITE, 2, 204 } }, { "of_child", REACHABLE, 1, 103 },
		{ "of_child_lost", DEFINITE, 1, 104 }, { "after_child", DEFINITE, 1, 105 } }, .why = TWICE },
	{ "child_drops", child_drops, { { "of_parent", REACHABLE, 1, 101 }, { "of_parent", GONE, 0, 0, { DEFINITE, 1, 101 } } },
		.why = TWICE },
	{ "parent_drops", parent_drops, { { "of_parent", DEFINITE, 1, 101 }, { "of_parent", GONE, 0, 0, { REACHABLE, 1, 101 } } },
		.why = TWICE },
	{ "child_frees", child_frees, { { "of_parent", REACHABLE, 1, 101 } } },
	{ "child_hangs", child_hangs, { { "of_parent", REACHABLE, 1, 101, { REACHABLE, 2, 202 } },
		{ "of_child", REACHABLE, 1, 103 } },
		.why = TWICE },
	{ "child_hangs_on_lost", child_hangs_on_lost, { { "of_parent", REACHABLE, 1, 101 },
		{ "of_parent", GONE, 0, 0, { DEFINITE, 1, 101 } }, { "of_child", INDIRECT, 1, 103 } }, .why = TWICE },
	{ "child_stale", child_stale, { { "of_parent", REACHABLE, 1, 101 }, { "of_child", DEFINITE, 1, 103 } } },
	{ "grandchild", grandchild, { { "of_parent", REACHABLE, 1, 101, { REACHABLE, 3, 303 } },
		{ "of_child", REACHABLE, 1, 103, { REACHABLE, 2, 206 } }, { "of_grandchild", DEFINITE, 1, 106 } }, .why = TWICE },
	{ "many_children", many_children, { { "of_child_lost", DEFINITE, 8, 832 }, { "of_child", REACHABLE, 8, 824 } } },
	{ "forked_away_thread", forked_away_thread, { { "of_child", DEFINITE, 1, 103, { REACHABLE, 1, 103 } } },
		.why = "the thread whose stack holds it does not exist in the child" },
	{ "fork_in_thread", fork_in_thread, { { "of_parent", DEFINITE, 1, 101 }, { "of_parent", GONE, 0, 0, { REACHABLE, 1, 101 } },
		{ "of_child", REACHABLE, 1, 103 }, { "of_child_lost", DEFINITE, 1, 104 } }, .why = TWICE },
	{ "fork_in_thread_holds", fork_in_thread_holds, { { "of_child", REACHABLE, 1, 103 } } },
	{ "vfork_child", vfork_child, { { "of_parent", REACHABLE, 1, 101, { REACHABLE, 2, 202 } },
		{ "of_child_lost", DEFINITE, 1, 104 } },
		.why = TWICE },
	{ "fork_and_exec", fork_and_exec, { { "of_parent", REACHABLE, 1, 101 }, { "of_child", REACHABLE, 1, 103 } },
		.flags = LEAKS_NO_VALGRIND, .why = "Valgrind ends with the image and gives no verdict" },
};
LEAK_CASE_COUNT;
