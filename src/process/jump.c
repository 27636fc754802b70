/* SPDX-License-Identifier: MIT
 *
 * A signal handler that jumps (siglongjmp) out of what it interrupted may have interrupted the tracer: a thread with our locks, half
 * a change of our tables, and the guard that keeps its hooks from recording. So what was interrupted is finished first: the place that
 * the outermost frame of ours returns to becomes our own, the handler returns (rt_sigreturn) with all signals blocked, and from that
 * place the jump goes on, with the mask that it began with. The handler's frames, which are used meanwhile, are those that the jump
 * gives up; where it goes to is outside the tracer's frames, or it leaves nothing of ours and is let through.
 *
 * A thread that is in the real malloc, or another function behind a hook, is not held up: only the guard is lowered. A fork is undone:
 * finished, it would bring about a child that natively is not there.
 *
 * A fault in the tracer itself (the stack is used up, and our frames are the deepest) can't be finished: the process is recorded no
 * further, and says so: flag STOPPED. What remains: another thread that waits for a lock held by the one whose stack ended just there.
 *
 * Whether the jump leaves the tracer is told by the stack pointer in the jump buffer, which glibc keeps changed by its pointer guard:
 * x86_64, glibc's sysdeps/x86_64/jmpbuf-offsets.h (JB_RSP) and pointer_guard.h. Not looked after: setcontext and exceptions out of handlers.
 */
#include "base/range.h"
#include "base/sys.h"
#include "process/process.h"
#include "trace/cfi.h"
#include "trace/gate.h"
#include "trace/record.h"
#include "trace/thread.h"
#include "trace/unwind.h"
#include "trace/walk.h"
#include <setjmp.h>
#include <signal.h>
#include <string.h>

#if defined __x86_64__
#define JB_RSP 6
#define GUARD_ROTATED 17
#define FRAMES_MAX 10000
#define FRAME_MAX 4096 /* of ours */

#define BIT(sig) (UINT64_C(1) << ((sig) - 1))
#define FAULTS (BIT(SIGSEGV) | BIT(SIGBUS) | BIT(SIGFPE) | BIT(SIGILL) | BIT(SIGTRAP) | BIT(SIGSYS))

static __thread struct {
	bool pending;
	int value;
	uint64_t mask;
	lt_jump_function *jump;
	sigjmp_buf env;
} jump_out;

static uintptr_t stack_pointer(const struct __jmp_buf_tag *env)
{
	uintptr_t word = (uintptr_t)env->__jmpbuf[JB_RSP], guard;
	__asm__("mov %%fs:0x30, %0" : "=r"(guard));
	return (word >> GUARD_ROTATED | word << (64 - GUARD_ROTATED)) ^ guard;
}

static struct lt_range alternate_stack(void)
{
	stack_t now;
	if (lt_syscall6(SYS_sigaltstack, 0, (long)&now, 0, 0, 0, 0) || now.ss_flags & SS_DISABLE)
		return (struct lt_range){ 0, 0 };
	return (struct lt_range){ (uintptr_t)now.ss_sp, (uintptr_t)now.ss_sp + now.ss_size };
}

static bool is_on(struct lt_range stack, uintptr_t sp)
{
	return sp > stack.low && sp <= stack.high;
}

/* It gives up the frame that raised the guard: it does not go to where the handler's own frames are. */
static bool leaves(struct lt_range alternate, uintptr_t here, uintptr_t target)
{
	if (is_on(alternate, here) == is_on(alternate, lt_thread.entered))
		return target < here || target > lt_thread.entered;
	return !is_on(alternate, target);
}

static const void *object_of(uintptr_t pc)
{
	const void *table;
	uint64_t count;
	return lt_cfi_header(pc, &table, &count);
}

static bool is_ours(uintptr_t pc)
{
	return object_of(pc) == object_of((uintptr_t)lt_jump);
}

/* The place of the return address of the outermost frame of ours, and in `w` what the handler interrupted; NULL: not found. */
static uintptr_t *find_interrupted(struct lt_range alternate, const uintptr_t *frame, struct lt_walk *w)
{
	uintptr_t end = lt_thread.entered + FRAME_MAX;
	bool changes = is_on(alternate, (uintptr_t)frame) && !is_on(alternate, lt_thread.entered);
	*w = (struct lt_walk){
		.pc = frame[1], .sp = (uintptr_t)(frame + 2), .bp = frame[0], .high = changes ? alternate.high : end,
		.next_high = changes ? end : 0,
	};
	for (unsigned i = 0; i < FRAMES_MAX; i++) {
		bool in_ours = is_ours(w->pc);
		if (!lt_walk_step(w))
			return NULL;
		if (!w->interrupted && w->context && !w->next_high && w->sp > lt_thread.entered && !is_ours(w->pc))
			return in_ours ? (uintptr_t *)w->sp - 1 : NULL;
	}
	return NULL;
}

