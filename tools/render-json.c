/* SPDX-License-Identifier: MIT
 *
 * The report as JSON, for scripts: interface.md's format, one line per process and site.
 *
 * Each site is built, written and freed by itself: a whole report as one jansson tree takes some hundred bytes a frame.
 * Key order is that of insertion, numbers are exact, sets are sorted: the same inputs give the same bytes in any order.
 */
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "lineage.h"
#include "out.h"
#include "rank.h"
#include "render-json.h"
#include "spans.h"
#include "xalloc.h"

#define FLAGS (JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(16))

/* jansson takes valid UTF-8 only; paths and arguments are bytes. */
static json_t *text(const char *bytes, size_t length)
{
	LT_AUTO_FREE char *valid = lt_out_utf8(bytes, length);

	return json_string_nocheck(valid);
}

static json_t *string(const char *bytes)
{
	return text(bytes, strlen(bytes));
}

static json_t *string_or_null(const char *bytes)
{
	return bytes && *bytes ? string(bytes) : json_null();
}

static json_t *number(uint64_t value)
{
	return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}

/* A mean, as an integer if it is one. */
static json_t *mean(double value)
{
	return floor(value) == value && fabs(value) < 1e15 ? json_integer((json_int_t)value) : json_real(value);
}

static json_t *seconds(int64_t ns)
{
	return ns > 0 ? json_real((double)ns / 1e9) : json_null();
}

static json_t *id_or_null(const struct lt_report *report, uint32_t process)
{
	return process == LT_NO_PROCESS ? json_null() : string(report->merge->processes[process].id);
}

static void emit(FILE *out, const char *before, json_t *value)
{
	fputs(before, out);
	json_dumpf(value, out, FLAGS);
	json_decref(value);
}

static json_t *make_session(const struct lt_report *report)
{
	const struct lt_intern *intern = report->merge->intern;
	const struct lt_process *first = lt_report_first(report);
	json_t *session = json_object();

	json_object_set_new(session, "id", string_or_null(lt_intern_text(intern, first->record.session)));
	json_object_set_new(session, "dir", string_or_null(lt_intern_text(intern, first->record.dir)));
	json_object_set_new(session, "host", string_or_null(lt_intern_text(intern, first->record.host)));
	json_object_set_new(session, "started", seconds(first->record.start_ns));
	return session;
}

static json_t *make_cmdline(const struct lt_bytes *cmdline)
{
	json_t *list = json_array();
	uint32_t start = 0;

	for (uint32_t i = 0; i < cmdline->length; i++) {
		if (cmdline->text[i] && i + 1 < cmdline->length)
			continue;
		json_array_append_new(list, text(cmdline->text + start, i - start + (cmdline->text[i] ? 1 : 0)));
		start = i + 1;
	}
	return list;
}

/* What is known of the classification: NULL was there none. Times in ms. */
static json_t *make_verdict(const struct lt_intern *intern, const struct lt_process *process)
{
	static const char *const states[] = {"", "running", "done", "failed"};
	static const char *const triggers[] = {"unknown", "end", "task", "api", "command", "kill"};
	const struct leaktrace_verdict *verdict = &process->verdict;
	json_t *object;

	if (!verdict->state)
		return json_null();
	object = json_object();
	json_object_set_new(object, "state", string(verdict->state < 4 ? states[verdict->state] : "unknown"));
	json_object_set_new(object, "trigger", string(verdict->trigger < 6 ? triggers[verdict->trigger] : "unknown"));
	json_object_set_new(object, "time", seconds(verdict->time_ns));
	json_object_set_new(object, "label", verdict->label ? string_or_null(lt_intern_text(intern, verdict->label)) : json_null());
	json_object_set_new(object, "note", verdict->note ? string_or_null(lt_intern_text(intern, verdict->note)) : json_null());
	json_object_set_new(object, "pause_ms", json_real((double)verdict->pause_ns / 1e6));
	json_object_set_new(object, "work_ms", json_real((double)verdict->work_ns / 1e6));
	json_object_set_new(object, "scanned_bytes", number(verdict->scanned_bytes));
	json_object_set_new(object, "classifier_bytes", number(verdict->classifier_bytes));
	json_object_set_new(object, "r_exact", json_boolean(verdict->flags & LEAKTRACE_VERDICT_R_EXACT));
	return object;
}

