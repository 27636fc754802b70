/* SPDX-License-Identifier: MIT
 *
 * Before a traced process is killed by a relative, it is asked to have itself classified; see request.c.
 */
#ifndef LT_REQUEST_H
#define LT_REQUEST_H

#include <signal.h>
#include <stdbool.h>

/* Start only. */
void lt_request_init(void);

/* In a fork child whose dump has begun: it can be asked from here on. */
void lt_request_fork_child(void);

/* The end has begun, or `pid` has been waited for. Any context. */
void lt_request_leave(int pid);

/* SIGKILL is about to be sent to `pid`. Returns when its classifier is at work, after 200 ms at the latest. Keeps errno. (Not to
 * wait then until it is dead: R's parallel sleeps for a second and counts on SIGCHLD to wake it.) */
void lt_request_before_kill(int pid);

/* For the hooks of sigaction and signal: is it the signal that is used; what the program believes; what it has set. */
bool lt_request_is_signal(int sig);
bool lt_request_is_ours(const void *handler);
void lt_request_set(const struct sigaction *action);

#endif
