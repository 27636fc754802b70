/* SPDX-License-Identifier: MIT
 *
 * Eight threads malloc, realloc and free without pause while the main thread forks ROUNDS times; every child allocates too
 * (leak_child: 2 blocks of 128 bytes) and leaves. Every thread leaves 10 blocks of 48 bytes in leak_thread(). A lock held by
 * a thread that the child has not got shows as a hang.
 */
#include "target.h"
#include <pthread.h>
#include <stdatomic.h>

enum { THREADS = 8, KEPT = 10, SLOTS = 64 };

static atomic_bool stop;
static void *kept[THREADS][KEPT], *child_kept[2];

SITE static void leak_thread(int thread)
{
	for (int i = 0; i < KEPT; i++)
		kept[thread][i] = malloc(48);
}

SITE static void leak_child(void)
{
	child_kept[0] = malloc(128);
	child_kept[1] = malloc(128);
}

static void *churn(void *argument)
{
	int thread = *(int *)argument;
	void *slot[SLOTS] = { NULL };
	unsigned seed = 12345u + (unsigned)thread;
	leak_thread(thread);
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		seed = seed * 1664525u + 1013904223u;
		unsigned i = (seed >> 16) % SLOTS, size = (seed >> 8) % 3000;
		if (seed >> 31) {
			slot[i] = realloc(slot[i], size + 1);
		} else {
			free(slot[i]);
			slot[i] = malloc(size);
		}
	}
	for (int i = 0; i < SLOTS; i++)
		free(slot[i]);
	return NULL;
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 200, number[THREADS];
	pthread_t thread[THREADS];
	for (int i = 0; i < THREADS; i++) {
		number[i] = i;
		REQUIRE(!pthread_create(&thread[i], NULL, churn, &number[i]));
	}
	for (int i = 0; i < rounds; i++) {
		pid_t pid = fork();
		REQUIRE(pid >= 0);
		if (!pid) {
			leak_child();
			for (int k = 0; k < 50; k++)
				free(realloc(malloc(100), 5000));
			_exit(0);
		}
		REQUIRE(reap(pid) == 0);
	}
	atomic_store(&stop, 1);
	for (int i = 0; i < THREADS; i++)
		REQUIRE(!pthread_join(thread[i], NULL));
	return 0;
}
