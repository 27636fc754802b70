/* SPDX-License-Identifier: MIT
 *
 * The library's own words: one line per real problem on stderr, and what `log=FILE` asks for.
 */
#ifndef LT_LOG_H
#define LT_LOG_H

/* Writes "leaktrace: [PID] <a><b><c>\n" to stderr (and the log); NULL parts are left out. Each distinct call site should
 * guard itself so that a problem is said once per process. Any context. */
void lt_warn(const char *a, const char *b, const char *c);

/* The same into the log only. */
void lt_log(const char *a, const char *b, const char *c);

/* Absolute path of the log; NULL: none. Not copied. */
void lt_log_open(const char *path);

#endif