/* NULL: all the time, or not known. */
static json_t *make_spans(const struct lt_report *report, const struct lt_process *process)
{
	size_t count;
	struct lt_span *spans;
	json_t *list;

	if (!(process->record.flags & LEAKTRACE_PROCESS_PAUSED))
		return json_null();
	spans = lt_spans_make(report->merge, (uint32_t)(process - report->merge->processes), &count);
	if (!spans && count)
		return json_null();
	list = json_array();
	for (size_t i = 0; i < count; i++) {
		json_t *span = json_object();

		json_object_set_new(span, "from", seconds(spans[i].from_ns));
		json_object_set_new(span, "to", seconds(spans[i].to_ns));
		json_array_append_new(list, span);
	}
	free(spans);
	return list;
}

static json_t *make_notes(const struct lt_report *report, const struct lt_process *process)
{
	const struct lt_merge *merge = report->merge;
	json_t *list = json_array();

	for (size_t i = 0; i < merge->tracer_note_count; i++)
		if (&merge->processes[merge->tracer_notes[i].process] == process)
			json_array_append_new(list, string_or_null(lt_intern_text(merge->intern, merge->tracer_notes[i].text)));
	return list;
}

static json_t *make_process(const struct lt_report *report, const struct lt_process *process)
{
	const struct leaktrace_process *record = &process->record;
	const struct lt_intern *intern = report->merge->intern;
	json_t *object = json_object();
	int64_t recorded = lt_spans_recorded(process);

	json_object_set_new(object, "id", string(process->id));
	json_object_set_new(object, "pid", number(record->key.pid));
	json_object_set_new(object, "ppid", number(record->ppid));
	json_object_set_new(object, "host", string_or_null(lt_intern_text(intern, record->host)));
	json_object_set_new(object, "exe", string_or_null(lt_intern_text(intern, record->exe)));
	json_object_set_new(object, "cmdline", make_cmdline(&intern->strings[record->cmdline]));
	json_object_set_new(object, "role", string(lt_lineage_role(process)));
	json_object_set_new(object, "image", number(record->key.image));
	json_object_set_new(object, "parent", id_or_null(report, process->parent));
	json_object_set_new(object, "forked_from", id_or_null(report, process->forked_from));
	json_object_set_new(object, "start", seconds(record->start_ns));
	json_object_set_new(object, "end", seconds(process->end_ns));
	json_object_set_new(object, "end_kind", string(lt_end_names[process->end]));
	json_object_set_new(object, "end_code", process->has_code ? json_integer(process->end_code) : json_null());
	json_object_set_new(object, "classified", json_boolean(lt_process_classified(process)));
	json_object_set_new(object, "verdict", make_verdict(intern, process));
	json_object_set_new(object, "mode", string(lt_sample_bytes(record) ? "sampled" : "exact"));
	json_object_set_new(object, "sample_bytes", number(record->sample_bytes));
	json_object_set_new(object, "recorded", recorded < 0 ? json_null() : json_real((double)recorded / 1e9));
	json_object_set_new(object, "recorded_spans", make_spans(report, process));
	json_object_set_new(object, "allocations", number(process->allocations));
	json_object_set_new(object, "allocated_bytes", number(process->allocated_bytes));
	json_object_set_new(object, "frees", number(process->frees));
	json_object_set_new(object, "live_blocks", number(process->allocations - process->frees));
	json_object_set_new(object, "live_bytes", number(process->allocated_bytes - process->freed_bytes));
	if (lt_sample_bytes(record)) {
		json_object_set_new(object, "live_blocks_se", mean(lt_standard_error(process->spread.blocks)));
		json_object_set_new(object, "live_bytes_se", mean(lt_standard_error(process->spread.bytes)));
		json_object_set_new(object, "sampled_allocations", number(process->sampled));
	}
	json_object_set_new(object, "peak_live_bytes", number(record->peak_live_bytes));
	json_object_set_new(object, "inherited_blocks", number(record->inherited_blocks));
	json_object_set_new(object, "inherited_bytes", number(record->inherited_bytes));
	json_object_set_new(object, "inherited_freed_blocks", number(record->inherited_freed_blocks));
	json_object_set_new(object, "inherited_freed_bytes", number(record->inherited_freed_bytes));
	json_object_set_new(object, "tasks", number(lt_growth_tasks(record)));
	json_object_set_new(object, "dropped", number(record->dropped_allocations));
	json_object_set_new(object, "dropped_blocks", number(lt_process_unlisted(process)));
	json_object_set_new(object, "unknown_frees", number(record->unknown_frees));
	json_object_set_new(object, "checked_stacks", number(record->checked_stacks));
	json_object_set_new(object, "wrong_stacks", number(record->wrong_stacks));
	json_object_set_new(object, "checked_r_stacks", number(record->checked_r_stacks));
	json_object_set_new(object, "wrong_r_stacks", number(record->wrong_r_stacks));
	json_object_set_new(object, "max_rss", record->max_rss ? number(record->max_rss) : json_null());
	json_object_set_new(object, "tracer_bytes", number(record->tracer_bytes));
	json_object_set_new(object, "tracer_peak_bytes", number(record->tracer_peak_bytes));
	json_object_set_new(object, "dump_bytes", number(record->dump_bytes));
	json_object_set_new(object, "r_version", record->r_version ? number(record->r_version) : json_null());
	json_object_set_new(object, "r_stacks", json_boolean(record->flags & LEAKTRACE_PROCESS_R_STACKS));
	json_object_set_new(object, "r_note", string_or_null(lt_intern_text(intern, record->r_note)));
	json_object_set_new(object, "notes", make_notes(report, process));
	json_object_set_new(object, "partial", json_boolean(process->partial));
	return object;
}

