/* SPDX-License-Identifier: MIT
 *
 * Per process: the verdict's blocks, sorted by address. The list of blocks at the process's end is newer than a verdict that came
 * before: a block counts with the verdict's kind if it is in both; one that was born since has none. A process that was killed has
 * no such list, and then the verdict's blocks stand for it; likewise where the list lacks blocks that the verdict on the end has.
 * Sums per (process, site) in a hash table; a block of a sampled process counts with its weight.
 */
#include "kinds.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "xalloc.h"

struct judged {
	struct leaktrace_block *blocks; /* sorted */
	size_t count, room;
	bool replaces; /* the dump's list */
};

struct entry {
	uint64_t key; /* process << 32 | site */
	struct lt_split split;
	UT_hash_handle hh;
};

struct lt_kinds {
	bool merged;
	const struct lt_fold *fold;
	size_t process_count;
	struct judged *judged;
	struct entry *sums;
};

static int by_address(const void *a, const void *b)
{
	const struct leaktrace_block *x = a, *y = b;

	return x->address < y->address ? -1 : x->address > y->address;
}

static void add_block(struct lt_split *split, unsigned part, uint64_t size, uint64_t sample_bytes)
{
	struct lt_estimate sum;

	if (sample_bytes && !split->spreads)
		split->spreads = lt_xcalloc(LT_SPLIT_PARTS, sizeof *split->spreads);
	sum = lt_split_part(split, part);
	lt_estimate_add_block(&sum, size, sample_bytes);
	split->sums[part].bytes = sum.bytes;
	split->sums[part].blocks = sum.blocks;
	if (split->spreads)
		split->spreads[part] = sum.spread;
}

static void count(struct lt_kinds *kinds, uint32_t local, uint32_t site, uint64_t size, uint32_t flags, uint64_t sample_bytes)
{
	uint64_t key = (uint64_t)local << 32 | lt_fold_site(kinds->fold, site);
	enum lt_kind kind = lt_verdict_kind(flags);
	struct entry *entry;

	if (kind == LT_KIND_UNKNOWN && !sample_bytes)
		return;
	HASH_FIND(hh, kinds->sums, &key, sizeof key, entry);
	if (!entry) {
		entry = lt_xcalloc(1, sizeof *entry);
		entry->key = key;
		HASH_ADD(hh, kinds->sums, key, sizeof entry->key, entry);
	}
	add_block(&entry->split, kind, size, sample_bytes);
	if (flags & LEAKTRACE_BLOCK_R_GARBAGE)
		add_block(&entry->split, LT_SPLIT_GARBAGE, size, sample_bytes);
}

static void read_blocks(struct judged *judged, struct lt_dump *dump, uint32_t generation)
{
	LT_DUMP_EACH(dump, LEAKTRACE_CHUNK_BLOCKS, chunk) {
		for (uint64_t i = 0; chunk->data && chunk->generation == generation && i < chunk->count; i++) {
			LT_GROW(judged->blocks, judged->count, judged->room);
			lt_chunk_record(chunk, i, &judged->blocks[judged->count++], sizeof *judged->blocks);
		}
	}
	if (judged->count)
		qsort(judged->blocks, judged->count, sizeof *judged->blocks, by_address);
}

static uint32_t intern(struct lt_merge *merge, const struct lt_dump *dump, uint32_t reference)
{
	const char *bytes;
	uint32_t length;
	size_t slot;

	return reference && lt_dump_string(dump, reference, &bytes, &length, &slot) ?
	       lt_intern_string(merge->intern, bytes, length) : 0;
}

/* Of a dump of one image. */
static void read_verdict(struct lt_kinds *kinds, struct lt_merge *merge, struct lt_process *process, struct lt_dump *dump)
{
	struct judged *judged = &kinds->judged[0];
	struct lt_dump *snapshot = NULL;

	if (process->snapshot &&
	    lt_dump_read(process->snapshot, LT_PART(LEAKTRACE_CHUNK_BLOCKS) | LT_PART(LEAKTRACE_CHUNK_STRINGS), merge->notes, &snapshot)) {
		memset(&process->verdict, 0, sizeof process->verdict);
		return;
	}
	process->verdict.note = intern(merge, snapshot ? snapshot : dump, process->verdict.note);
	process->verdict.label = intern(merge, snapshot ? snapshot : dump, process->verdict.label);
	if (process->verdict.state == LEAKTRACE_VERDICT_DONE) {
		read_blocks(judged, snapshot ? snapshot : dump, process->verdict.generation);
		judged->replaces = process->alone || lt_process_by_verdict(process);
		for (size_t i = 0; judged->replaces && i < judged->count; i++)
			count(kinds, 0, judged->blocks[i].site, judged->blocks[i].size, judged->blocks[i].flags,
			      lt_sample_bytes(&process->record));
	}
	lt_dump_free(snapshot);
}

