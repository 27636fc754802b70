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

/* Growth per task: the site's in the row that leads, else none. */
const struct lt_growth *lt_row_growth(const struct lt_model *model, const struct lt_row *row);

/* All that was ever allocated, what is freed in the row that leads. */
struct lt_amount lt_row_allocated(const struct lt_model *model, const struct lt_row *row);

static inline bool lt_row_r_heap(const struct lt_model *model, const struct lt_row *row)
{
	return model->sites[row->site].flags & LEAKTRACE_SITE_R_HEAP;
}

#endif
