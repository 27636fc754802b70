/* SPDX-License-Identifier: MIT
 *
 * leaktrace report
 */
#include "cmd-report.h"

#include <limits.h>
#include <string.h>

#include "out.h"
#include "session.h"
#include "xalloc.h"

struct arguments {
	const struct lt_command *command;
	struct lt_report_options report;
	struct lt_fail_on fail_on;
	struct lt_suppress_arguments suppress;
	const char **processes;
	size_t process_count, process_room;
};

bool lt_suppress_option(struct lt_suppress_arguments *arguments, const struct lt_option *option, const char *value, bool *taken)
{
	struct lt_notes notes = {0};
	int error = 0;

	*taken = true;
	if (strcmp(option->name, "suppressions") == 0) {
		error = lt_suppressions_load(&arguments->list, value, &notes);
		lt_notes_print(&notes);
		lt_notes_free(&notes);
	} else if (strcmp(option->name, "no-default-suppressions") == 0) {
		arguments->no_default = true;
	} else if (strcmp(option->name, "gen-suppressions") == 0) {
		arguments->generate = true;
	} else {
		*taken = false;
	}
	return !error;
}

struct lt_suppressions *lt_suppress_list(struct lt_suppress_arguments *arguments)
{
	if (!arguments->no_default)
		lt_suppressions_builtin(&arguments->list);
	return &arguments->list;
}

static void render(struct lt_report *report, FILE *out)
{
	if (report->options->generate) {
		lt_render_gen_suppressions(report, out);
		return;
	}
	switch (report->options->format) {
	case LT_FORMAT_JSON:
		lt_render_json(report, out);
		break;
	case LT_FORMAT_CSV:
		lt_render_csv(report, out);
		break;
	default:
		lt_render_text(report, out);
		lt_render_suppressions(report, out);
	}
}

enum lt_status lt_report_session(char *const *arguments, size_t count, const struct lt_report_options *options,
				 const struct lt_fail_on *fail_on, FILE *out)
{
	enum lt_status status = LT_STATUS_TROUBLE;
	struct lt_notes notes = {0};
	struct lt_report report = {0};
	struct lt_merge *merge = lt_session_open(arguments, count, &notes);

	if (!merge || lt_report_make(merge, options, &notes, &report))
		goto out;
	/* Messages first: what is missing is then known before the figures are read. */
	lt_notes_print(&notes);
	render(&report, out);
	status = lt_findings(&report, fail_on) ? LT_STATUS_FINDINGS : LT_STATUS_FINE;
out:
	lt_notes_print(&notes);
	lt_report_clear(&report);
	lt_merge_free(merge);
	lt_notes_free(&notes);
	return status;
}

static bool parse_kinds(struct arguments *arguments, const char *value)
{
	do {
		size_t length = strcspn(value, ",");
		int kind = lt_kind_parse(value, length);

		if (kind < 0 || kind == LT_KIND_SUPPRESSED) {
			lt_command_bad(arguments->command, "there is no leak kind \"%.*s\"", (int)length, value);
			return false;
		}
		arguments->report.kinds |= 1u << kind;
		value += length + (value[length] == ',');
	} while (*value);
	return true;
}

static bool parse_word(const char *value, const char *const *names, unsigned count, unsigned *word)
{
	for (unsigned i = 0; i < count; i++)
		if (strcmp(value, names[i]) == 0) {
			*word = i;
			return true;
		}
	return false;
}

