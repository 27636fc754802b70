/* SPDX-License-Identifier: MIT
 *
 * For programs that want to help leaktrace along: name their tasks and moments, switch tracing on and off.
 *
 * Links against nothing: the functions behind are weak, and found when libleaktrace.so is preloaded; without it each call
 * does nothing. For R there is leaktrace.R beside this file. All calls may be made from any thread, not from a signal handler; none
 * fails, none changes errno.
 */
#ifndef LEAKTRACE_H
#define LEAKTRACE_H

#ifdef __cplusplus
extern "C" {
#endif

#define LEAKTRACE_WEAK __attribute__((weak, visibility("default")))

LEAKTRACE_WEAK extern void leaktrace_preload_mark(const char *label);
LEAKTRACE_WEAK extern void leaktrace_preload_task_begin(void);
LEAKTRACE_WEAK extern void leaktrace_preload_task_end(void);
LEAKTRACE_WEAK extern void leaktrace_preload_snapshot(const char *label);
LEAKTRACE_WEAK extern void leaktrace_preload_start(void);
LEAKTRACE_WEAK extern void leaktrace_preload_stop(void);

/* The address of a weak function, or NULL. By way of the global offset table also in code that is not position-independent:
 * otherwise the linker would settle an executable's weak symbols itself, as 0. */
#if defined __x86_64__ && !defined __ILP32__ && !defined __PIC__
#define LEAKTRACE_FIND(function) __extension__({ \
	void *leaktrace_found; \
	__asm__(".weak " #function "\n\tmovq " #function "@GOTPCREL(%%rip), %0" : "=r"(leaktrace_found)); \
	(__typeof__(&function))leaktrace_found; \
})
#else
#define LEAKTRACE_FIND(function) (&function)
#endif
#define LEAKTRACE_CALL(function, arguments) do { \
	__typeof__(&function) leaktrace_call = LEAKTRACE_FIND(function); \
	if (leaktrace_call) \
		leaktrace_call arguments; \
} while (0)

/* Notes `label` (copied; cut at 255 bytes) with the present time in the dump. */
static inline void leaktrace_mark(const char *label)
{
	LEAKTRACE_CALL(leaktrace_preload_mark, (label));
}

/* A task of this process begins; blocks allocated until leaktrace_task_end() belong to it, and growth per task is counted
 * from those that outlive it. Tasks don't nest: a second begin ends the first. */
static inline void leaktrace_task_begin(void)
{
	LEAKTRACE_CALL(leaktrace_preload_task_begin, ());
}

static inline void leaktrace_task_end(void)
{
	LEAKTRACE_CALL(leaktrace_preload_task_end, ());
}

/* Judges all blocks that are live now, as at the end of the process: which are lost, which reachable. A forked copy does the work
 * and writes it, under `label` (as leaktrace_mark), to a file of its own beside the dump, PID-TIME-IMAGE-NUMBER.lts; this process
 * stands still for the fork, and goes on. Does nothing while an earlier one is being started by another thread, with the
 * option verdict=off, or where fork() is impossible. `leaktrace diff` compares two. */
static inline void leaktrace_snapshot(const char *label)
{
	LEAKTRACE_CALL(leaktrace_preload_snapshot, (label));
}

/* Switch recording of new allocations on and off for the whole process. What is freed while it is off is still noticed. */
static inline void leaktrace_start(void)
{
	LEAKTRACE_CALL(leaktrace_preload_start, ());
}

static inline void leaktrace_stop(void)
{
	LEAKTRACE_CALL(leaktrace_preload_stop, ());
}

#ifdef __cplusplus
}
#endif
#endif
