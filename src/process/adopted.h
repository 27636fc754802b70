/* SPDX-License-Identifier: MIT
 *
 * Classifiers in the eyes of a process to which orphans come.
 */
#ifndef LT_ADOPTED_H
#define LT_ADOPTED_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/wait.h>

/* Start only. */
void lt_adopted_init(void);

/* The program is a child subreaper from now on, or no more. */
void lt_adopted_set_reaper(bool is);

/* Orphans come to this process. */
bool lt_adopted_is_reaper(void);

/* Before the program waits for any child, with `options` of waitpid(): reaps all classifiers that come first, and waits, if `options`
 * say so, until there is another. 0: wait for whatever comes, as asked; else the child to be waited for, which may be gone by then, as
 * another thread may have waited for it. As waitid(), a cancellation point; leaves errno alone. */
pid_t lt_adopted_next(int options);

/* `pid` has ended, and not been waited for: it is a classifier, and is reaped. */
bool lt_adopted_reap(pid_t pid);

#endif