/* The list of the dump: with the verdict's kinds, or its own in a merged file. */
static void count_list(struct lt_kinds *kinds, struct lt_merge *merge, const struct lt_source *source, struct lt_dump *dump)
{
	LT_DUMP_EACH(dump, LEAKTRACE_CHUNK_BLOCKS, chunk) {
		if (!lt_dump_load(dump, chunk, merge->notes))
			continue;
		for (uint64_t i = 0; i < chunk->count; i++) {
			struct leaktrace_block block;
			uint32_t local, number;

			lt_chunk_record(chunk, i, &block, sizeof block);
			local = kinds->merged ? block.process : 0;
			number = local < source->process_count ? source->processes[local] : LT_NO_PROCESS;
			if (number == LT_NO_PROCESS || merge->processes[number].record.blocks_generation != chunk->generation)
				continue;
			count(kinds, local, block.site, block.size, lt_kinds_flags(kinds, local, &block),
			      lt_sample_bytes(&merge->processes[number].record));
		}
		lt_dump_unload(dump, chunk);
	}
}

struct lt_kinds *lt_kinds_new(struct lt_merge *merge, const struct lt_source *source, struct lt_dump *dump, const struct lt_fold *fold)
{
	struct lt_kinds *kinds;
	bool any = false;

	for (size_t i = 0; i < source->process_count; i++)
		any |= source->processes[i] != LT_NO_PROCESS && (merge->processes[source->processes[i]].verdict.state ||
			lt_sample_bytes(&merge->processes[source->processes[i]].record));
	if (!any)
		return NULL;
	kinds = lt_xcalloc(1, sizeof *kinds);
	kinds->merged = dump->header.flags & LEAKTRACE_HEADER_MERGED;
	kinds->fold = fold;
	kinds->process_count = source->process_count;
	kinds->judged = lt_xcalloc(source->process_count, sizeof *kinds->judged);
	for (size_t i = 0; i < source->process_count; i++) {
		struct lt_process *process;

		if (source->processes[i] == LT_NO_PROCESS)
			continue;
		process = &merge->processes[source->processes[i]];
		if (!kinds->merged) {
			read_verdict(kinds, merge, process, dump);
		} else {
			process->verdict.note = intern(merge, dump, process->verdict.note);
			process->verdict.label = intern(merge, dump, process->verdict.label);
		}
	}
	if (kinds->merged || !kinds->judged[0].replaces)
		count_list(kinds, merge, source, dump);
	return kinds;
}

void lt_kinds_free(struct lt_kinds *kinds)
{
	struct entry *entry, *next;

	if (!kinds)
		return;
	HASH_ITER(hh, kinds->sums, entry, next) {
		HASH_DELETE(hh, kinds->sums, entry);
		free(entry->split.spreads);
		free(entry);
	}
	for (size_t i = 0; i < kinds->process_count; i++)
		free(kinds->judged[i].blocks);
	free(kinds->judged);
	free(kinds);
}

const struct lt_split *lt_kinds_split(const struct lt_kinds *kinds, uint32_t local, uint32_t site)
{
	uint64_t key = (uint64_t)local << 32 | site;
	struct entry *entry = NULL;

	if (kinds)
		HASH_FIND(hh, kinds->sums, &key, sizeof key, entry);
	return entry ? &entry->split : NULL;
}

uint32_t lt_kinds_flags(const struct lt_kinds *kinds, uint32_t local, const struct leaktrace_block *block)
{
	const struct judged *judged;
	const struct leaktrace_block *found;

	if (!kinds || kinds->merged)
		return kinds ? block->flags : 0;
	judged = &kinds->judged[local];
	found = judged->count ? bsearch(block, judged->blocks, judged->count, sizeof *judged->blocks, by_address) : NULL;
	return found && found->site == block->site && found->task == block->task ? found->flags : 0;
}

const struct leaktrace_block *lt_kinds_blocks(const struct lt_kinds *kinds, uint32_t local, size_t *count)
{
	if (!kinds || kinds->merged || !kinds->judged[local].replaces)
		return NULL;
	*count = kinds->judged[local].count;
	return kinds->judged[local].blocks;
}
