/* SPDX-License-Identifier: MIT
 *
 * Programs that load and unload. usage: loader KIND [PLUGIN...]
 *   work PLUGIN...      loads each RTLD_LOCAL, calls its work(), says what that returns, unloads it
 */
#include "target.h"
#include <dlfcn.h>
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

int main(int argc, char **argv)
{
	const char *kind = argc > 1 ? argv[1] : "";
	if (!strcmp(kind, "work")) {
		for (int i = 2; i < argc; i++)
			work(argv[i]);
	} else {
		return 97;
	}
	return 0;
}
