/* SPDX-License-Identifier: MIT
 *
 * A process to which orphans come: a child subreaper, or the first process of a PID name space. Whom does it get to see in wait()? All
 * children and orphans of its own, and nobody else. usage: reaper KIND
 *   wait, waitpid, wait3, wait4, waitid, waitid-nowait, handler   how it waits: in the handler of SIGCHLD by WNOHANG
 * Eight children leak 2000 blocks each in leak_child(), four of them leave an orphan, which leaks in leak_orphan(). The children's
 * ends are told apart by their status: 1 to 8, orphans 11 to 14.
 */
#include "target.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>

enum { CHILDREN = 8, ORPHANS = 4 };
static void *keep[2000];
static volatile int seen[32], strangers, ends;

#define LEAK(name)                                    \
	SITE static void name(void)                   \
	{                                             \
		for (int i = 0; i < 2000; i++)        \
			keep[i] = malloc(50);         \
		KEEP_FRAME();                         \
	}
LEAK(leak_child)
LEAK(leak_orphan)

static void make_child(int number)
{
	int pipes[2];
	char byte;
	REQUIRE(!pipe(pipes));
	pid_t pid = fork();
	REQUIRE(pid >= 0);
	if (!pid) {
		signal(SIGCHLD, SIG_DFL); /* its orphan is not for it */
		leak_child();
		if (number > CHILDREN - ORPHANS) {
			pid = fork();
			REQUIRE(pid >= 0);
			if (!pid) {
				leak_orphan();
				_exit(number - (CHILDREN - ORPHANS) + 10);
			}
		}
		_exit(number);
	}
	close(pipes[1]);
	while (read(pipes[0], &byte, 1) < 0 && errno == EINTR)
		;
	close(pipes[0]);
}

static void note(int status)
{
	ends++;
	if (WIFEXITED(status) && WEXITSTATUS(status) > 0 && WEXITSTATUS(status) < 32)
		seen[WEXITSTATUS(status)]++;
	else
		strangers++;
}

static pid_t by_waitid(int *status, int look_first)
{
	siginfo_t info;
	if (look_first && waitid(P_ALL, 0, &info, WEXITED | WNOWAIT))
		return -1;
	if (waitid(look_first ? P_PID : P_ALL, look_first ? (id_t)info.si_pid : 0, &info, WEXITED))
		return -1;
	*status = info.si_code == CLD_EXITED ? info.si_status << 8 : info.si_status;
	return info.si_pid;
}

static void on_child(int sig)
{
	int saved = errno, status;
	while (waitpid(-1, &status, WNOHANG) > 0)
		note(status);
	errno = saved;
}

int main(int argc, char **argv)
{
	struct rusage usage;
	pid_t pid = 0;
	REQUIRE(argc == 2);
	const char *how = argv[1];
	if (getpid() != 1)
		REQUIRE(!prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
	if (!strcmp(how, "handler"))
		signal(SIGCHLD, on_child);
	for (int i = 1; i <= CHILDREN; i++)
		make_child(i);
	if (!strcmp(how, "handler")) {
		while (ends < CHILDREN + ORPHANS)
			usleep(10000);
		usleep(200000); /* for those of others */
	}
	for (int status = 0; pid >= 0 && strcmp(how, "handler"); ) {
		pid = !strcmp(how, "wait") ? wait(&status)
		      : !strcmp(how, "waitpid") ? waitpid(-1, &status, 0)
		      : !strcmp(how, "wait3") ? wait3(&status, 0, &usage)
		      : !strcmp(how, "wait4") ? wait4(-1, &status, WUNTRACED, &usage)
		                              : by_waitid(&status, !strcmp(how, "waitid-nowait"));
		if (pid > 0)
			note(status);
	}
	REQUIRE(errno == ECHILD || !strcmp(how, "handler"));
	for (int i = 1; i < 32; i++)
		strangers += seen[i] != (i <= CHILDREN || (i > 10 && i <= 10 + ORPHANS));
	char line[64];
	snprintf(line, sizeof line, "%d ends, %d strangers\n", ends, strangers);
	say(line);
	return 0;
}
