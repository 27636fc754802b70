/* SPDX-License-Identifier: MIT
 *
 * The rules that had hits, as LeakSanitizer prints them; and rules for the leaks that are left.
 */
#include <inttypes.h>
#include <string.h>

#include "out.h"
#include "rank.h"
#include "report.h"
#include "suppress.h"
#include "xalloc.h"

#define LINE "-----------------------------------------------------\n"

void lt_render_suppressions(const struct lt_report *report, FILE *out)
{
	const struct lt_suppressions *suppressions = report->options->suppressions;
	bool any = false;

	for (size_t i = 0; suppressions && i < suppressions->count; i++) {
		const struct lt_suppression *rule = &suppressions->rules[i];
		LT_AUTO_FREE char *text = NULL;

		if (!rule->sites)
			continue;
		if (!any)
			fputs(LINE "Suppressions used:\n  count      bytes template\n", out);
		any = true;
		text = lt_suppression_text(rule);
		fprintf(out, "%7" PRIu64 " %10" PRIu64 " ", rule->hits.blocks, rule->hits.bytes);
		lt_out_safe(out, text);
		fputc('\n', out);
	}
	if (any)
		fputs(LINE, out);
}

/* Lines to be printed: one for all leaks that it covers. */
struct line {
	char *text;
	struct lt_amount amount;
	uint64_t sites;
	unsigned kinds;
};

/* Whose functions are called from everywhere: a rule for one of them would hide much more than the leak at hand. */
static bool is_common(const struct lt_shown_frame *frame)
{
	static const char *const modules[] = {"libc.so.", "libc-2.", "ld-linux", "ld-2.", "libm.so.", "libstdc++.so", "libpthread",
					      "libgcc_s.so", "libgomp.so"};

	if (frame->r)
		return true;
	for (size_t i = 0; i < sizeof modules / sizeof *modules; i++)
		if (strncmp(frame->module, modules[i], strlen(modules[i])) == 0)
			return true;
	return false;
}

/* Start-up code lies below every stack. */
static bool is_start(const char *function)
{
	static const char *const functions[] = {"main", "_start", "_init", "start_thread", "clone", "__clone", "clone3",
						"__clone3"};

	for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
		if (strcmp(function, functions[i]) == 0)
			return true;
	return strncmp(function, "__libc_start_", 13) == 0;
}

/* A rule for just this name. `$` within a name would be an end, `*` there may stay: it matches itself. */
static char *exact_rule(const char *type, const char *name)
{
	char *rule = lt_xasprintf("%s^%s$", type, name);
	size_t prefix = strlen(type), length = strlen(rule);

	for (size_t i = prefix; i + 1 < length; i++)
		if (rule[i] == '$' || (unsigned char)rule[i] < ' ')
			rule[i] = '*';
	/* "^a*b$" takes the first b, see lt_suppress_pattern(). */
	if (!lt_suppress_pattern(rule + prefix, name))
		rule[length - 1] = '\0';
	return rule;
}

/* The innermost function of a module that is not shared by all; else the innermost R call outside R's own machinery; else
 * any function, any R call, the module. */
static char *make_rule(const struct lt_intern *intern, const struct lt_site *site, const struct lt_stack *stack)
{
	const struct lt_shown_frame *function = NULL;
	uint32_t call = 0;

	for (size_t i = stack->function; i < stack->count; i++)
		if (stack->frames[i].function && !is_common(&stack->frames[i]) && !is_start(stack->frames[i].function))
			return exact_rule("leak:", stack->frames[i].function);
	for (uint32_t r = site->r; r && !call; r = intern->rframes[r].parent) {
		const char *namespace = lt_intern_text(intern, intern->rframes[r].namespace);
		bool anonymous = *lt_intern_text(intern, intern->rframes[r].call) == '<';

		if (!anonymous && strcmp(namespace, "base") && strcmp(namespace, "compiler"))
			call = r;
	}
	if (call) {
		const char *namespace = lt_intern_text(intern, intern->rframes[call].namespace);
		LT_AUTO_FREE char *name = lt_xasprintf("%s%s%s", namespace, *namespace ? "::" : "",
						       lt_intern_text(intern, intern->rframes[call].call));

		return exact_rule("r:", name);
	}
	for (size_t i = stack->function; i < stack->count && !function; i++)
		if (stack->frames[i].function && !is_start(stack->frames[i].function))
			function = &stack->frames[i];
	if (function)
		return exact_rule("leak:", function->function);
	if (stack->count && *stack->frames[stack->function].path)
		return exact_rule("leak:", stack->frames[stack->function].path);
	return NULL;
}

static int by_bytes(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	if (x->amount.bytes != y->amount.bytes)
		return x->amount.bytes > y->amount.bytes ? -1 : 1;
	return strcmp(x->text, y->text);
}

static void add_line(struct line **lines, size_t *count, size_t *room, char *text, const struct lt_row *row)
{
	struct line *line = NULL;

	for (size_t i = 0; i < *count && !line; i++)
		if (strcmp((*lines)[i].text, text) == 0)
			line = &(*lines)[i];
	if (line) {
		free(text);
	} else {
		LT_GROW(*lines, *count, *room);
		line = &(*lines)[(*count)++];
		*line = (struct line){.text = text};
	}
	line->amount.bytes = lt_add(line->amount.bytes, row->live.bytes);
	line->amount.blocks = lt_add(line->amount.blocks, row->live.blocks);
	line->sites++;
	line->kinds |= LT_KIND_BIT(row->kind);
}

void lt_render_gen_suppressions(struct lt_report *report, FILE *out)
{
	char bytes[LT_OUT_NUMBER], blocks[LT_OUT_NUMBER];
	struct line *lines = NULL;
	size_t count = 0, room = 0;
	uint64_t nameless = 0;

	for (size_t i = 0; i < report->row_count; i++) {
		const struct lt_row *row = report->rows[i];
		const struct lt_site *site = &report->model->sites[row->site];
		struct lt_stack stack;
		char *text;

		if (lt_row_r_heap(report->model, row) || !(LT_KINDS_LEAKS & LT_KIND_BIT(row->kind)))
			continue;
		lt_stack_make(report->symbols, report->merge->intern, site->native, &stack);
		text = make_rule(report->merge->intern, site, &stack);
		lt_stack_clear(&stack);
		lt_report_progress(i + 1, report->row_count);
		if (text)
			add_line(&lines, &count, &room, text, row);
		else
			nameless++;
	}
	lt_report_progress(1, 1);
	if (count)
		qsort(lines, count, sizeof *lines, by_bytes);
	for (size_t i = 0; i < count; i++) {
		const char *comma = "";

		fprintf(out, "# %s bytes in %s block%s (", lt_out_count(bytes, lines[i].amount.bytes),
			lt_out_count(blocks, lines[i].amount.blocks), lines[i].amount.blocks == 1 ? "" : "s");
		for (int kind = 0; kind < LT_KIND_COUNT; kind++) {
			if (!(lines[i].kinds & LT_KIND_BIT(kind)))
				continue;
			fprintf(out, "%s%s", comma, lt_kind_names[kind]);
			comma = ", ";
		}
		fprintf(out, ") from %" PRIu64 " site%s\n", lines[i].sites, lines[i].sites == 1 ? "" : "s");
		lt_out_safe(out, lines[i].text);
		fputc('\n', out);
		free(lines[i].text);
	}
	if (nameless)
		fprintf(out, "# %" PRIu64 " more without a stack: no rule matches these\n", nameless);
	free(lines);
}
