/* SPDX-License-Identifier: MIT */
#include "trace/walk.h"
#include "trace/cfi.h"

static uintptr_t word(uintptr_t address)
{
	return *(const uintptr_t *)address;
}

static bool is_inside(const struct lt_walk *w, uintptr_t address)
{
	return address >= w->sp - 128 && address < w->high && !(address & 7);
}

#if defined __x86_64__
static bool step_over_signal(struct lt_walk *w)
{
	const ucontext_t *context = (const void *)w->sp;
	const greg_t *reg = context->uc_mcontext.gregs;
	if (!is_inside(w, w->sp) || !is_inside(w, (uintptr_t)&reg[REG_RIP]))
		return false;
	w->pc = (uintptr_t)reg[REG_RIP];
	w->sp = (uintptr_t)reg[REG_RSP];
	w->bp = (uintptr_t)reg[REG_RBP];
	w->interrupted = true;
	w->context = context;
	if (!is_inside(w, w->sp) && w->next_high) {
		w->high = w->next_high;
		w->next_high = 0;
	}
	return is_inside(w, w->sp);
}
#endif

bool lt_walk_step(struct lt_walk *w)
{
	struct lt_rule rule = lt_cfi_rule(w->interrupted ? w->pc : w->pc - 1);
	uintptr_t cfa = 0, bp_at = 0;
#if defined __x86_64__
	if (rule.kind == LT_RULE_SIGNAL)
		return step_over_signal(w);
#endif
	w->interrupted = false;
	if (rule.kind == LT_RULE_RSP)
		cfa = w->sp + (uintptr_t)(intptr_t)rule.offset;
	else if (rule.kind == LT_RULE_RBP)
		cfa = w->bp + (uintptr_t)(intptr_t)rule.offset;
	else if (rule.kind == LT_RULE_RBP_DEREF && is_inside(w, w->bp + (uintptr_t)(intptr_t)rule.offset))
		cfa = word(w->bp + (uintptr_t)(intptr_t)rule.offset);
	if (cfa <= w->sp || !is_inside(w, cfa - 8))
		return false;
	if (rule.rbp)
		bp_at = (rule.rbp == LT_RBP_AT_CFA ? cfa : w->bp) + (uintptr_t)(intptr_t)rule.rbp_offset;
	if (bp_at && !is_inside(w, bp_at))
		return false;
	if (bp_at)
		w->bp = word(bp_at);
	w->pc = word(cfa - 8);
	w->sp = cfa;
	return w->pc != 0;
}
