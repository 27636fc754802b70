/* SPDX-License-Identifier: MIT
 *
 * Does all that a dump can be caught in: allocates and frees on three threads, forks children that allocate and leave in
 * different ways, execs itself, grows its file by new sites. Runs until it is killed; a child ends by itself when its
 * parent is gone. leak_always() leaks 32 bytes each time it is called.
 */
#include "target.h"
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>

SITE static void *leak_always(void)
{
	void *block = malloc(32);
	KEEP_FRAME();
	return block;
}

/* As many call sites as the bits of `path` make: each is a stack of its own. */
SITE static void *left(unsigned path, unsigned bits);

SITE static void *right(unsigned path, unsigned bits)
{
	void *block = !bits ? leak_always() : path & 1 ? right(path >> 1, bits - 1) : left(path >> 1, bits - 1);
	KEEP_FRAME();
	return block;
}

SITE static void *left(unsigned path, unsigned bits)
{
	void *block = !bits ? leak_always() : path & 1 ? right(path >> 1, bits - 1) : left(path >> 1, bits - 1);
	KEEP_FRAME();
	return block;
}

static unsigned next_random(unsigned *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

static void *churn(void *argument)
{
	unsigned seed = *(unsigned *)argument;
	for (;;) {
		void *block = malloc(next_random(&seed) % 5000);
		left(next_random(&seed), 8);
		block = realloc(block, next_random(&seed) % 9000 + 1);
		free(block);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned seed = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1u, seeds[2] = { seed + 1, seed + 2 };
	int generation = argc > 2 ? atoi(argv[2]) : 0;
	pthread_t thread;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 0; i < 2; i++)
		REQUIRE(!pthread_create(&thread, NULL, churn, &seeds[i]));
	for (unsigned round = 0;; round++) {
		for (int i = 0; i < 100; i++)
			left(next_random(&seed), 10);
		pid_t pid = fork();
		if (pid < 0)
			continue;
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (int i = 0; i < 200; i++)
				right(next_random(&seed), 9);
			switch (round % 4) {
			case 0: exit(0);
			case 1: _exit(0);
			case 2: execlp("true", "true", (char *)NULL); _exit(1);
			case 3: abort();
			}
		}
		reap(pid);
		if (round == 12 && generation < 50) {
			char next_seed[16] = "", next_generation[16] = "";
			char *digit = next_seed + 15, *g = next_generation + 15;
			for (unsigned v = next_random(&seed); digit == next_seed + 15 || v; v /= 10)
				*--digit = (char)('0' + v % 10);
			for (unsigned v = (unsigned)generation + 1; g == next_generation + 15 || v; v /= 10)
				*--g = (char)('0' + v % 10);
			execl("/proc/self/exe", argv[0], digit, g, (char *)NULL);
			_exit(97);
		}
	}
}
