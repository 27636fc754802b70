/* SPDX-License-Identifier: MIT
 *
 * In the dump of an image with several threads a site has several records. Here they become one.
 */
#ifndef LT_FOLD_H
#define LT_FOLD_H

#include "reader.h"

struct lt_fold;

/* Adds up the records of the same stacks, in the dump's own memory: the first of them, with the lowest id, gets the sums, and the others
 * nothing. `process`: as the dump has it. NULL: each site has its one record. A merged file is left as it is. */
struct lt_fold *lt_fold_new(struct lt_dump *dump, const struct leaktrace_process *process);
void lt_fold_free(struct lt_fold *fold);

/* The id of the record that has the sums, for the id of any. `fold` may be NULL. */
uint32_t lt_fold_site(const struct lt_fold *fold, uint32_t id);

#endif
