/* SPDX-License-Identifier: MIT
 *
 * First pass of merging: the processes of all files, each once, in an order of their own.
 */
#include "merge.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "merge-internal.h"
#include "reader.h"
#include "xalloc.h"

const char *const lt_end_names[LT_END_COUNT] = {"unknown", "exit", "_exit", "signal", "exec", "running"};

struct lt_merge *lt_merge_new(struct lt_notes *notes)
{
	struct lt_merge *merge = lt_xcalloc(1, sizeof *merge);

	merge->intern = lt_intern_new();
	merge->notes = notes;
	return merge;
}

void lt_merge_free(struct lt_merge *merge)
{
	if (!merge)
		return;
	for (uint32_t i = 0; i < merge->source_count; i++) {
		free(merge->sources[i].path);
		free(merge->sources[i].processes);
	}
	free(merge->sources);
	for (size_t i = 0; i < merge->snapshot_count; i++)
		free(merge->snapshots[i].path);
	free(merge->snapshots);
	free(merge->candidates);
	free(merge->processes);
	free(merge->child_ends);
	free(merge->tracer_notes);
	free(merge->switches);
	lt_intern_free(merge->intern);
	free(merge);
}

int lt_key_compare(const struct leaktrace_key *a, const struct leaktrace_key *b)
{
	if (a->machine != b->machine)
		return a->machine < b->machine ? -1 : 1;
	if (a->pid != b->pid)
		return a->pid < b->pid ? -1 : 1;
	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;
	return a->image < b->image ? -1 : a->image > b->image;
}

bool lt_key_none(const struct leaktrace_key *key)
{
	return !key->machine && !key->start && !key->pid && !key->image;
}

static void add_snapshot(struct lt_merge *merge, const struct lt_dump *dump, bool alone)
{
	LT_GROW(merge->snapshots, merge->snapshot_count, merge->snapshot_room);
	merge->snapshots[merge->snapshot_count++] = (struct lt_snapshot){
		.path = lt_xstrdup(dump->path), .key = dump->header.process.key, .alone = alone,
		.verdict = {.record = lt_verdict_of(dump, 0)}};
}

static int add_file(struct lt_merge *merge, const char *path, bool alone)
{
	struct lt_source source = {0};
	/* What is damaged is told when all of the file is read; now only why that cannot be. */
	struct lt_notes notes = {0};
	struct lt_dump *dump;
	unsigned added = 0;
	int error = lt_dump_read(path, LT_PARTS_IDENTITY | LT_PART(LEAKTRACE_CHUNK_VERDICTS), &notes, &dump);

	if (error)
		goto failed;
	if (dump->header.flags & LEAKTRACE_HEADER_SNAPSHOT) {
		add_snapshot(merge, dump, alone);
		lt_dump_free(dump);
		lt_notes_free(&notes);
		return 0;
	}
	source.path = lt_xstrdup(path);
	source.process_count = lt_dump_process_count(dump);
	source.processes = lt_xcalloc(source.process_count, sizeof *source.processes);
	for (size_t i = 0; i < source.process_count; i++) {
		struct lt_candidate candidate = {.source = merge->source_count, .local = (uint32_t)i};

		source.processes[i] = LT_NO_PROCESS;
		if (!lt_dump_process(dump, i, &candidate.record))
			continue;
		if (lt_key_none(&candidate.record.key)) {
			/* A merged file may hold empty records: processes that could not be read when it was made. */
			if (source.process_count == 1)
				lt_note(&notes, path, "has no process in it: its header is damaged or was never completed");
			continue;
		}
		candidate.verdict = (struct lt_found_verdict){.record = lt_verdict_of(dump, (uint32_t)i), .own = true};
		LT_GROW(merge->candidates, merge->candidate_count, merge->candidate_room);
		merge->candidates[merge->candidate_count++] = candidate;
		added++;
	}
	lt_dump_free(dump);
	if (!added) {
		if (source.process_count != 1)
			lt_note(&notes, path, "holds no process");
		free(source.path);
		free(source.processes);
		error = -EBADMSG;
		goto failed;
	}
	LT_GROW(merge->sources, merge->source_count, merge->source_room);
	merge->sources[merge->source_count++] = source;
	lt_notes_free(&notes);
	return 0;
failed:
	lt_notes_move(merge->notes, &notes);
	merge->unreadable++;
	return error;
}

int lt_merge_add(struct lt_merge *merge, const char *path)
{
	return add_file(merge, path, false);
}

int lt_merge_add_alone(struct lt_merge *merge, const char *path)
{
	return add_file(merge, path, true);
}

#define ORDER(a, b)                                                                                     \
	do {                                                                                            \
		if ((a) != (b))                                                                         \
			return (a) < (b) ? -1 : 1;                                                      \
	} while (0)

