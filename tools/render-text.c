/* SPDX-License-Identifier: MIT
 *
 * The report for people: who ran and how it ended, what is missing, then the sites, native memory before R's heap.
 *
 * A site is a line of figures and below it two columns: native frames, and the R calls behind them. What a reader needs to
 * act on comes first in each: growth before size, the function before its callers. Long stacks are folded (--full unfolds).
 */
#include <inttypes.h>
#include <string.h>

#include "lineage.h"
#include "out.h"
#include "rank.h"
#include "report.h"
#include "spans.h"
#include "xalloc.h"

#define WIDTH 116
#define LEFT 66 /* the column of native frames, its indent included */
#define FRAMES_SHOWN 12
#define FRAMES_IN_R 2 /* shown of the frames inside R, below those of the user's code */
#define CALLS_SHOWN 10
#define PROCESSES_SHOWN 4

struct lines {
	char **texts;
	size_t count, room;
};

static void add_line(struct lines *lines, char *text)
{
	LT_GROW(lines->texts, lines->count, lines->room);
	lines->texts[lines->count++] = text;
}

static void clear_lines(struct lines *lines)
{
	for (size_t i = 0; i < lines->count; i++)
		free(lines->texts[i]);
	free(lines->texts);
	memset(lines, 0, sizeof *lines);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

static char *frame_line(const struct lt_shown_frame *frame, bool is_function)
{
	const char *mark = is_function ? "> " : "  ", *name = lt_frame_name(frame);
	int width = LEFT - 6;
	LT_AUTO_FREE char *place = NULL;

	if (frame->file)
		place = lt_xasprintf("%s:%" PRIu32 "%s", base_name(frame->file), frame->line, frame->inlined ? " (inlined)" : "");
	else
		place = lt_xasprintf("%s%s", frame->function && *frame->module ? frame->module : "",
				     frame->inlined ? " (inlined)" : "");
	/* The place stays whole; a long C++ name gives way. */
	int room = width - 2 - (int)strlen(place) - 2;

	if (room < 20)
		room = 20;
	if ((int)strlen(name) > room)
		return lt_xasprintf("%s%.*s...  %s", mark, room - 3, name, place);
	if (!*place)
		return lt_xasprintf("%s%s", mark, name);
	return lt_xasprintf("%s%-*s  %s", mark, room < 30 ? room : 30, name, place);
}

static void native_lines(const struct lt_report *report, const struct lt_stack *stack, bool cut, struct lines *lines)
{
	size_t shown = stack->count, in_r = 0;

	if (!report->options->full) {
		for (shown = 0; shown < stack->count && shown < stack->function + FRAMES_SHOWN; shown++) {
			in_r += shown > stack->function && stack->frames[shown].r;
			if (in_r > FRAMES_IN_R)
				break;
		}
		if (stack->count - shown == 1)
			shown++;
	}
	for (size_t i = 0; i < shown; i++)
		add_line(lines, frame_line(&stack->frames[i], i == stack->function));
	if (shown < stack->count)
		add_line(lines, lt_xasprintf("  ... %zu more frames", stack->count - shown));
	if (cut)
		add_line(lines, lt_xstrdup("  ... cut here, frames towards main are missing"));
	if (!stack->count)
		add_line(lines, lt_xstrdup("  (no native stack)"));
}

/* How base's tryCatch() works inside: three calls for each of the user's. */
static bool inside_try(const struct lt_intern *intern, const struct lt_rnode *node)
{
	static const char *const calls[] = {"doTryCatch", "tryCatchOne", "tryCatchList"};

	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
		if (strcmp(lt_intern_text(intern, node->call), calls[i]) == 0)
			return strcmp(lt_intern_text(intern, node->namespace), "base") == 0;
	return false;
}

static void r_lines(const struct lt_report *report, uint32_t r, bool cut, struct lines *lines)
{
	const struct lt_intern *intern = report->merge->intern;
	bool full = report->options->full;
	size_t shown = 0, total = 0;

	for (uint32_t i = r; i; i = intern->rframes[i].parent)
		total += full || !inside_try(intern, &intern->rframes[i]);
	for (; r && (full || shown < CALLS_SHOWN || total == CALLS_SHOWN + 1); r = intern->rframes[r].parent) {
		if (!full && inside_try(intern, &intern->rframes[r]))
			continue;
		add_line(lines, lt_report_call(intern, &intern->rframes[r]));
		shown++;
	}
	if (shown < total)
		add_line(lines, lt_xasprintf("... %zu more calls", total - shown));
	if (cut)
		add_line(lines, lt_xstrdup("... cut here"));
}

static char *process_list(const struct lt_report *report, const struct lt_row *row)
{
	char *text = NULL;
	size_t size;
	FILE *memory = open_memstream(&text, &size);

	if (!memory)
		return lt_xstrdup("?");
	for (size_t i = 0; i < row->pair_count && (i < PROCESSES_SHOWN || row->pair_count == PROCESSES_SHOWN + 1); i++) {
		const struct lt_process *process =
			&report->merge->processes[report->model->pairs[row->first_pair + i].process];

		fprintf(memory, "%s%s %" PRIu32, i ? ", " : "", lt_lineage_role(process), process->record.key.pid);
	}
	if (row->pair_count > PROCESSES_SHOWN + 1)
		fprintf(memory, " and %zu more", row->pair_count - PROCESSES_SHOWN);
	fclose(memory);
	return text;
}

static const char *plural(uint64_t number)
{
	return number == 1 ? "" : "s";
}

static const char *estimated_bytes(char *buffer, const struct lt_estimate *estimate)
{
	return lt_out_estimate(buffer, estimate->bytes, lt_standard_error(estimate->spread.bytes));
}

static const char *estimated_blocks(char *buffer, const struct lt_estimate *estimate)
{
	return lt_out_estimate(buffer, estimate->blocks, lt_standard_error(estimate->spread.blocks));
}

void lt_render_text_stacks(struct lt_report *report, const struct lt_site *site, FILE *out)
{
	struct lines native = {0}, r = {0};
	struct lt_stack stack;
	size_t lines;

	lt_stack_make(report->symbols, report->merge->intern, site->native, &stack);
	native_lines(report, &stack, site->flags & LEAKTRACE_SITE_CUT, &native);
	r_lines(report, site->r, site->flags & LEAKTRACE_SITE_R_CUT, &r);
	lines = native.count > r.count ? native.count : r.count;
	for (size_t i = 0; i < lines; i++) {
		fputs("     ", out);
		if (i < r.count) {
			lt_out_cell(out, i < native.count ? native.texts[i] : "", LEFT - 6, 1);
			fputs(i ? "    " : " R: ", out);
			lt_out_cell(out, r.texts[i], WIDTH - LEFT - 3, 0);
		} else {
			lt_out_cell(out, native.texts[i], r.count ? LEFT - 6 : WIDTH - 5, 0);
		}
		fputc('\n', out);
	}
	clear_lines(&native);
	clear_lines(&r);
	lt_stack_clear(&stack);
}

/* A finding, though R could still free it. */
static bool is_r_garbage(const struct lt_report *report, const struct lt_row *row)
{
	return row->kind == LT_KIND_REACHABLE && report->model->sites[row->site].r_garbage.blocks;
}

static void render_site(struct lt_report *report, const struct lt_row *row, FILE *out)
{
	const struct lt_site *site = &report->model->sites[row->site];
	const struct lt_growth *grown = lt_row_growth(report->model, row);
	LT_AUTO_FREE char *processes = process_list(report, row);
	char bytes[LT_OUT_ESTIMATE], blocks[LT_OUT_ESTIMATE], growth[LT_OUT_ESTIMATE], growth_blocks[LT_OUT_ESTIMATE];

	fprintf(out, "%4" PRIu32 ".  %s bytes in %s block%s", row->rank, estimated_bytes(bytes, &row->live),
		estimated_blocks(blocks, &row->live), plural(row->live.blocks));
	if (grown->bytes)
		fprintf(out, ", +%s bytes (%s block%s) per task",
			lt_out_estimated_mean(growth, lt_growth_bytes(grown), lt_growth_bytes_error(grown)),
			lt_out_estimated_mean(growth_blocks, lt_growth_blocks(grown), lt_growth_blocks_error(grown)),
			lt_growth_blocks(grown) == 1 ? "" : "s");
	else if (grown->tasks)
		fputs(", no growth", out);
	fprintf(out, "; %s; %s\n", lt_kind_names[row->kind], processes);
	if (is_r_garbage(report, row))
		fprintf(out, "      %s bytes in %s of them: held only by R objects that are garbage, whose finalizers have not run\n",
			lt_out_count(bytes, site->r_garbage.bytes), lt_out_count(blocks, site->r_garbage.blocks));
	lt_render_text_stacks(report, site, out);
	fputc('\n', out);
}

/* What is reachable comes in rows only if it is asked for, or grows with each task: a list that is never emptied, say. */
static bool is_row(const struct lt_report *report, const struct lt_row *row)
{
	return row->kind != LT_KIND_REACHABLE || report->options->kinds || is_r_garbage(report, row) ||
	       lt_row_growth(report->model, row)->bytes > 0;
}

static void render_part(struct lt_report *report, bool r_heap, FILE *out)
{
	char number[LT_OUT_NUMBER], size[LT_OUT_NUMBER], error[LT_OUT_NUMBER], blocks[LT_OUT_ESTIMATE];
	struct lt_estimate total = {0};
	size_t count = 0, reachable = 0, shown = 0, limit;

	for (size_t i = 0; i < report->row_count; i++) {
		if (lt_row_r_heap(report->model, report->rows[i]) != r_heap)
			continue;
		lt_estimate_add(&total, &report->rows[i]->live);
		if (is_row(report, report->rows[i]))
			count++;
		else
			reachable++;
	}
	if (!count && !reachable)
		return;
	limit = lt_report_shown(report, count);
	fprintf(out, "%s: %s", r_heap ? "R heap" : "Native memory", lt_out_size(size, total.bytes));
	if (total.spread.bytes)
		fprintf(out, " ± %s", lt_out_size(error, (uint64_t)fmin(lt_standard_error(total.spread.bytes), 1e18)));
	fprintf(out, " in %s block%s from %s site%s", estimated_blocks(blocks, &total), plural(total.blocks),
		lt_out_count(number, count + reachable), plural(count + reachable));
	fputs(r_heap ? " (taken by R's own allocator; R keeps and reuses it)\n\n" : "\n\n", out);
	for (size_t i = 0; i < report->row_count && shown < limit; i++) {
		if (lt_row_r_heap(report->model, report->rows[i]) != r_heap || !is_row(report, report->rows[i]))
			continue;
		render_site(report, report->rows[i], out);
		lt_report_progress(++shown, limit);
	}
	if (limit < count)
		fprintf(out, "      ... and %s more site%s; --top N shows more, --format=json all\n\n",
			lt_out_count(number, count - limit), plural(count - limit));
	if (reachable)
		fprintf(out, "      ... and %s site%s that %s still reachable; --kind=reachable shows %s\n\n", lt_out_count(number, reachable),
			plural(reachable), reachable == 1 ? "is" : "are", reachable == 1 ? "it" : "them");
}

static void render_roles(const struct lt_report *report, FILE *out)
{
	static const char *const names[] = {"other", "master", "fork", "psock"};
	static const unsigned order[] = {LEAKTRACE_ROLE_MASTER, LEAKTRACE_ROLE_PSOCK, LEAKTRACE_ROLE_FORK, LEAKTRACE_ROLE_OTHER};
	uint64_t roles[4] = {0}, ends[LT_END_COUNT] = {0}, total = 0, tasks = 0, partial = 0;
	char number[LT_OUT_NUMBER];
	const char *comma = "";

	for (uint32_t i = 0; i < report->merge->process_count; i++) {
		const struct lt_process *process = &report->merge->processes[i];

		if (!process->loaded || !lt_model_selected(report->model, i))
			continue;
		total++;
		roles[process->record.role < 4 ? process->record.role : 0]++;
		ends[process->end]++;
		tasks += lt_growth_tasks(&process->record);
		partial += process->partial;
	}
	fprintf(out, "%s process%s: ", lt_out_count(number, total), total == 1 ? "" : "es");
	for (size_t i = 0; i < 4; i++) {
		if (!roles[order[i]])
			continue;
		fprintf(out, "%s%s %s", comma, lt_out_count(number, roles[order[i]]), names[order[i]]);
		comma = ", ";
	}
	fputs("; ended by: ", out);
	comma = "";
	for (unsigned end = 0; end < LT_END_COUNT; end++) {
		if (!ends[end])
			continue;
		fprintf(out, "%s%s %s", comma, lt_out_count(number, ends[end]), end == LT_END_RUNNING ? "(still running)" :
			end == LT_END_UNKNOWN ? "unknown (killed?)" : lt_end_names[end]);
		comma = ", ";
	}
	if (tasks)
		fprintf(out, "; %s task%s", lt_out_count(number, tasks), plural(tasks));
	fputc('\n', out);
	if (partial)
		fprintf(out, "Incomplete: %s damaged dump%s (see the messages)\n", lt_out_count(number, partial), plural(partial));
}

/* Sites that are shown and whose stacks lack their outer frames: cut at option depth, or earlier. */
static void count_cut(const struct lt_report *report, uint64_t *cut, uint64_t *stopped)
{
	const struct lt_intern *intern = report->merge->intern;

	for (size_t i = 0; i < report->row_count; i++) {
		const struct lt_site *site = &report->model->sites[report->rows[i]->site];
		const struct lt_pair *pair = &report->model->pairs[report->rows[i]->first_pair];
		uint32_t depth = 0;

		if (!(site->flags & LEAKTRACE_SITE_CUT))
			continue;
		for (uint32_t node = site->native; node; node = intern->frames[node].parent)
			depth++;
		if (depth >= report->merge->processes[pair->process].record.depth)
			++*cut;
		else
			++*stopped;
	}
}

/* Why blocks have no kind, each reason once. */
static void render_verdicts_missing(const struct lt_report *report, FILE *out)
{
	const struct lt_merge *merge = report->merge;

	for (uint32_t i = 0; i < merge->process_count; i++) {
		const struct lt_process *process = &merge->processes[i];
		const struct leaktrace_verdict *verdict = &process->verdict;

		if (!process->loaded || !lt_model_selected(report->model, i) || !verdict->state)
			continue;
		if (verdict->state != LEAKTRACE_VERDICT_DONE) {
			fprintf(out, "Missing: verdict on %s %" PRIu32 ": ", lt_lineage_role(process), process->record.key.pid);
			if (verdict->note)
				lt_out_safe(out, lt_intern_text(merge->intern, verdict->note));
			else
				fputs(verdict->state == LEAKTRACE_VERDICT_RUNNING ? "its classifier was killed, or is still at work" : "it failed",
				      out);
			fputc('\n', out);
		} else if (verdict->note) {
			fprintf(out, "Verdict on %s %" PRIu32 ": ", lt_lineage_role(process), process->record.key.pid);
			lt_out_safe(out, lt_intern_text(merge->intern, verdict->note));
			fputc('\n', out);
		}
	}
}

/* Behind a column of numbers: " ± 1,234", or nothing. */
static const char *error_of_bytes(char *buffer, const struct lt_estimate *estimate)
{
	char text[LT_OUT_ESTIMATE];
	const char *mark = strstr(estimated_bytes(text, estimate), " ±");

	return strcpy(buffer, mark ? mark : "");
}

/* Valgrind's summary, in its words. */
static void render_summary(const struct lt_report *report, FILE *out)
{
	static const struct {
		enum lt_kind kind;
		const char *name;
	} lines[] = {
		{LT_KIND_DEFINITE, "definitely lost"}, {LT_KIND_INDIRECT, "indirectly lost"}, {LT_KIND_POSSIBLE, "possibly lost"},
		{LT_KIND_REACHABLE, "still reachable"}, {LT_KIND_UNKNOWN, "not classified"}, {LT_KIND_SUPPRESSED, "suppressed"},
	};
	uint64_t classified = 0, all = 0, exact = 0;
	char bytes[LT_OUT_NUMBER], blocks[LT_OUT_ESTIMATE], number[LT_OUT_NUMBER];

	for (uint32_t i = 0; i < report->merge->process_count; i++) {
		const struct lt_process *process = &report->merge->processes[i];

		if (!process->loaded || !lt_model_selected(report->model, i))
			continue;
		all++;
		classified += lt_process_classified(process);
		exact += process->verdict.state == LEAKTRACE_VERDICT_DONE && process->verdict.flags & LEAKTRACE_VERDICT_R_EXACT;
	}
	if (!classified)
		return;
	fprintf(out, "\nLeaks, of native memory and R's heap together; %s of %s process%s classified", lt_out_count(number, classified),
		lt_out_count(bytes, all), all == 1 ? "" : "es");
	if (exact)
		fprintf(out, ", %s after a collection of R's garbage", lt_out_count(number, exact));
	fputs(":\n", out);
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		const struct lt_estimate *total = &report->model->totals[lines[i].kind], *garbage = &report->model->r_garbage;

		if (i < 4 || total->blocks)
			fprintf(out, "  %-15s %15s%s bytes in %s block%s\n", lines[i].name, lt_out_count(bytes, total->bytes),
				error_of_bytes(number, total), estimated_blocks(blocks, total), plural(total->blocks));
		if (lines[i].kind == LT_KIND_REACHABLE && garbage->blocks)
			fprintf(out, "  %-15s %15s%s bytes in %s block%s, only from R objects that wait for their finalizers\n", "  of these",
				lt_out_count(bytes, garbage->bytes), error_of_bytes(number, garbage), estimated_blocks(blocks, garbage),
				plural(garbage->blocks));
	}
}

