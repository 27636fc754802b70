/* SPDX-License-Identifier: MIT
 *
 * What a report is made from: allocation sites over all processes, and which process holds how much of each.
 *
 * A site is (native stack, R stack, R heap or not). Counters of a site are sums over processes; what is live is kept per
 * (site, kind, process), and only where something is. So memory grows with sites and with live (site, process) pairs.
 * Kinds: a dump without a verdict gives `unknown` for all; lt_model's site callback is the one place that decides.
 */
#ifndef LT_MODEL_H
#define LT_MODEL_H

#include "growth.h"
#include "kind.h"
#include "merge.h"

struct lt_amount {
	uint64_t bytes, blocks;
};

struct lt_site {
	uint32_t native, r, flags;
	uint32_t last_process; /* that was added; with `again` of lt_growth_add() */
	uint64_t allocations, allocated_bytes, frees, temporary;
	struct lt_amount peak, startup, r_garbage;
	struct lt_growth growth;
};

/* What a process holds of a site in one kind. */
struct lt_pair {
	uint64_t bytes, blocks;
	uint32_t site;
	uint32_t process : 28;
	uint32_t kind : 4;
};

struct lt_live_block {
	uint64_t address, size;
	uint32_t site; /* after lt_model_finish(): index of its row */
	uint32_t process, task, kind;
};

/* One row of a report: a site in one kind. */
struct lt_row {
	uint32_t site;
	uint32_t kind;
	struct lt_amount live;
	size_t first_pair, pair_count;
	uint32_t rank; /* from 1 */
	/* Of the rows of its site, one for each kind, the one with most blocks: what is known of the site as a whole is told here,
	 * its growth, and the allocations that were freed; so sums over rows hold. */
	bool leads;
	struct lt_amount others; /* of a row that leads: live in the others */
};

struct lt_model {
	struct lt_merge *merge;
	bool *selected; /* processes that count; NULL: all */
	bool want_blocks, want_inherited;
	struct lt_site *sites;
	uint32_t site_count; /* number 0, which is none, included */
	size_t site_room;
	struct lt_index site_index;
	struct lt_pair *pairs;
	size_t pair_count, pair_room;
	struct lt_live_block *blocks;
	size_t block_count, block_room;
	uint64_t *listed; /* blocks listed, by process */
	struct lt_row *rows;
	size_t row_count;
	struct lt_amount totals[LT_KIND_COUNT], native_totals[LT_KIND_COUNT];
	struct lt_amount r_garbage; /* of what is reachable: only from R objects that are garbage and wait for their finalizers */
	uint64_t unknown_inherited; /* blocks whose site is in a dump that is not here */
	struct lt_model_ids *ids;
};

/* `merge` has its processes selected. */
struct lt_model *lt_model_new(struct lt_merge *merge, bool want_blocks, bool want_inherited);
void lt_model_free(struct lt_model *model);

/* What to hand to lt_merge_load(). */
struct lt_sink lt_model_sink(struct lt_model *model);
unsigned lt_model_parts(const struct lt_model *model);

/* All is loaded: adds up, makes and ranks the rows. */
void lt_model_finish(struct lt_model *model);

static inline bool lt_model_selected(const struct lt_model *model, uint32_t process)
{
	return !model->selected || model->selected[process];
}

/* a + b, or the largest number: damaged counters must not wrap. */
static inline uint64_t lt_add(uint64_t a, uint64_t b)
{
	return a + b < a ? UINT64_MAX : a + b;
}

#endif
