/* SPDX-License-Identifier: MIT
 *
 * Of the stack of R's thread, the frames of R's evaluator. bcEval()'s has 10 KiB and a deep R call has dozens, most of it slots that
 * were last written by functions that returned long ago: stale pointers, to blocks that were freed or lost since. What the evaluator
 * itself keeps there are R's objects, which have roots of their own (collect.c), never another block. So these frames are no
 * roots, but for the registers that they save for their callers.
 *
 * bcEval() is found by a label in it; R_execClosure(), which has a context with a jump buffer, is what Rf_applyClosure() has called;
 * R_ReplConsole(), with a line of input, has called Rf_ReplIteration().
 *
 * The walk goes by the unwind tables alone, on x86_64. Where they don't suffice it ends, and the rest are roots as they are.
 */
#include "process/frames.h"
#include "r/r.h"
#include "trace/cfi.h"
#include <ucontext.h>

#define FRAMES_MAX 100000
#define SAVED (7 * sizeof(uintptr_t)) /* a return address and the callee-saved registers: rbx, rbp, r12 to r15 (psABI) */
#define RBP 6                         /* in lt_scan_thread.reg */

struct walk {
	uintptr_t pc, sp, bp, high;
	bool interrupted;
};

static uintptr_t word(uintptr_t address)
{
	return *(const uintptr_t *)address;
}

static bool is_inside(const struct walk *w, uintptr_t address)
{
	return address >= w->sp - 128 && address < w->high && !(address & 7);
}

/* Out of a frame. False at the end. */
static bool step(struct walk *w)
{
	struct lt_rule rule = lt_cfi_rule(w->interrupted ? w->pc : w->pc - 1);
	uintptr_t cfa = 0, bp_at = 0;
#if defined __x86_64__
	if (rule.kind == LT_RULE_SIGNAL) {
		const ucontext_t *context = (const void *)w->sp;
		if (!is_inside(w, w->sp) || !is_inside(w, (uintptr_t)&context->uc_mcontext.gregs[REG_RIP]))
			return false;
		*w = (struct walk){
			(uintptr_t)context->uc_mcontext.gregs[REG_RIP], (uintptr_t)context->uc_mcontext.gregs[REG_RSP],
			(uintptr_t)context->uc_mcontext.gregs[REG_RBP], w->high, true,
		};
		return is_inside(w, w->sp);
	}
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

void lt_frames_of_r(const struct lt_scan_thread *thread, uintptr_t stack_high, void (*add)(const void *, size_t, void *), void *arg)
{
	struct lt_r_evaluator code;
	struct walk w = { .high = stack_high };
	if (!lt_r_evaluator(&code) || thread->sp >= stack_high)
		return;
	if (thread->pc && thread->registers) {
		w.pc = thread->pc;
		w.sp = thread->reg[thread->registers - 1];
		w.bp = thread->reg[RBP];
		w.interrupted = true;
	} else if (!thread->pc && !thread->registers) { /* sp is a frame pointer */
		w.sp = thread->sp + 2 * sizeof(uintptr_t);
		w.bp = word(thread->sp);
		w.pc = word(thread->sp + sizeof(uintptr_t));
	}
	uintptr_t bytecode = code.byte_code ? lt_cfi_function(code.byte_code) : 0;
	uintptr_t inner = 0, low = w.sp, high = 0; /* of the frame before: its function, and its part that is no root */
	for (unsigned i = 0; w.pc && i < FRAMES_MAX; i++) {
		uintptr_t function = lt_cfi_function(w.interrupted ? w.pc : w.pc - 1), start = w.sp;
		if (function && function == code.apply_closure && high > low && inner != bytecode && inner != code.eval)
			add((const void *)low, high - low, arg);
		bool ends = !step(&w);
		low = start;
		high = w.sp - SAVED;
		if (ends || high <= low || w.sp <= start)
			high = low;
		if (high > low && function && (function == bytecode || function == code.eval || function == code.apply_closure ||
		                               (inner && inner == code.read_and_eval)))
			add((const void *)low, high - low, arg);
		inner = function;
		if (ends)
			break;
	}
}
