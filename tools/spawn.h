/* SPDX-License-Identifier: MIT
 *
 * Runs a program as a wrapper should: its signals, its status, its terminal are as without us.
 */
#ifndef LT_SPAWN_H
#define LT_SPAWN_H

#include <sys/types.h>

/* Runs argv, searched in PATH, with the environment as it is. `tick` is called with the child's PID every `interval_ms`
 * while it runs. Meanwhile SIGINT and SIGQUIT from the terminal are the child's business; SIGTERM, SIGHUP, SIGUSR1 and
 * SIGUSR2 are handed on. Returns the wait status in *status; -errno if the program could not be started. */
int lt_spawn(char *const *argv, int interval_ms, void (*tick)(void *data, pid_t child), void *data, int *status);

#endif
