/* SPDX-License-Identifier: MIT
 *
 * For programs that want to help leaktrace along: name their tasks and moments, switch tracing on and off.
 *
 * Links against nothing: the functions behind are weak, and found when libleaktrace.so is preloaded; without it each call
 * does nothing. All calls may be made from any thread, not from a signal handler; none fails, none changes errno.
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

/* Notes `label` (copied; cut at 255 bytes) with the present time in the dump. */
static inline void leaktrace_mark(const char *label)
{
	if (leaktrace_preload_mark)
		leaktrace_preload_mark(label);
}

/* A task of this process begins; blocks allocated until leaktrace_task_end() belong to it, and growth per task is counted
 * from those that outlive it. Tasks don't nest: a second begin ends the first. */
static inline void leaktrace_task_begin(void)
{
	if (leaktrace_preload_task_begin)
		leaktrace_preload_task_begin();
}

static inline void leaktrace_task_end(void)
{
	if (leaktrace_preload_task_end)
		leaktrace_preload_task_end();
}

/* Writes the list of blocks that are live now into the dump, under `label` (as leaktrace_mark). */
static inline void leaktrace_snapshot(const char *label)
{
	if (leaktrace_preload_snapshot)
		leaktrace_preload_snapshot(label);
}

/* Switch recording of new allocations on and off for the whole process. What is freed while it is off is still noticed. */
static inline void leaktrace_start(void)
{
	if (leaktrace_preload_start)
		leaktrace_preload_start();
}

static inline void leaktrace_stop(void)
{
	if (leaktrace_preload_stop)
		leaktrace_preload_stop();
}

#ifdef __cplusplus
}
#endif
#endif