/* Before any figure. */
static void render_sampled(const struct lt_report *report, FILE *out)
{
	const struct lt_model *model = report->model;
	char number[LT_OUT_NUMBER], least[LT_OUT_NUMBER], most[LT_OUT_NUMBER];

	if (!model->sampled)
		return;
	fprintf(out, "Sampled: figures of %s process%s are estimates, from samples of one allocation in %s",
		lt_out_count(number, model->sampled), model->sampled == 1 ? "" : "es", lt_out_size(least, model->sample_least));
	if (model->sample_most != model->sample_least)
		fprintf(out, " to %s", lt_out_size(most, model->sample_most));
	fputs("; ± is the standard error\n", out);
}

static void render_recorded(const struct lt_report *report, FILE *out)
{
	uint64_t partly = 0, never = 0, spans = 0;
	char number[LT_OUT_NUMBER], times[LT_OUT_NUMBER];
	double seconds = 0;

	for (size_t i = 0; i < report->merge->process_count; i++) {
		int64_t recorded = lt_spans_recorded(&report->merge->processes[i]);

		partly += recorded > 0;
		never += recorded == 0;
		seconds += recorded > 0 ? (double)recorded / 1e9 : 0;
		if (recorded > 0) {
			size_t count;

			free(lt_spans_make(report->merge, (uint32_t)i, &count));
			spans += count;
		}
	}
	if (partly)
		fprintf(out, "Recorded in part: %s process%s, for %.1f s in %s span%s; what was allocated at other times is not in here\n",
			lt_out_count(number, partly), partly == 1 ? "" : "es", seconds, lt_out_count(times, spans), plural(spans));
	if (never)
		fprintf(out, "Never recorded: %s process%s\n", lt_out_count(number, never), never == 1 ? "" : "es");
}

