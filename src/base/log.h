/* SPDX-License-Identifier: MIT
 *
 * The library's own words: one line per real problem on stderr, and what `log=FILE` asks for.
 */
#ifndef LT_LOG_H
#define LT_LOG_H

/* Start only: notes what descriptor 2 is. */
void lt_log_init(void);

/* Nothing more on stderr: for all but the first traced image of a session, whose problems would be the same again. */
void lt_log_quiet(void);

/* Writes "leaktrace: [PID] <a><b><c>\n" to stderr (and the log), if stderr is still what it was at the start;
 * NULL parts are left out. Each distinct call site should
 * guard itself so that a problem is said once per process. Any context. */
void lt_warn(const char *a, const char *b, const char *c);

/* The same into the log only. */
void lt_log(const char *a, const char *b, const char *c);

/* Absolute path of the log; NULL: none. Not copied. */
void lt_log_open(const char *path);

#endif
