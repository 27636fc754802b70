/* SPDX-License-Identifier: MIT
 *
 * Spans of recording; see the header.
 */
#include "spans.h"

#include <stdlib.h>
#include <time.h>

#include "xalloc.h"

/* A span that is open ends with the process; 0: it lives, or nobody knows when it died. */
static int64_t open_until(const struct lt_process *process)
{
	struct timespec now;

	if (!process->end_ns && process->end == LT_END_RUNNING && clock_gettime(CLOCK_REALTIME, &now) == 0)
		return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
	return process->end_ns;
}

int64_t lt_spans_recorded(const struct lt_process *process)
{
	const struct leaktrace_process *record = &process->record;
	int64_t until = open_until(process);

	if (!(record->flags & LEAKTRACE_PROCESS_PAUSED))
		return -1;
	int64_t open = record->recording_since_ns && until > record->recording_since_ns ? until - record->recording_since_ns : 0;
	return record->recorded_ns < (uint64_t)(INT64_MAX - open) ? (int64_t)record->recorded_ns + open : open;
}

static int by_time(const void *a, const void *b)
{
	const struct lt_switch *x = a, *y = b;

	return x->time_ns < y->time_ns ? -1 : x->time_ns > y->time_ns;
}

struct lt_span *lt_spans_make(const struct lt_merge *merge, uint32_t number, size_t *count)
{
	const struct lt_process *process = &merge->processes[number];
	struct lt_switch *switches = NULL;
	struct lt_span *spans;
	size_t n = 0, room = 0;
	uint64_t closed = 0;
	bool sound = true, on;

	*count = 0;
	for (size_t i = 0; i < merge->switch_count; i++) {
		if (merge->switches[i].process != number)
			continue;
		LT_GROW(switches, n, room);
		switches[n++] = merge->switches[i];
	}
	if (n)
		qsort(switches, n, sizeof *switches, by_time);
	spans = lt_xcalloc(n + 1, sizeof *spans);
	/* It began as what the first event ended. */
	on = n ? !switches[0].on : process->record.recording_since_ns != 0;
	if (on)
		spans[0].from_ns = process->record.start_ns;
	for (size_t i = 0; i < n; i++) {
		sound &= switches[i].on != on;
		on = switches[i].on;
		if (on) {
			spans[*count].from_ns = switches[i].time_ns;
		} else {
			spans[*count].to_ns = switches[i].time_ns;
			closed += (uint64_t)(switches[i].time_ns - spans[*count].from_ns);
			++*count;
		}
		if (!sound)
			break;
	}
	if (on) {
		spans[*count].to_ns = process->end_ns;
		++*count;
	}
	free(switches);
	/* Both clocks are read in turn: as far apart as the process was held up in between. */
	uint64_t recorded = process->record.recorded_ns, slack = (*count + 1) * UINT64_C(10000000);
	if (!sound || on != (process->record.recording_since_ns != 0) || closed + slack < recorded || recorded + slack < closed) {
		free(spans);
		*count = n;
		return NULL;
	}
	if (!*count) {
		free(spans);
		spans = NULL;
	}
	return spans;
}
