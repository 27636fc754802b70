/* SPDX-License-Identifier: MIT
 *
 * The sequence of events in the dump. Events come from hooks of fork and wait, which programs also call in signal handlers (R
 * reaps its children in one), and from calls from outside. Where the tracer itself was interrupted, an event is written only if that
 * takes no lock that is held and no new chunk; else it waits in a small ring, for the next event or the end of the image.
 *
 * They take a quarter of what the dump may grow to: a process that forks for ever must not have no room for new sites.
 */
#include "base/lock.h"
#include "base/options.h"
#include "base/sys.h"
#include "dump/dump.h"
#include "process/process.h"
#include "trace/gate.h"
#include "trace/intern.h"
#include "trace/record.h"
#include <string.h>

#define QUEUE 64
#define SHARE 4 /* of max_size */

struct queued {
	int full; /* release after the rest, acquire before it */
	struct leaktrace_event event;
};

static struct lt_lock lock; /* rank 2: nothing but the dump is taken under it */
static struct lt_records records = { .type = LEAKTRACE_CHUNK_EVENTS,
	                             .record_size = sizeof(struct leaktrace_event),
	                             .chunk_size = 4096 };
static struct queued queue[QUEUE];
static unsigned queue_next;
static int queued;
static uint64_t appended;

static void append(const struct leaktrace_event *event)
{
	bool room = appended < lt_options.max_size / SHARE / sizeof *event;
	struct leaktrace_event *record = room ? lt_dump_append(&records) : NULL;
	if (!record) {
		lt_add_relaxed(&lt_process->dropped_events, 1);
		return;
	}
	appended++;
	*record = *event;
	lt_dump_commit(&records);
}

static void put_in_queue(const struct leaktrace_event *event)
{
	struct queued *slot = &queue[lt_add_relaxed(&queue_next, 1) % QUEUE];
	if (!lt_load_relaxed(&slot->full)) {
		slot->event = *event;
		lt_store_release(&slot->full, 1);
		lt_store_relaxed(&queued, 1);
	} else {
		lt_add_relaxed(&lt_process->dropped_events, 1);
	}
}

static struct queued *oldest(void)
{
	struct queued *first = NULL;
	for (unsigned i = 0; i < QUEUE; i++)
		if (lt_load_acquire(&queue[i].full) && (!first || queue[i].event.time_ns < first->event.time_ns))
			first = &queue[i];
	return first;
}

/* With the lock. `careful`: only into the chunk that is there. False: not all of them. */
static bool empty_queue(bool careful)
{
	struct queued *slot;
	if (!lt_load_relaxed(&queued))
		return true;
	lt_store_relaxed(&queued, 0);
	while ((slot = oldest())) {
		if (careful && !lt_dump_has_room(&records)) {
			lt_store_relaxed(&queued, 1);
			return false;
		}
		append(&slot->event);
		lt_store_relaxed(&slot->full, 0);
	}
	return true;
}

static bool append_carefully(const struct leaktrace_event *event)
{
	if (lt_lock_until(&lock, 0))
		return false;
	bool done = empty_queue(true) && lt_dump_has_room(&records);
	if (done)
		append(event);
	lt_unlock(&lock);
	return done;
}

void lt_event(uint32_t type, uint32_t pid, int64_t value, const char *text)
{
	struct leaktrace_event event = {
		.time_ns = lt_sys_clock(CLOCK_REALTIME), .value = value, .type = type, .pid = pid,
	};
	if (lt_load_relaxed(&lt_state) != LT_ON || !*lt_alive || !lt_dump_open())
		return;
	if (lt_thread.depth) {
		if (!append_carefully(&event))
			put_in_queue(&event);
		return;
	}
	lt_tracer_enter();
	lt_gate_enter();
	if (lt_load_relaxed(&lt_state) != LT_ON) /* the dump is a classifier's by now */
		goto out;
	if (text)
		event.text = lt_intern_string(text, strnlen(text, 255));
	lt_lock(&lock);
	empty_queue(false);
	append(&event);
	lt_unlock(&lock);
out:
	lt_gate_leave();
	lt_tracer_leave();
}

void lt_events_prepare(void)
{
	lt_dump_append(&records);
}

void lt_events_settle(bool patient)
{
	if (!lt_load_relaxed(&queued) || lt_lock_until(&lock, patient ? lt_sys_clock(CLOCK_MONOTONIC) + LT_LOCK_PATIENCE_NS : 0))
		return;
	empty_queue(!patient);
	lt_unlock(&lock);
}

void lt_events_fork_child(void)
{
	lock.held = 0;
	records.chunk = NULL;
	records.next = 0;
	queued = 0;
	appended = 0;
	memset(queue, 0, sizeof queue);
}