static uint64_t signal_mask(void)
{
	uint64_t mask = 0;
	lt_syscall6(SYS_rt_sigprocmask, SIG_BLOCK, 0, (long)&mask, 8, 0, 0);
	return mask;
}

static void set_mask(uint64_t mask)
{
	lt_syscall6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&mask, 0, 8, 0, 0);
}

/* What was interrupted may be an instruction that can't be executed. Linux leaves the number of the thread's last trap in each context,
 * so 0 is none; and a handler has its own signal blocked, mostly. */
static bool may_be_fault(const ucontext_t *context)
{
	uint64_t before, blocked = signal_mask();
	memcpy(&before, &context->uc_sigmask, sizeof before);
	blocked &= ~before;
	return context->uc_mcontext.gregs[REG_TRAPNO] && (!blocked || blocked & FAULTS);
}

/* Where the outermost frame of ours returns to. Its stack may not be aligned (a coroutine made by hand). */
__asm__(".text\n"
        ".globl lt_jump_detour\n"
        ".hidden lt_jump_detour\n"
        ".type lt_jump_detour, @function\n"
        "lt_jump_detour:\n"
        ".cfi_startproc\n"
        ".cfi_undefined rip\n"
        "and $-16, %rsp\n"
        "call lt_jump_go_on\n"
        "ud2\n"
        ".cfi_endproc\n"
        ".size lt_jump_detour, . - lt_jump_detour\n");

LT_HIDDEN __attribute__((noreturn)) void lt_jump_go_on(void);
__attribute__((used)) void lt_jump_go_on(void)
{
	if (lt_thread.forking)
		lt_fork_undo();
	jump_out.pending = false;
	set_mask(jump_out.mask);
	jump_out.jump(jump_out.env, jump_out.value);
	__builtin_unreachable();
}

static __attribute__((noreturn)) void finish_first(struct lt_walk *w, uintptr_t *returns_to)
{
	uint64_t mask = ~FAULTS;
	jump_out.mask = signal_mask();
	jump_out.pending = true;
	lt_thread.returns_to = *returns_to;
	*returns_to = (uintptr_t)lt_jump_detour;
	memcpy((void *)(uintptr_t)&w->context->uc_sigmask, &mask, sizeof mask);
	/* The kernel left the context right above the return address that rt_sigreturn is called from. */
	__asm__ volatile("mov %0, %%rsp\n\t"
	                 "mov %1, %%eax\n\t"
	                 "syscall\n\t"
	                 "ud2"
	                 :
	                 : "r"(w->context), "i"(SYS_rt_sigreturn)
	                 : "memory");
	__builtin_unreachable();
}

void lt_jump(struct __jmp_buf_tag *env, int value, lt_jump_function *jump)
{
	struct lt_range alternate = alternate_stack();
	struct lt_walk w;
	if (!leaves(alternate, (uintptr_t)__builtin_frame_address(0), stack_pointer(env)))
		return;
	if (lt_thread.forking)
		lt_fork_undo();
	if (!lt_thread.inside_tracer)
		return;
	bool changing = lt_gate_is_inside() || lt_fork_is_stopping_threads(), again = jump_out.pending;
	uintptr_t *returns_to = again ? NULL : find_interrupted(alternate, __builtin_frame_address(0), &w);
	bool fault = returns_to && may_be_fault(w.context);
	if (returns_to && !fault && (changing || is_ours((uintptr_t)w.context->uc_mcontext.gregs[REG_RIP]))) {
		jump_out.jump = jump;
		jump_out.value = value;
		memcpy(jump_out.env, env, sizeof jump_out.env);
		finish_first(&w, returns_to);
	}
	if (again)
		set_mask(jump_out.mask);
	jump_out.pending = false;
	if (changing || again)
		lt_end_early();
	lt_thread.depth = 0;
}
#else
/* What is known of the jump buffer is x86_64's. */
void lt_jump(struct __jmp_buf_tag *env, int value, lt_jump_function *jump)
{
}
#endif
