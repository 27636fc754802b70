/* SPDX-License-Identifier: MIT
 *
 * Programs that load and unload. usage: loader KIND [PLUGIN...]
 *   work PLUGIN...      loads each RTLD_LOCAL, calls its work(), says what that returns, unloads it
 *   memory PLUGIN       loads and unloads it 200 times, with 4096 stacks between; says whether its memory grew
 */
#include "target.h"
#include <dlfcn.h>
#include <fcntl.h>
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

int main(int argc, char **argv)
{
	const char *kind = argc > 1 ? argv[1] : "";
	if (!strcmp(kind, "work")) {
		for (int i = 2; i < argc; i++)
			work(argv[i]);
	} else if (!strcmp(kind, "memory")) {
		memory(argv[2]);
	} else {
		return 97;
	}
	return 0;
}
