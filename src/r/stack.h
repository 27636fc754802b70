/* SPDX-License-Identifier: MIT
 *
 * R's call stack is as it was: the common case of lt_r_stack(), to be inlined into the hooks. What is compared, and why that is
 * enough, is in stack.c. Beside r.h the only header of this room for others, for the hot path.
 */
#ifndef LT_R_STACK_H
#define LT_R_STACK_H

#include "base/atomic.h"
#include "r/layout.h"
#include "r/r.h"
#include "r/runtime.h"
#include "r/watch.h"

#define LT_R_KEPT_MAX (4 * LT_R_DEPTH) /* contexts; with more there is no kept stack */
#define LT_R_WORDS_MAX 4096
#define LT_R_PLACES 64

/* kept[0] is outside all kept contexts: its `context` is where the outermost one leads: R's toplevel context, NULL or what was cut.
 * `top` is the innermost one kept; R's own may be further out by now, and come back. */
struct lt_r_chain {
	const struct lt_r_kept *top;
	const struct lt_r_kept *last;  /* that lt_r_stack() has found last; kept[0]: none */
	const char *const *innermost;  /* R_GlobalContext */
	bool cut;
	unsigned srcref;               /* offset in a context */
	int left;                      /* stacks that may be taken so until all is walked and checked */
	uint32_t at[LT_R_PLACES];      /* where a context may be in `kept`, in bytes, by its address; 0: nowhere */
	struct lt_r_kept kept[LT_R_KEPT_MAX];
	struct lt_r_word words[LT_R_WORDS_MAX];
};
extern LT_HIDDEN struct lt_r_chain lt_r_chain;

static inline const struct lt_r_node *lt_r_node_at(const char *context, unsigned offset)
{
	return lt_r_field(context, offset);
}

/* The context of `k`, which is there, is as it was. */
static inline __attribute__((always_inline)) bool lt_r_is_same(const struct lt_r_kept *k, const char *context, unsigned srcref)
{
	const struct lt_r_node *function = lt_r_node_at(context, LT_R_CALLFUN), *head = k->head;

	if (lt_unlikely(lt_r_field(context, 0) != k[-1].context))
		return false;
	if (!head)
		return lt_likely(function == k->function);
	return lt_likely(lt_r_node_at(context, LT_R_CONTEXT_CALL)->list.car == head) &&
	       lt_likely(function->closure.environment == k->function) &&
	       lt_likely(lt_r_node_at(context, srcref) == k->srcref) &&
	       lt_likely(lt_r_node_at(context, LT_R_BCBODY) == k->body);
}

/* From `k`, which has its context's address, outwards: the innermost one that is not as it was; kept[0]: none. */
static inline __attribute__((always_inline)) const struct lt_r_kept *lt_r_find_change(const struct lt_r_kept *k)
{
	const struct lt_r_kept *one = lt_r_chain.kept + 1;
	const unsigned srcref = lt_r_chain.srcref;
	const char *context = k->context;

	for (; k > one; k -= 2) {
		if (lt_unlikely(!lt_r_is_same(k, context, srcref)))
			return k;
		context = k[-1].context;
		if (lt_unlikely(!lt_r_is_same(k - 1, context, srcref)))
			return k - 1;
		context = k[-2].context;
	}
	if (lt_likely(k == one) && lt_likely(lt_r_is_same(k, context, srcref)))
		k--;
	return k;
}

/* The outermost of the contexts out from `k` whose words are not as they were; kept[0]: none. */
static inline const struct lt_r_kept *lt_r_find_changed_word(const struct lt_r_kept *k)
{
	const struct lt_r_word *word = lt_r_chain.words, *end = k->words;

	for (; word != end; word++)
		if (lt_unlikely(*word->at != word->value))
			break;
	if (lt_likely(word == end))
		return lt_r_chain.kept;
	for (k = lt_r_chain.kept + 1; k->words <= word;)
		k++;
	return k;
}

/* R's contexts are `top` and those outside it, as they were. `frame`: what is below is no stack any more. */
static inline __attribute__((always_inline)) bool lt_r_is_kept(const struct lt_r_kept *top, uintptr_t frame)
{
	return lt_likely(top->context == *lt_r_chain.innermost) && lt_likely(top <= lt_r_chain.top) && lt_likely(top->lowest > frame) &&
	       lt_likely(lt_r_find_change(top) == lt_r_chain.kept) && lt_likely(lt_r_find_changed_word(top) == lt_r_chain.kept) &&
	       lt_likely(--lt_r_chain.left >= 0);
}

/* lt_r_stack() would give `node` and not set *cut. `kept`: lt_r_stack_kept() after it has given it. False: ask lt_r_stack(). */
static inline __attribute__((always_inline)) bool lt_r_stack_is(const struct lt_r_kept *kept, uint32_t node, uintptr_t frame)
{
	return lt_likely(kept->node == node) && lt_r_is_kept(kept, frame) && lt_likely(!lt_r_chain.cut);
}

/* Where the stack that lt_r_stack() gave last is kept; there may be another one later. */
static inline const struct lt_r_kept *lt_r_stack_kept(void)
{
	return lt_r_chain.last;
}

#endif
