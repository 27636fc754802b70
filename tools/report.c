/* SPDX-License-Identifier: MIT
 *
 * Makes a report: picks the processes, streams the dumps into the model, filters the rows.
 */
#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lineage.h"
#include "xalloc.h"

const char *const lt_by_names[LT_BY_COUNT] = {"site", "function", "module", "rcall", "process"};

/* An id names one process, a PID all images of all processes that had it. */
static bool names_process(const char *text, const struct lt_process *process)
{
	char *end;
	unsigned long pid;

	if (strcmp(text, process->id) == 0)
		return true;
	errno = 0;
	pid = strtoul(text, &end, 10);
	return !errno && end != text && !*end && pid == process->record.key.pid;
}

static int select_processes(struct lt_model *model, const struct lt_report_options *options, struct lt_notes *notes)
{
	struct lt_merge *merge = model->merge;

	if (!options->process_count)
		return 0;
	model->selected = lt_xcalloc(merge->process_count, sizeof *model->selected);
	for (size_t i = 0; i < options->process_count; i++) {
		bool found = false;

		for (uint32_t j = 0; j < merge->process_count; j++) {
			if (!names_process(options->processes[i], &merge->processes[j]))
				continue;
			model->selected[j] = true;
			found = true;
		}
		if (!found) {
			lt_note(notes, NULL, "no process %s in this session; `leaktrace ps` lists those that are there",
				options->processes[i]);
			return -ENOENT;
		}
	}
	return 0;
}

/* What --blocks cannot list, by process. */
static void note_unlisted(struct lt_report *report)
{
	struct lt_model *model = report->model;

	for (uint32_t i = 0; i < report->merge->process_count; i++) {
		const struct lt_process *process = &report->merge->processes[i];
		uint64_t live = process->allocations - process->frees;

		if (!process->loaded || !lt_model_selected(model, i))
			continue;
		if (!process->record.blocks_generation) {
			if (live)
				lt_note(report->notes, NULL, "process %s wrote no list of its blocks: %" PRIu64
					" live blocks are counted, but not listed", process->id, live);
			continue;
		}
		if (!(process->record.flags & LEAKTRACE_PROCESS_BLOCKS_FINAL))
			lt_note(report->notes, NULL, "process %s: the list of blocks is of an earlier moment: %" PRIu64
				" listed, %" PRIu64 " live", process->id, model->listed[i], live);
		else if (live > model->listed[i])
			lt_note(report->notes, NULL, "process %s: %" PRIu64 " of %" PRIu64 " live blocks are not listed",
				process->id, live - model->listed[i], live);
	}
}

bool lt_report_row_shown(const struct lt_report *report, const struct lt_row *row)
{
	const struct lt_report_options *options = report->options;

	return (!options->kinds || options->kinds & 1u << row->kind) && row->live.bytes >= options->min_bytes;
}

static void filter_rows(struct lt_report *report)
{
	struct lt_model *model = report->model;

	report->rows = lt_xcalloc(model->row_count, sizeof *report->rows);
	for (size_t i = 0; i < model->row_count; i++) {
		if (lt_report_row_shown(report, &model->rows[i]))
			report->rows[report->row_count++] = &model->rows[i];
	}
}

int lt_report_make(struct lt_merge *merge, const struct lt_report_options *options, struct lt_notes *notes,
		   struct lt_report *report)
{
	struct lt_sink sink;
	unsigned read;
	int error;

	memset(report, 0, sizeof *report);
	report->options = options;
	report->merge = merge;
	report->notes = notes;
	report->model = lt_model_new(merge, options->blocks, options->inherited);
	error = select_processes(report->model, options, notes);
	if (error)
		return error;
	sink = lt_model_sink(report->model);
	read = lt_merge_load(merge, lt_model_parts(report->model), &sink);
	if (!read) {
		lt_note(notes, NULL, "no dump could be read");
		return -EBADMSG;
	}
	lt_lineage_resolve(merge);
	lt_model_finish(report->model);
	if (report->model->unknown_inherited)
		lt_note(notes, NULL, "%" PRIu64 " inherited blocks were made by processes whose dumps are not here: not counted",
			report->model->unknown_inherited);
	if (options->blocks)
		note_unlisted(report);
	report->symbols = lt_symbols_new();
	if (options->suppressions)
		lt_suppress_rows(options->suppressions, report->symbols, report->model);
	filter_rows(report);
	if (options->by != LT_BY_SITE)
		lt_groups_make(report);
	return 0;
}

void lt_report_clear(struct lt_report *report)
{
	for (size_t i = 0; i < report->group_count; i++) {
		free(report->groups[i].name);
		free(report->groups[i].processes);
		free(report->groups[i].amounts);
	}
	free(report->groups);
	free(report->rows);
	if (report->symbols)
		lt_symbols_free(report->symbols);
	lt_model_free(report->model);
	memset(report, 0, sizeof *report);
}

size_t lt_report_shown(const struct lt_report *report, size_t count)
{
	uint64_t top = report->options->top;

	if (!top && report->options->format == LT_FORMAT_TEXT && !report->options->blocks)
		top = LT_TOP_TEXT;
	return top && top < count ? (size_t)top : count;
}

const struct lt_process *lt_report_first(const struct lt_report *report)
{
	for (uint32_t i = 0; i < report->merge->process_count; i++)
		if (report->merge->processes[i].loaded && lt_model_selected(report->model, i))
			return &report->merge->processes[i];
	return &report->merge->processes[0];
}

char *lt_report_call(const struct lt_intern *intern, const struct lt_rnode *node)
{
	const char *namespace = lt_intern_text(intern, node->namespace), *call = lt_intern_text(intern, node->call);
	const char *file = lt_intern_text(intern, node->file), *slash = strrchr(file, '/');

	if (slash && slash[1])
		file = slash + 1;
	if (!*file)
		return lt_xasprintf("%s%s%s()", namespace, *namespace ? "::" : "", call);
	return lt_xasprintf("%s%s%s() %s:%" PRIu32, namespace, *namespace ? "::" : "", call, file, node->line);
}

void lt_report_progress(size_t done, size_t total)
{
	static struct timespec last;
	static bool shown;
	struct timespec now;

	if (!isatty(STDERR_FILENO))
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (done >= total) {
		if (shown)
			fputs("\r\033[K", stderr);
		shown = false;
		return;
	}
	/* The first call only starts the clock: what is quick shows nothing. */
	if (!last.tv_sec) {
		last = now;
		return;
	}
	if ((now.tv_sec - last.tv_sec) * 1000 + (now.tv_nsec - last.tv_nsec) / 1000000 < 200)
		return;
	last = now;
	shown = true;
	fprintf(stderr, "\r\033[Kleaktrace: finding functions and lines: %zu of %zu sites", done, total);
	fflush(stderr);
}
