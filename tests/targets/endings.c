/* SPDX-License-Identifier: MIT
 *
 * endings KIND: leaks 4 blocks of 250 bytes in leak(), then ends in that way.
 */
#include "target.h"
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>

static void *keep[8];

SITE static void leak(void)
{
	for (int i = 0; i < 4; i++)
		keep[i] = malloc(250);
}

SITE static void leak_in_atexit(void)
{
	keep[4] = malloc(260);
	KEEP_FRAME();
}

static void *end_thread(void *status)
{
	exit(*(int *)status);
}

static void *outlive_main(void *unused)
{
	(void)unused;
	usleep(20000);
	leak_in_atexit();
	return NULL;
}

static void handler(int number)
{
	_exit(40 + number);
}

int main(int argc, char **argv)
{
	REQUIRE(argc == 2);
	const char *kind = argv[1];
	leak();
	if (!strcmp(kind, "return"))
		return 11;
	if (!strcmp(kind, "exit"))
		exit(12);
	if (!strcmp(kind, "_exit"))
		_exit(13);
	if (!strcmp(kind, "_Exit"))
		_Exit(14);
	if (!strcmp(kind, "quick_exit"))
		quick_exit(15);
	if (!strcmp(kind, "abort"))
		abort();
	if (!strcmp(kind, "atexit")) {
		atexit(leak_in_atexit);
		exit(16);
	}
	if (!strcmp(kind, "syscall"))
		syscall(SYS_exit_group, 17);
	if (!strcmp(kind, "thread")) {
		static int status = 18;
		pthread_t thread;
		REQUIRE(!pthread_create(&thread, NULL, end_thread, &status));
		for (;;)
			pause();
	}
	if (!strcmp(kind, "pthread_exit")) {
		pthread_t thread;
		REQUIRE(!pthread_create(&thread, NULL, outlive_main, NULL));
		pthread_exit(NULL);
	}
	if (!strcmp(kind, "segv"))
		*(volatile int *)8 = 1;
	if (!strcmp(kind, "raise-segv"))
		raise(SIGSEGV);
	if (!strcmp(kind, "term"))
		kill(getpid(), SIGTERM);
	if (!strcmp(kind, "kill"))
		kill(getpid(), SIGKILL);
	if (!strcmp(kind, "handled")) {
		signal(SIGTERM, handler);
		kill(getpid(), SIGTERM);
	}
	if (!strcmp(kind, "ignored")) {
		signal(SIGTERM, SIG_IGN);
		kill(getpid(), SIGTERM);
		return 19;
	}
	for (;;)
		pause();
}
