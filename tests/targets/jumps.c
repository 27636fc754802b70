/* SPDX-License-Identifier: MIT
 *
 * Stacks that end in unusual ways: longjmp out of deep recursion, an alternate signal stack, coroutines (ucontext), and a
 * recursion of 100,000 frames. After each, leak_after_jump() leaks 1 block of 40 bytes; its stack must be main's again.
 * leak_deep(): 50 blocks of 24 bytes, from depth 1 to 50. leak_on_signal(): 1 of 72, in a handler on the alternate stack.
 * leak_coroutine(): 4 of 56. leak_bottom(): 1 of 88, beneath 100,000 frames.
 */
#include "target.h"
#include <setjmp.h>
#include <signal.h>
#include <sys/resource.h>
#include <ucontext.h>

static void *keep[256];
static volatile int kept;
static jmp_buf back;
static ucontext_t main_context, coroutine_context;

SITE static void leak_after_jump(void)
{
	keep[kept++] = malloc(40);
	KEEP_FRAME();
}

SITE static void leak_deep(int depth, int limit)
{
	keep[kept++] = malloc(24);
	if (depth < limit)
		leak_deep(depth + 1, limit);
	else if (kept)
		longjmp(back, depth);
	KEEP_FRAME();
}

SITE static void leak_on_signal(int number)
{
	(void)number;
	keep[kept++] = malloc(72);
	KEEP_FRAME();
}

SITE static void leak_coroutine(void)
{
	for (;;) {
		keep[kept++] = malloc(56);
		swapcontext(&coroutine_context, &main_context);
	}
}

SITE static void leak_bottom(int depth)
{
	volatile char room[8];
	room[0] = (char)depth;
	if (depth)
		leak_bottom(depth - 1);
	else
		keep[kept++] = malloc(88);
	room[1] = room[0];
	KEEP_FRAME();
}

int main(void)
{
	static char stack[1 << 16], signal_stack[1 << 16];
	if (!setjmp(back))
		leak_deep(1, 50);
	leak_after_jump();

	stack_t alternate = { .ss_sp = signal_stack, .ss_size = sizeof signal_stack };
	struct sigaction action = { .sa_handler = leak_on_signal, .sa_flags = SA_ONSTACK };
	REQUIRE(!sigaltstack(&alternate, NULL) && !sigaction(SIGUSR1, &action, NULL));
	raise(SIGUSR1);
	leak_after_jump();

	getcontext(&coroutine_context);
	coroutine_context.uc_stack.ss_sp = stack;
	coroutine_context.uc_stack.ss_size = sizeof stack;
	makecontext(&coroutine_context, leak_coroutine, 0);
	for (int i = 0; i < 4; i++) {
		swapcontext(&main_context, &coroutine_context);
		leak_after_jump();
	}
	leak_bottom(100000);
	leak_after_jump();
	return 0;
}
