/* SPDX-License-Identifier: MIT
 *
 * R's functions that mark task borders. libR calls its own exported functions through the PLT, so these come first. A forked
 * worker's blocks are listed in the dump and judged when its task ends, before the result is sent, for its master may kill it at once
 * then: listed before the result is serialized, judged after that, so that what serializing takes is judged too.
 */
#include "base/sys.h"
#include "dump/blocks.h"
#include "dump/dump.h"
#include "hooks/real.h"
#include "process/classify.h"
#include "process/process.h"
#include "r/r.h"
#include "trace/record.h"

#define EXPORT __attribute__((visibility("default")))
#define JUDGE_NS 60000000000 /* between two verdicts on a cluster's forked worker */
#define LIST_SHARE 20 /* at most one part in so many of a worker's time goes into lists */

void R_Serialize(void *object, void *stream);
void *R_Unserialize(void *stream);

static void (*real_serialize)(void *, void *);
static void *(*real_unserialize)(void *);

static void find(void)
{
	bool stays; /* R does, also where it was loaded late: it can't be started twice */
	lt_real_init();
	*(void **)&real_serialize = lt_elf_find("R_Serialize", &stays);
	*(void **)&real_unserialize = lt_elf_find("R_Unserialize", &stays);
}

static void list_blocks(void)
{
	static int64_t next;
	int64_t begin = lt_sys_clock(CLOCK_MONOTONIC);
	if (lt_process->role != LEAKTRACE_ROLE_FORK || begin < next)
		return;
	lt_tracer_enter();
	lt_blocks_write(false, true, true);
	lt_tracer_leave();
	int64_t end = lt_sys_clock(CLOCK_MONOTONIC);
	next = end + (end - begin) * LIST_SHARE;
}

/* A child of mclapply has one task, and its master may kill it when it has the result. A cluster's worker has many. */
static void judge(void)
{
	static int64_t next;
	int64_t now = lt_sys_clock(CLOCK_MONOTONIC);
	if (lt_process->role != LEAKTRACE_ROLE_FORK)
		return;
	if (!(lt_process->flags & LEAKTRACE_PROCESS_FORK_TASK)) {
		if (!next)
			next = now + JUDGE_NS;
		if (now < next)
			return;
		next = now + JUDGE_NS;
	}
	lt_classify_now(LEAKTRACE_TRIGGER_TASK, NULL, NULL, NULL);
}

EXPORT void R_Serialize(void *object, void *stream)
{
	if (!real_serialize)
		find();
	bool ends = false;
	if (lt_recording() && lt_thread.r_main && *lt_alive && lt_r_sends_result()) {
		if (lt_r_is_preparation(object)) {
			lt_task_postpone();
		} else {
			lt_task_end();
			list_blocks();
			ends = true;
		}
	}
	real_serialize(object, stream); /* an R error in it does not come back */
	if (ends)
		judge();
}

EXPORT void *R_Unserialize(void *stream)
{
	if (!real_unserialize)
		find();
	void *object = real_unserialize(stream);
	if (lt_recording() && lt_thread.r_main && *lt_alive && lt_r_receives_task())
		lt_task_begin();
	return object;
}
