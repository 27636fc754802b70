/* SPDX-License-Identifier: MIT
 *
 * Programs that make life hard for a preloaded library: hostile KIND. Each then leaks 1000 blocks of 333 bytes in leak(),
 * over many different stacks, and must end with status 0, as it does without the preload.
 *
 * close-all   closes every descriptor but 1 and 2 | chdir   changes its directory and removes it | clearenv
 * fsize       RLIMIT_FSIZE of 4 KiB               | as      RLIMIT_AS as good as used up
 * nofile      RLIMIT_NOFILE 0                     | sigmask blocks all signals
 * dirname DIR removes the dump directory with all that is in it | setuid drops root's privileges, if it is root
 * stack       runs on a thread with the smallest stack there is
 */
#include "target.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

static void *keep[1000];

SITE static void *leak(void)
{
	void *block = malloc(333);
	KEEP_FRAME();
	return block;
}

SITE static void *deeper(unsigned path, unsigned bits)
{
	void *block;
	if (!bits)
		block = leak();
	else if (path & 1)
		block = deeper(path >> 1, bits - 1);
	else
		block = deeper(path >> 1, bits - 1);
	KEEP_FRAME();
	return block;
}

static void leak_all(void)
{
	for (unsigned i = 0; i < 1000; i++)
		keep[i] = deeper(i, 10);
}

static void *on_thread(void *unused)
{
	(void)unused;
	leak_all();
	return NULL;
}

static void limit(int resource, rlim_t soft)
{
	struct rlimit limit = { .rlim_cur = soft, .rlim_max = soft };
	REQUIRE(!setrlimit((unsigned)resource, &limit));
}

static void remove_dir(const char *path)
{
	char name[PATH_MAX];
	DIR *dir = opendir(path);
	REQUIRE(dir);
	for (struct dirent *entry; (entry = readdir(dir));)
		if (entry->d_name[0] != '.') {
			snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
			REQUIRE(!unlink(name));
		}
	closedir(dir);
	REQUIRE(!rmdir(path));
}

int main(int argc, char **argv)
{
	REQUIRE(argc >= 2);
	const char *kind = argv[1];

	if (!strcmp(kind, "close-all")) {
		for (int fd = 3; fd < 1024; fd++)
			close(fd);
		close(0);
	} else if (!strcmp(kind, "chdir")) {
		char name[] = "/tmp/leaktrace-test-XXXXXX";
		REQUIRE(mkdtemp(name) && !chdir(name) && !rmdir(name));
	} else if (!strcmp(kind, "clearenv")) {
		clearenv();
	} else if (!strcmp(kind, "fsize")) {
		limit(RLIMIT_FSIZE, 4096);
	} else if (!strcmp(kind, "as")) {
		/* The program's own 333 KB come out of what malloc has got already; the last block keeps that from being trimmed. */
		void *reserve[11];
		for (int i = 0; i < 11; i++)
			REQUIRE((reserve[i] = malloc(100000)));
		for (int i = 0; i < 10; i++)
			free(reserve[i]);
		keep[0] = reserve[10];
		limit(RLIMIT_AS, 1 << 20);
	} else if (!strcmp(kind, "nofile")) {
		limit(RLIMIT_NOFILE, 0);
	} else if (!strcmp(kind, "sigmask")) {
		sigset_t all;
		sigfillset(&all);
		sigprocmask(SIG_SETMASK, &all, NULL);
	} else if (!strcmp(kind, "dirname")) {
		REQUIRE(argc == 3);
		remove_dir(argv[2]);
	} else if (!strcmp(kind, "setuid")) {
		if (!geteuid())
			REQUIRE(!setgid(65534) && !setuid(65534));
	} else if (!strcmp(kind, "stack")) {
		pthread_attr_t attr;
		pthread_t thread;
		REQUIRE(!pthread_attr_init(&attr) && !pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN));
		REQUIRE(!pthread_create(&thread, &attr, on_thread, NULL) && !pthread_join(thread, NULL));
		return 0;
	} else {
		REQUIRE(!"known kind");
	}
	leak_all();

	/* And a child, which needs a file of its own. */
	pid_t pid = fork();
	if (pid < 0)
		return strcmp(kind, "as") ? 97 : 0;
	if (!pid) {
		keep[0] = leak();
		_exit(0);
	}
	REQUIRE(reap(pid) == 0);
	return 0;
}