/* Which of two records of one process knows more: the better one comes first. Only what survives a merge is compared, so
 * that the choice is the same whichever way the files were merged before. */
static int compare_completeness(const struct leaktrace_process *a, const struct leaktrace_process *b)
{
	ORDER(b->end_kind != LEAKTRACE_END_NONE, a->end_kind != LEAKTRACE_END_NONE);
	ORDER(b->flags & LEAKTRACE_PROCESS_BLOCKS_FINAL, a->flags & LEAKTRACE_PROCESS_BLOCKS_FINAL);
	ORDER(b->end_ns, a->end_ns);
	ORDER(b->tasks, a->tasks);
	ORDER(b->peak_seq, a->peak_seq);
	ORDER(b->inherited_freed_blocks, a->inherited_freed_blocks);
	ORDER(b->unknown_frees, a->unknown_frees);
	ORDER(b->blocks_generation != 0, a->blocks_generation != 0);
	ORDER(b->live_blocks, a->live_blocks);
	ORDER(b->live_bytes, a->live_bytes);
	ORDER(b->max_rss, a->max_rss);
	return 0;
}

static int compare_verdicts(const struct lt_found_verdict *a, const struct lt_found_verdict *b)
{
	return lt_verdict_better(a, b) ? -1 : lt_verdict_better(b, a);
}

/* The time of a start may be the same for two processes, or be damaged; the key is unique. */
static int compare_candidates(const void *a, const void *b)
{
	const struct lt_candidate *x = a, *y = b;
	int order = lt_key_compare(&x->record.key, &y->record.key);

	if (!order)
		order = compare_completeness(&x->record, &y->record);
	if (!order)
		order = compare_verdicts(&x->verdict, &y->verdict);
	if (order)
		return order;
	ORDER(x->source, y->source);
	ORDER(x->local, y->local);
	return 0;
}

static int compare_processes(const void *a, const void *b)
{
	const struct lt_process *x = a, *y = b;

	ORDER(x->record.start_ns, y->record.start_ns);
	return lt_key_compare(&x->record.key, &y->record.key);
}

static void make_id(struct lt_process *process)
{
	const struct leaktrace_key *key = &process->record.key;

	snprintf(process->id, sizeof process->id, "%08" PRIx32 ".%" PRIu32 ".%" PRIu64 ".%" PRIu32, (uint32_t)key->machine,
		 key->pid, key->start, key->image);
}

/* The snapshots' verdicts to their processes, where they say more than the dump's own. */
static void attach_snapshots(struct lt_merge *merge)
{
	for (size_t i = 0; i < merge->snapshot_count; i++) {
		const struct lt_snapshot *snapshot = &merge->snapshots[i];

		for (uint32_t p = 0; p < merge->process_count; p++) {
			struct lt_process *process = &merge->processes[p];
			const struct lt_found_verdict known = {.record = process->verdict, .own = !process->snapshot};

			if (lt_key_compare(&process->record.key, &snapshot->key))
				continue;
			if (snapshot->alone || (!process->alone && lt_verdict_better(&snapshot->verdict, &known))) {
				process->verdict = snapshot->verdict.record;
				process->snapshot = snapshot->path;
				process->alone = snapshot->alone;
			}
			break;
		}
	}
}

void lt_merge_select(struct lt_merge *merge)
{
	const struct lt_candidate *candidates = merge->candidates;

	if (merge->candidate_count)
		qsort(merge->candidates, merge->candidate_count, sizeof *candidates, compare_candidates);
	merge->processes = lt_xcalloc(merge->candidate_count, sizeof *merge->processes);
	for (size_t i = 0; i < merge->candidate_count; i++) {
		struct lt_process *process;

		if (i && lt_key_compare(&candidates[i - 1].record.key, &candidates[i].record.key) == 0) {
			const struct lt_process *kept = &merge->processes[merge->process_count - 1];

			lt_note(merge->notes, "the same process was given twice", "%s is taken from %s, not from %s", kept->id,
				merge->sources[kept->source].path, merge->sources[candidates[i].source].path);
			continue;
		}
		process = &merge->processes[merge->process_count++];
		process->record = candidates[i].record;
		process->source = candidates[i].source;
		process->local = candidates[i].local;
		process->verdict = candidates[i].verdict.record;
		process->parent = process->forked_from = LT_NO_PROCESS;
		make_id(process);
	}
	free(merge->candidates);
	merge->candidates = NULL;
	if (merge->process_count)
		qsort(merge->processes, merge->process_count, sizeof *merge->processes, compare_processes);
	attach_snapshots(merge);
	for (uint32_t i = 0; i < merge->process_count; i++) {
		struct lt_source *source = &merge->sources[merge->processes[i].source];

		source->processes[merge->processes[i].local] = i;
		source->wanted++;
		if (source->wanted == 1)
			source->rank = i;
	}
}
