/* SPDX-License-Identifier: MIT
 *
 * The environment that makes a program traced: where the library is, LD_PRELOAD, LEAKTRACE_OPTIONS.
 */
#ifndef LT_PRELOAD_H
#define LT_PRELOAD_H

#include "notes.h"

/* Absolute path of libleaktrace.so: $LEAKTRACE_LIB, the build tree that this program lies in, or where it was installed.
 * NULL, with a note, if it is in none of these. */
char *lt_preload_library(struct lt_notes *notes);

/* Sets LD_PRELOAD and LEAKTRACE_OPTIONS, keeping what they hold; what is in `options` ("key=value", joined by ':') comes
 * last and so wins. The program founds a session of its own. */
void lt_preload_environment(const char *library, const char *options);

/* A new session's directory, absolute; or the `dir` that LEAKTRACE_OPTIONS already names. */
char *lt_preload_directory(void);

/* `path` from the root. */
char *lt_preload_absolute(const char *path);

#endif
