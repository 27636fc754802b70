// SPDX-License-Identifier: MIT
//
// A plugin whose static constructor waits for a thread that calls operator new first: the loader's lock is held meanwhile. Its
// program has no C++ library. leak_in_thread leaks one array of 48 bytes.
#include "target.h"
#include <new>
#include <pthread.h>

static int *leaked;

extern "C" int *leak_in_thread();
extern "C" SITE int *leak_in_thread()
{
	int *block = new int[12];
	KEEP_FRAME();
	return block;
}

static void *run(void *)
{
	delete new int(3);
	delete[] new (std::nothrow) int[4];
	leaked = leak_in_thread();
	leaked[0] = 12;
	return nullptr;
}

struct pool {
	pool()
	{
		pthread_t thread;
		REQUIRE(!pthread_create(&thread, nullptr, run, nullptr));
		pthread_join(thread, nullptr);
	}
};
static pool the_pool;

extern "C" __attribute__((visibility("default"))) int work();
int work()
{
	return leaked[0];
}
