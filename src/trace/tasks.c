/* SPDX-License-Identifier: MIT
 *
 * Task borders. Tasks number from 1; blocks carry the number of the task in which they were born, 0 outside any.
 *
 * A PSOCK or fork-cluster worker: from R_Unserialize of a message to R_Serialize of its result (hooks/rapi.c). A forked child
 * that never receives a message (mclapply, mcparallel): one task, from the fork to its R_Serialize; its blocks carry 0, and
 * the flag FORK_TASK tells the reader that they are a task's. Programs: leaktrace_task_begin and _end.
 *
 * Tasks belong to the process, not to a thread: R has one.
 */
#include "base/atomic.h"
#include "dump/dump.h"
#include "trace/live.h"
#include "trace/record.h"

struct lt_task lt_task;
static bool fork_task;

static void set(uint32_t task)
{
	lt_store_relaxed(&lt_task.number, task);
	lt_store_relaxed(&lt_task.in_key, lt_live_task_in_key(task));
	lt_store_relaxed(&lt_task.in_value, lt_live_task_in_value(task));
}

void lt_task_begin(void)
{
	if (fork_task) {
		fork_task = false; /* a cluster's worker, then: what was before its first message is start-up */
		__atomic_fetch_and(&lt_process->flags, ~(uint32_t)LEAKTRACE_PROCESS_FORK_TASK, __ATOMIC_RELAXED);
	}
	if (lt_task.number)
		lt_task_end();
	set(lt_process->tasks < LT_LIVE_TASK_MAX ? (uint32_t)lt_process->tasks + 1 : LT_LIVE_TASK_MAX);
}

void lt_task_end(void)
{
	if (fork_task) {
		lt_store_relaxed(&lt_process->tasks, 1);
		return;
	}
	if (!lt_task.number)
		return;
	lt_store_relaxed(&lt_process->tasks, lt_process->tasks + 1);
	set(0);
}

void lt_task_postpone(void)
{
	set(0);
}

void lt_task_fork_child(void)
{
	set(0);
	fork_task = true;
	__atomic_fetch_or(&lt_process->flags, LEAKTRACE_PROCESS_FORK_TASK, __ATOMIC_RELAXED);
}
