/* SPDX-License-Identifier: MIT
 *
 * The text report's plain tables: groups (--by) and single blocks (--blocks).
 */
#include <inttypes.h>
#include <string.h>

#include "lineage.h"
#include "out.h"
#include "rank.h"
#include "report.h"
#include "xalloc.h"

static char *group_name(const struct lt_report *report, const struct lt_group *group)
{
	const struct lt_intern *intern = report->merge->intern;

	if (report->options->by == LT_BY_PROCESS) {
		const struct lt_process *process = &report->merge->processes[group->process];

		return lt_xasprintf("%-6s %-8" PRIu32 " %s", lt_lineage_role(process), process->record.key.pid, process->id);
	}
	if (report->options->by == LT_BY_RCALL && group->call) {
		struct lt_rnode node = {0, group->call, group->namespace, group->file, group->line};

		return lt_report_call(intern, &node);
	}
	return lt_xstrdup(group->name);
}

/* The error of the bytes has a column of its own. */
static void print_title(FILE *out, const char *bytes, bool sampled)
{
	fprintf(out, "%16s", bytes);
	if (sampled)
		fprintf(out, "%14s", "std. error");
	fprintf(out, "%12s", "blocks");
}

static void print_estimate(FILE *out, const struct lt_estimate *estimate, bool sampled)
{
	char number[LT_OUT_NUMBER];

	fprintf(out, "%16s", lt_out_count(number, estimate->bytes));
	if (sampled)
		fprintf(out, "%14s", lt_out_rounded(number, lt_standard_error(estimate->spread.bytes)));
	fprintf(out, "%12s", lt_out_count(number, estimate->blocks));
}

void lt_render_text_groups(struct lt_report *report, FILE *out)
{
	size_t shown = lt_report_shown(report, report->group_count);
	bool growth = false, heap = false, sampled = report->model->sampled;
	char number[LT_OUT_NUMBER];

	for (size_t i = 0; i < report->group_count; i++) {
		growth |= report->groups[i].has_growth;
		heap |= report->groups[i].r_heap.blocks > 0;
	}
	if (!report->group_count) {
		fputs("No live blocks.\n", out);
		return;
	}
	fprintf(out, "%5s", "");
	if (growth)
		fprintf(out, "%14s", "growth");
	print_title(out, "bytes", sampled);
	if (heap)
		print_title(out, "R heap bytes", sampled);
	fprintf(out, "%7s%7s  %s\n", "sites", "procs", lt_by_names[report->options->by]);
	for (size_t i = 0; i < shown; i++) {
		const struct lt_group *group = &report->groups[i];
		LT_AUTO_FREE char *name = group_name(report, group);

		fprintf(out, "%4zu.", i + 1);
		if (growth)
			fprintf(out, "%14s", group->has_growth ? lt_out_mean(number, group->growth_bytes) : "-");
		print_estimate(out, &group->native, sampled);
		if (heap)
			print_estimate(out, &group->r_heap, sampled);
		fprintf(out, "%7" PRIu64 "%7zu  ", group->sites, group->process_count);
		lt_out_safe(out, name);
		fputc('\n', out);
	}
	if (shown < report->group_count)
		fprintf(out, "      ... and %s more; --top N shows more, --format=json all\n",
			lt_out_count(number, report->group_count - shown));
	if (growth)
		fputs("\ngrowth: bytes per task that outlive it\n", out);
}

static uint64_t count_blocks(const struct lt_report *report)
{
	uint64_t count = 0;

	for (size_t i = 0; i < report->model->block_count; i++)
		count += lt_report_row_shown(report, &report->model->rows[report->model->blocks[i].site]);
	return count;
}

void lt_render_text_blocks(struct lt_report *report, FILE *out)
{
	const struct lt_intern *intern = report->merge->intern;
	uint64_t total = count_blocks(report), shown = 0;
	size_t limit = lt_report_shown(report, total);
	struct lt_stack stack = {0};
	uint32_t current = UINT32_MAX;
	char number[LT_OUT_NUMBER];

	fprintf(out, "%-18s %12s ", "address", "size");
	if (report->model->sampled)
		fprintf(out, "%10s ", "weight");
	fprintf(out, "%6s  %-34s %-9s %-14s %6s  %s\n", "depth", "function", "kind", "process", "task", "R call");
	for (size_t i = 0; i < report->model->block_count && shown < limit; i++) {
		const struct lt_live_block *block = &report->model->blocks[i];
		const struct lt_row *row = &report->model->rows[block->site];
		const struct lt_site *site = &report->model->sites[row->site];
		const struct lt_process *process = &report->merge->processes[block->process];
		const struct lt_shown_frame *function;
		LT_AUTO_FREE char *call = NULL;

		if (!lt_report_row_shown(report, row))
			continue;
		if (block->site != current) {
			lt_stack_clear(&stack);
			lt_stack_make(report->symbols, intern, site->native, &stack);
			current = block->site;
		}
		function = lt_stack_function(&stack);
		call = site->r ? lt_report_call(intern, &intern->rframes[site->r]) : lt_xstrdup("-");
		fprintf(out, "0x%-16" PRIx64 " %12" PRIu64 " ", block->address, block->size);
		if (report->model->sampled)
			fprintf(out, "%10" PRIu64 " ", lt_block_weight(report->model, block));
		fprintf(out, "%6u  ", stack.depth);
		lt_out_cell(out, function ? lt_frame_name(function) : "(no stack)", 34, 1);
		fprintf(out, " %-9s %-6s %-7" PRIu32 " ", lt_kind_names[block->kind], lt_lineage_role(process),
			process->record.key.pid);
		if (block->task)
			fprintf(out, "%6" PRIu32 "  ", block->task);
		else
			fprintf(out, "%6s  ", "-");
		lt_out_safe(out, call);
		fputc('\n', out);
		shown++;
	}
	if (shown < total)
		fprintf(out, "... and %s more blocks; no --top shows all\n", lt_out_count(number, total - shown));
	lt_stack_clear(&stack);
}
