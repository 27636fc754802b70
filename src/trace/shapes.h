/* SPDX-License-Identifier: MIT
 *
 * The common case of an allocation's stacks, to be inlined into the hooks: both are as they were one of the last times at this
 * place. A shape is such a pair of stacks with all that its walks read: each return address, each saved register that a step
 * made use of, and of R's contexts what r/stack.c says. If all these words are what they were, the walks would read just them
 * again and find the same. The rest, and the whole design, is in unwind.c.
 *
 * Words are compared by pairs, with one branch for LT_SHAPE_STEPS of them; but first the innermost ones, singly, for a stack that
 * is another one mostly differs there. All words that are read so are in memory that is there for good (the thread's own stack out
 * from the hook, R's variables, the stack of R's interpreter), so none has to be compared before another is read. What R's
 * contexts point to is read when they are known to be as they were.
 *
 * Turned down: to follow a stack whose return addresses differ while its slots don't ("lockstep", with a look-up of the rule of
 * each new one): where that happens it mostly happens again, and then the stack has a shape of its own. A sum or a hash of all
 * words (two instructions a word instead of three): two return addresses that change places have the same sum. Gathering loads
 * (AVX2): on many processors slower than single ones.
 */
#ifndef LT_SHAPES_H
#define LT_SHAPES_H

#include "base/atomic.h"
#include "r/stack.h"
#include "trace/thread.h"
#include "trace/unwind.h"

/* A word that held a return address or a saved register before. It may be anything by now, for a sanitizer too. */
static lt_always_inline uintptr_t lt_stack_word(const uintptr_t *at)
{
#if defined __SANITIZE_ADDRESS__ && defined __x86_64__
	uintptr_t word;
	__asm__ volatile("movq %1, %0" : "=r"(word) : "m"(*at));
	return word;
#else
	return *at;
#endif
}

/* Whether pairs of words are what they were, for many of them at once: a verdict is good at first, and is spoiled by the first pair
 * that differs. */
#if defined __x86_64__ && !defined __SSE2__
/* Built with -mgeneral-regs-only, so that our code also runs on stacks that are not aligned as the ABI wants: the compiler neither
 * uses vector registers nor keeps any on the stack. Those that a function may change are left to the statements here, which stay
 * in their order and have no call between them. */
typedef struct lt_verdict { char in_xmm0; } lt_verdict_t;
static lt_always_inline void lt_verdict_begin(lt_verdict_t *verdict)
{
	__asm__ volatile("pcmpeqd %xmm0, %xmm0");
}

static lt_always_inline void lt_verdict_pair(lt_verdict_t *verdict, const uintptr_t *first, const uintptr_t *second, const uintptr_t values[2])
{
	__asm__ volatile("movq %0, %%xmm1\n\tmovhps %1, %%xmm1\n\tpcmpeqd %2, %%xmm1\n\tpand %%xmm1, %%xmm0"
	                 :
	                 : "m"(*first), "m"(*second), "m"(*(const uintptr_t(*)[2])values));
}

static lt_always_inline bool lt_verdict_is_good(const lt_verdict_t *verdict)
{
	unsigned mask;
	__asm__ volatile("pmovmskb %%xmm0, %0" : "=r"(mask));
	return mask == 0xffff;
}
#else
typedef uintptr_t lt_verdict_t;
static lt_always_inline void lt_verdict_begin(lt_verdict_t *verdict)
{
	*verdict = 0;
}

static lt_always_inline void lt_verdict_pair(lt_verdict_t *verdict, const uintptr_t *first, const uintptr_t *second, const uintptr_t values[2])
{
	*verdict |= (lt_stack_word(first) ^ values[0]) | (lt_stack_word(second) ^ values[1]);
}

static lt_always_inline bool lt_verdict_is_good(const lt_verdict_t *verdict)
{
	return !*verdict;
}
#endif

