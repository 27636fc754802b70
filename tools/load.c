/* SPDX-License-Identifier: MIT
 *
 * Second pass of merging: one dump at a time, its numbers translated into those that all dumps share.
 *
 * Per dump there is one array for each sort of reference (string, module, node), indexed by the file's numbers; it goes away
 * with the dump. Whatever a reference leads to nowhere is counted and told once for each file; a site that lost its stack
 * still counts with its bytes.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "fold.h"
#include "kinds.h"
#include "merge-internal.h"
#include "merge.h"
#include "reader.h"
#include "xalloc.h"

#define FILE_NAME_MOST 300

struct loader {
	struct lt_merge *merge;
	struct lt_source *source;
	struct lt_dump *dump;
	const struct lt_sink *sink;
	uint32_t *strings; /* by slot: number + 1, 0 not yet looked up */
	uint32_t *modules, *frames, *rframes;
	uint16_t *depths, *r_depths; /* of a node: how many it is with those outwards */
	struct lt_fold *fold;
	struct lt_kinds *kinds;
	uint64_t module_end, frame_end, rframe_end;
	uint64_t bad_strings, bad_frames, bad_rframes, bad_sites, strangers;
};

static uint32_t string(struct loader *loader, uint32_t reference)
{
	const char *bytes;
	uint32_t length, id;
	size_t slot;

	if (!reference)
		return 0;
	if (!lt_dump_string(loader->dump, reference, &bytes, &length, &slot)) {
		loader->bad_strings++;
		return 0;
	}
	if (loader->strings[slot])
		return loader->strings[slot] - 1;
	id = lt_intern_string(loader->merge->intern, bytes, length);
	loader->strings[slot] = id + 1;
	return id;
}

/* A string of frames: a long one would be in a report as often as there are sites times frames. */
static uint32_t name(struct loader *loader, uint32_t reference)
{
	const uint32_t number = string(loader, reference);

	if (loader->merge->intern->strings[number].length <= LEAKTRACE_NAME_MAX)
		return number;
	loader->bad_strings++;
	return 0;
}

/* No file has a longer name than 255 bytes, to which the kernel may add " (deleted)"; it is in a report with each frame. */
static uint32_t path(struct loader *loader, uint32_t reference)
{
	const uint32_t number = name(loader, reference);
	const char *text = lt_intern_text(loader->merge->intern, number), *slash = strrchr(text, '/');

	if (strlen(slash ? slash + 1 : text) <= FILE_NAME_MOST)
		return number;
	loader->bad_strings++;
	return 0;
}

/* The parent's number, 0 if it is none, or one so deep inside a stack that no writer wrote it: for each site that ends there a
 * report would list all of it. */
static uint32_t parent_of(const uint32_t *numbers, uint16_t *depths, uint64_t index, uint32_t parent, uint16_t most)
{
	const bool good = parent && parent < index && numbers[parent] && depths[parent] < most;

	depths[index] = good ? depths[parent] + 1 : 1;
	return good ? numbers[parent] : 0;
}

static void load_modules(struct loader *loader)
{
	LT_DUMP_EACH(loader->dump, LEAKTRACE_CHUNK_MODULES, chunk) {
		for (uint64_t i = 0; i < chunk->count; i++) {
			struct leaktrace_module module;

			lt_chunk_record(chunk, i, &module, sizeof module);
			loader->modules[chunk->first + i] = lt_intern_module(loader->merge->intern, path(loader, module.path),
									     module.flags, module.build_id, module.build_id_size);
		}
	}
}

