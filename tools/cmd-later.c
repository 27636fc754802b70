/* SPDX-License-Identifier: MIT
 *
 * Commands whose names are settled and whose work is not in this version. Each moves to a file of its own when it comes.
 */
#include <stddef.h>

#include "command.h"

#define LATER(word, operands, line) \
	const struct lt_command lt_command_##word = {.name = #word, .arguments = operands, .summary = line}

LATER(top, "[PID|SESSION]", "Watch running processes");
LATER(export, "--to=FORMAT -o FILE [SESSION...]", "Write other tools' formats");
LATER(compare, "SESSION...", "Show runs side by side");
LATER(advise, "[SESSION...]", "Recommend fork or PSOCK from a session's own figures");
