/* SPDX-License-Identifier: MIT
 *
 * What a fork costs a process that holds BLOCKS blocks of SIZE bytes, all written to. Prints FORKS lines: microseconds in fork(),
 * and from its start until the child, which does nothing but _exit, has been waited for. usage: forkcost BLOCKS SIZE FORKS
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void **volatile held;

int main(int argc, char **argv)
{
	size_t count = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000, size = argc > 2 ? strtoul(argv[2], NULL, 10) : 1000;
	int forks = argc > 3 ? atoi(argv[3]) : 50;
	void **blocks = malloc((count + 1) * sizeof *blocks);
	if (!blocks)
		return 1;
	for (size_t i = 0; i < count; i++) {
		blocks[i] = malloc(size);
		if (!blocks[i])
			return 1;
		memset(blocks[i], (int)i, size);
	}
	held = blocks;
	for (int i = 0; i < forks; i++) {
		double start = now(), forked;
		pid_t child = fork();
		if (!child)
			_exit(0);
		forked = now();
		if (child < 0 || waitpid(child, NULL, 0) != child)
			return 1;
		printf("%.1f %.1f\n", forked - start, now() - start);
	}
	return 0;
}
