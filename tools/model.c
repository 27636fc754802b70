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

static void add_pair(struct lt_model *model, uint32_t site, uint32_t process, enum lt_kind kind, uint64_t bytes,
		     uint64_t blocks)
{
	LT_GROW(model->pairs, model->pair_count, model->pair_room);
	model->pairs[model->pair_count++] =
		(struct lt_pair){.bytes = bytes, .blocks = blocks, .site = site, .process = process & 0xfffffff, .kind = kind};
}

/* Of a block that came after the verdict. R never loses what its own allocator took. */
static enum lt_kind late_kind(const struct lt_model *model, uint32_t process, uint32_t site_flags)
{
	bool judged = model->merge->processes[process].verdict.state == LEAKTRACE_VERDICT_DONE;

	return judged && site_flags & LEAKTRACE_SITE_R_HEAP ? LT_KIND_REACHABLE : LT_KIND_UNKNOWN;
}

/* What a process holds of a site, by kind: as the verdict has it, but never more than is live. The remainder came after the
 * verdict. Of what is gone since, nobody knows; what nothing pointed to was not freed, so that is taken from the other end. */
static void add_kinds(struct lt_model *model, uint32_t site, uint32_t process, uint64_t bytes, uint64_t blocks,
		      const struct lt_split *split)
{
	static const enum lt_kind order[] = {LT_KIND_DEFINITE, LT_KIND_INDIRECT, LT_KIND_POSSIBLE, LT_KIND_REACHABLE};

	for (size_t i = 0; split && i < sizeof order / sizeof *order; i++) {
		uint64_t some = split->kinds[order[i]].bytes, number = split->kinds[order[i]].blocks;

		some = some < bytes ? some : bytes;
		number = number < blocks ? number : blocks;
		if (some || number)
			add_pair(model, site, process, order[i], some, number);
		bytes -= some;
		blocks -= number;
	}
	if (bytes || blocks)
		add_pair(model, site, process, late_kind(model, process, model->sites[site].flags), bytes, blocks);
}

static void take_site(void *data, const struct leaktrace_site *record, const struct lt_split *split)
{
	struct lt_model *model = data;
	const struct leaktrace_process *process = &model->merge->processes[record->process].record;
	uint64_t blocks = record->allocations - record->frees, bytes = record->allocated_bytes - record->freed_bytes;
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
	site->startup.blocks = lt_add(site->startup.blocks, record->startup_blocks);
	site->startup.bytes = lt_add(site->startup.bytes, record->startup_bytes);
	if (record->peak_seen == process->peak_seq) {
		site->peak.blocks = lt_add(site->peak.blocks, record->peak_blocks);
		site->peak.bytes = lt_add(site->peak.bytes, record->peak_bytes);
	} else {
		site->peak.blocks = lt_add(site->peak.blocks, blocks);
		site->peak.bytes = lt_add(site->peak.bytes, bytes);
	}
	lt_growth_add(&site->growth, record, process, site->last_process == record->process);
	site->last_process = record->process;
	if (model->merge->processes[record->process].alone) {
		blocks = bytes = 0;
		for (int kind = 0; split && kind < LT_KIND_COUNT; kind++) {
			blocks = lt_add(blocks, split->kinds[kind].blocks);
			bytes = lt_add(bytes, split->kinds[kind].bytes);
		}
	}
	if (split) {
		site->r_garbage.blocks = lt_add(site->r_garbage.blocks, split->garbage.blocks);
		site->r_garbage.bytes = lt_add(site->r_garbage.bytes, split->garbage.bytes);
		model->r_garbage.blocks = lt_add(model->r_garbage.blocks, split->garbage.blocks);
		model->r_garbage.bytes = lt_add(model->r_garbage.bytes, split->garbage.bytes);
	}
	add_kinds(model, number, record->process, bytes, blocks, split);
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
	model->listed[block->process]++;
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
			add_pair(model, site, record->process, LT_KIND_UNKNOWN, record->bytes, record->blocks);
	}
}

void lt_model_finish(struct lt_model *model)
{
	resolve_inherited(model);
	lt_rank_rows(model);
}
