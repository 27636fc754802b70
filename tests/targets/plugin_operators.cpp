// SPDX-License-Identifier: MIT
//
// A plugin that brings operators new and delete of its own, and says how often they were called: 5 and 4 times. PAD bytes of
// data more, so that no other plugin gets its place. leak_by_new leaks 72 bytes.
#include "target.h"
#include <new>

static int news, deletes;
__attribute__((visibility("default"))) extern char padding[PAD];
char padding[PAD];

__attribute__((visibility("default"))) void *operator new(std::size_t size)
{
	news++;
	return malloc(size ? size : 1);
}

__attribute__((visibility("default"))) void operator delete(void *block) noexcept
{
	deletes++;
	free(block);
}

__attribute__((visibility("default"))) void operator delete(void *block, std::size_t) noexcept
{
	deletes++;
	free(block);
}

struct thing {
	char bytes[72];
};

extern "C" thing *leak_by_new();
extern "C" SITE thing *leak_by_new()
{
	thing *block = new thing;
	KEEP_FRAME();
	return block;
}

extern "C" __attribute__((visibility("default"))) int work();
int work()
{
	for (int i = 0; i < 4; i++)
		delete new thing;
	leak_by_new();
	return news * 10 + deletes;
}
