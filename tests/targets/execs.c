/* SPDX-License-Identifier: MIT
 *
 * Ways to start another program: execs KIND. Each image leaks (its number + 1) blocks of 64 bytes in leak_image().
 *
 * chain N          execs itself N times in the same PID (execv, execvp, execle … by turns)
 * fork-exec-fork   a child execs `forked`, which forks, and its child leaks as image 9
 * vfork, spawn, spawnp, system, popen   start `leaf` that way, after leaking as image 0; leaf leaks as image 2
 * vfork-failed     the exec after vfork fails, and the child calls _exit
 * failed           an exec that fails, then leaks
 * environment      a child that only adds to its environment execs `leaf`
 * environment-more a child that also loses 8 blocks in lose()
 * environment-failed   a child's exec fails, and the child loses 8 blocks and calls _exit
 * clearenv         execs `leaf` with an environment of its own: nothing but PATH
 */
#include "target.h"
#include <errno.h>
#include <spawn.h>
#include <stdio.h>

extern char **environ;

static void *block[16];

SITE static void leak_image(int number)
{
	for (int i = 0; i <= number; i++)
		block[i] = malloc(64);
}

SITE static void add_to_environment(void)
{
	REQUIRE(!putenv(strdup("LT_ADDED=1")) && !putenv(strdup("LT_ADDED_TOO=2")));
}

SITE static void lose(int count)
{
	for (int i = 0; i < count; i++)
		block[0] = malloc(32);
	block[0] = NULL;
}

static void chain(const char *self, const char *left)
{
	int n = atoi(left);
	char next[2] = { (char)('0' + n - 1), 0 };
	leak_image(n);
	if (!n)
		return;
	char *const args[] = { (char *)self, (char *)"chain", next, NULL };
	switch (n % 5) {
	case 0: execv(self, args); break;
	case 1: execvp(self, args); break;
	case 2: execle(self, self, "chain", next, (char *)NULL, environ); break;
	case 3: execlp(self, self, "chain", next, (char *)NULL); break;
	case 4: execve(self, args, environ); break;
	}
	REQUIRE(!"exec came back");
}

int main(int argc, char **argv)
{
	REQUIRE(argc >= 2);
	const char *self = argv[0], *kind = argv[1];
	char *const leaf[] = { argv[0], (char *)"leaf", NULL };
	pid_t pid;

	if (!strcmp(kind, "leaf")) {
		leak_image(2);
		return 3;
	}
	if (!strcmp(kind, "chain")) {
		chain(self, argv[2]);
		return 0;
	}
	leak_image(0);
	if (!strcmp(kind, "fork-exec-fork")) {
		pid = fork();
		REQUIRE(pid >= 0);
		if (!pid) {
			leak_image(4);
			execl(self, self, "forked", (char *)NULL);
			_exit(97);
		}
		REQUIRE(WEXITSTATUS(reap(pid)) == 5);
	} else if (!strcmp(kind, "forked")) {
		pid = fork();
		REQUIRE(pid >= 0);
		if (!pid) {
			leak_image(9);
			_exit(0);
		}
		REQUIRE(reap(pid) == 0);
		return 5;
	} else if (!strcmp(kind, "vfork")) {
		pid = vfork();
		REQUIRE(pid >= 0);
		if (!pid) {
			execv(self, leaf);
			_exit(97);
		}
		REQUIRE(WEXITSTATUS(reap(pid)) == 3);
	} else if (!strcmp(kind, "vfork-failed")) {
		pid = vfork();
		REQUIRE(pid >= 0);
		if (!pid) {
			execl("/nonexistent/program", "program", (char *)NULL);
			_exit(errno == ENOENT ? 7 : 97);
		}
		REQUIRE(WEXITSTATUS(reap(pid)) == 7);
	} else if (!strcmp(kind, "spawn")) {
		REQUIRE(!posix_spawn(&pid, self, NULL, NULL, leaf, environ));
		REQUIRE(WEXITSTATUS(reap(pid)) == 3);
	} else if (!strcmp(kind, "spawnp")) {
		REQUIRE(!posix_spawnp(&pid, self, NULL, NULL, leaf, environ));
		REQUIRE(WEXITSTATUS(reap(pid)) == 3);
	} else if (!strcmp(kind, "system")) {
		char command[4096];
		REQUIRE(strlen(self) < 4000);
		strcpy(command, self);
		strcat(command, " leaf");
		REQUIRE(WEXITSTATUS(system(command)) == 3);
	} else if (!strcmp(kind, "popen")) {
		char command[4096];
		REQUIRE(strlen(self) < 4000);
		strcpy(command, self);
		strcat(command, " leaf");
		FILE *pipe = popen(command, "r");
		REQUIRE(pipe && WEXITSTATUS(pclose(pipe)) == 3);
	} else if (!strcmp(kind, "failed")) {
		REQUIRE(execl("/nonexistent/program", "program", (char *)NULL) == -1 && errno == ENOENT);
		leak_image(1);
	} else if (!strncmp(kind, "environment", 11)) {
		pid = fork();
		REQUIRE(pid >= 0);
		if (!pid) {
			add_to_environment();
			if (!strcmp(kind, "environment-failed"))
				REQUIRE(execl("/nonexistent/program", "program", (char *)NULL) == -1 && errno == ENOENT);
			if (strcmp(kind, "environment"))
				lose(8);
			if (strcmp(kind, "environment-failed"))
				execv(self, leaf);
			_exit(3);
		}
		REQUIRE(WEXITSTATUS(reap(pid)) == 3);
	} else if (!strcmp(kind, "clearenv")) {
		char *const env[] = { (char *)"PATH=/usr/bin:/bin", NULL };
		execve(self, leaf, env);
		return 97;
	} else {
		REQUIRE(!"known kind");
	}
	return 0;
}
