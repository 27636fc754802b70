/* SPDX-License-Identifier: MIT
 *
 * The report as CSV (RFC 4180, but lines end with LF): one table, of sites, groups or blocks.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "lineage.h"
#include "out.h"
#include "rank.h"
#include "report.h"
#include "xalloc.h"

/* A field of text, quoted if need be; bytes that are no UTF-8 are replaced. */
static void field(FILE *out, const char *text)
{
	LT_AUTO_FREE char *valid = lt_out_utf8(text, strlen(text));

	if (!strpbrk(valid, ",\"\r\n")) {
		fputs(valid, out);
		return;
	}
	fputc('"', out);
	for (const char *c = valid; *c; c++) {
		if (*c == '"')
			fputc('"', out);
		fputc(*c, out);
	}
	fputc('"', out);
}

static void mean(FILE *out, bool known, double value)
{
	if (known && floor(value) == value && fabs(value) < 1e15)
		fprintf(out, "%.0f", value);
	else if (known)
		fprintf(out, "%.16g", value);
}

/* The last columns are there if any process recorded samples: errors are 0 where all is exact; how many blocks were recorded may
 * not be known. */
static void error_fields(const struct lt_spread *spread, FILE *out)
{
	fputc(',', out);
	mean(out, true, lt_standard_error(spread->bytes));
	fputc(',', out);
	mean(out, true, lt_standard_error(spread->blocks));
	fputc(',', out);
	if (!spread->unlisted)
		fprintf(out, "%" PRIu64, spread->sampled);
}

/* Ids joined by blanks. */
static void row_processes(const struct lt_report *report, const struct lt_row *row, FILE *out)
{
	for (size_t i = 0; i < row->pair_count; i++)
		fprintf(out, "%s%s", i ? " " : "", report->merge->processes[report->model->pairs[row->first_pair + i].process].id);
}

static void frame_fields(const struct lt_shown_frame *function, FILE *out)
{
	field(out, function ? lt_frame_name(function) : "");
	fputc(',', out);
	field(out, function ? function->path : "");
	fputc(',', out);
	field(out, function && function->file ? function->file : "");
	fputc(',', out);
	if (function && function->line)
		fprintf(out, "%" PRIu32, function->line);
}

static void call_fields(const struct lt_intern *intern, const struct lt_rnode *node, FILE *out)
{
	field(out, lt_intern_text(intern, node->call));
	fputc(',', out);
	field(out, lt_intern_text(intern, node->namespace));
	fputc(',', out);
	field(out, lt_intern_text(intern, node->file));
	fputc(',', out);
	if (node->line)
		fprintf(out, "%" PRIu32, node->line);
}

/* Whole stacks as one field: frames from the innermost outwards, joined by ';'. */
static void stack_field(const struct lt_stack *stack, FILE *out)
{
	char *text = NULL;
	size_t size;
	FILE *memory = open_memstream(&text, &size);

	for (size_t i = 0; memory && i < stack->count; i++)
		fprintf(memory, "%s%s", i ? ";" : "", lt_frame_name(&stack->frames[i]));
	if (memory && !fclose(memory))
		field(out, text);
	free(text);
}

static void r_stack_field(const struct lt_intern *intern, uint32_t r, FILE *out)
{
	char *text = NULL;
	size_t size;
	FILE *memory = open_memstream(&text, &size);

	for (; memory && r; r = intern->rframes[r].parent) {
		LT_AUTO_FREE char *call = lt_report_call(intern, &intern->rframes[r]);

		fprintf(memory, "%s%s", call, intern->rframes[r].parent ? ";" : "");
	}
	if (memory && !fclose(memory))
		field(out, text);
	free(text);
}

static void render_sites(struct lt_report *report, FILE *out)
{
	const struct lt_intern *intern = report->merge->intern;
	size_t shown = lt_report_shown(report, report->row_count);

	fputs("rank,kind,r_heap,bytes,blocks,growth_bytes_per_task,growth_blocks_per_task,allocations,allocated_bytes,frees,"
	      "depth,function,module,file,line,call,namespace,r_file,r_line,processes,native,r", out);
	fputs(report->model->sampled ? ",bytes_se,blocks_se,sampled_blocks,sampled_allocations,growth_bytes_per_task_se,"
	      "growth_blocks_per_task_se\n" : "\n", out);
	for (size_t i = 0; i < shown; i++) {
		const struct lt_row *row = report->rows[i];
		const struct lt_site *site = &report->model->sites[row->site];
		const struct lt_growth *growth = lt_row_growth(report->model, row);
		struct lt_amount allocated = lt_row_allocated(report->model, row);
		struct lt_stack stack;

		lt_stack_make(report->symbols, intern, site->native, &stack);
		fprintf(out, "%" PRIu32 ",%s,%s,%" PRIu64 ",%" PRIu64 ",", row->rank, lt_kind_names[row->kind],
			lt_row_r_heap(report->model, row) ? "true" : "false", row->live.bytes, row->live.blocks);
		mean(out, growth->tasks, lt_growth_bytes(growth));
		fputc(',', out);
		mean(out, growth->tasks, lt_growth_blocks(growth));
		fprintf(out, ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%u,", allocated.blocks, allocated.bytes, row->leads ? site->frees : 0,
			stack.depth);
		frame_fields(lt_stack_function(&stack), out);
		fputc(',', out);
		call_fields(intern, &intern->rframes[site->r], out);
		fputc(',', out);
		row_processes(report, row, out);
		fputc(',', out);
		stack_field(&stack, out);
		fputc(',', out);
		r_stack_field(intern, site->r, out);
		if (report->model->sampled) {
			error_fields(&row->live.spread, out);
			fprintf(out, ",%" PRIu64 ",", row->leads ? site->sampled : 0);
			mean(out, growth->tasks, lt_growth_bytes_error(growth));
			fputc(',', out);
			mean(out, growth->tasks, lt_growth_blocks_error(growth));
		}
		fputc('\n', out);
		lt_stack_clear(&stack);
		lt_report_progress(i + 1, shown);
	}
}

