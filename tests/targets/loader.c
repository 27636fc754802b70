/* SPDX-License-Identifier: MIT
 *
 * Programs that load and unload. usage: loader KIND [PLUGIN...]
 *   work PLUGIN...      loads each RTLD_LOCAL, calls its work(), says what that returns, unloads it
 *   memory PLUGIN       loads and unloads it 200 times, with 4096 stacks between; says whether its memory grew
 *   same-place FIRST SECOND   in turn, one lands where the other was; a thread is parked in a signal handler, mostly inside
 *                             malloc, while the first is unloaded; leak_from_plugin leaks 40 blocks of 16 bytes
 *   race FIRST SECOND   two threads load and unload one each for a while, so that each lands where the other was
 */
#include "target.h"
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>

static void *load(const char *path, void *handle_out)
{
	void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	REQUIRE(handle);
	void *work = dlsym(handle, "work");
	REQUIRE(work);
	*(void **)handle_out = handle;
	return work;
}

static void say_number(const char *text, int number)
{
	char line[80];
	snprintf(line, sizeof line, "%s %d\n", text, number);
	say(line);
}

static void work(const char *path)
{
	void *handle;
	int (*function)(void) = (int (*)(void))load(path, &handle);
	say_number("work", function());
	REQUIRE(!dlclose(handle));
}

/* KiB resident. */
static long resident(void)
{
	char text[64] = { 0 };
	long size, pages;
	int fd = open("/proc/self/statm", O_RDONLY);
	REQUIRE(read(fd, text, sizeof text - 1) > 0 && sscanf(text, "%ld %ld", &size, &pages) == 2);
	close(fd);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* Each `path` is a stack of its own. */
SITE static void *branch(unsigned depth, unsigned path)
{
	void *block;
	if (!depth)
		return malloc(16);
	if (path & 1)
		block = branch(depth - 1, path >> 1);
	else
		block = branch(depth - 1, path >> 1);
	KEEP_FRAME();
	return block;
}

static void memory(const char *path)
{
	long before = 0;
	for (int i = 0; i < 200; i++) {
		void *handle;
		free(((void *(*)(void *(*)(size_t)))load(path, &handle))(malloc));
		REQUIRE(!dlclose(handle));
		for (unsigned k = 0; k < 4096; k++)
			free(branch(12, k));
		if (i == 20)
			before = resident();
	}
	say(resident() - before < 4096 ? "flat\n" : "grew\n");
}

static void park(int signal)
{
	usleep(60000);
}

static void *churn_for_ever(void *arg)
{
	static void *volatile blocks[64];
	for (unsigned i = 0;; i++) {
		free(blocks[i & 63]);
		blocks[i & 63] = malloc(16 + (i * 7 & 1023));
	}
	return NULL;
}

static void *keep[1000];

SITE static void *leak_from_plugin(void *(*function)(void *(*)(size_t)))
{
	void *block = function(malloc);
	KEEP_FRAME();
	return block;
}

static void same_place(char **paths)
{
	pthread_t thread;
	signal(SIGUSR1, park);
	REQUIRE(!pthread_create(&thread, NULL, churn_for_ever, NULL));
	usleep(10000);
	void *place[2];
	for (int i = 0; i < 40; i++) {
		void *handle;
		place[i & 1] = load(paths[i & 1], &handle);
		keep[i] = leak_from_plugin((void *(*)(void *(*)(size_t)))place[i & 1]);
		if (!(i & 1)) {
			pthread_kill(thread, SIGUSR1);
			usleep(1000);
		}
		REQUIRE(!dlclose(handle));
	}
	say(place[0] == place[1] ? "same place\n" : "other place\n");
}

static void *load_in_turn(void *path)
{
	for (int i = 0; i < 3000; i++) {
		void *handle;
		free(((void *(*)(void *(*)(size_t)))load(path, &handle))(malloc));
		REQUIRE(!dlclose(handle));
	}
	return NULL;
}

static void race(char **paths)
{
	pthread_t threads[2];
	for (int i = 0; i < 2; i++)
		REQUIRE(!pthread_create(&threads[i], NULL, load_in_turn, paths[i]));
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
}

int main(int argc, char **argv)
{
	const char *kind = argc > 1 ? argv[1] : "";
	if (!strcmp(kind, "work")) {
		for (int i = 2; i < argc; i++)
			work(argv[i]);
	} else if (!strcmp(kind, "memory")) {
		memory(argv[2]);
	} else if (!strcmp(kind, "same-place")) {
		same_place(argv + 2);
	} else if (!strcmp(kind, "race")) {
		race(argv + 2);
	} else {
		return 97;
	}
	return 0;
}
