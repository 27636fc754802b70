/* SPDX-License-Identifier: MIT
 *
 * The hot path: what the hooks call for each allocation and free.
 *
 * All functions may be called from any thread and from signal handlers; they keep errno, never call malloc, and do nothing
 * unless lt_recording(). A hook that calls the real function under lt_thread.depth keeps the real one's own calls out.
 */
#ifndef LT_RECORD_H
#define LT_RECORD_H

#include "base/atomic.h"
#include "trace/thread.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the image does: set once by the constructor, never back to LT_STARTING. */
enum lt_state {
	LT_STARTING = 0, /* the constructor has not run */
	LT_OFF,          /* an image that is not traced, or that is over */
	LT_ON,
};
extern LT_HIDDEN int lt_state;

/* To be called after each change of lt_state or lt_active: the hooks of the malloc family are set for it (hooks/alloc.c). Any
 * context. */
void lt_hooks_switch(void);
/* There are several threads: where recording is exact and on, their hooks. Any context. */
void lt_hooks_share(void);

/* The magic of a page that the kernel wipes in a fork child (MADV_WIPEONFORK): 0 there until lt_fork_child() ran. */
extern LT_HIDDEN uint64_t *lt_alive;
/* On that page, too: 1 while the image is LT_ON and the gate open; and, while besides nothing asks for special care, so that
 * the only thread there is goes straight on, where its scratch is (recording.h). */
#define LT_OPEN 1
#define LT_PLAIN 2

/* Nothing asks for special care now. To be called after each change of lt_alive[LT_OPEN], lt_code_unsure, lt_live_odd_count or
 * lt_options.check: lt_record_settle(). Any context. */
bool lt_record_is_plain(void);
void lt_record_settle(void);

/* The image is over: nothing is recorded from now on, not even a free, and nobody waits at the gate for that. So what is to be told
 * of live blocks comes before. Any context. */
void lt_record_end(void);

/* This image is traced and this thread is not inside the tracer. */
static inline bool lt_recording(void)
{
	return lt_likely(lt_load_relaxed(&lt_state) == LT_ON) && lt_likely(!lt_thread.depth);
}

/* `block` of `size` bytes goes to the caller of the hook whose frame (__builtin_frame_address(0)) is `hook`. This and the
 * following are called inside the tracer: lt_thread.depth is raised. */
void lt_record_alloc(void *block, size_t size, const void *hook);

/* What lt_record_free took out, so that a failed realloc can put it back. */
struct lt_taken {
	uintptr_t address; /* 0: nothing was taken */
	uint64_t size;
	uint32_t site, task;
};

/* `block` is about to be freed; before the real free, for another thread may get the address at once. */
void lt_record_free(void *block);

/* realloc: take out, then put back (it failed) or count as freed (it worked). */
void lt_record_take(void *block, struct lt_taken *taken);
void lt_record_put_back(const struct lt_taken *taken);
void lt_record_taken_freed(const struct lt_taken *taken);

/* Recording of new allocations is on (option active, leaktrace_start/stop). */
extern LT_HIDDEN bool lt_active;
/* It was off before, in this image or its ancestors: there may be blocks that were not recorded. And: it was on, so that there may
 * be some that were. */
extern LT_HIDDEN bool lt_was_off, lt_was_on;

/* switch.c: the one place where it is switched. Any thread, any context, also without a dump. It is so when this returns, but where
 * the call may have interrupted another one: then it will be so at once when that goes on. */
void lt_record_switch(bool on);
/* A dump begins: notes there whether recording is on. */
void lt_switch_begin_dump(void);
void lt_switch_init(void); /* start only */
void lt_switch_fork_child(void); /* before its dump begins */

/* When lt_stack_generation changes, with the gate closed: the stacks of the only thread there is. */
void lt_record_forget_stacks(void);

/* Task borders; see tasks.c. */
void lt_task_begin(void);
void lt_task_end(void);

/* What ran since lt_task_begin() was no task by itself: it belongs to the task that comes next. */
void lt_task_postpone(void);

/* The number that new blocks carry: 0 outside any task. And its bits in the table of live blocks (trace/live.h),
 * for the only thread there is: several might read those of two tasks. */
extern LT_HIDDEN struct lt_task {
	uint32_t number;
	uint64_t in_key, in_value;
} lt_task;
static lt_always_inline uint32_t lt_task_current(void)
{
	return lt_load_relaxed(&lt_task.number);
}

/* In a fork child: its life is one task until it receives one. */
void lt_task_fork_child(void);

/* Start only: memory for the tables. Returns 0 or -ENOMEM. */
int lt_record_init(void);
void lt_record_fork_child(void);

#endif
