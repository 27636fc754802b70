/* SPDX-License-Identifier: MIT
 *
 * leaktrace: dispatch.
 */
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "out.h"

#ifndef LEAKTRACE_VERSION
#define LEAKTRACE_VERSION "unknown"
#endif

static void help(void)
{
	puts("Usage: leaktrace COMMAND [options] [SESSION...]\n\n"
	     "Finds memory leaks of R jobs and of other programs that fork. Trace with\n"
	     "  LD_PRELOAD=libleaktrace.so PROGRAM     or     leaktrace run -- PROGRAM\n"
	     "then ask. SESSION is a directory of dumps or dump files; none means the newest leaktrace.* directory here.\n\n"
	     "Commands:");
	for (size_t i = 0; lt_commands[i]; i++)
		printf("  %-11s %s%s\n", lt_commands[i]->name, lt_commands[i]->summary,
		       lt_commands[i]->run ? "" : " (not in this version)");
	puts("\n`leaktrace COMMAND --help` says more of one. Exit status: 0 fine; 1 findings, with --fail-on; 2 wrong usage or\n"
	     "unreadable input; of `run`: that of the program.");
}

static int no_command(const char *name)
{
	fputs("leaktrace: there is no command ", stderr);
	lt_out_safe(stderr, name);
	fputs("; see `leaktrace --help`\n", stderr);
	return LT_STATUS_TROUBLE;
}

int main(int argc, char **argv)
{
	const struct lt_command *command;
	int status, error;

	if (argc < 2) {
		fputs("leaktrace: no command; see `leaktrace --help`\n", stderr);
		return LT_STATUS_TROUBLE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
		const struct lt_command *topic = argc > 2 ? lt_command_find(argv[2]) : NULL;

		if (argc > 2 && !topic)
			return no_command(argv[2]);
		if (topic)
			lt_command_help(topic);
		else
			help();
		status = LT_STATUS_FINE;
	} else if (strcmp(argv[1], "--version") == 0) {
		puts("leaktrace " LEAKTRACE_VERSION);
		status = LT_STATUS_FINE;
	} else if (!(command = lt_command_find(argv[1]))) {
		return no_command(argv[1]);
	} else if (command->run) {
		status = command->run(command, argc - 1, argv + 1);
	} else if (argc > 2 && strcmp(argv[2], "--help") == 0) {
		lt_command_help(command);
		status = LT_STATUS_FINE;
	} else {
		fprintf(stderr, "leaktrace: %s is not in this version\n", command->name);
		return LT_STATUS_TROUBLE;
	}
	error = lt_out_flush(stdout);
	if (error) {
		fprintf(stderr, "leaktrace: standard output: %s\n", strerror(-error));
		return status ? status : LT_STATUS_TROUBLE;
	}
	return status;
}