/* What the tracer itself took. Dumps of an older library don't say. */
static void render_tracer(const struct lt_report *report, FILE *out)
{
	uint64_t most = 0, dumps = 0, largest = 0, count = 0;
	char memory[LT_OUT_NUMBER], all[LT_OUT_NUMBER], one[LT_OUT_NUMBER], number[LT_OUT_NUMBER];

	for (uint32_t i = 0; i < report->merge->process_count; i++) {
		const struct leaktrace_process *record = &report->merge->processes[i].record;

		if (!report->merge->processes[i].loaded || !lt_model_selected(report->model, i) || !record->dump_bytes)
			continue;
		count++;
		dumps = lt_add(dumps, record->dump_bytes);
		largest = record->dump_bytes > largest ? record->dump_bytes : largest;
		most = record->tracer_peak_bytes > most ? record->tracer_peak_bytes : most;
	}
	if (!count)
		return;
	fprintf(out, "Leaktrace itself: %s of memory%s, %s in %s dump%s", lt_out_size(memory, most), count > 1 ? " in a process at most" : "",
		lt_out_size(all, dumps), lt_out_count(number, count), plural(count));
	if (count > 1)
		fprintf(out, " of %s at most", lt_out_size(one, largest));
	fputc('\n', out);
}

/* Prints "what: figure (processes)" for a fault that some processes have. */
static void render_missing(const struct lt_report *report, FILE *out)
{
	const struct lt_intern *intern = report->merge->intern;
	uint64_t cut = 0, stopped = 0, dropped = 0, events = 0, unlisted = 0, full = 0, lost = 0, no_stacks = 0;
	char number[LT_OUT_NUMBER];

	for (uint32_t i = 0; i < report->merge->process_count; i++) {
		const struct lt_process *process = &report->merge->processes[i];
		const struct leaktrace_process *record = &process->record;
		const char *note = lt_intern_text(intern, record->r_note);

		if (!process->loaded || !lt_model_selected(report->model, i))
			continue;
		lost += process->lost_stacks;
		dropped = lt_add(dropped, record->dropped_allocations);
		unlisted = lt_add(unlisted, lt_process_unlisted(process));
		events = lt_add(events, record->dropped_events);
		full += record->flags & LEAKTRACE_PROCESS_FULL ? 1 : 0;
		no_stacks += record->flags & LEAKTRACE_PROCESS_NATIVE_STACKS ? 0 : 1;
		if (record->flags & LEAKTRACE_PROCESS_R && !(record->flags & LEAKTRACE_PROCESS_R_STACKS)) {
			fprintf(out, "Missing: R calls of %s %" PRIu32 ": ", lt_lineage_role(process), record->key.pid);
			lt_out_safe(out, *note ? note : "R had not started");
			fputc('\n', out);
		}
	}
	for (size_t i = 0; i < report->merge->tracer_note_count; i++) {
		const struct lt_tracer_note *note = &report->merge->tracer_notes[i];

		if (!lt_model_selected(report->model, note->process))
			continue;
		fprintf(out, "Note of %s %" PRIu32 ": ", lt_lineage_role(&report->merge->processes[note->process]),
			report->merge->processes[note->process].record.key.pid);
		lt_out_safe(out, lt_intern_text(intern, note->text));
		fputc('\n', out);
	}
	if (no_stacks)
		fprintf(out, "Missing: native stacks of %s process%s\n", lt_out_count(number, no_stacks), no_stacks == 1 ? "" : "es");
	count_cut(report, &cut, &stopped);
	if (cut)
		fprintf(out, "Missing: outer frames of %s site%s, cut at option depth\n", lt_out_count(number, cut), plural(cut));
	if (stopped)
		fprintf(out, "Missing: outer frames of %s site%s, where unwinding found no way on\n", lt_out_count(number, stopped),
			plural(stopped));
	if (lost)
		fprintf(out, "Missing: stacks of %s site%s, lost with damaged parts\n", lt_out_count(number, lost), plural(lost));
	if (dropped)
		fprintf(out, "Missing: %s allocation%s that could not be recorded\n", lt_out_count(number, dropped), plural(dropped));
	if (full)
		fprintf(out, "Missing: %s dump%s reached max_size, or the disk was full\n", lt_out_count(number, full), plural(full));
	if (unlisted)
		fprintf(out, "Missing: %s block%s in the list of blocks\n", lt_out_count(number, unlisted), plural(unlisted));
	render_verdicts_missing(report, out);
	if (events)
		fprintf(out, "Missing: %s event%s (forks, ends of children, marks)\n", lt_out_count(number, events), plural(events));
}

