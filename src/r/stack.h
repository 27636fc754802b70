/* SPDX-License-Identifier: MIT
 *
 * What trace/shapes.h, the hot path, needs of R's call stack: what it was read from, to be compared later. What that is, and why it is
 * enough, is in stack.c. Beside r.h the only header of this room for others.
 */
#ifndef LT_R_STACK_H
#define LT_R_STACK_H

#include "base/atomic.h"
#include "base/pair.h"
#include "r/layout.h"
#include "r/r.h"
#include "r/runtime.h"
#include "r/watch.h"

/* Stacks that may be taken for what they were before, until one is walked and checked in full. */
extern LT_HIDDEN int lt_r_stacks_left;

/* A function's context of a stack that trace/shapes.h keeps. Its own words are among the others there. */
struct lt_r_kept_call {
	_Alignas(16) const char *context;
	uintptr_t none;
	uintptr_t values[2]; /* environment of the function called, head of the call */
};

/* Where these are. */
static lt_always_inline const uintptr_t *lt_r_environment_at(const struct lt_r_kept_call *call)
{
	return (const uintptr_t *)&((const struct lt_r_node *)lt_r_field(call->context, LT_R_CALLFUN))->closure.environment;
}

static lt_always_inline const uintptr_t *lt_r_head_at(const struct lt_r_kept_call *call)
{
	return (const uintptr_t *)&((const struct lt_r_node *)lt_r_field(call->context, LT_R_CONTEXT_CALL))->list.car;
}

/* In their order, for an address was read from the words before it. */
static lt_always_inline bool lt_r_words_are(const struct lt_r_word *word, const struct lt_r_word *end)
{
	for (; lt_unlikely(word < end); word++)
		if (lt_unlikely(*word->at != word->value))
			return false;
	return true;
}

/* A stack whose words are as they were needs no walk this time. False: lt_r_stack() is to walk, for now and then all is checked. */
static lt_always_inline bool lt_r_stack_may_be_kept(void)
{
	return lt_likely(--lt_r_stacks_left >= 0);
}

/* It is to walk. */
static inline bool lt_r_stack_is_due(void)
{
	return lt_r_stacks_left < 0;
}

/* What the stack that lt_r_stack() gave last was read from: `words` of R's contexts and variables, which can be read at any
 * time; calls, from `calls` downwards to `calls_low`; and `others`, which can be read if those before are as they were. False:
 * there is too much, or the stack must not be kept. *has_r: it was R's contexts, not that there are none. */
struct lt_r_stack_words {
	struct lt_words words;
	struct lt_r_kept_call *calls;
	const void *calls_low;
	const struct lt_r_word *others, *others_end; /* good until lt_r_stack() is called again */
	bool has_r;
};
bool lt_r_stack_keep(struct lt_r_stack_words *to);

#endif
