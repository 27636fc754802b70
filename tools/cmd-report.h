/* SPDX-License-Identifier: MIT
 *
 * A whole report from SESSION arguments: of `report`, and at the end of `run`.
 */
#ifndef LT_CMD_REPORT_H
#define LT_CMD_REPORT_H

#include <stdio.h>

#include "command.h"
#include "findings.h"
#include "report.h"

/* The options on suppressions, of every command that has them. */
struct lt_suppress_arguments {
	struct lt_suppressions list;
	bool no_default, generate;
};
#define LT_SUPPRESS_OPTIONS                                                                                                \
	{"suppressions", "FILE", "leave out leaks that FILE names: lines leak:PATTERN or r:PATTERN; repeat for more", 0},   \
	{"no-default-suppressions", NULL, "don't leave out what system libraries keep by design", 0}
#define LT_SUPPRESS_GENERATE                                                                                               \
	{"gen-suppressions", NULL, "print suppressions for all leaks, not the report", 0}

/* Takes the option if it is one of these: false, after a message, if its file is no good. */
bool lt_suppress_option(struct lt_suppress_arguments *arguments, const struct lt_option *option, const char *value, bool *taken);
/* All options are read: the list, the built-in one included. */
struct lt_suppressions *lt_suppress_list(struct lt_suppress_arguments *arguments);

/* Writes the report to `out`, messages to stderr. LT_STATUS_TROUBLE if nothing could be read. With
 * `generate` of the options, suppressions in place of the report. */
enum lt_status lt_report_session(char *const *arguments, size_t count, const struct lt_report_options *options,
				 const struct lt_fail_on *fail_on, FILE *out);

#endif
