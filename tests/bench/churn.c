/* SPDX-License-Identifier: MIT
 *
 * W2: allocation-heavy C. Each operation frees a random one of LIVE blocks and allocates another in its place, 39 frames deep, with
 * two random branches among the innermost frames, so that each operation's stack differs from the last one's. Blocks of 24 to 176
 * bytes, which are used: filled when they are new, added up before they are freed. Some 340 instructions an operation, malloc and
 * free included. Each thread has its own blocks and does OPERATIONS of its own. usage: churn [OPERATIONS [LIVE [THREADS]]]; prints
 * the nanoseconds of an operation.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define NOINLINE __attribute__((noinline, noclone))
#define OUTER 29

struct block {
	size_t words;
	uint64_t word[];
};

struct work {
	uint64_t operations, live, random, sum;
	struct block **blocks;
};

static uint64_t next(struct work *w)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return w->random;
}

static NOINLINE void leaf(struct work *w, uint64_t random)
{
	struct block **slot = &w->blocks[(random >> 20) % w->live], *block = *slot;
	size_t words = 2 + (random >> 40) % 20;
	if (block)
		for (size_t i = 0; i < block->words; i++)
			w->sum += block->word[i];
	free(block);
	*slot = block = malloc(sizeof *block + words * sizeof *block->word);
	if (!block)
		abort();
	block->words = words;
	for (size_t i = 0; i < words; i++)
		block->word[i] = random + i;
}

#define CALLS(name, inner)                                             \
	static NOINLINE void name(struct work *w, uint64_t random)     \
	{                                                              \
		inner(w, random);                                      \
		w->sum++;                                              \
	}
CALLS(inner_0, leaf)
CALLS(inner_1, leaf)

static NOINLINE void choose_inner(struct work *w, uint64_t random)
{
	if (random & 1)
		inner_0(w, random);
	else
		inner_1(w, random);
	w->sum++;
}
CALLS(middle_0, choose_inner)
CALLS(middle_1, choose_inner)

static NOINLINE void choose_middle(struct work *w, uint64_t random)
{
	if (random & 2)
		middle_0(w, random);
	else
		middle_1(w, random);
	w->sum++;
}

static NOINLINE void outer(struct work *w, unsigned level)
{
	if (level)
		outer(w, level - 1);
	else
		for (uint64_t i = 0; i < w->operations; i++)
			choose_middle(w, next(w));
	w->sum++;
}

static void *run(void *arg)
{
	struct work *w = arg;
	w->blocks = calloc(w->live, sizeof *w->blocks);
	if (!w->blocks)
		abort();
	outer(w, OUTER - 1);
	for (uint64_t i = 0; i < w->live; i++)
		free(w->blocks[i]);
	free(w->blocks);
	return NULL;
}

int main(int argc, char **argv)
{
	uint64_t operations = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000000;
	uint64_t live = argc > 2 ? strtoull(argv[2], NULL, 10) : 100000;
	unsigned threads = argc > 3 ? (unsigned)atoi(argv[3]) : 1;
	struct work work[16];
	pthread_t ids[16];
	struct timespec a, b;

	if (!operations || !live || !threads || threads > 16)
		return 2;
	for (unsigned i = 0; i < threads; i++)
		work[i] = (struct work){ .operations = operations, .live = live, .random = 88172645463325252ULL + i };
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (unsigned i = 1; i < threads; i++)
		if (pthread_create(&ids[i], NULL, run, &work[i]))
			return 1;
	run(&work[0]);
	for (unsigned i = 1; i < threads; i++)
		pthread_join(ids[i], NULL);
	clock_gettime(CLOCK_MONOTONIC, &b);
	printf("%.1f\n", ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / (double)operations);
	return 0;
}