/* Parents have lower numbers than their children, so one pass in the order of numbers does, and there are no cycles. */
static void load_frames(struct loader *loader)
{
	LT_DUMP_EACH(loader->dump, LEAKTRACE_CHUNK_FRAMES, chunk) {
		for (uint64_t i = 0; i < chunk->count; i++) {
			struct leaktrace_frame frame;
			uint64_t index = chunk->first + i;
			uint32_t parent, module = 0;

			if (!index)
				continue;
			lt_chunk_record(chunk, i, &frame, sizeof frame);
			parent = parent_of(loader->frames, loader->depths, index, frame.parent, LEAKTRACE_STACK_MAX);
			if (frame.module && frame.module < loader->module_end)
				module = loader->modules[frame.module];
			if ((frame.parent && !parent) || (frame.module && !module))
				loader->bad_frames++;
			loader->frames[index] = lt_intern_frame(loader->merge->intern, parent, module, frame.offset);
		}
	}
}

static void load_rframes(struct loader *loader)
{
	LT_DUMP_EACH(loader->dump, LEAKTRACE_CHUNK_RFRAMES, chunk) {
		for (uint64_t i = 0; i < chunk->count; i++) {
			struct leaktrace_rframe frame;
			struct lt_rnode node;
			uint64_t index = chunk->first + i;

			if (!index)
				continue;
			lt_chunk_record(chunk, i, &frame, sizeof frame);
			node = (struct lt_rnode){.call = name(loader, frame.call), .namespace = name(loader, frame.namespace),
						 .file = name(loader, frame.file), .line = frame.line};
			node.parent = parent_of(loader->rframes, loader->r_depths, index, frame.parent, LEAKTRACE_R_STACK_MAX);
			if (frame.parent && !node.parent)
				loader->bad_rframes++;
			loader->rframes[index] = lt_intern_rframe(loader->merge->intern, &node);
		}
	}
}

/* The number in the file of a record's process. */
static uint32_t local_of(const struct loader *loader, uint32_t local)
{
	return loader->dump->header.flags & LEAKTRACE_HEADER_MERGED ? local : 0;
}

/* The process that a record belongs to; LT_NO_PROCESS if it is taken from another file, or there is none such. */
static uint32_t owner(struct loader *loader, uint32_t local)
{
	local = local_of(loader, local);
	if (local >= loader->source->process_count) {
		loader->strangers++;
		return LT_NO_PROCESS;
	}
	return loader->source->processes[local];
}

static uint32_t node(const uint32_t *map, uint64_t end, uint32_t local, bool *lost)
{
	uint32_t global = local < end ? map[local] : 0;

	*lost = local && !global;
	return global;
}

static void load_site(struct loader *loader, struct leaktrace_site *site)
{
	struct lt_process *process;
	bool lost, r_lost;
	const struct lt_split *split = lt_kinds_split(loader->kinds, local_of(loader, site->process), site->id);

	site->process = owner(loader, site->process);
	if (site->process == LT_NO_PROCESS)
		return;
	process = &loader->merge->processes[site->process];
	site->native = node(loader->frames, loader->frame_end, site->native, &lost);
	site->r = node(loader->rframes, loader->rframe_end, site->r, &r_lost);
	if (lost || r_lost) {
		loader->bad_sites++;
		process->lost_stacks++;
	}
	/* Counters are stored one by one: a kill may have come in between. */
	if (site->frees > site->allocations)
		site->frees = site->allocations;
	if (site->freed_bytes > site->allocated_bytes)
		site->freed_bytes = site->allocated_bytes;
	process->allocations += site->allocations;
	process->allocated_bytes += site->allocated_bytes;
	process->frees += site->frees;
	process->freed_bytes += site->freed_bytes;
	if (lt_sample_bytes(&process->record)) {
		struct lt_estimate live = lt_estimate_site(site, lt_sample_bytes(&process->record));

		process->sampled = lt_add(process->sampled, site->sampled);
		lt_spread_add(&process->spread, &live.spread);
	}
	if (loader->sink->site)
		loader->sink->site(loader->sink->data, site, split);
}

