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
extern int lt_state;

/* The magic of a page that the kernel wipes in a fork child (MADV_WIPEONFORK): 0 there until lt_fork_child() ran. */
extern uint64_t *lt_alive;

/* This image is traced and this thread is not inside the tracer. */
static inline bool lt_recording(void)
{
	return lt_likely(lt_load_relaxed(&lt_state) == LT_ON) && lt_likely(!lt_thread.depth);
}

/* `block` of `size` bytes was returned to the code at `caller` (the hook's return address). */
void lt_record_alloc(void *block, size_t size, void *caller);

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
extern bool lt_active;

/* Task borders; see tasks.c. */
void lt_task_begin(void);
void lt_task_end(void);

/* What ran since lt_task_begin() was no task by itself: it belongs to the task that comes next. */
void lt_task_postpone(void);

/* The number that new blocks carry: 0 outside any task. */
uint32_t lt_task_current(void);

/* In a fork child: its life is one task until it receives one. */
void lt_task_fork_child(void);

/* Start only: memory for the tables. Returns 0 or -ENOMEM. */
int lt_record_init(void);
void lt_record_fork_child(void);

#endif