static json_t *make_amount(uint64_t bytes, uint64_t blocks)
{
	json_t *object = json_object();

	json_object_set_new(object, "bytes", number(bytes));
	json_object_set_new(object, "blocks", number(blocks));
	return object;
}

/* Where there are estimates in the report, each figure has its error: 0 of those that are exact. */
static void set_errors(json_t *object, const struct lt_spread *spread)
{
	json_object_set_new(object, "bytes_se", mean(lt_standard_error(spread->bytes)));
	json_object_set_new(object, "blocks_se", mean(lt_standard_error(spread->blocks)));
	json_object_set_new(object, "sampled_blocks", spread->unlisted ? json_null() : number(spread->sampled));
}

static json_t *make_estimate(bool sampled, const struct lt_estimate *estimate)
{
	json_t *object = make_amount(estimate->bytes, estimate->blocks);

	if (sampled)
		set_errors(object, &estimate->spread);
	return object;
}

static void set_growth_errors(json_t *object, double bytes, double blocks)
{
	if (json_is_null(object))
		return;
	json_object_set_new(object, "bytes_se", mean(bytes));
	json_object_set_new(object, "blocks_se", mean(blocks));
}

static json_t *make_growth(bool known, double bytes, double blocks)
{
	json_t *object;

	if (!known)
		return json_null();
	object = json_object();
	json_object_set_new(object, "bytes", mean(bytes));
	json_object_set_new(object, "blocks", mean(blocks));
	return object;
}

static json_t *make_totals(const struct lt_report *report)
{
	static const enum lt_kind order[] = {LT_KIND_DEFINITE, LT_KIND_INDIRECT, LT_KIND_POSSIBLE, LT_KIND_REACHABLE,
					     LT_KIND_UNKNOWN, LT_KIND_SUPPRESSED};
	json_t *totals = json_object();

	for (size_t i = 0; i < sizeof order / sizeof *order; i++)
		json_object_set_new(totals, lt_kind_names[order[i]], make_estimate(report->model->sampled, &report->model->totals[order[i]]));
	return totals;
}