static void load_sites(struct loader *loader)
{
	LT_DUMP_EACH(loader->dump, LEAKTRACE_CHUNK_SITES, chunk) {
		if (!lt_dump_load(loader->dump, chunk, loader->merge->notes))
			continue;
		for (uint64_t i = 0; i < chunk->count; i++) {
			struct leaktrace_site site;

			lt_chunk_record(chunk, i, &site, sizeof site);
			load_site(loader, &site);
		}
		lt_dump_unload(loader->dump, chunk);
	}
}

static bool current(const struct loader *loader, const struct lt_chunk *chunk, uint32_t process)
{
	uint32_t generation = loader->merge->processes[process].record.blocks_generation;

	return generation && chunk->generation == generation;
}

static void load_inherited(struct loader *loader)
{
	if (!loader->sink->inherited)
		return;
	LT_DUMP_EACH(loader->dump, LEAKTRACE_CHUNK_INHERITED, chunk) {
		if (!lt_dump_load(loader->dump, chunk, loader->merge->notes))
			continue;
		for (uint64_t i = 0; i < chunk->count; i++) {
			struct leaktrace_inherited inherited;

			lt_chunk_record(chunk, i, &inherited, sizeof inherited);
			inherited.process = owner(loader, inherited.process);
			if (inherited.process != LT_NO_PROCESS && current(loader, chunk, inherited.process))
				loader->sink->inherited(loader->sink->data, &inherited);
		}
		lt_dump_unload(loader->dump, chunk);
	}
}

static void load_blocks(struct loader *loader)
{
	const struct leaktrace_block *judged;
	size_t count = 0;

	if (!loader->sink->block)
		return;
	judged = lt_kinds_blocks(loader->kinds, 0, &count);
	if (judged) {
		for (size_t i = 0; i < count; i++) {
			struct leaktrace_block block = judged[i];

			block.site = lt_fold_site(loader->fold, block.site);
			block.process = owner(loader, 0);
			if (block.process != LT_NO_PROCESS)
				loader->sink->block(loader->sink->data, &block);
		}
		return;
	}
	LT_DUMP_EACH(loader->dump, LEAKTRACE_CHUNK_BLOCKS, chunk) {
		if (!lt_dump_load(loader->dump, chunk, loader->merge->notes))
			continue;
		for (uint64_t i = 0; i < chunk->count; i++) {
			struct leaktrace_block block;

			lt_chunk_record(chunk, i, &block, sizeof block);
			block.flags = lt_kinds_flags(loader->kinds, local_of(loader, block.process), &block);
			block.site = lt_fold_site(loader->fold, block.site);
			block.process = owner(loader, block.process);
			if (block.process != LT_NO_PROCESS && current(loader, chunk, block.process))
				loader->sink->block(loader->sink->data, &block);
		}
		lt_dump_unload(loader->dump, chunk);
	}
}

static void add_tracer_note(struct lt_merge *merge, uint32_t process, uint32_t text)
{
	LT_GROW(merge->tracer_notes, merge->tracer_note_count, merge->tracer_note_room);
	merge->tracer_notes[merge->tracer_note_count++] = (struct lt_tracer_note){process, text};
}

static void load_event(struct loader *loader, struct leaktrace_event *event)
{
	struct lt_merge *merge = loader->merge;

	event->process = owner(loader, event->process);
	if (event->process == LT_NO_PROCESS)
		return;
	event->text = string(loader, event->text);
	event->time_ns = lt_dump_time(event->time_ns);
	if (event->type == LEAKTRACE_EVENT_CHILD_END) {
		LT_GROW(merge->child_ends, merge->child_end_count, merge->child_end_room);
		merge->child_ends[merge->child_end_count++] = (struct lt_child_end){
			.process = event->process, .pid = event->pid, .time_ns = event->time_ns, .status = event->value};
	} else if (event->type == LEAKTRACE_EVENT_NOTE && event->text) {
		add_tracer_note(merge, event->process, event->text);
	} else if (event->type == LEAKTRACE_EVENT_START || event->type == LEAKTRACE_EVENT_STOP) {
		LT_GROW(merge->switches, merge->switch_count, merge->switch_room);
		merge->switches[merge->switch_count++] =
			(struct lt_switch){event->process, event->type == LEAKTRACE_EVENT_START, event->time_ns};
	}
	if (loader->sink->event)
		loader->sink->event(loader->sink->data, event);
}

