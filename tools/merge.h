/* SPDX-License-Identifier: MIT
 *
 * Many dumps into one set of processes, strings, modules and stacks; what hangs on them streams through a sink.
 *
 *   dump files --identity--> processes --load, one file at a time--> interned records --> sink (report's model, or a file)
 *
 * A first pass reads only who is in which file: a process that was given twice is taken once, and processes get their
 * numbers in an order that is theirs (start, machine, PID, image), not that of the inputs. Only one dump is in memory at a
 * time.
 */
#ifndef LT_MERGE_H
#define LT_MERGE_H

#include <leaktrace/dump-format.h>
#include <stdbool.h>
#include <stdint.h>

#include "intern.h"
#include "notes.h"
#include "verdicts.h"

#define LT_PROCESS_ID_SIZE 64
#define LT_NO_PROCESS UINT32_MAX

/* How a process ended, as found out from all sources; names are those of the report. */
enum lt_end { LT_END_UNKNOWN, LT_END_EXIT, LT_END__EXIT, LT_END_SIGNAL, LT_END_EXEC, LT_END_RUNNING, LT_END_COUNT };
extern const char *const lt_end_names[LT_END_COUNT];

struct lt_process {
	struct leaktrace_process record; /* its strings are numbers of the intern table */
	char id[LT_PROCESS_ID_SIZE];
	uint32_t source, local; /* which file holds it, and where */
	bool loaded;
	bool partial; /* its dump is damaged */
	uint64_t allocations, allocated_bytes, frees, freed_bytes; /* sums over its sites */
	uint64_t sampled; /* allocations recorded, if it is SAMPLED */
	struct lt_spread spread; /* of what is live */
	uint64_t lost_stacks;
	/* Found out by lt_lineage_resolve(). */
	uint32_t parent, forked_from; /* LT_NO_PROCESS: none here */
	enum lt_end end;
	bool has_code;
	int end_code;
	int64_t end_ns; /* 0: unknown */
	/* The verdict that counts; its strings are numbers of the intern table when `loaded`. state 0: none. */
	struct leaktrace_verdict verdict;
	const char *snapshot; /* the file that the verdict is in; NULL: the dump */
	bool alone; /* the process as it was at the snapshot, which was asked for by name */
};

/* All that was live at its end, or at the snapshot, has a kind; also where nothing was. */
static inline bool lt_process_classified(const struct lt_process *process)
{
	return process->verdict.state == LEAKTRACE_VERDICT_DONE ||
	       (process->end != LT_END_RUNNING && process->end != LT_END_UNKNOWN && process->allocations == process->frees);
}

/* The verdict's blocks stand for the process's own list, which is not there, or was written a little earlier: other threads may have
 * run on in between. */
static inline bool lt_process_by_verdict(const struct lt_process *process)
{
	const struct leaktrace_process *record = &process->record;
	bool listed = record->flags & LEAKTRACE_PROCESS_BLOCKS_FINAL && record->blocks_generation;

	return process->verdict.state == LEAKTRACE_VERDICT_DONE &&
	       (!listed || (process->verdict.trigger == LEAKTRACE_TRIGGER_END && process->verdict.dropped_blocks <= record->dropped_blocks));
}

/* Live blocks that could not be listed. */
static inline uint64_t lt_process_unlisted(const struct lt_process *process)
{
	return lt_process_by_verdict(process) ? process->verdict.dropped_blocks : process->record.dropped_blocks;
}

/* A process record somewhere in the inputs. */
struct lt_candidate {
	struct leaktrace_process record;
	uint32_t source, local;
	struct lt_found_verdict verdict;
};

/* A snapshot file. */
struct lt_snapshot {
	char *path;
	struct leaktrace_key key; /* whose */
	struct lt_found_verdict verdict;
	bool alone;
};

/* Someone's child ended. */
struct lt_child_end {
	uint32_t process; /* whose child */
	uint32_t pid;
	int64_t time_ns, status;
};

/* Recording was switched. */
struct lt_switch {
	uint32_t process;
	bool on;
	int64_t time_ns;
};

/* A problem that the tracer noted in the dump. */
struct lt_tracer_note {
	uint32_t process, text;
};

/* Takes what is loaded. Records come with global numbers in place of the file's: native, r, text (a string), process. */
struct lt_sink {
	void *data;
	/* `split`: what is known of its live blocks' kinds; NULL: nothing. */
	void (*site)(void *data, const struct leaktrace_site *site, const struct lt_split *split);
	void (*inherited)(void *data, const struct leaktrace_inherited *inherited);
	void (*block)(void *data, const struct leaktrace_block *block);
	void (*event)(void *data, const struct leaktrace_event *event);
	void (*end)(void *data); /* of one file */
};

struct lt_merge {
	struct lt_intern *intern;
	struct lt_notes *notes;
	struct lt_process *processes; /* in intrinsic order */
	uint32_t process_count;
	struct lt_child_end *child_ends;
	size_t child_end_count, child_end_room;
	struct lt_tracer_note *tracer_notes;
	size_t tracer_note_count, tracer_note_room;
	struct lt_switch *switches;
	size_t switch_count, switch_room;
	struct lt_source *sources;
	uint32_t source_count;
	size_t source_room;
	struct lt_candidate *candidates; /* until lt_merge_select() */
	size_t candidate_count, candidate_room;
	struct lt_snapshot *snapshots;
	size_t snapshot_count, snapshot_room;
	unsigned unreadable; /* files */
	unsigned wait_seconds; /* for classifiers that are still at work */
};

struct lt_merge *lt_merge_new(struct lt_notes *notes);
void lt_merge_free(struct lt_merge *merge);

/* Notes who is in the file; -errno if it cannot be read (with a note). */
int lt_merge_add(struct lt_merge *merge, const char *path);

/* A snapshot file that was asked for by name: its process is shown as it was then. */
int lt_merge_add_alone(struct lt_merge *merge, const char *path);

/* All files are added: decide on the processes. */
void lt_merge_select(struct lt_merge *merge);

/* Reads all files once, calling `sink`. `parts` as for lt_dump_read. Returns the number of files that could be read. */
unsigned lt_merge_load(struct lt_merge *merge, unsigned parts, const struct lt_sink *sink);

int lt_key_compare(const struct leaktrace_key *a, const struct leaktrace_key *b);
bool lt_key_none(const struct leaktrace_key *key);

#endif
