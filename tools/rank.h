/* SPDX-License-Identifier: MIT
 *
 * Rows of a report and their order.
 */
#ifndef LT_RANK_H
#define LT_RANK_H

#include "model.h"

/* From pairs to rows: sorts the pairs, adds up, ranks, and sorts the blocks by rank and address. */
void lt_rank_rows(struct lt_model *model);

/* Adds up the rows that are there, by kind; LT_KIND_SUPPRESSED has none, its totals stay as they are. */
void lt_rank_totals(struct lt_model *model);

static inline bool lt_row_r_heap(const struct lt_model *model, const struct lt_row *row)
{
	return model->sites[row->site].flags & LEAKTRACE_SITE_R_HEAP;
}

#endif