static void load_events(struct loader *loader)
{
	LT_DUMP_EACH(loader->dump, LEAKTRACE_CHUNK_EVENTS, chunk) {
		if (!lt_dump_load(loader->dump, chunk, loader->merge->notes))
			continue;
		for (uint64_t i = 0; i < chunk->count; i++) {
			struct leaktrace_event event;

			lt_chunk_record(chunk, i, &event, sizeof event);
			load_event(loader, &event);
		}
		lt_dump_unload(loader->dump, chunk);
	}
}

static const char stopped[] = "recorded to the moment when the stack was used up inside the tracer and a signal handler jumped out of there";

/* The record as the file has it now: of a running process it is newer than that of the first pass. */
static void load_processes(struct loader *loader)
{
	for (size_t i = 0; i < loader->source->process_count; i++) {
		uint32_t number = loader->source->processes[i];
		struct leaktrace_process record;
		struct lt_process *process;

		if (number == LT_NO_PROCESS)
			continue;
		process = &loader->merge->processes[number];
		if (!lt_dump_process(loader->dump, i, &record) || lt_key_compare(&record.key, &process->record.key)) {
			/* Another dump took the file's name since, or it was damaged meanwhile. */
			loader->source->processes[i] = LT_NO_PROCESS;
			lt_note(loader->merge->notes, loader->source->path, "changed while it was read; process %s is left out",
				process->id);
			continue;
		}
		record.start_ns = process->record.start_ns; /* they are sorted by it */
		record.exe = string(loader, record.exe);
		record.host = string(loader, record.host);
		record.session = string(loader, record.session);
		record.r_note = string(loader, record.r_note);
		record.cmdline = string(loader, record.cmdline);
		record.dir = string(loader, record.dir);
		record.boot_id = string(loader, record.boot_id);
		process->record = record;
		process->loaded = true;
		process->partial = loader->dump->partial;
		if (record.flags & LEAKTRACE_PROCESS_STOPPED)
			add_tracer_note(loader->merge, number, lt_intern_string(loader->merge->intern, stopped, sizeof stopped - 1));
	}
}

static void tell_lost(struct loader *loader)
{
	struct lt_notes *notes = loader->merge->notes;
	const char *path = loader->source->path;

	if (loader->bad_strings)
		lt_note(notes, path, "%" PRIu64 " references to strings lead nowhere", loader->bad_strings);
	if (loader->bad_frames || loader->bad_rframes)
		lt_note(notes, path, "%" PRIu64 " native and %" PRIu64 " R frames have lost their caller or module",
			loader->bad_frames, loader->bad_rframes);
	if (loader->bad_sites)
		lt_note(notes, path, "%" PRIu64 " sites have lost their stack", loader->bad_sites);
	if (loader->strangers)
		lt_note(notes, path, "%" PRIu64 " records belong to no process", loader->strangers);
}

/* The sites of a process that ended in peace add up to its own counters. Threads may leave it a few apart. */
static void check_sums(struct loader *loader)
{
	struct lt_process *process;
	uint64_t live, differs;

	if (loader->dump->header.flags & LEAKTRACE_HEADER_MERGED || loader->source->processes[0] == LT_NO_PROCESS)
		return;
	process = &loader->merge->processes[loader->source->processes[0]];
	live = process->allocations - process->frees;
	differs = live > process->record.live_blocks ? live - process->record.live_blocks : process->record.live_blocks - live;
	if (process->record.end_kind != LEAKTRACE_END_NONE && !(process->record.flags & LEAKTRACE_PROCESS_SAMPLED) &&
	    differs > 64 + process->record.live_blocks / 100 && differs > process->record.dropped_allocations) {
		lt_note(loader->merge->notes, loader->source->path, "its sites hold %" PRIu64 " live blocks, the process %" PRIu64
			": part of it is missing or damaged", live, process->record.live_blocks);
		process->partial = true;
	}
}

