/* SPDX-License-Identifier: MIT
 *
 * Task borders. libR calls its own exported functions R_Serialize and R_Unserialize through the PLT, so the hooks come first. An
 * executable that holds R does not; but its sockets are in a module of R's, which calls recv() and send(). A message may take
 * several calls of these: the first counts.
 *
 * A forked worker's blocks are listed in the dump and judged when its task ends, before the result is sent, for its master may
 * kill it at once then: listed before the result is serialized, judged after that, so that what serializing takes is judged too.
 */
#include "base/sys.h"
#include "dump/blocks.h"
#include "dump/dump.h"
#include "hooks/real.h"
#include "process/classify.h"
#include "process/process.h"
#include "r/r.h"
#include "trace/record.h"
#include <errno.h>
#include <sys/socket.h>

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

static bool is_border(bool (*of_r)(void))
{
	return lt_recording() && lt_thread.r_main && *lt_alive && of_r();
}

/* False: it goes on. */
static bool end_task(const void *result)
{
	if (lt_r_is_preparation(result)) {
		lt_task_postpone();
		return false;
	}
	lt_task_end();
	list_blocks();
	return true;
}

EXPORT void R_Serialize(void *object, void *stream)
{
	if (!real_serialize)
		find();
	bool ends = is_border(lt_r_sends_result) && end_task(object);
	real_serialize(object, stream); /* an R error in it does not come back */
	if (ends)
		judge();
}

EXPORT void *R_Unserialize(void *stream)
{
	if (!real_unserialize)
		find();
	void *object = real_unserialize(stream);
	if (is_border(lt_r_receives_task))
		lt_task_begin();
	return object;
}

/* R is there, and does not call the hooks above. */
static bool by_sockets(void)
{
	return lt_unlikely(lt_thread.r_main) && !lt_r_calls_hooks();
}

EXPORT __attribute__((optimize("optimize-sibling-calls"))) ssize_t recv(int fd, void *buffer, size_t size, int flags)
{
	lt_real_init();
	if (!by_sockets())
		return lt_real.recv(fd, buffer, size, flags);
	ssize_t received = lt_real.recv(fd, buffer, size, flags);
	if (received > 0 && !lt_task_current() && is_border(lt_r_receives_task))
		lt_task_begin();
	return received;
}

EXPORT __attribute__((optimize("optimize-sibling-calls"))) ssize_t send(int fd, const void *buffer, size_t size, int flags)
{
	lt_real_init();
	if (by_sockets() && lt_task_current() && is_border(lt_r_sends_result)) {
		int saved = errno;
		if (end_task(lt_r_message()))
			judge();
		errno = saved;
	}
	return lt_real.send(fd, buffer, size, flags);
}