static void render_groups(struct lt_report *report, FILE *out)
{
	size_t shown = lt_report_shown(report, report->group_count);

	fprintf(out, "rank,%s,bytes,blocks,native_bytes,native_blocks,r_heap_bytes,r_heap_blocks,sites,growth_bytes_per_task,"
		"growth_blocks_per_task,processes%s\n", lt_by_names[report->options->by], report->model->sampled ?
		",bytes_se,blocks_se,sampled_blocks,growth_bytes_per_task_se,growth_blocks_per_task_se" : "");
	for (size_t i = 0; i < shown; i++) {
		const struct lt_group *group = &report->groups[i];
		struct lt_estimate whole = group->native;

		fprintf(out, "%zu,", i + 1);
		field(out, group->name);
		fprintf(out, ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",",
			lt_add(group->native.bytes, group->r_heap.bytes), lt_add(group->native.blocks, group->r_heap.blocks),
			group->native.bytes, group->native.blocks, group->r_heap.bytes, group->r_heap.blocks, group->sites);
		mean(out, group->has_growth, group->growth_bytes);
		fputc(',', out);
		mean(out, group->has_growth, group->growth_blocks);
		fputc(',', out);
		for (size_t j = 0; j < group->process_count; j++)
			fprintf(out, "%s%s", j ? " " : "", report->merge->processes[group->processes[j]].id);
		if (report->model->sampled) {
			lt_estimate_add(&whole, &group->r_heap);
			error_fields(&whole.spread, out);
			fputc(',', out);
			mean(out, group->has_growth, sqrt(group->growth_bytes_variance));
			fputc(',', out);
			mean(out, group->has_growth, sqrt(group->growth_blocks_variance));
		}
		fputc('\n', out);
	}
}

static void render_blocks(struct lt_report *report, FILE *out)
{
	const struct lt_intern *intern = report->merge->intern;
	struct lt_stack stack = {0};
	uint32_t current = UINT32_MAX;
	uint64_t shown = 0;

	fputs("address,size,depth,function,kind,process,task,call,namespace,r_file,r_line,site", out);
	fputs(report->model->sampled ? ",weight\n" : "\n", out);
	for (size_t i = 0; i < report->model->block_count; i++) {
		const struct lt_live_block *block = &report->model->blocks[i];
		const struct lt_row *row = &report->model->rows[block->site];
		const struct lt_site *site = &report->model->sites[row->site];
		const struct lt_shown_frame *function;

		if (!lt_report_row_shown(report, row))
			continue;
		if (report->options->top && shown++ >= report->options->top)
			break;
		if (block->site != current) {
			lt_stack_clear(&stack);
			lt_stack_make(report->symbols, intern, site->native, &stack);
			current = block->site;
		}
		function = lt_stack_function(&stack);
		fprintf(out, "0x%" PRIx64 ",%" PRIu64 ",%u,", block->address, block->size, stack.depth);
		field(out, function ? lt_frame_name(function) : "");
		fprintf(out, ",%s,%s,", lt_kind_names[block->kind], report->merge->processes[block->process].id);
		if (block->task)
			fprintf(out, "%" PRIu32, block->task);
		fputc(',', out);
		call_fields(intern, &intern->rframes[site->r], out);
		fprintf(out, ",%" PRIu32, row->rank);
		if (report->model->sampled)
			fprintf(out, ",%" PRIu64, lt_block_weight(report->model, block));
		fputc('\n', out);
	}
	lt_stack_clear(&stack);
}

void lt_render_csv(struct lt_report *report, FILE *out)
{
	if (report->options->blocks)
		render_blocks(report, out);
	else if (report->options->by != LT_BY_SITE)
		render_groups(report, out);
	else
		render_sites(report, out);
}

void lt_render_csv_field(FILE *out, const char *text)
{
	field(out, text);
}

void lt_render_csv_stacks(struct lt_report *report, const struct lt_site *site, FILE *out)
{
	struct lt_stack stack;

	lt_stack_make(report->symbols, report->merge->intern, site->native, &stack);
	stack_field(&stack, out);
	fputc(',', out);
	r_stack_field(report->merge->intern, site->r, out);
	lt_stack_clear(&stack);
}
