/* SPDX-License-Identifier: MIT
 *
 * Calls into a traced process, without a signal; see include/leaktrace/remote.h.
 */
#ifndef LT_INJECT_H
#define LT_INJECT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "command.h"
#include "leaktrace/remote.h"

/* Calls `wish` in the main thread of `pid` and waits until it is done, at most `patience_ms`. *done gets the structure as the call left
 * it. 0 or -errno: -ESRCH no such process, -ENOENT it is not traced by this version, -EPERM ptrace is refused, -EBUSY
 * another call is under way, -ETIMEDOUT the thread does not come to run (it is stopped, or in an uninterruptible wait). */
int lt_inject(pid_t pid, enum leaktrace_remote_wish wish, const char *label, unsigned patience_ms, struct leaktrace_remote *done);

/* The same with some seconds of patience; says on stderr what is wrong. True: something is. */
bool lt_inject_or_say(pid_t pid, enum leaktrace_remote_wish wish, const char *label, struct leaktrace_remote *done);

/* The one argument of a command that calls into a process. 0: it is no PID, and that is said. */
pid_t lt_inject_pid(const struct lt_command *command, int argc, char **argv);

/* Path of the dump that the process has mapped, in malloc memory; NULL: none. */
char *lt_inject_dump(pid_t pid);

#endif