static int load_source(struct lt_merge *merge, struct lt_source *source, unsigned parts, const struct lt_sink *sink)
{
	struct loader loader = {.merge = merge, .source = source, .sink = sink};

	if (source->process_count == 1 && source->processes[0] != LT_NO_PROCESS)
		lt_verdict_catch_up(merge, &merge->processes[source->processes[0]], source->path);

	int error = lt_dump_read(source->path, parts | LT_PARTS_IDENTITY | LT_PART(LEAKTRACE_CHUNK_STRINGS) |
				 (parts & LT_PART(LEAKTRACE_CHUNK_SITES) ? LT_PART(LEAKTRACE_CHUNK_BLOCKS) : 0), merge->notes, &loader.dump);

	if (error)
		return error;
	loader.module_end = lt_dump_index_end(loader.dump, LEAKTRACE_CHUNK_MODULES);
	loader.frame_end = lt_dump_index_end(loader.dump, LEAKTRACE_CHUNK_FRAMES);
	loader.rframe_end = lt_dump_index_end(loader.dump, LEAKTRACE_CHUNK_RFRAMES);
	loader.strings = lt_xcalloc(lt_dump_string_slots(loader.dump), sizeof *loader.strings);
	loader.modules = lt_xcalloc(loader.module_end, sizeof *loader.modules);
	loader.frames = lt_xcalloc(loader.frame_end, sizeof *loader.frames);
	loader.rframes = lt_xcalloc(loader.rframe_end, sizeof *loader.rframes);
	loader.depths = lt_xcalloc(loader.frame_end, sizeof *loader.depths);
	loader.r_depths = lt_xcalloc(loader.rframe_end, sizeof *loader.r_depths);
	load_processes(&loader);
	if (parts & LT_PART(LEAKTRACE_CHUNK_SITES)) {
		if (source->process_count == 1 && source->processes[0] != LT_NO_PROCESS)
			loader.fold = lt_fold_new(loader.dump, &merge->processes[source->processes[0]].record);
		loader.kinds = lt_kinds_new(merge, source, loader.dump, loader.fold);
	}
	load_modules(&loader);
	load_frames(&loader);
	load_rframes(&loader);
	load_sites(&loader);
	load_inherited(&loader);
	load_blocks(&loader);
	load_events(&loader);
	tell_lost(&loader);
	if (parts & LT_PART(LEAKTRACE_CHUNK_SITES))
		check_sums(&loader);
	if (sink->end)
		sink->end(sink->data);
	lt_kinds_free(loader.kinds);
	lt_fold_free(loader.fold);
	free(loader.strings);
	free(loader.modules);
	free(loader.frames);
	free(loader.rframes);
	free(loader.depths);
	free(loader.r_depths);
	lt_dump_free(loader.dump);
	return 0;
}

static int by_rank(const void *a, const void *b)
{
	const struct lt_source *x = *(struct lt_source *const *)a, *y = *(struct lt_source *const *)b;

	return x->rank < y->rank ? -1 : x->rank > y->rank;
}

unsigned lt_merge_load(struct lt_merge *merge, unsigned parts, const struct lt_sink *sink)
{
	struct lt_source **order = lt_xcalloc(merge->source_count, sizeof *order);
	unsigned wanted = 0, read = 0;

	for (uint32_t i = 0; i < merge->source_count; i++)
		if (merge->sources[i].wanted)
			order[wanted++] = &merge->sources[i];
	if (wanted)
		qsort(order, wanted, sizeof *order, by_rank);
	for (unsigned i = 0; i < wanted; i++) {
		if (load_source(merge, order[i], parts, sink) == 0)
			read++;
		else
			merge->unreadable++;
	}
	free(order);
	return read;
}
