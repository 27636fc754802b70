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
#include "trace/walk.h"

#define FRAMES_MAX 100000
#define SAVED (7 * sizeof(uintptr_t)) /* a return address and the callee-saved registers: rbx, rbp, r12 to r15 (psABI) */
#define RBP 6                         /* in lt_scan_thread.reg */

void lt_frames_of_r(const struct lt_scan_thread *thread, uintptr_t stack_high, void (*add)(const void *, size_t, void *), void *arg)
{
	struct lt_r_evaluator code;
	struct lt_walk w = { .high = stack_high };
	if (!lt_r_evaluator(&code) || thread->sp >= stack_high)
		return;
	if (thread->pc && thread->registers) {
		w.pc = thread->pc;
		w.sp = thread->reg[thread->registers - 1];
		w.bp = thread->reg[RBP];
		w.interrupted = true;
	} else if (!thread->pc && !thread->registers) { /* sp is a frame pointer */
		w.sp = thread->sp + 2 * sizeof(uintptr_t);
		w.bp = *(const uintptr_t *)thread->sp;
		w.pc = ((const uintptr_t *)thread->sp)[1];
	}
	uintptr_t bytecode = code.byte_code ? lt_cfi_function(code.byte_code) : 0;
	uintptr_t inner = 0, low = w.sp, high = 0; /* of the frame before: its function, and its part that is no root */
	for (unsigned i = 0; w.pc && i < FRAMES_MAX; i++) {
		uintptr_t function = lt_cfi_function(w.interrupted ? w.pc : w.pc - 1), start = w.sp;
		if (function && function == code.apply_closure && high > low && inner != bytecode && inner != code.eval)
			add((const void *)low, high - low, arg);
		bool ends = !lt_walk_step(&w);
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
