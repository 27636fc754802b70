/* SPDX-License-Identifier: MIT
 *
 * What the hooks of sigaction and signal, and other handlers of ours, need of signals.c.
 */
#ifndef LT_SIGNALS_H
#define LT_SIGNALS_H

#include <signal.h>
#include <stdbool.h>

/* The signal is one that we catch where its disposition is the default. */
bool lt_signals_fatal(int sig);

/* The program has just set `action` for a fatal signal: if it is SIG_DFL, ours goes in its place. */
void lt_signals_set(int sig, const struct sigaction *action);

/* Replaces our handler in *old by what the program believes to be there. */
void lt_signals_shown(int sig, struct sigaction *old);

/* From a handler, whose arguments these are: as if the signal had its default action, which ends the process, with its end recorded. */
void lt_signals_end(int sig, siginfo_t *info, void *context);

bool lt_signals_is_ours(const void *handler);

/* What signal() is to return where it got one that is ours. */
sighandler_t lt_signals_handler(int sig);

/* A seccomp filter comes that forbids what the handlers need: the defaults are back. Or it did not come after all. */
void lt_signals_suspend(void);
void lt_signals_resume(void);

#endif
