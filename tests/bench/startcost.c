/* SPDX-License-Identifier: MIT
 *
 * What the preload costs a program that does nothing, from posix_spawn to its end. Takes LD_PRELOAD out of its own environment
 * for every second run, so both kinds have the same parent. Run it under the preload: it is the session's first image. Prints
 * ROUNDS lines: microseconds without, with. usage: startcost ROUNDS COMMAND...
 */
#include <spawn.h>
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

static double once(char **command, char **env)
{
	double start = now();
	pid_t child;
	int status;
	if (posix_spawnp(&child, command[0], NULL, NULL, command, env) || waitpid(child, &status, 0) != child || status)
		exit(1);
	return now() - start;
}

int main(int argc, char **argv)
{
	static char *without[4096];
	size_t n = 0;
	if (argc < 3 || !getenv("LD_PRELOAD"))
		return 2;
	for (char **e = environ; *e && n < sizeof without / sizeof *without - 1; e++)
		if (strncmp(*e, "LD_PRELOAD=", 11) && strncmp(*e, "LEAKTRACE_", 10))
			without[n++] = *e;
	for (int rounds = atoi(argv[1]), i = -5; i < rounds; i++) { /* the first ones only fill caches */
		double a = once(argv + 2, without), b = once(argv + 2, environ);
		if (i >= 0)
			printf("%.1f %.1f\n", a, b);
	}
	return 0;
}
