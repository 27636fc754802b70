// SPDX-License-Identifier: MIT
//
// A module for R that throws and catches: .Call("rthrow", n) throws n exceptions through five frames and counts those caught.
#include <stdexcept>
#define R_NO_REMAP
#include <R.h>
#include <Rinternals.h>

__attribute__((noipa)) static int bottom(int depth)
{
	if (!depth)
		throw std::runtime_error("thrown");
	int value = bottom(depth - 1);
	__asm__ volatile("" ::: "memory");
	return value + 1;
}

extern "C" __attribute__((visibility("default"))) SEXP rthrow(SEXP n)
{
	int caught = 0;
	for (int i = 0, end = Rf_asInteger(n); i < end; i++) {
		try {
			bottom(5);
		} catch (const std::exception &) {
			caught++;
		}
	}
	return Rf_ScalarInteger(caught);
}