/* What option check found. */
static void render_checked(const struct lt_report *report, FILE *out)
{
	uint64_t stacks = 0, wrong = 0, r_stacks = 0, wrong_r = 0;
	char number[4][LT_OUT_NUMBER];

	for (uint32_t i = 0; i < report->merge->process_count; i++) {
		const struct leaktrace_process *record = &report->merge->processes[i].record;

		stacks = lt_add(stacks, record->checked_stacks);
		wrong = lt_add(wrong, record->wrong_stacks);
		r_stacks = lt_add(r_stacks, record->checked_r_stacks);
		wrong_r = lt_add(wrong_r, record->wrong_r_stacks);
	}
	if (stacks || r_stacks)
		fprintf(out, "Checked: %s native stacks, of which %s differ from libunwind's; %s R stacks, of which %s differ from a full walk's\n",
			lt_out_count(number[0], stacks), lt_out_count(number[1], wrong), lt_out_count(number[2], r_stacks),
			lt_out_count(number[3], wrong_r));
}

static void render_header(const struct lt_report *report, FILE *out)
{
	const struct lt_intern *intern = report->merge->intern;
	const struct lt_process *first = lt_report_first(report);
	char started[LT_OUT_NUMBER];

	fputs("Session ", out);
	lt_out_safe(out, first->record.session ? lt_intern_text(intern, first->record.session) : "(unnamed)");
	if (first->record.host) {
		fputs(" on ", out);
		lt_out_safe(out, lt_intern_text(intern, first->record.host));
	}
	fprintf(out, ", started %s", lt_out_time(started, first->record.start_ns));
	if (first->record.dir) {
		fputs("\nin ", out);
		lt_out_safe(out, lt_intern_text(intern, first->record.dir));
	}
	fputc('\n', out);
	render_roles(report, out);
	render_sampled(report, out);
	render_recorded(report, out);
	render_tracer(report, out);
	render_missing(report, out);
	render_checked(report, out);
	render_summary(report, out);
	fputc('\n', out);
}

void lt_render_text(struct lt_report *report, FILE *out)
{
	render_header(report, out);
	if (report->options->blocks) {
		lt_render_text_blocks(report, out);
	} else if (report->options->by != LT_BY_SITE) {
		lt_render_text_groups(report, out);
	} else {
		if (!report->row_count)
			fputs("No live blocks.\n", out);
		render_part(report, false, out);
		render_part(report, true, out);
	}
}
