/* SPDX-License-Identifier: MIT
 *
 * The common case of taking a stack, to be inlined into the hooks: it has the shape of one before, taken at the same place. The
 * rest, and the whole design, is in unwind.c.
 */
#ifndef LT_LOCKSTEP_H
#define LT_LOCKSTEP_H

#include "base/atomic.h"
#include "trace/rules.h"
#include "trace/thread.h"
#include "trace/unwind.h"

/* What a step does with rbp: reads it anew and makes no use of what it was; makes use of it; leaves it as it is. */
enum lt_use { LT_USE_NONE, LT_USE_RBP, LT_USE_PASS }; /* need = use & 1 or (use & 2 and the need of the frame outside) */

/* A word that held a return address or a saved register before. It may be anything by now, for a sanitizer too. */
static inline __attribute__((always_inline)) uintptr_t lt_stack_word(uintptr_t at)
{
#if defined __SANITIZE_ADDRESS__ && defined __x86_64__
	uintptr_t word;
	__asm__ volatile("movq %1, %0" : "=r"(word) : "m"(*(const uintptr_t *)at));
	return word;
#else
	return *(const uintptr_t *)at;
#endif
}

/* Of the frames outside `f`, the innermost whose slot does not hold what it held; below s->frames: there is none. */
static inline struct lt_frame *lt_find_change(struct lt_stack *s, struct lt_frame *f)
{
#define SAME(i) (lt_stack_word(f[-(i)].slot) == f[-(i)].pc)
	struct lt_frame *seven = s->frames + 7;
	for (; f > seven; f -= 8) {
		if (lt_unlikely(!SAME(1)))
			return f - 1;
		if (lt_unlikely(!SAME(2)))
			return f - 2;
		if (lt_unlikely(!SAME(3)))
			return f - 3;
		if (lt_unlikely(!SAME(4)))
			return f - 4;
		if (lt_unlikely(!SAME(5)))
			return f - 5;
		if (lt_unlikely(!SAME(6)))
			return f - 6;
		if (lt_unlikely(!SAME(7)))
			return f - 7;
		if (lt_unlikely(!SAME(8)))
			return f - 8;
	}
	for (; f != s->frames; f--)
		if (lt_unlikely(!SAME(1)))
			return f - 1;
	return s->frames - 1;
#undef SAME
}

/* The common case: the stack has as many frames as one before, in the same slots, and of the functions that are new in it
 * none cares for rbp. Then the slots say where the return addresses are; the rules of new ones only have to agree. False: the
 * other way must do it, which finds what is here now as if it had been so. */
static inline __attribute__((always_inline)) bool lt_in_lockstep(const struct lt_rule_array *rules, const uintptr_t *hook, struct lt_stack *s)
{
	struct lt_frame *f = s->top, *outermost = s->frames, *changed = NULL;
	uintptr_t pc = hook[1];
	bool done = false;
	if (lt_unlikely(f->slot != (uintptr_t)&hook[1] || (f->need && f->rbp != hook[0])))
		return false;
	for (;;) {
		if (lt_likely(f->pc == pc)) {
			f = lt_find_change(s, f);
			if (f < outermost)
				break;
			pc = lt_stack_word(f->slot);
		}
		struct lt_rule rule = lt_rules_find(rules, pc);
		if (lt_unlikely(rule.kind != LT_RULE_RSP || rule.rbp == LT_RBP_AT_RBP || f->need | f[-1].need ||
		                f->slot + (uintptr_t)(intptr_t)rule.offset != f[-1].slot)) /* also if it is the outermost */
			goto out;
		s->hash += (pc - f->pc) * lt_frame_factor(f->slot);
		f->pc = pc;
		changed = f--;
		pc = lt_stack_word(f->slot);
	}
	for (const struct lt_word *extra = s->extras, *end = s->extras_end; extra != end; extra++)
		if (lt_unlikely(lt_stack_word((uintptr_t)extra->at) != extra->value))
			goto out;
	done = true;
out:
	if (changed && s->known > (uint32_t)(changed - outermost))
		s->known = (uint32_t)(changed - outermost);
	return done;
}

/* The stack as lt_unwind() finds it, of at most `max` frames, at least one: good until the next call. `max` is the same at all
 * calls with these stacks. Inside the gate, no lock held. */
static inline __attribute__((always_inline)) struct lt_stack *lt_stack_take(const uintptr_t *hook, struct lt_stacks *stacks, unsigned max)
{
	struct lt_stack *stack = &lt_stack_shape(stacks, hook)->stack;
	if (lt_likely(stack->key == lt_stack_key()) &&
	    lt_likely(lt_in_lockstep(lt_load_acquire(&lt_rule_array), hook, stack))) { /* pairs with rules.c, grow() */
		stacks->before = stack->hash;
		return stack;
	}
	stack = lt_stack_take_slowly(hook, stacks, max, false);
	stacks->before = stack->hash;
	return stack;
}

#endif
