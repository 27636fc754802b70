/* SPDX-License-Identifier: MIT
 *
 * A verdict counts if it is done. The one on the process's end, in its own dump, is the last word; else the newest snapshot's.
 * One that never got done says why the blocks stay unknown.
 *
 * A classifier is at work while its verdict is RUNNING and its process lives: PID and start time, on this machine and boot. One
 * that was started and has not said its PID yet is given some seconds.
 */
#include "verdicts.h"

#include <stdio.h>
#include <time.h>

#include "lineage.h"
#include "merge-internal.h"
#include "merge.h"

#define UNNAMED_SECONDS 3
#define POLL_NS 20000000
#define SILENT_NS 500000000

enum lt_kind lt_verdict_kind(uint32_t flags)
{
	switch (flags & LEAKTRACE_BLOCK_KIND) {
	case LEAKTRACE_KIND_DEFINITE: return LT_KIND_DEFINITE;
	case LEAKTRACE_KIND_INDIRECT: return LT_KIND_INDIRECT;
	case LEAKTRACE_KIND_POSSIBLE: return LT_KIND_POSSIBLE;
	case LEAKTRACE_KIND_REACHABLE: return LT_KIND_REACHABLE;
	}
	return LT_KIND_UNKNOWN;
}

struct lt_estimate lt_split_whole(const struct lt_split *split)
{
	struct lt_estimate whole = {0};

	for (unsigned kind = 0; split && kind < LT_KIND_COUNT; kind++) {
		const struct lt_estimate part = lt_split_part(split, kind);

		if (kind != LT_KIND_UNKNOWN)
			lt_estimate_add(&whole, &part);
	}
	return whole;
}

bool lt_verdict_better(const struct lt_found_verdict *a, const struct lt_found_verdict *b)
{
	if (!a->record.state || !b->record.state)
		return a->record.state && !b->record.state;
	if ((a->record.state == LEAKTRACE_VERDICT_DONE) != (b->record.state == LEAKTRACE_VERDICT_DONE))
		return a->record.state == LEAKTRACE_VERDICT_DONE;
	if (a->own != b->own)
		return a->own;
	return a->record.time_ns > b->record.time_ns;
}

struct leaktrace_verdict lt_verdict_of(const struct lt_dump *dump, uint32_t local)
{
	struct lt_found_verdict best = {.own = true};
	bool merged = dump->header.flags & LEAKTRACE_HEADER_MERGED;

	LT_DUMP_EACH(dump, LEAKTRACE_CHUNK_VERDICTS, chunk) {
		for (uint64_t i = 0; chunk->data && i < chunk->count; i++) {
			struct lt_found_verdict found = {.own = true};

			lt_chunk_record(chunk, i, &found.record, sizeof found.record);
			found.record.time_ns = lt_dump_time(found.record.time_ns);
			if ((!merged || found.record.process == local) && lt_verdict_better(&found, &best))
				best = found;
		}
	}
	return best.record;
}

static int64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static bool at_work(const struct leaktrace_verdict *verdict, const struct leaktrace_key *process)
{
	const struct leaktrace_key key = {.machine = process->machine, .pid = verdict->classifier_pid,
					  .start = verdict->classifier_start};

	if (verdict->state != LEAKTRACE_VERDICT_RUNNING || !process->machine || process->machine != lt_lineage_machine())
		return false;
	if (!verdict->classifier_pid)
		return clock_ns(CLOCK_REALTIME) - verdict->time_ns < UNNAMED_SECONDS * INT64_C(1000000000);
	return lt_lineage_runs(&key);
}

/* True if it is at work still. */
static bool look_again(const char *path, struct lt_found_verdict *verdict, const struct leaktrace_key *process)
{
	struct lt_notes notes = {0};
	struct lt_dump *dump;
	bool alive = at_work(&verdict->record, process);

	if (verdict->record.state != LEAKTRACE_VERDICT_RUNNING)
		return false;
	/* Looked at after its life: what a classifier that is dead has left is final. */
	if (lt_dump_read(path, LT_PART(LEAKTRACE_CHUNK_VERDICTS), &notes, &dump) == 0) {
		if (!(dump->header.flags & LEAKTRACE_HEADER_MERGED))
			verdict->record = lt_verdict_of(dump, 0);
		lt_dump_free(dump);
	}
	lt_notes_free(&notes);
	return alive && verdict->record.state == LEAKTRACE_VERDICT_RUNNING;
}

void lt_verdict_catch_up(const struct lt_merge *merge, struct lt_process *process, const char *path)
{
	int64_t begin = clock_ns(CLOCK_MONOTONIC);

	if (process->record.end_kind != LEAKTRACE_END_NONE || process->alone || process->record.key.machine != lt_lineage_machine())
		return;
	for (bool alive = true;;) {
		struct lt_notes notes = {0};
		struct leaktrace_verdict verdict = {0};
		struct lt_dump *dump;
		bool ended = false;

		if (lt_dump_read(path, LT_PART(LEAKTRACE_CHUNK_VERDICTS), &notes, &dump) == 0) {
			ended = !(dump->header.flags & LEAKTRACE_HEADER_MERGED) && dump->header.process.end_kind != LEAKTRACE_END_NONE;
			if (ended)
				verdict = lt_verdict_of(dump, 0);
			lt_dump_free(dump);
		}
		lt_notes_free(&notes);
		if (!ended || !verdict.state)
			return;
		if (verdict.state != LEAKTRACE_VERDICT_RUNNING || !alive ||
		    clock_ns(CLOCK_MONOTONIC) - begin >= merge->wait_seconds * INT64_C(1000000000)) {
			if (verdict.state == LEAKTRACE_VERDICT_DONE || process->verdict.state != LEAKTRACE_VERDICT_DONE) {
				process->verdict = verdict;
				process->snapshot = NULL;
			}
			return;
		}
		alive = at_work(&verdict, &process->record.key);
		nanosleep(&(struct timespec){.tv_nsec = POLL_NS}, NULL);
	}
}

void lt_verdicts_wait(struct lt_merge *merge, unsigned seconds)
{
	int64_t begin = clock_ns(CLOCK_MONOTONIC);
	bool told = false;

	merge->wait_seconds = seconds;
	for (;;) {
		unsigned waiting = 0;
		int64_t now = clock_ns(CLOCK_MONOTONIC);

		for (size_t i = 0; i < merge->candidate_count; i++)
			waiting += look_again(merge->sources[merge->candidates[i].source].path, &merge->candidates[i].verdict,
					      &merge->candidates[i].record.key);
		for (size_t i = 0; i < merge->snapshot_count; i++)
			waiting += look_again(merge->snapshots[i].path, &merge->snapshots[i].verdict, &merge->snapshots[i].key);
		if (!waiting || now - begin >= (int64_t)seconds * 1000000000)
			return;
		if (!told && now - begin > SILENT_NS) {
			fprintf(stderr, "leaktrace: waiting for %u classifier%s still at work\n", waiting, waiting == 1 ? "" : "s");
			told = true;
		}
		nanosleep(&(struct timespec){.tv_nsec = POLL_NS}, NULL);
	}
}
