/* SPDX-License-Identifier: MIT
 *
 * Runs a command and adds a line to FILE: its wall time and the CPU time (user and system) of all its processes, in seconds, and
 * its exit status. All: those too that left it for another parent, as workers of makePSOCKcluster do; a subreaper gets them. They
 * are waited for, GRACE seconds at most; the wall time ends with the command itself. usage: meter FILE [NAME=VALUE...] COMMAND...
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GRACE 60

static void on_alarm(int sig)
{
	(void)sig;
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double seconds(const struct timeval *t)
{
	return (double)t->tv_sec + (double)t->tv_usec / 1e6;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_alarm };
	struct rusage usage;
	double start, wall = 0;
	int status, result = 127;
	pid_t command, pid;
	FILE *file;

	if (argc < 3 || prctl(PR_SET_CHILD_SUBREAPER, 1))
		return 2;
	sigaction(SIGALRM, &action, NULL);
	start = now();
	command = fork();
	if (command < 0)
		return 2;
	if (!command) {
		argv += 2;
		for (; *argv && strchr(*argv, '='); argv++)
			putenv(*argv);
		if (*argv)
			execvp(*argv, argv);
		perror("meter");
		_exit(127);
	}
	while ((pid = wait(&status)) > 0 || (errno == EINTR && !wall)) {
		if (pid != command)
			continue;
		wall = now() - start;
		result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		alarm(GRACE);
	}
	getrusage(RUSAGE_CHILDREN, &usage);
	file = fopen(argv[1], "a");
	if (!file || fprintf(file, "%.6f %.6f %d\n", wall, seconds(&usage.ru_utime) + seconds(&usage.ru_stime), result) < 0 ||
	    fclose(file))
		return 2;
	return result;
}
