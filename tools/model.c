/* SPDX-License-Identifier: MIT
 *
 * The model's sink: sites into sums and pairs, blocks and inherited blocks onto sites.
 *
 * Blocks and inherited blocks name a site by its id in one process. The ids of a file's sites are kept while the file is
 * loaded; with --inherited those of processes that forked are kept to the end, for children may come before parents.
 */
#include "model.h"

#include <string.h>

#include "rank.h"
#include "reader.h"
#include "xalloc.h"

struct site_id {
	uint32_t process, id, site;
};

struct ids {
	struct site_id *entries;
	size_t count, room;
	bool sorted;
};

struct waiting {
	struct leaktrace_inherited record;
};

struct lt_model_ids {
	struct ids file, kept;
	struct waiting *inherited;
	size_t inherited_count, inherited_room;
};

static int by_id(const void *a, const void *b)
{
	const struct site_id *x = a, *y = b;

	if (x->process != y->process)
		return x->process < y->process ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

static void ids_add(struct ids *ids, struct site_id entry)
{
	if (ids->count && ids->sorted && by_id(&ids->entries[ids->count - 1], &entry) > 0)
		ids->sorted = false;
	if (!ids->count)
		ids->sorted = true;
	LT_GROW(ids->entries, ids->count, ids->room);
	ids->entries[ids->count++] = entry;
}

static uint32_t ids_find(struct ids *ids, uint32_t process, uint32_t id)
{
	struct site_id wanted = {process, id, 0}, *found;

	if (!ids->count)
		return 0;
	if (!ids->sorted) {
		qsort(ids->entries, ids->count, sizeof *ids->entries, by_id);
		ids->sorted = true;
	}
	found = bsearch(&wanted, ids->entries, ids->count, sizeof *ids->entries, by_id);
	return found ? found->site : 0;
}

static uint32_t intern_site(struct lt_model *model, const struct leaktrace_site *record)
{
	uint32_t r_heap = record->flags & LEAKTRACE_SITE_R_HEAP;
	uint32_t hash = lt_hash_mix((uint64_t)record->native << 1 | r_heap, record->r), cursor = hash, id;
	struct lt_site *site;

	while ((id = lt_index_next(&model->site_index, hash, &cursor))) {
		site = &model->sites[id];
		if (site->native == record->native && site->r == record->r && (site->flags & LEAKTRACE_SITE_R_HEAP) == r_heap) {
			site->flags |= record->flags;
			return id;
		}
	}
	LT_GROW(model->sites, model->site_count, model->site_room);
	id = model->site_count++;
	site = &model->sites[id];
	memset(site, 0, sizeof *site);
	site->native = record->native;
	site->r = record->r;
	site->flags = record->flags;
	site->last_process = LT_NO_PROCESS;
	lt_index_add(&model->site_index, hash, id);
	return id;
}

static void add_pair(struct lt_model *model, uint32_t site, uint32_t process, enum lt_kind kind,
		     const struct lt_estimate *estimate)
{
	struct lt_pair pair = {.bytes = estimate->bytes, .blocks = estimate->blocks, .site = site, .process = process & 0xfffffff,
			       .kind = kind};

	if (!lt_spread_none(&estimate->spread)) {
		LT_GROW(model->spreads, model->spread_count, model->spread_room);
		pair.spread = (uint32_t)model->spread_count;
		model->spreads[model->spread_count++] = estimate->spread;
	}
	LT_GROW(model->pairs, model->pair_count, model->pair_room);
	model->pairs[model->pair_count++] = pair;
}

/* Of a block that came after the verdict. R never loses what its own allocator took. */
static enum lt_kind late_kind(const struct lt_model *model, uint32_t process, uint32_t site_flags)
{
	bool judged = model->merge->processes[process].verdict.state == LEAKTRACE_VERDICT_DONE;

	return judged && site_flags & LEAKTRACE_SITE_R_HEAP ? LT_KIND_REACHABLE : LT_KIND_UNKNOWN;
}

/* How many recorded blocks stand for what has no kind: known if all of them are listed, or if each stands for itself. */
static void count_recorded(const struct lt_split *split, struct lt_estimate *live)
{
	struct lt_estimate listed = {0};

	if (split)
		listed = lt_split_part(split, LT_KIND_UNKNOWN);
	live->spread.unlisted = live->spread.blocks && (listed.blocks != live->blocks || listed.bytes != live->bytes);
	live->spread.sampled = live->spread.unlisted ? 0 : live->spread.blocks ? listed.spread.sampled : live->blocks;
}

/* What a process holds of a site, by kind: as the verdict has it, but never more than is live. The remainder came after the
 * verdict. Of what is gone since, nobody knows; what nothing pointed to was not freed, so that is taken from the other end. */
static void add_kinds(struct lt_model *model, uint32_t site, uint32_t process, struct lt_estimate live,
		      const struct lt_split *split)
{
	static const enum lt_kind order[] = {LT_KIND_DEFINITE, LT_KIND_INDIRECT, LT_KIND_POSSIBLE, LT_KIND_REACHABLE};

	for (size_t i = 0; split && i < sizeof order / sizeof *order; i++) {
		const struct lt_estimate judged = lt_split_part(split, order[i]);
		struct lt_estimate part = judged;

		part.bytes = part.bytes < live.bytes ? part.bytes : live.bytes;
		part.blocks = part.blocks < live.blocks ? part.blocks : live.blocks;
		part.spread = lt_spread_share(&judged.spread, part.blocks, judged.blocks);
		if (part.bytes || part.blocks)
			add_pair(model, site, process, order[i], &part);
		live.bytes -= part.bytes;
		live.blocks -= part.blocks;
		lt_spread_subtract(&live.spread, &part.spread);
	}
	if (!live.bytes && !live.blocks)
		return;
	if (live.spread.unlisted || live.spread.sampled)
		count_recorded(split, &live);
	add_pair(model, site, process, late_kind(model, process, model->sites[site].flags), &live);
}

static void take_site(void *data, const struct leaktrace_site *record, const struct lt_split *split)
{
	struct lt_model *model = data;
	const struct leaktrace_process *process = &model->merge->processes[record->process].record;
	struct lt_estimate live = lt_estimate_site(record, lt_sample_bytes(process));
	bool ids = model->want_blocks || model->want_inherited;
	struct lt_site *site;
	uint32_t number;

	/* Sites of a process that is not selected matter only as ancestors'. */
	if (!lt_model_selected(model, record->process) && !model->want_inherited)
		return;
	number = intern_site(model, record);
	if (ids)
		ids_add(model->want_inherited ? &model->ids->kept : &model->ids->file,
			(struct site_id){record->process, record->id, number});
	if (!lt_model_selected(model, record->process))
		return;
	site = &model->sites[number];
	site->allocations = lt_add(site->allocations, record->allocations);
	site->allocated_bytes = lt_add(site->allocated_bytes, record->allocated_bytes);
	site->frees = lt_add(site->frees, record->frees);
	site->temporary = lt_add(site->temporary, record->temporary);
	if (lt_sample_bytes(process))
		site->sampled = lt_add(site->sampled, record->sampled);
	site->startup.blocks = lt_add(site->startup.blocks, record->startup_blocks);
	site->startup.bytes = lt_add(site->startup.bytes, record->startup_bytes);
	if (record->peak_seen == process->peak_seq) {
		site->peak.blocks = lt_add(site->peak.blocks, record->peak_blocks);
		site->peak.bytes = lt_add(site->peak.bytes, record->peak_bytes);
	} else {
		site->peak.blocks = lt_add(site->peak.blocks, live.blocks);
		site->peak.bytes = lt_add(site->peak.bytes, live.bytes);
	}
	lt_growth_add(&site->growth, record, process, site->last_process == record->process);
	site->last_process = record->process;
	if (model->merge->processes[record->process].alone)
		live = lt_split_whole(split);
	if (split) {
		const struct lt_estimate garbage = lt_split_part(split, LT_SPLIT_GARBAGE);

		site->r_garbage.blocks = lt_add(site->r_garbage.blocks, garbage.blocks);
		site->r_garbage.bytes = lt_add(site->r_garbage.bytes, garbage.bytes);
		lt_estimate_add(&model->r_garbage, &garbage);
	}
	add_kinds(model, number, record->process, live, split);
}

static void take_inherited(void *data, const struct leaktrace_inherited *record)
{
	struct lt_model *model = data;

	if (!lt_model_selected(model, record->process))
		return;
	LT_GROW(model->ids->inherited, model->ids->inherited_count, model->ids->inherited_room);
	model->ids->inherited[model->ids->inherited_count++].record = *record;
}

static void take_block(void *data, const struct leaktrace_block *block)
{
	struct lt_model *model = data;
	uint32_t site;

	if (!lt_model_selected(model, block->process))
		return;
	site = ids_find(model->want_inherited ? &model->ids->kept : &model->ids->file, block->process, block->site);
	if (!site)
		return; /* counted as not listed */
	LT_GROW(model->blocks, model->block_count, model->block_room);
	model->blocks[model->block_count++] = (struct lt_live_block){
		.address = block->address, .size = block->size, .site = site, .process = block->process, .task = block->task,
		.kind = lt_verdict_kind(block->flags)};
	if (model->blocks[model->block_count - 1].kind == LT_KIND_UNKNOWN)
		model->blocks[model->block_count - 1].kind = late_kind(model, block->process, model->sites[site].flags);
	model->listed[block->process] += lt_block_weight(model, &model->blocks[model->block_count - 1]);
}

static void take_end(void *data)
{
	struct lt_model *model = data;

	model->ids->file.count = 0;
}

struct lt_sink lt_model_sink(struct lt_model *model)
{
	return (struct lt_sink){
		.data = model,
		.site = take_site,
		.inherited = model->want_inherited ? take_inherited : NULL,
		.block = model->want_blocks ? take_block : NULL,
		.end = take_end,
	};
}

unsigned lt_model_parts(const struct lt_model *model)
{
	return LT_PARTS_STACKS | LT_PART(LEAKTRACE_CHUNK_SITES) | LT_PART(LEAKTRACE_CHUNK_EVENTS) |
	       (model->want_blocks ? LT_PART(LEAKTRACE_CHUNK_BLOCKS) : 0) |
	       (model->want_inherited ? LT_PART(LEAKTRACE_CHUNK_INHERITED) : 0);
}

struct lt_model *lt_model_new(struct lt_merge *merge, bool want_blocks, bool want_inherited)
{
	struct lt_model *model = lt_xcalloc(1, sizeof *model);

	model->merge = merge;
	model->want_blocks = want_blocks;
	model->want_inherited = want_inherited;
	model->ids = lt_xcalloc(1, sizeof *model->ids);
	model->listed = lt_xcalloc(merge->process_count, sizeof *model->listed);
	LT_GROW(model->sites, model->site_count, model->site_room);
	memset(&model->sites[0], 0, sizeof *model->sites);
	model->site_count = 1;
	LT_GROW(model->spreads, model->spread_count, model->spread_room);
	memset(&model->spreads[0], 0, sizeof *model->spreads);
	model->spread_count = 1;
	return model;
}

void lt_model_free(struct lt_model *model)
{
	if (!model)
		return;
	free(model->selected);
	free(model->sites);
	free(model->site_index.slots);
	free(model->pairs);
	free(model->spreads);
	free(model->blocks);
	free(model->listed);
	free(model->rows);
	free(model->ids->file.entries);
	free(model->ids->kept.entries);
	free(model->ids->inherited);
	free(model->ids);
	free(model);
}

/* The image that made a block of site `id` which `process` inherited: up the chain of forks to the first with such ids. */
static uint32_t maker(const struct lt_merge *merge, uint32_t process, uint32_t id)
{
	/* At most as many steps as there are processes: a damaged chain may be a ring. */
	for (uint32_t steps = 0; steps < merge->process_count; steps++) {
		process = merge->processes[process].forked_from;
		if (process == LT_NO_PROCESS || id >= merge->processes[process].record.first_site)
			return process;
	}
	return LT_NO_PROCESS;
}

static void resolve_inherited(struct lt_model *model)
{
	for (size_t i = 0; i < model->ids->inherited_count; i++) {
		const struct leaktrace_inherited *record = &model->ids->inherited[i].record;
		uint32_t from = maker(model->merge, record->process, record->site);
		uint32_t site = from == LT_NO_PROCESS ? 0 : ids_find(&model->ids->kept, from, record->site);

		if (!site)
			model->unknown_inherited = lt_add(model->unknown_inherited, record->blocks);
		else if (record->blocks || record->bytes)
			add_pair(model, site, record->process, LT_KIND_UNKNOWN, &(struct lt_estimate){
				 record->bytes, record->blocks,
				 lt_spread_guess(record->bytes, record->blocks, lt_sample_bytes(&model->merge->processes[from].record))});
	}
}

static void find_sampled(struct lt_model *model)
{
	for (uint32_t i = 0; i < model->merge->process_count; i++) {
		const struct lt_process *process = &model->merge->processes[i];
		uint64_t sample_bytes = lt_sample_bytes(&process->record);

		if (!process->loaded || !lt_model_selected(model, i) || !sample_bytes)
			continue;
		if (!model->sampled++)
			model->sample_least = model->sample_most = sample_bytes;
		if (sample_bytes < model->sample_least)
			model->sample_least = sample_bytes;
		if (sample_bytes > model->sample_most)
			model->sample_most = sample_bytes;
	}
}

void lt_model_finish(struct lt_model *model)
{
	find_sampled(model);
	resolve_inherited(model);
	lt_rank_rows(model);
}
