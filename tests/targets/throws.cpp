// SPDX-License-Identifier: MIT
//
// A C++ program that throws and catches, on two threads and through a shared library's frames (libstdc++'s own, in
// std::vector::at): the dynamic linker must bind it to the same libgcc_s with the preload as without.
#include "target.h"
#include <stdexcept>
#include <thread>
#include <vector>

SITE static int thrower(int depth)
{
	if (!depth)
		throw std::runtime_error("bottom");
	int value = thrower(depth - 1);
	KEEP_FRAME();
	return value + 1;
}

static void throw_many(int *caught)
{
	std::vector<int> empty;
	for (int i = 0; i < 500; i++) {
		try {
			thrower(i % 20);
		} catch (const std::exception &) {
			++*caught;
		}
		try {
			(void)empty.at(3);
		} catch (const std::out_of_range &) {
			++*caught;
		}
	}
}

int main()
{
	int here = 0, there = 0;
	std::thread thread(throw_many, &there);
	throw_many(&here);
	thread.join();
	return here == 1000 && there == 1000 ? 0 : 1;
}
