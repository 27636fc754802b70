/* SPDX-License-Identifier: MIT
 *
 * Recording is switched on and off while four threads, the first one of them, do nothing but allocate and free: blocks of their own,
 * blocks that another has made, and by realloc and memalign, too. At the end all are freed, so whatever is left of spin() was missed.
 * usage: switching api ROUNDS      two threads call leaktrace_start() and leaktrace_stop(), ROUNDS times each; the last is a stop.
 *                                  Then leak_off() leaves 10 bytes 10 times
 *        switching phases ROUNDS   one thread does, and leaks 100 bytes in leak_on() while it is on and 10 in leak_off() while not
 *        switching command         until a line comes from stdin; prints "spinning" when all threads are at it
 *        switching gone            the first thread ends at once, and another one waits for that line
 */
#include "leaktrace/leaktrace.h"
#include "target.h"
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define SPINNERS 4
#define OWN 64
#define SHARED 256

static _Atomic(void *) shared[SHARED];
static atomic_bool over;
static atomic_int spinning;
static unsigned rounds;

SITE static void *spin(uint64_t random)
{
	size_t size = 16 + random % 500;
	void *block = random >> 20 & 15 ? malloc(size) : memalign(64, size);
	KEEP_FRAME();
	return block;
}

static void work(uint64_t random)
{
	void *own[OWN] = {NULL};

	spinning++;
	while (!over) {
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		void **slot = &own[random >> 30 & (OWN - 1)];
		if (random >> 40 & 1) {
			free(atomic_exchange(&shared[random >> 50 & (SHARED - 1)], *slot));
			*slot = spin(random);
		} else if (random >> 41 & 7) {
			free(*slot);
			*slot = spin(random);
		} else {
			*slot = realloc(*slot, 16 + random % 600);
		}
	}
	for (int i = 0; i < OWN; i++)
		free(own[i]);
}

static void *run(void *arg)
{
	work(88172645463325252ULL + (uintptr_t)arg);
	return NULL;
}

SITE static void leak_on(void)
{
	REQUIRE(malloc(100));
	KEEP_FRAME();
}

SITE static void leak_off(void)
{
	REQUIRE(malloc(10));
	KEEP_FRAME();
}

static void rest(void)
{
	struct timespec some = {0, 500000};
	nanosleep(&some, NULL);
}

static void *phases(void *arg)
{
	for (unsigned i = 0; i < rounds; i++) {
		leaktrace_start();
		leak_on();
		rest();
		leaktrace_stop();
		leak_off();
		rest();
	}
	over = true;
	return arg;
}

static void *flip(void *arg)
{
	for (unsigned i = 0; i < rounds; i++) {
		leaktrace_start();
		if (i % 16 == 0)
			rest();
		leaktrace_stop();
	}
	return arg;
}

static void *wait_for_line(void *arg)
{
	char byte;

	while (read(0, &byte, 1) == 1 && byte != '\n')
		;
	over = true;
	return arg;
}

int main(int argc, char **argv)
{
	pthread_t threads[SPINNERS], switches[2];
	bool command = argc > 1 && strcmp(argv[1], "command") == 0, api = argc > 1 && strcmp(argv[1], "api") == 0;

	if (argc > 1 && strcmp(argv[1], "gone") == 0) {
		REQUIRE(pthread_create(&threads[0], NULL, wait_for_line, NULL) == 0);
		pthread_exit(NULL);
	}
	rounds = argc > 2 ? (unsigned)atoi(argv[2]) : 0;
	for (uintptr_t i = command ? 1 : 0; i < SPINNERS; i++)
		REQUIRE(pthread_create(&threads[i], NULL, run, (void *)i) == 0);
	while (spinning < (command ? SPINNERS - 1 : SPINNERS))
		rest();
	if (command) {
		/* The calls from outside come to this thread, in the middle of its work. */
		pthread_t reader;
		say("spinning\n");
		REQUIRE(pthread_create(&reader, NULL, wait_for_line, NULL) == 0);
		work(1234567);
		pthread_join(reader, NULL);
	} else {
		for (int i = 0; i < (api ? 2 : 1); i++)
			REQUIRE(pthread_create(&switches[i], NULL, api ? flip : phases, NULL) == 0);
		for (int i = 0; i < (api ? 2 : 1); i++)
			pthread_join(switches[i], NULL);
		for (int i = 0; api && i < 10; i++)
			leak_off();
		over = true;
	}
	for (int i = command ? 1 : 0; i < SPINNERS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < SHARED; i++)
		free(shared[i]);
	return 0;
}
