/* SPDX-License-Identifier: MIT
 *
 * The table of commands, and what they share: options and help, both from the descriptor.
 */
#include "command.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "xalloc.h"

#define FIRST_OPTION 1000
#define OPTION_HELP 999

const struct lt_command *const lt_commands[] = {
	&lt_command_run, &lt_command_report, &lt_command_ps, &lt_command_merge, &lt_command_diff, &lt_command_top,
	&lt_command_snapshot, &lt_command_start, &lt_command_stop, &lt_command_export, &lt_command_compare, &lt_command_advise,
	&lt_command_completion, NULL,
};

const struct lt_command *lt_command_find(const char *name)
{
	for (size_t i = 0; lt_commands[i]; i++)
		if (strcmp(lt_commands[i]->name, name) == 0)
			return lt_commands[i];
	return NULL;
}

int lt_command_bad(const struct lt_command *command, const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "leaktrace %s: ", command->name);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, "; see `leaktrace %s --help`\n", command->name);
	return LT_STATUS_TROUBLE;
}

static void print_option(char letter, const char *name, const char *argument, const char *help)
{
	char text[64], letters[5] = "    ";

	if (letter)
		snprintf(letters, sizeof letters, "-%c, ", letter);
	snprintf(text, sizeof text, "%s--%s%s%s", letters, name, argument ? "=" : "", argument ? argument : "");
	printf("  %-32s", text);
	/* Long help goes on below itself. */
	for (const char *line = help; line; ) {
		const char *end = strchr(line, '\n');

		printf(" %.*s\n", end ? (int)(end - line) : (int)strlen(line), line);
		line = end ? end + 1 : NULL;
		if (line)
			printf("%34s", "");
	}
}

void lt_command_help(const struct lt_command *command)
{
	printf("Usage: leaktrace %s%s %s\n%s.\n", command->name, command->options ? " [options]" : "", command->arguments,
	       command->summary);
	if (!command->run)
		puts("\nThis command is not in this version.");
	if (command->help)
		printf("\n%s", command->help);
	puts("\nOptions:");
	for (const struct lt_option *option = command->options; option && option->name; option++)
		print_option(option->letter, option->name, option->argument, option->help);
	print_option(0, "help", NULL, "this text");
}

static size_t count_options(const struct lt_command *command)
{
	size_t count = 0;

	for (const struct lt_option *option = command->options; option && option->name; option++)
		count++;
	return count;
}

int lt_command_options(const struct lt_command *command, int argc, char **argv, lt_option_take *take, void *data, int *status)
{
	size_t count = count_options(command), letters = 0;
	LT_AUTO_FREE struct option *table = lt_xcalloc(count + 2, sizeof *table);
	char text[64] = "";

	/* '+': stop at the first operand; ':': tell a missing value from an unknown option. */
	if (command->stop)
		text[letters++] = '+';
	text[letters++] = ':';
	for (size_t i = 0; i < count; i++) {
		const struct lt_option *option = &command->options[i];

		table[i].name = option->name;
		table[i].has_arg = option->argument ? required_argument : no_argument;
		table[i].val = FIRST_OPTION + (int)i;
		if (option->letter && letters + 3 < sizeof text) {
			text[letters++] = option->letter;
			if (option->argument)
				text[letters++] = ':';
		}
	}
	table[count].name = "help";
	table[count].val = OPTION_HELP;
	opterr = 0;
	optind = 0; /* glibc: start anew, forgetting all */
	for (;;) {
		int found = getopt_long(argc, argv, text, table, NULL);
		const struct lt_option *option = NULL;

		if (found == -1)
			return optind;
		if (found == OPTION_HELP) {
			lt_command_help(command);
			*status = LT_STATUS_FINE;
			return -1;
		}
		if (found == ':' || found == '?') {
			const char *word = optind > 0 && argv[optind - 1] ? argv[optind - 1] : "";

			*status = lt_command_bad(command, found == ':' ? "%s needs a value" : "there is no option %s, or it takes no value",
						 word);
			return -1;
		}
		for (size_t i = 0; i < count; i++)
			if (found == FIRST_OPTION + (int)i || (command->options[i].letter && found == command->options[i].letter))
				option = &command->options[i];
		if (!option || !take(data, option, optarg)) {
			*status = LT_STATUS_TROUBLE;
			return -1;
		}
	}
}