/* R's contexts, whose own words are as they were, lead to the same functions and calls as they did. */
static lt_always_inline bool lt_shape_calls_are_here(const struct lt_shape *shape)
{
	const char *end = shape->room + sizeof shape->room;
	lt_verdict_t verdict;
	lt_verdict_begin(&verdict);
	for (const char *at = end + shape->calls; lt_likely(at != end); at += sizeof(struct lt_r_kept_call)) {
		const struct lt_r_kept_call *call = (const struct lt_r_kept_call *)at;
		lt_verdict_pair(&verdict, lt_r_environment_at(call), lt_r_head_at(call), call->values);
	}
	return lt_likely(lt_verdict_is_good(&verdict)) &&
	       (lt_likely(shape->has_r != LT_SHAPE_R_OTHERS) || lt_r_words_are(shape->words, shape->words_end));
}

/* The stacks from `hook` outwards are those of the shape. `key`: lt_shape_key() of the hook; words are only read if it is right. */
static lt_always_inline bool lt_shape_is_here(const struct lt_shape *shape, uint64_t key)
{
#define SAME(i, j) (lt_stack_word(p[i].at[j]) == p[i].value[j])
#define LOOK(i) lt_verdict_pair(&verdict, p[i].at[0], p[i].at[1], p[i].value)
	const struct lt_word_pair *p = shape->pairs;
	lt_verdict_t verdict;
	if (lt_unlikely(shape->key != key))
		return false;
	static_assert(LT_SHAPE_SINGLY == 3, "these");
	if (lt_unlikely(!SAME(0, 0)) || lt_unlikely(!SAME(0, 1)) || lt_unlikely(!SAME(1, 0)) || lt_unlikely(!SAME(1, 1)) ||
	    lt_unlikely(!SAME(2, 0)) || lt_unlikely(!SAME(2, 1)))
		return false;
	lt_verdict_begin(&verdict);
	for (p += LT_SHAPE_SINGLY; lt_unlikely(p < shape->turns_end); p += LT_SHAPE_STEPS) {
		LOOK(0), LOOK(1), LOOK(2), LOOK(3), LOOK(4), LOOK(5), LOOK(6), LOOK(7);
		LOOK(8), LOOK(9), LOOK(10), LOOK(11), LOOK(12), LOOK(13), LOOK(14), LOOK(15);
		if (lt_unlikely(!lt_verdict_is_good(&verdict)))
			return false;
		__asm__("" : "+r"(p)); /* or gcc makes up an end of its own */
	}
	if (shape->rest & 8) {
		LOOK(0), LOOK(1), LOOK(2), LOOK(3), LOOK(4), LOOK(5), LOOK(6), LOOK(7);
		p += 8;
	}
	if (shape->rest & 4) {
		LOOK(0), LOOK(1), LOOK(2), LOOK(3);
		p += 4;
	}
	if (shape->rest & 2) {
		LOOK(0), LOOK(1);
		p += 2;
	}
	if (shape->rest & 1)
		LOOK(0);
	return lt_likely(lt_verdict_is_good(&verdict));
#undef LOOK
#undef SAME
}

static inline bool lt_pairs_are(const struct lt_word_pair *p, const struct lt_word_pair *end)
{
	for (; p < end; p++)
		if (lt_unlikely(lt_stack_word(p->at[0]) != p->value[0]) || lt_unlikely(lt_stack_word(p->at[1]) != p->value[1]))
			return false;
	return true;
}

/* Any shape of the stacks at the hook. NULL: there is none. *native: one of the same native stack, or NULL. `key`: lt_shape_key(). */
static lt_always_inline const struct lt_shape *lt_shape_find(struct lt_stacks *stacks, const uintptr_t *hook, uint64_t key,
                                                             const struct lt_shape **native)
{
	const struct lt_shape *shape = lt_shape_ways(stacks, hook), *end = shape + LT_WAYS, *same = NULL;
	for (; shape < end; shape++) {
		if (same) {
			if (shape->key != key || shape->hash != same->hash || !lt_pairs_are(shape->native_end, shape->pairs_end))
				continue;
		} else if (!lt_shape_is_here(shape, key)) {
			continue;
		}
		*native = same = shape;
		if (!shape->has_r || lt_shape_calls_are_here(shape)) {
			*lt_shape_hint(stacks, hook) = (uint32_t)((const char *)shape - (const char *)stacks);
			return shape;
		}
	}
	for (shape = end - LT_WAYS; shape < end && !same; shape++)
		if (shape->key == key && lt_pairs_are(shape->pairs, shape->native_end))
			same = shape;
	*native = same;
	return NULL;
}

#endif
