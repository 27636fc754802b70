/* SPDX-License-Identifier: MIT
 *
 * leaktrace completion: a completion function for bash, from the tables of commands and options.
 */
#include <stdio.h>
#include <string.h>

#include "command.h"

static void print_options(const struct lt_command *command)
{
	printf("\t\t%s) words='--help", command->name);
	for (const struct lt_option *option = command->options; option && option->name; option++)
		printf(" --%s%s", option->name, option->argument ? "=" : "");
	puts("' ;;");
}

static int run(const struct lt_command *command, int argc, char **argv)
{
	int status, first = lt_command_options(command, argc, argv, NULL, NULL, &status);

	if (first < 0)
		return status;
	if (argc - first != 1 || strcmp(argv[first], "bash") != 0)
		return lt_command_bad(command, "only `bash` is known");
	puts("_leaktrace() {\n"
	     "\tlocal words current=\"${COMP_WORDS[COMP_CWORD]}\"\n"
	     "\tif [ \"$COMP_CWORD\" -eq 1 ]; then");
	printf("\t\twords='--help --version");
	for (size_t i = 0; lt_commands[i]; i++)
		if (lt_commands[i]->run)
			printf(" %s", lt_commands[i]->name);
	puts("'\n"
	     "\telse\n"
	     "\t\tcase \"${COMP_WORDS[1]}\" in");
	for (size_t i = 0; lt_commands[i]; i++)
		if (lt_commands[i]->run)
			print_options(lt_commands[i]);
	puts("\t\tesac\n"
	     "\tfi\n"
	     "\tcase \"$current\" in\n"
	     "\t\t-*) COMPREPLY=($(compgen -W \"$words\" -- \"$current\")) ;;\n"
	     "\t\t*) [ \"$COMP_CWORD\" -eq 1 ] && COMPREPLY=($(compgen -W \"$words\" -- \"$current\")) ||\n"
	     "\t\t\tCOMPREPLY=($(compgen -f -- \"$current\")) ;;\n"
	     "\tesac\n"
	     "\t[[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace\n"
	     "}\n"
	     "complete -o filenames -F _leaktrace leaktrace");
	return LT_STATUS_FINE;
}

const struct lt_command lt_command_completion = {
	.name = "completion",
	.arguments = "bash",
	.summary = "Print a completion function for the shell",
	.run = run,
};
