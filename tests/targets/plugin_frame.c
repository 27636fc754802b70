/* SPDX-License-Identifier: MIT
 *
 * Two plugins of the same layout whose one function has frames of different sizes, and so different unwind rules for the same
 * place: work() calls the function that it is given for a block.
 */
#include "target.h"

void *work(void *(*allocate)(size_t));

SITE __attribute__((visibility("default"))) void *work(void *(*allocate)(size_t))
{
	char frame[FRAME];
	__asm__ volatile("" : : "r"(frame) : "memory");
	void *block = allocate(16);
	KEEP_FRAME();
	return block;
}
