/* SPDX-License-Identifier: MIT
 *
 * leaktrace merge
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "reader.h"
#include "session.h"
#include "writer.h"

struct arguments {
	const char *output;
};

static bool take(void *data, const struct lt_option *option, const char *value)
{
	((struct arguments *)data)->output = value;
	return true;
}

static int merge_to(const char *output, char *const *arguments, size_t count, struct lt_notes *notes)
{
	struct lt_merge *merge = lt_session_open(arguments, count, notes);
	struct lt_writer *writer = NULL;
	struct lt_sink sink;
	int status = LT_STATUS_TROUBLE, error;

	if (!merge)
		return status;
	error = lt_writer_new(output, merge, &writer);
	if (error)
		goto out;
	sink = lt_writer_sink(writer);
	if (!lt_merge_load(merge, LT_PARTS_ALL, &sink)) {
		lt_note(notes, NULL, "no dump could be read");
		goto out;
	}
	error = lt_writer_finish(writer);
	if (!error)
		status = LT_STATUS_FINE;
out:
	if (error)
		lt_note(notes, output, error == -EEXIST ? "is there and no regular file, so it is not replaced" :
			"cannot be written: %s", strerror(-error));
	lt_writer_free(writer);
	lt_merge_free(merge);
	return status;
}

static int run(const struct lt_command *command, int argc, char **argv)
{
	struct arguments arguments = {0};
	struct lt_notes notes = {0};
	int status, first = lt_command_options(command, argc, argv, take, &arguments, &status);

	if (first < 0)
		return status;
	if (!arguments.output || !*arguments.output)
		return lt_command_bad(command, "-o OUT is missing");
	status = merge_to(arguments.output, argv + first, (size_t)(argc - first), &notes);
	lt_notes_print(&notes);
	lt_notes_free(&notes);
	return status;
}

static const struct lt_option options[] = {
	{"output", "OUT", "the file to write; it appears when it is complete", 'o'},
	{NULL, NULL, NULL, 0},
};

const struct lt_command lt_command_merge = {
	.name = "merge",
	.arguments = "-o OUT [SESSION...]",
	.summary = "Write many dumps or sessions into one, a valid input of every command",
	.help = "Merging is associative and commutative: reports are the same. A process that is given twice is taken once, the more\n"
		"complete dump of the two. Only one dump at a time is in memory.\n",
	.options = options,
	.run = run,
};
