/* SPDX-License-Identifier: MIT
 *
 * From SESSION arguments to dump files.
 */
#ifndef LT_SESSION_H
#define LT_SESSION_H

#include <stddef.h>

#include "merge.h"

struct lt_files {
	char **paths;
	size_t count, room;
};

/* Each argument is a directory of dumps or a dump; with none, the newest leaktrace.* directory here is taken. -errno, with a
 * note, if an argument leads nowhere. */
int lt_session_files(char *const *arguments, size_t count, struct lt_notes *notes, struct lt_files *files);
void lt_files_clear(struct lt_files *files);

/* How long lt_session_open() waits for classifiers that are still at work; option --wait. */
extern unsigned lt_session_wait_seconds;

/* Opens all of it: files found, identities read, processes selected. NULL, with notes, if no file could be read. */
struct lt_merge *lt_session_open(char *const *arguments, size_t count, struct lt_notes *notes);

#endif