static bool take(void *data, const struct lt_option *option, const char *value)
{
	static const char *const formats[] = {"text", "json", "csv"};
	struct arguments *arguments = data;
	const struct lt_command *command = arguments->command;
	struct lt_report_options *report = &arguments->report;
	unsigned word = 0;
	bool taken;

	if (!lt_suppress_option(&arguments->suppress, option, value, &taken))
		return false;
	if (taken)
		return true;
	if (strcmp(option->name, "format") == 0) {
		if (!parse_word(value, formats, 3, &word))
			return lt_command_bad(command, "there is no format \"%s\"", value), false;
		report->format = word;
	} else if (strcmp(option->name, "by") == 0) {
		if (!parse_word(value, lt_by_names, LT_BY_COUNT, &word))
			return lt_command_bad(command, "cannot group by \"%s\"", value), false;
		report->by = word;
	} else if (strcmp(option->name, "kind") == 0) {
		return parse_kinds(arguments, value);
	} else if (strcmp(option->name, "process") == 0) {
		LT_GROW(arguments->processes, arguments->process_count, arguments->process_room);
		arguments->processes[arguments->process_count++] = value;
	} else if (strcmp(option->name, "top") == 0) {
		if (lt_out_parse_size(value, &report->top) || !report->top)
			return lt_command_bad(command, "--top takes a number from 1 on, not \"%s\"", value), false;
	} else if (strcmp(option->name, "min-bytes") == 0) {
		if (lt_out_parse_size(value, &report->min_bytes))
			return lt_command_bad(command, "\"%s\" is no size", value), false;
	} else if (strcmp(option->name, "fail-on") == 0) {
		if (lt_fail_on_parse(value, &arguments->fail_on))
			return lt_command_bad(command, "\"%s\" is not KIND[:BYTES]", value), false;
	} else if (strcmp(option->name, "blocks") == 0) {
		report->blocks = true;
	} else if (strcmp(option->name, "inherited") == 0) {
		report->inherited = true;
	} else if (strcmp(option->name, "full") == 0) {
		report->full = true;
	} else if (strcmp(option->name, "wait") == 0) {
		uint64_t seconds;

		if (lt_out_parse_size(value, &seconds) || seconds > UINT_MAX)
			return lt_command_bad(command, "--wait takes seconds, not \"%s\"", value), false;
		lt_session_wait_seconds = (unsigned)seconds;
	}
	return true;
}

static int run(const struct lt_command *command, int argc, char **argv)
{
	struct arguments arguments = {.command = command};
	int status, first = lt_command_options(command, argc, argv, take, &arguments, &status);

	if (first >= 0) {
		arguments.report.processes = arguments.processes;
		arguments.report.process_count = arguments.process_count;
		arguments.report.suppressions = lt_suppress_list(&arguments.suppress);
		arguments.report.generate = arguments.suppress.generate;
		status = lt_report_session(argv + first, (size_t)(argc - first), &arguments.report, &arguments.fail_on, stdout);
	}
	free(arguments.processes);
	lt_suppressions_free(&arguments.suppress.list);
	return status;
}

static const struct lt_option options[] = {
	{"format", "text|json|csv", "how to write the report (text)", 0},
	{"by", "WHAT", "site, function, module, rcall or process: one row for each (site)", 0},
	{"kind", "KIND,...", "only these kinds: definite, indirect, possible, reachable, unknown", 0},
	{"process", "ID", "only this process: an id of `leaktrace ps`, or a PID (all that had it); repeat for more", 0},
	{"top", "N", "the first N rows only (text: 20; json, csv, --blocks: all)", 0},
	{"min-bytes", "N", "only rows of N bytes or more (64k, 1m ...)", 0},
	{"blocks", NULL, "one row for each block: address, size, depth, function", 0},
	{"inherited", NULL, "count in a forked process also what it inherited and still holds", 0},
	{"full", NULL, "whole stacks in text", 0},
	{"fail-on", "KIND[:BYTES]", "exit status 1 if more than BYTES (0) of native memory are of KIND\n"
	 "and not suppressed; `growth:BYTES`: if a native site grows by more per task", 0},
	LT_SUPPRESS_OPTIONS,
	LT_SUPPRESS_GENERATE,
	{"wait", "SECONDS", "for classifiers that are still at work (60)", 0},
	{NULL, NULL, NULL, 0},
};

const struct lt_command lt_command_report = {
	.name = "report",
	.arguments = "[SESSION...]",
	.summary = "Merge all dumps of a session and rank the sites that hold memory",
	.help = "Native memory comes before R's own heap, what grows per task before what has been there since the start. depth is\n"
		"the number of native frames from the function out to the one that R's .Call entered (out to main where R is not\n"
		"there). The sites of a process that was killed are complete; its single blocks, and their kinds, are those of its last\n"
		"snapshot, if there is one.\n\n"
		"A dump that cannot be read is named on stderr and the others are reported; the exit status is 2 only if none can.\n",
	.options = options,
	.run = run,
};
