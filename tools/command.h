/* SPDX-License-Identifier: MIT
 *
 * Commands: one file each with one descriptor. The table of them serves dispatch, --help and completion.
 */
#ifndef LT_COMMAND_H
#define LT_COMMAND_H

#include <stdbool.h>

enum lt_status { LT_STATUS_FINE = 0, LT_STATUS_FINDINGS = 1, LT_STATUS_TROUBLE = 2 };

struct lt_option {
	const char *name;     /* without "--" */
	const char *argument; /* how help calls its value; NULL: it takes none */
	const char *help;
	char letter; /* 0: none */
};

struct lt_command {
	const char *name;
	const char *arguments; /* behind the options, for help */
	const char *summary;   /* one line */
	const char *help;      /* more; NULL: nothing */
	const struct lt_option *options; /* ended by one without name; NULL: none */
	bool stop;                       /* options end at the first operand: what follows is another program's */
	/* argv[0] is the command's name. NULL: not in this version. Returns an exit status. */
	int (*run)(const struct lt_command *command, int argc, char **argv);
};

extern const struct lt_command lt_command_run, lt_command_report, lt_command_ps, lt_command_merge, lt_command_completion;
extern const struct lt_command lt_command_diff, lt_command_top, lt_command_snapshot, lt_command_start, lt_command_stop,
	lt_command_export, lt_command_compare, lt_command_advise;

/* All of them, in the order of help; ended by NULL. */
extern const struct lt_command *const lt_commands[];
const struct lt_command *lt_command_find(const char *name);

/* Takes one option; false if its value is wrong, after a message by lt_command_bad(). */
typedef bool lt_option_take(void *data, const struct lt_option *option, const char *value);

/* Reads the options, calling `take`. Returns the index of the first operand in argv; -1 if there is nothing more to do, with
 * the exit status in *status: --help was printed, or the usage was wrong. Every command has --help. */
int lt_command_options(const struct lt_command *command, int argc, char **argv, lt_option_take *take, void *data, int *status);

/* Says on stderr what is wrong with the usage; returns LT_STATUS_TROUBLE. */
int lt_command_bad(const struct lt_command *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

void lt_command_help(const struct lt_command *command);

#endif