/* Those that had hits. */
static json_t *make_suppressions(const struct lt_suppressions *suppressions)
{
	json_t *list = json_array();

	for (size_t i = 0; suppressions && i < suppressions->count; i++) {
		const struct lt_suppression *rule = &suppressions->rules[i];
		LT_AUTO_FREE char *template = NULL;
		json_t *object;

		if (!rule->sites)
			continue;
		template = lt_suppression_text(rule);
		object = make_amount(rule->hits.bytes, rule->hits.blocks);
		json_object_set_new(object, "template", string(template));
		json_object_set_new(object, "file", string_or_null(rule->source));
		json_object_set_new(object, "line", rule->line ? number(rule->line) : json_null());
		json_object_set_new(object, "sites", number(rule->sites));
		json_array_append_new(list, object);
	}
	return list;
}

static json_t *make_native(const struct lt_stack *stack)
{
	json_t *list = json_array();

	for (size_t i = 0; i < stack->count; i++) {
		const struct lt_shown_frame *frame = &stack->frames[i];
		json_t *object = json_object();

		json_object_set_new(object, "function", string_or_null(frame->function));
		json_object_set_new(object, "module", string_or_null(frame->path));
		json_object_set_new(object, "offset", number(frame->offset));
		json_object_set_new(object, "file", string_or_null(frame->file));
		json_object_set_new(object, "line", frame->line ? number(frame->line) : json_null());
		json_object_set_new(object, "inlined", json_boolean(frame->inlined));
		json_array_append_new(list, object);
	}
	return list;
}

static json_t *make_call(const struct lt_intern *intern, const struct lt_rnode *node)
{
	json_t *object = json_object();

	json_object_set_new(object, "call", string(lt_intern_text(intern, node->call)));
	json_object_set_new(object, "namespace", string_or_null(lt_intern_text(intern, node->namespace)));
	json_object_set_new(object, "file", string_or_null(lt_intern_text(intern, node->file)));
	json_object_set_new(object, "line", node->line ? number(node->line) : json_null());
	return object;
}

static json_t *make_r(const struct lt_intern *intern, uint32_t r)
{
	json_t *list = json_array();

	for (; r; r = intern->rframes[r].parent)
		json_array_append_new(list, make_call(intern, &intern->rframes[r]));
	return list;
}

static json_t *make_site(const struct lt_report *report, const struct lt_row *row)
{
	const struct lt_site *site = &report->model->sites[row->site];
	const struct lt_growth *growth = lt_row_growth(report->model, row);
	struct lt_amount allocated = lt_row_allocated(report->model, row);
	const struct lt_intern *intern = report->merge->intern;
	const struct lt_shown_frame *function;
	json_t *object = json_object(), *processes = json_array(), *grown;
	struct lt_stack stack;

	lt_stack_make(report->symbols, intern, site->native, &stack);
	function = lt_stack_function(&stack);
	json_object_set_new(object, "rank", number(row->rank));
	json_object_set_new(object, "kind", string(lt_kind_names[row->kind]));
	json_object_set_new(object, "r_heap", json_boolean(lt_row_r_heap(report->model, row)));
	json_object_set_new(object, "bytes", number(row->live.bytes));
	json_object_set_new(object, "blocks", number(row->live.blocks));
	if (report->model->sampled)
		set_errors(object, &row->live.spread);
	for (size_t i = 0; i < row->pair_count; i++) {
		const struct lt_pair *pair = &report->model->pairs[row->first_pair + i];
		json_t *share = json_object();

		json_object_set_new(share, "id", string(report->merge->processes[pair->process].id));
		json_object_set_new(share, "bytes", number(pair->bytes));
		json_object_set_new(share, "blocks", number(pair->blocks));
		if (report->model->sampled)
			set_errors(share, &report->model->spreads[pair->spread]);
		json_array_append_new(processes, share);
	}
	json_object_set_new(object, "processes", processes);
	json_object_set_new(object, "function", function ? string(lt_frame_name(function)) : json_null());
	json_object_set_new(object, "module", function ? string_or_null(function->path) : json_null());
	json_object_set_new(object, "file", function ? string_or_null(function->file) : json_null());
	json_object_set_new(object, "line", function && function->line ? number(function->line) : json_null());
	json_object_set_new(object, "allocations", number(allocated.blocks));
	json_object_set_new(object, "allocated_bytes", number(allocated.bytes));
	json_object_set_new(object, "frees", number(row->leads ? site->frees : 0));
	if (report->model->sampled)
		json_object_set_new(object, "sampled_allocations", number(row->leads ? site->sampled : 0));
	json_object_set_new(object, "temporary", number(row->leads ? site->temporary : 0));
	json_object_set_new(object, "peak", row->leads ? make_amount(site->peak.bytes, site->peak.blocks) : make_amount(0, 0));
	json_object_set_new(object, "startup", make_amount(site->startup.bytes, site->startup.blocks));
	json_object_set_new(object, "r_garbage", row->kind == LT_KIND_REACHABLE ?
		make_amount(site->r_garbage.bytes, site->r_garbage.blocks) : make_amount(0, 0));
	json_object_set_new(object, "depth", number(stack.depth));
	grown = make_growth(growth->tasks, lt_growth_bytes(growth), lt_growth_blocks(growth));
	if (report->model->sampled)
		set_growth_errors(grown, lt_growth_bytes_error(growth), lt_growth_blocks_error(growth));
	json_object_set_new(object, "growth_per_task", grown);
	json_object_set_new(object, "tasks", number(growth->all_tasks));
	json_object_set_new(object, "cut", json_boolean(site->flags & LEAKTRACE_SITE_CUT));
	json_object_set_new(object, "r_cut", json_boolean(site->flags & LEAKTRACE_SITE_R_CUT));
	json_object_set_new(object, "native", make_native(&stack));
	json_object_set_new(object, "r", make_r(intern, site->r));
	lt_stack_clear(&stack);
	return object;
}

