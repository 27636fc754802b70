/* SPDX-License-Identifier: MIT
 *
 * leaktrace diff
 */
#include <string.h>

#include "cmd-report.h"
#include "command.h"
#include "diff.h"
#include "out.h"
#include "session.h"

struct arguments {
	const struct lt_command *command;
	struct lt_diff_options diff;
	struct lt_diff_fail_on fail_on;
	struct lt_suppress_arguments suppress;
};

static bool parse_kinds(struct arguments *arguments, const char *value)
{
	do {
		size_t length = strcspn(value, ",");
		int kind = lt_kind_parse(value, length);

		if (kind < 0) {
			lt_command_bad(arguments->command, "there is no leak kind \"%.*s\"", (int)length, value);
			return false;
		}
		arguments->diff.kinds |= 1u << kind;
		value += length + (value[length] == ',');
	} while (*value);
	return true;
}

static bool take(void *data, const struct lt_option *option, const char *value)
{
	static const char *const formats[] = {"text", "json", "csv"};
	struct arguments *arguments = data;
	const struct lt_command *command = arguments->command;
	struct lt_diff_options *diff = &arguments->diff;
	bool taken;

	if (!lt_suppress_option(&arguments->suppress, option, value, &taken))
		return false;
	if (strcmp(option->name, "format") == 0) {
		unsigned i = 0;

		while (i < 3 && strcmp(value, formats[i]))
			i++;
		if (i == 3)
			return lt_command_bad(command, "there is no format \"%s\"", value), false;
		diff->format = i;
	} else if (strcmp(option->name, "kind") == 0) {
		return parse_kinds(arguments, value);
	} else if (strcmp(option->name, "top") == 0) {
		if (lt_out_parse_size(value, &diff->top) || !diff->top)
			return lt_command_bad(command, "--top takes a number from 1 on, not \"%s\"", value), false;
	} else if (strcmp(option->name, "min-bytes") == 0) {
		if (lt_out_parse_size(value, &diff->min_bytes))
			return lt_command_bad(command, "\"%s\" is no size", value), false;
	} else if (strcmp(option->name, "fail-on") == 0) {
		if (lt_diff_fail_on_parse(value, &arguments->fail_on))
			return lt_command_bad(command, "\"%s\" is not new[:BYTES] or grown[:BYTES]", value), false;
	} else if (strcmp(option->name, "all") == 0) {
		diff->all = true;
	} else if (strcmp(option->name, "full") == 0) {
		diff->full = true;
	}
	return true;
}

static enum lt_status compare(char *const *operands, struct arguments *arguments)
{
	const struct lt_report_options options = {
		.full = arguments->diff.full, .suppressions = lt_suppress_list(&arguments->suppress),
	};
	enum lt_status status = LT_STATUS_TROUBLE;
	struct lt_merge *merges[2] = {NULL, NULL};
	struct lt_report sides[2] = {{0}, {0}};
	struct lt_notes notes = {0};
	struct lt_diff diff = {0};

	for (int side = 0; side < 2; side++) {
		merges[side] = lt_session_open(operands + side, 1, &notes);
		if (!merges[side] || lt_report_make(merges[side], &options, &notes, &sides[side]))
			goto out;
	}
	lt_diff_make(sides, &arguments->diff, &notes, &diff);
	/* Messages first: what is missing is then known before the figures are read. */
	lt_notes_print(&notes);
	lt_render_diff(&diff, stdout);
	status = lt_diff_findings(&diff, &arguments->fail_on) ? LT_STATUS_FINDINGS : LT_STATUS_FINE;
out:
	lt_notes_print(&notes);
	lt_diff_clear(&diff);
	for (int side = 0; side < 2; side++) {
		lt_report_clear(&sides[side]);
		lt_merge_free(merges[side]);
	}
	lt_notes_free(&notes);
	return status;
}

static int run(const struct lt_command *command, int argc, char **argv)
{
	struct arguments arguments = {.command = command};
	int status, first = lt_command_options(command, argc, argv, take, &arguments, &status);

	if (first >= 0 && argc - first != 2)
		status = lt_command_bad(command, "two sessions are compared, not %d", argc - first);
	else if (first >= 0)
		status = (int)compare(argv + first, &arguments);
	lt_suppressions_free(&arguments.suppress.list);
	return status;
}

static const struct lt_option options[] = {
	{"format", "text|json|csv", "how to write the result (text)", 0},
	{"kind", "KIND,...", "compare only these kinds: definite, indirect, possible, reachable, unknown\n"
	 "(all but reachable)", 0},
	{"all", NULL, "also what is reachable, and R's own heap row by row", 0},
	{"top", "N", "the first N rows only (text: 20; json, csv: all)", 0},
	{"min-bytes", "N", "only rows that changed by N bytes or more (64k, 1m ...)", 0},
	{"full", NULL, "whole stacks in text", 0},
	LT_SUPPRESS_OPTIONS,
	{"fail-on", "CHANGE[:BYTES]", "exit status 1 if new sites hold more than BYTES (0): `new:BYTES`;\n"
	 "`grown:BYTES`: if sites that were there before grew by more", 0},
	{NULL, NULL, NULL, 0},
};

const struct lt_command lt_command_diff = {
	.name = "diff",
	.arguments = "A B",
	.summary = "Show what is new, grown, shrunk and gone between two sessions",
	.help = "A and B are a session directory, a dump or a snapshot (.lts) each; what is new is in B, not in A. Sites are matched by functions,\n"
		"modules and R calls, not by lines or addresses, so a rebuild of the program compares well. Bytes are what is\n"
		"live at the end, over all processes. Rows come by size of the change, definite leaks first. --fail-on counts\n"
		"native memory that is definite, possible or unknown (or of --kind).\n",
	.options = options,
	.run = run,
};
