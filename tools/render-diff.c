/* SPDX-License-Identifier: MIT
 *
 * The comparison of two sessions, as text, JSON and CSV: totals of each change, then the rows.
 */
#include <inttypes.h>
#include <string.h>

#include "diff.h"
#include "out.h"
#include "render-json.h"

static size_t limit(const struct lt_diff *diff)
{
	uint64_t top = diff->options->top;

	if (!top && diff->options->format == LT_FORMAT_TEXT)
		top = LT_TOP_TEXT;
	return top && top < diff->shown_count ? (size_t)top : diff->shown_count;
}

static const char *kind_name(const struct lt_diff_half *half)
{
	return half->kind < LT_KIND_COUNT ? lt_kind_names[half->kind] : "";
}

/* "+1,024", "-512", "0" */
static const char *change_text(char buffer[LT_OUT_NUMBER + 1], uint64_t a, uint64_t b)
{
	char number[LT_OUT_NUMBER];

	snprintf(buffer, LT_OUT_NUMBER + 1, "%s%s", b > a ? "+" : b < a ? "-" : "", lt_out_count(number, b > a ? b - a : a - b));
	return buffer;
}

/* Whose figures are estimates, and what that hides. */
static void text_sampled(const struct lt_diff *diff, FILE *out)
{
	char number[LT_OUT_NUMBER];

	if (!lt_diff_sampled(diff))
		return;
	fprintf(out, "Sampled: figures of %s are estimates, ± is the standard error; sites that differ by %d of them or less count as "
		"unchanged (%s)\n",
		!diff->sides[1].model->sampled ? "A" : !diff->sides[0].model->sampled ? "B" : "both", LT_SURE,
		lt_out_count(number, diff->by_chance));
}

static void text_session(const struct lt_report *report, char side, FILE *out)
{
	const struct lt_intern *intern = report->merge->intern;
	const struct lt_process *first = lt_report_first(report);
	char started[LT_OUT_NUMBER], number[LT_OUT_NUMBER];
	uint64_t processes = 0, tasks = 0;

	for (uint32_t i = 0; i < report->merge->process_count; i++) {
		processes += report->merge->processes[i].loaded;
		if (report->merge->processes[i].loaded)
			tasks += lt_growth_tasks(&report->merge->processes[i].record);
	}
	fprintf(out, "%c: session ", side);
	lt_out_safe(out, first->record.session ? lt_intern_text(intern, first->record.session) : "(unnamed)");
	fprintf(out, ", started %s, %s process%s", lt_out_time(started, first->record.start_ns), lt_out_count(number, processes),
		processes == 1 ? "" : "es");
	if (tasks)
		fprintf(out, ", %s task%s", lt_out_count(number, tasks), tasks == 1 ? "" : "s");
	if (first->record.dir) {
		fputs(", in ", out);
		lt_out_safe(out, lt_intern_text(intern, first->record.dir));
	}
	fputc('\n', out);
}

static void text_total(const char *name, const struct lt_diff_total *total, bool rows, bool sampled, FILE *out)
{
	char sites[LT_OUT_NUMBER], a[LT_OUT_NUMBER], b[LT_OUT_NUMBER], change[LT_OUT_NUMBER + 1];

	fprintf(out, "%-14s %8s %16s %16s %16s", name, rows ? lt_out_count(sites, total->sites) : "",
		lt_out_count(a, total->live[0].bytes), lt_out_count(b, total->live[1].bytes),
		change_text(change, total->live[0].bytes, total->live[1].bytes));
	if (sampled)
		fprintf(out, " %16s", lt_out_rounded(a, lt_standard_error(lt_variance_add(total->live[0].spread.bytes,
											  total->live[1].spread.bytes))));
	fputc('\n', out);
}

static void text_totals(const struct lt_diff *diff, FILE *out)
{
	bool sampled = lt_diff_sampled(diff);

	fprintf(out, "\n%-14s %8s %16s %16s %16s", "", "sites", "bytes in A", "bytes in B", "change");
	if (sampled)
		fprintf(out, " %16s", "std. error");
	fputc('\n', out);
	for (int change = 0; change < LT_CHANGE_COUNT; change++)
		text_total(lt_change_names[change], &diff->changes[change], true, sampled, out);
	if (diff->aside.sites)
		text_total(diff->options->kinds ? "other kinds" : "not compared", &diff->aside, false, sampled, out);
	if (diff->r_heap.sites)
		text_total("R's own heap", &diff->r_heap, false, sampled, out);
	fputc('\n', out);
}

static void text_growth(const struct lt_diff_row *row, FILE *out)
{
	char number[LT_OUT_ESTIMATE];

	if (!row->half[0].growth_bytes && !row->half[1].growth_bytes)
		return;
	fputs("; per task ", out);
	for (unsigned side = 0; side < 2; side++) {
		const struct lt_diff_half *half = &row->half[side];

		/* Without a site there is no growth either; with one in processes that count no tasks, nobody knows. */
		fprintf(out, "%s%s", side ? " -> " : "",
			half->has_growth || !half->sites ?
			lt_out_estimated_mean(number, half->growth_bytes, sqrt(half->growth_bytes_variance)) : "?");
	}
}