static json_t *make_group(const struct lt_report *report, const struct lt_group *group, size_t rank)
{
	const struct lt_intern *intern = report->merge->intern;
	enum lt_by by = report->options->by;
	json_t *object = json_object(), *processes = json_array(), *grown;
	struct lt_estimate whole = group->native;

	json_object_set_new(object, "rank", number(rank));
	json_object_set_new(object, "by", string(lt_by_names[by]));
	json_object_set_new(object, "name", string(group->name));
	if (by == LT_BY_RCALL && group->call) {
		struct lt_rnode node = {0, group->call, group->namespace, group->file, group->line};

		json_object_update_new(object, make_call(intern, &node));
	}
	lt_estimate_add(&whole, &group->r_heap);
	json_object_set_new(object, "bytes", number(whole.bytes));
	json_object_set_new(object, "blocks", number(whole.blocks));
	if (report->model->sampled)
		set_errors(object, &whole.spread);
	json_object_set_new(object, "native", make_estimate(report->model->sampled, &group->native));
	json_object_set_new(object, "r_heap", make_estimate(report->model->sampled, &group->r_heap));
	json_object_set_new(object, "sites", number(group->sites));
	grown = make_growth(group->has_growth, group->growth_bytes, group->growth_blocks);
	if (report->model->sampled)
		set_growth_errors(grown, sqrt(group->growth_bytes_variance), sqrt(group->growth_blocks_variance));
	json_object_set_new(object, "growth_per_task", grown);
	for (size_t i = 0; i < group->process_count; i++) {
		json_t *share = make_estimate(report->model->sampled, &group->amounts[i]);

		json_object_set_new(share, "id", string(report->merge->processes[group->processes[i]].id));
		json_array_append_new(processes, share);
	}
	json_object_set_new(object, "processes", processes);
	return object;
}

