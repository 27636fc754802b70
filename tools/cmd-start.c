/* SPDX-License-Identifier: MIT
 *
 * leaktrace start, leaktrace stop: switch the recording of a running process on and off. No signal is sent; see tools/inject.h.
 */
#include "command.h"
#include "inject.h"

static int change(const struct lt_command *command, int argc, char **argv, enum leaktrace_remote_wish wish)
{
	struct leaktrace_remote done;
	int status, first = lt_command_options(command, argc, argv, NULL, NULL, &status);

	if (first < 0)
		return status;
	pid_t pid = lt_inject_pid(command, argc - first, argv + first);
	if (!pid)
		return LT_STATUS_TROUBLE;
	if (lt_inject_or_say(pid, wish, NULL, &done))
		return LT_STATUS_TROUBLE;
	return LT_STATUS_FINE;
}

static int start(const struct lt_command *command, int argc, char **argv)
{
	return change(command, argc, argv, LEAKTRACE_REMOTE_START);
}

static int stop(const struct lt_command *command, int argc, char **argv)
{
	return change(command, argc, argv, LEAKTRACE_REMOTE_STOP);
}

static const struct lt_option options[] = {{NULL, NULL, NULL, 0}};

const struct lt_command lt_command_start = {
	.name = "start",
	.arguments = "PID",
	.summary = "Switch tracing on in a running process",
	.help = "What is allocated from now on is recorded. No signal is sent. Needs the right to ptrace the process.\n",
	.options = options,
	.run = start,
};

const struct lt_command lt_command_stop = {
	.name = "stop",
	.arguments = "PID",
	.summary = "Switch tracing off in a running process",
	.help = "What is allocated from now on is not recorded; frees of what was recorded before still are.\n"
		"No signal is sent. Needs the right to ptrace the process.\n",
	.options = options,
	.run = stop,
};
