/* SPDX-License-Identifier: MIT
 *
 * Writes a merged dump.
 */
#ifndef LT_WRITER_H
#define LT_WRITER_H

#include "merge.h"

struct lt_writer;

/* Starts a file that will be `path`; until lt_writer_finish() it has a temporary name beside it. `merge` has its processes
 * selected. 0 or -errno; -EEXIST: there is something that is no regular file (a device, a link), and it stays. */
int lt_writer_new(const char *path, struct lt_merge *merge, struct lt_writer **writer);

/* What to hand to lt_merge_load(). */
struct lt_sink lt_writer_sink(struct lt_writer *writer);

/* All is loaded: writes the rest and gives the file its name. 0 or -errno. */
int lt_writer_finish(struct lt_writer *writer);

/* Without lt_writer_finish() the temporary file is removed. */
void lt_writer_free(struct lt_writer *writer);

#endif