static json_t *make_block(const struct lt_report *report, const struct lt_live_block *block, const struct lt_stack *stack)
{
	const struct lt_row *row = &report->model->rows[block->site];
	const struct lt_site *site = &report->model->sites[row->site];
	const struct lt_shown_frame *function = lt_stack_function(stack);
	json_t *object = json_object();
	char address[32];

	snprintf(address, sizeof address, "0x%" PRIx64, block->address);
	json_object_set_new(object, "address", string(address));
	json_object_set_new(object, "size", number(block->size));
	if (report->model->sampled)
		json_object_set_new(object, "weight", number(lt_block_weight(report->model, block)));
	json_object_set_new(object, "depth", number(stack->depth));
	json_object_set_new(object, "function", function ? string(lt_frame_name(function)) : json_null());
	json_object_set_new(object, "kind", string(lt_kind_names[block->kind]));
	json_object_set_new(object, "process", string(report->merge->processes[block->process].id));
	json_object_set_new(object, "task", block->task ? number(block->task) : json_null());
	json_object_set_new(object, "call", site->r ? make_call(report->merge->intern, &report->merge->intern->rframes[site->r]) :
			    json_null());
	json_object_set_new(object, "site", number(row->rank));
	return object;
}

static void emit_blocks(struct lt_report *report, FILE *out)
{
	struct lt_stack stack = {0};
	uint32_t current = UINT32_MAX;
	uint64_t shown = 0;

	for (size_t i = 0; i < report->model->block_count; i++) {
		const struct lt_live_block *block = &report->model->blocks[i];
		const struct lt_row *row = &report->model->rows[block->site];

		if (!lt_report_row_shown(report, row))
			continue;
		if (report->options->top && shown >= report->options->top)
			break;
		if (block->site != current) {
			lt_stack_clear(&stack);
			lt_stack_make(report->symbols, report->merge->intern, report->model->sites[row->site].native, &stack);
			current = block->site;
		}
		emit(out, shown ? ",\n" : "\n", make_block(report, block, &stack));
		shown++;
	}
	lt_stack_clear(&stack);
}

void lt_render_json(struct lt_report *report, FILE *out)
{
	size_t shown = lt_report_shown(report, report->row_count), processes = 0;

	fputs("{\"format\":\"leaktrace-report\",\"version\":1,\n", out);
	emit(out, "\"session\":", make_session(report));
	fputs(",\n\"processes\":[", out);
	for (uint32_t i = 0; i < report->merge->process_count; i++)
		if (report->merge->processes[i].loaded && lt_model_selected(report->model, i))
			emit(out, processes++ ? ",\n" : "\n", make_process(report, &report->merge->processes[i]));
	emit(out, "],\n\"totals\":", make_totals(report));
	emit(out, ",\n\"r_garbage\":", make_estimate(report->model->sampled, &report->model->r_garbage));
	emit(out, ",\n\"suppressions\":", make_suppressions(report->options->suppressions));
	if (report->options->by != LT_BY_SITE) {
		size_t groups = lt_report_shown(report, report->group_count);

		fputs(",\n\"groups\":[", out);
		for (size_t i = 0; i < groups; i++)
			emit(out, i ? ",\n" : "\n", make_group(report, &report->groups[i], i + 1));
		fputs("]", out);
	}
	if (report->options->blocks) {
		fputs(",\n\"blocks\":[", out);
		emit_blocks(report, out);
		fputs("]", out);
	}
	fputs(",\n\"sites\":[", out);
	for (size_t i = 0; i < shown; i++) {
		emit(out, i ? ",\n" : "\n", make_site(report, report->rows[i]));
		lt_report_progress(i + 1, shown);
	}
	fputs("],\n\"r_heap\":null}\n", out);
}

json_t *lt_json_string(const char *bytes)
{
	return string_or_null(bytes);
}

json_t *lt_json_estimate(bool sampled, const struct lt_estimate *estimate)
{
	return make_estimate(sampled, estimate);
}

json_t *lt_json_growth(bool known, double bytes, double blocks)
{
	return make_growth(known, bytes, blocks);
}

void lt_json_growth_errors(json_t *growth, double bytes, double blocks)
{
	set_growth_errors(growth, bytes, blocks);
}

json_t *lt_json_session(const struct lt_report *report)
{
	return make_session(report);
}

json_t *lt_json_native(const struct lt_stack *stack)
{
	return make_native(stack);
}

json_t *lt_json_r(const struct lt_intern *intern, uint32_t r)
{
	return make_r(intern, r);
}

void lt_json_emit(FILE *out, const char *before, json_t *value)
{
	emit(out, before, value);
}
