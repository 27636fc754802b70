/* SPDX-License-Identifier: MIT
 *
 * Never run: test_symbols looks its code up. Functions inlined three deep, from two places and in a loop, hidden functions
 * between exported ones, and a function that gcc divides into a hot and a cold part. Built with -O2 -g.
 */
#include <stdlib.h>

#define EXPORTED __attribute__((visibility("default"), noinline))
#define HIDDEN static __attribute__((noinline, noclone))
#define INLINED static inline __attribute__((always_inline))

void *inlined_keep(void *block);
void inlined_fail(int code) __attribute__((cold, noreturn));
void *exported_first(size_t count), *exported_second(size_t count);
int exported_third(int number);

INLINED void *innermost(size_t size)
{
	void *block = malloc(size);
	return block ? inlined_keep(block) : NULL;
}

INLINED void *middle(size_t count)
{
	if (count > 100)
		return innermost(count);
	return innermost(2 * count + 1);
}

INLINED void *outer(size_t count)
{
	void *first = middle(count);
	return first ? middle(count + 7) : first;
}

EXPORTED void *exported_first(size_t count)
{
	return outer(count) ? outer(count / 2) : NULL;
}

HIDDEN void *hidden_first(size_t count)
{
	void *last = NULL;
	for (size_t i = 0; i < count; i++)
		last = innermost(i);
	return inlined_keep(last);
}

EXPORTED void *exported_second(size_t count)
{
	return hidden_first(count) ? hidden_first(count + 1) : middle(count);
}

HIDDEN int hidden_second(int number)
{
	if (number < 0)
		inlined_fail(number);
	return inlined_keep(innermost((size_t)number)) ? number : 0;
}

EXPORTED int exported_third(int number)
{
	return hidden_second(number) + hidden_second(number + 1);
}
