/* SPDX-License-Identifier: MIT
 *
 * What the verdicts on the processes of one dump say of their sites and blocks. load.c's, while it has the dump in hand.
 */
#ifndef LT_KINDS_H
#define LT_KINDS_H

#include "fold.h"
#include "merge-internal.h"
#include "merge.h"
#include "reader.h"

struct lt_kinds;

/* Reads what counts: of a merged file the kinds in its blocks, else the blocks of the verdict, from the dump or from a snapshot.
 * NULL if no process has a verdict or samples. The notes of a verdict in a snapshot are interned here. `fold` is the dump's, and must
 * stay as long. */
struct lt_kinds *lt_kinds_new(struct lt_merge *merge, const struct lt_source *source, struct lt_dump *dump, const struct lt_fold *fold);
void lt_kinds_free(struct lt_kinds *kinds);

/* NULL: nothing is known of the site, which is lt_fold_site()'s. */
const struct lt_split *lt_kinds_split(const struct lt_kinds *kinds, uint32_t local, uint32_t site);

/* Flags for a block of the dump's list. */
uint32_t lt_kinds_flags(const struct lt_kinds *kinds, uint32_t local, const struct leaktrace_block *block);

/* The blocks of the verdict, where they are better than the dump's list: the process was killed, or is shown as it was at a
 * snapshot. NULL: take the dump's list. */
const struct leaktrace_block *lt_kinds_blocks(const struct lt_kinds *kinds, uint32_t local, size_t *count);

#endif
