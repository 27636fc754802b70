/* SPDX-License-Identifier: MIT
 *
 * The common case of an allocation's stack, to be inlined into the hooks: it is as it was one of the last times at this place.
 * A shape is such a stack with all that its walk read: each return address and each saved register that a step made use of.
 * If all these words are what they were, a walk would read just them again and find the same. The rest, and the whole design,
 * is in unwind.c.
 *
 * Turned down: to follow a stack whose return addresses differ while its slots don't ("lockstep", with a look-up of the rule of
 * each new one): where that happens it mostly happens again, and then the stack has a shape of its own.
 */
#ifndef LT_SHAPES_H
#define LT_SHAPES_H

#include "base/atomic.h"
#include "trace/thread.h"
#include "trace/unwind.h"

/* A word that held a return address or a saved register before. It may be anything by now, for a sanitizer too. */
static inline __attribute__((always_inline)) uintptr_t lt_stack_word(const uintptr_t *at)
{
#if defined __SANITIZE_ADDRESS__ && defined __x86_64__
	uintptr_t word;
	__asm__ volatile("movq %1, %0" : "=r"(word) : "m"(*at));
	return word;
#else
	return *at;
#endif
}

/* The stack from `hook` outwards is that of the shape. Thread and place are in the key; words are only read if it is right. */
static inline __attribute__((always_inline)) bool lt_shape_is_here(const struct lt_shape *shape, const uintptr_t *hook)
{
#define SAME(i) (lt_stack_word(w[LT_SHAPE_STEPS - (i)].at) == w[LT_SHAPE_STEPS - (i)].value)
#define CASE(i)                          \
	case i:                          \
		if (lt_unlikely(!SAME(i))) \
			return false;    \
		__attribute__((fallthrough))
	const struct lt_word *w;
	if (lt_unlikely(shape->key != lt_shape_key(hook)))
		return false;
	w = shape->words;
	switch (LT_SHAPE_STEPS - shape->skipped) {
		for (;;) {
			CASE(16); CASE(15); CASE(14); CASE(13); CASE(12); CASE(11); CASE(10); CASE(9);
			CASE(8); CASE(7); CASE(6); CASE(5); CASE(4); CASE(3); CASE(2);
		default:
			if (lt_unlikely(!SAME(1)))
				return false;
			w += LT_SHAPE_STEPS;
			if (lt_likely(w >= shape->end))
				return true;
		}
	}
	return false;
#undef CASE
#undef SAME
}

/* What the stack before says to be the one that comes now; key and words must be looked at. */
static inline struct lt_shape *lt_shape_hinted(struct lt_stacks *stacks, const uintptr_t *hook)
{
	return &stacks->shapes[*lt_shape_hint(stacks, hook)];
}

/* Any other. NULL: the stack has no shape here; lt_stack_take() must walk it. */
struct lt_shape *lt_shape_find(struct lt_stacks *stacks, const uintptr_t *hook);

#endif
