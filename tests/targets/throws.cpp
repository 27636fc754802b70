// SPDX-License-Identifier: MIT
//
// A C++ program that throws and catches, on two threads and through a shared library's frames (libstdc++'s own, in
// std::vector::at): the dynamic linker must bind it to the same libgcc_s with the preload as without. usage: throws [ROUNDS]
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

static void throw_many(int rounds, int *caught)
{
	std::vector<int> empty;
	for (int i = 0; i < rounds; i++) {
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

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? std::atoi(argv[1]) : 500, here = 0, there = 0;
	std::thread thread(throw_many, rounds, &there);
	throw_many(rounds, &here);
	thread.join();
	return here == 2 * rounds && there == 2 * rounds ? 0 : 1;
}