static void text_row(struct lt_diff *diff, const struct lt_diff_row *row, size_t rank, FILE *out)
{
	const struct lt_diff_half *a = &row->half[0], *b = &row->half[1];
	unsigned side = lt_diff_side(row);
	double error;
	char change[LT_OUT_NUMBER + 1], from[LT_OUT_ESTIMATE], to[LT_OUT_ESTIMATE];

	fprintf(out, "%4zu.  %s: %s", rank, lt_change_names[row->change], change_text(change, a->live.bytes, b->live.bytes));
	error = lt_standard_error(lt_diff_variance(row));
	if (error > 0)
		fprintf(out, " ± %s", lt_out_rounded(from, error));
	fputs(" bytes", out);
	if (row->change == LT_CHANGE_GROWN || row->change == LT_CHANGE_SHRUNK)
		fprintf(out, " (%s -> %s)", lt_out_count(from, a->live.bytes), lt_out_count(to, b->live.bytes));
	fprintf(out, ", blocks %s -> %s", lt_out_estimate(from, a->live.blocks, lt_standard_error(a->live.spread.blocks)),
		lt_out_estimate(to, b->live.blocks, lt_standard_error(b->live.spread.blocks)));
	text_growth(row, out);
	fprintf(out, "; %s%s%s%s", kind_name(a), *kind_name(a) && *kind_name(b) && a->kind != b->kind ? " -> " : "",
		*kind_name(a) && a->kind == b->kind ? "" : kind_name(b), row->r_heap ? "; R's heap" : "");
	if (row->same_each)
		fprintf(out, "; the same in each process, %" PRIu32 " -> %" PRIu32, a->processes, b->processes);
	fputs(row->match == LT_MATCH_SHAPE ? "; matched by shape\n" : row->match == LT_MATCH_FUNCTION ? "; matched by function\n" :
	      "\n", out);
	lt_render_text_stacks(&diff->sides[side], lt_diff_site(diff, row), out);
	fputc('\n', out);
}

static void render_text(struct lt_diff *diff, FILE *out)
{
	size_t shown = limit(diff);
	char number[LT_OUT_NUMBER];

	text_session(&diff->sides[0], 'A', out);
	text_session(&diff->sides[1], 'B', out);
	text_sampled(diff, out);
	text_totals(diff, out);
	for (size_t i = 0; i < shown; i++)
		text_row(diff, diff->shown[i], i + 1, out);
	if (shown < diff->shown_count)
		fprintf(out, "      ... and %s more site%s; --top N shows more, --format=json all\n",
			lt_out_count(number, diff->shown_count - shown), diff->shown_count - shown == 1 ? "" : "s");
}

static json_t *json_total(const struct lt_diff_total *total, bool rows, bool sampled)
{
	json_t *object = json_object();

	if (rows)
		json_object_set_new(object, "sites", json_integer((json_int_t)total->sites));
	json_object_set_new(object, "a", lt_json_estimate(sampled, &total->live[0]));
	json_object_set_new(object, "b", lt_json_estimate(sampled, &total->live[1]));
	return object;
}

static json_t *json_totals(const struct lt_diff *diff)
{
	json_t *totals = json_object();

	for (int change = 0; change < LT_CHANGE_COUNT; change++)
		json_object_set_new(totals, lt_change_names[change], json_total(&diff->changes[change], true, lt_diff_sampled(diff)));
	if (lt_diff_sampled(diff))
		json_object_set_new(json_object_get(totals, lt_change_names[LT_CHANGE_UNCHANGED]), "within_error",
				    json_integer((json_int_t)diff->by_chance));
	json_object_set_new(totals, "not_compared", json_total(&diff->aside, false, lt_diff_sampled(diff)));
	json_object_set_new(totals, "r_heap", json_total(&diff->r_heap, false, lt_diff_sampled(diff)));
	return totals;
}

static json_t *json_growth(const struct lt_diff_half *half, bool sampled)
{
	json_t *growth = lt_json_growth(half->has_growth, half->growth_bytes, half->growth_blocks);

	if (sampled)
		lt_json_growth_errors(growth, sqrt(half->growth_bytes_variance), sqrt(half->growth_blocks_variance));
	return growth;
}

