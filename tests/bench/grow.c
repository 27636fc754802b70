/* SPDX-License-Identifier: MIT
 *
 * Grows to BLOCKS live blocks of 16 to 200 bytes, the same ones in each run. usage: grow BLOCKS SLOW [cpu]
 * Prints "memory N BYTES": anonymous memory of the process at N blocks, at 0 and at each tenth more from 100,000 on;
 * "slow N NS": the N-th malloc took NS, for all above SLOW nanoseconds; "longest NS". With
 * `cpu` it is CPU time of the thread.
 * The blocks hang in a list through themselves: no table of theirs would grow meanwhile, and all stay reachable.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct block {
	struct block *next;
	uint64_t index;
};

static struct block *volatile first;

static clockid_t clock_id = CLOCK_MONOTONIC;

static int64_t now(void)
{
	struct timespec t;
	clock_gettime(clock_id, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static unsigned long anonymous(void)
{
	static char line[256];
	unsigned long kib = 0;
	FILE *file = fopen("/proc/self/smaps_rollup", "r");
	while (file && fgets(line, sizeof line, file))
		if (sscanf(line, "Anonymous: %lu kB", &kib) == 1)
			break;
	if (file)
		fclose(file);
	return kib * 1024;
}

int main(int argc, char **argv)
{
	uint64_t blocks = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000, look = 100000, random = 88172645463325252ULL;
	int64_t slow = argc > 2 ? atoll(argv[2]) : 1000000, longest = 0, last;
	if (argc > 3)
		clock_id = CLOCK_THREAD_CPUTIME_ID;
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("memory 0 %lu\n", anonymous());
	last = now();
	for (uint64_t i = 1; i <= blocks; i++) {
		int64_t t;
		struct block *block;
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		last = now();
		block = malloc(16 + (random >> 20) % 185);
		t = now();
		if (!block)
			return 1;
		block->index = i;
		block->next = first;
		first = block;
		if (t - last > longest)
			longest = t - last;
		if (t - last > slow)
			printf("slow %llu %lld\n", (unsigned long long)i, (long long)(t - last));
		if (i == look || i == blocks) {
			printf("memory %llu %lu\n", (unsigned long long)i, anonymous());
			while (look <= i)
				look += look / 10;
		}
	}
	printf("longest %lld\n", (long long)longest);
	return 0;
}
