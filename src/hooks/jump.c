/* SPDX-License-Identifier: MIT
 *
 * longjmp and its like. They go straight on, but out of a signal handler that interrupted the tracer: see process/jump.c.
 * (_FORTIFY_SOURCE calls __longjmp_chk, glibc 2.11.)
 */
#include "hooks/real.h"
#include "process/process.h"
#include "trace/thread.h"
#include <setjmp.h>

#define EXPORT __attribute__((visibility("default")))
#define JUMP_ON __attribute__((optimize("optimize-sibling-calls", "omit-frame-pointer")))

/* As glibc declares them, but for noreturn: a call that does not return is no jump for gcc. */
void __longjmp_chk(struct __jmp_buf_tag *env, int value);

#define HOOK(name)                                                                        \
	EXPORT JUMP_ON void leaktrace_##name(struct __jmp_buf_tag *, int) __asm__(#name); \
	EXPORT JUMP_ON void leaktrace_##name(struct __jmp_buf_tag *env, int value)        \
	{                                                                                 \
		if (lt_unlikely(!lt_real.name))                                           \
			lt_real_init();                                                   \
		if (lt_unlikely(lt_thread.inside_tracer))                                 \
			lt_jump(env, value, lt_real.name);                                \
		lt_real.name(env, value);                                                 \
	}

HOOK(longjmp)
HOOK(_longjmp)
HOOK(siglongjmp)
HOOK(__longjmp_chk)