static json_t *json_row(struct lt_diff *diff, const struct lt_diff_row *row)
{
	const struct lt_report *report = &diff->sides[lt_diff_side(row)];
	const struct lt_site *site = lt_diff_site(diff, row);
	const struct lt_diff_half *a = &row->half[0], *b = &row->half[1];
	const struct lt_shown_frame *function;
	json_t *object = json_object();
	struct lt_stack stack;

	lt_stack_make(report->symbols, report->merge->intern, site->native, &stack);
	function = lt_stack_function(&stack);
	json_object_set_new(object, "state", lt_json_string(lt_change_names[row->change]));
	json_object_set_new(object, "function", lt_json_string(function ? lt_frame_name(function) : NULL));
	json_object_set_new(object, "module", lt_json_string(function ? function->path : NULL));
	json_object_set_new(object, "file", lt_json_string(function ? function->file : NULL));
	json_object_set_new(object, "line", function && function->line ? json_integer(function->line) : json_null());
	json_object_set_new(object, "a", lt_json_estimate(lt_diff_sampled(diff), &a->live));
	json_object_set_new(object, "b", lt_json_estimate(lt_diff_sampled(diff), &b->live));
	json_object_set_new(object, "kind_a", lt_json_string(kind_name(a)));
	json_object_set_new(object, "kind_b", lt_json_string(kind_name(b)));
	json_object_set_new(object, "r_heap", json_boolean(row->r_heap));
	json_object_set_new(object, "matched", a->sites && b->sites ? lt_json_string(lt_match_names[row->match]) : json_null());
	json_object_set_new(object, "growth_per_task_a", json_growth(a, lt_diff_sampled(diff)));
	json_object_set_new(object, "growth_per_task_b", json_growth(b, lt_diff_sampled(diff)));
	json_object_set_new(object, "processes_a", json_integer(a->processes));
	json_object_set_new(object, "processes_b", json_integer(b->processes));
	json_object_set_new(object, "same_in_each_process", json_boolean(row->same_each));
	json_object_set_new(object, "native", lt_json_native(&stack));
	json_object_set_new(object, "r", lt_json_r(report->merge->intern, site->r));
	lt_stack_clear(&stack);
	return object;
}

static void render_json(struct lt_diff *diff, FILE *out)
{
	size_t shown = limit(diff);

	fputs("{\"format\":\"leaktrace-diff\",\"version\":1,\n", out);
	lt_json_emit(out, "\"a\":", lt_json_session(&diff->sides[0]));
	lt_json_emit(out, ",\n\"b\":", lt_json_session(&diff->sides[1]));
	lt_json_emit(out, ",\n\"totals\":", json_totals(diff));
	fputs(",\n\"sites\":[", out);
	for (size_t i = 0; i < shown; i++)
		lt_json_emit(out, i ? ",\n" : "\n", json_row(diff, diff->shown[i]));
	fputs("]}\n", out);
}

static void csv_growth(const struct lt_diff_half *half, FILE *out)
{
	if (half->has_growth)
		fprintf(out, "%.16g,%.16g,", half->growth_bytes, half->growth_blocks);
	else
		fputs(",,", out);
}

static void render_csv(struct lt_diff *diff, FILE *out)
{
	size_t shown = limit(diff);

	fputs("state,kind_a,kind_b,r_heap,bytes_a,bytes_b,blocks_a,blocks_b,processes_a,processes_b,growth_bytes_per_task_a,"
	      "growth_blocks_per_task_a,growth_bytes_per_task_b,growth_blocks_per_task_b,function,module,native,r", out);
	fputs(lt_diff_sampled(diff) ? ",bytes_se_a,bytes_se_b,blocks_se_a,blocks_se_b\n" : "\n", out);
	for (size_t i = 0; i < shown; i++) {
		const struct lt_diff_row *row = diff->shown[i];
		const struct lt_diff_half *a = &row->half[0], *b = &row->half[1];
		struct lt_report *report = &diff->sides[lt_diff_side(row)];
		const struct lt_site *site = lt_diff_site(diff, row);
		const struct lt_shown_frame *function;
		struct lt_stack stack;

		lt_stack_make(report->symbols, report->merge->intern, site->native, &stack);
		function = lt_stack_function(&stack);
		fprintf(out, "%s,%s,%s,%s,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu32 ",%" PRIu32 ",",
			lt_change_names[row->change], kind_name(a), kind_name(b), row->r_heap ? "true" : "false", a->live.bytes,
			b->live.bytes, a->live.blocks, b->live.blocks, a->processes, b->processes);
		csv_growth(a, out);
		csv_growth(b, out);
		lt_render_csv_field(out, function ? lt_frame_name(function) : "");
		fputc(',', out);
		lt_render_csv_field(out, function ? function->path : "");
		fputc(',', out);
		lt_render_csv_stacks(report, site, out);
		if (lt_diff_sampled(diff))
			fprintf(out, ",%.16g,%.16g,%.16g,%.16g", lt_standard_error(a->live.spread.bytes),
				lt_standard_error(b->live.spread.bytes), lt_standard_error(a->live.spread.blocks),
				lt_standard_error(b->live.spread.blocks));
		fputc('\n', out);
		lt_stack_clear(&stack);
	}
}

void lt_render_diff(struct lt_diff *diff, FILE *out)
{
	switch (diff->options->format) {
	case LT_FORMAT_JSON:
		render_json(diff, out);
		break;
	case LT_FORMAT_CSV:
		render_csv(diff, out);
		break;
	default:
		render_text(diff, out);
	}
}
