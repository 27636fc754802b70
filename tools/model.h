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
	uint64_t sampled; /* allocations that sampled processes recorded */
	struct lt_amount peak, startup, r_garbage;
	struct lt_growth growth;
};

/* What a process holds of a site in one kind. */
struct lt_pair {
	uint64_t bytes, blocks;
	uint32_t site;
	uint32_t process : 28;
	uint32_t kind : 4;
	uint32_t spread; /* index of model->spreads; 0: none, the figures are exact */
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
	struct lt_estimate live;
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
	struct lt_spread *spreads; /* of pairs; the first is none */
	size_t spread_count, spread_room;
	struct lt_live_block *blocks;
	size_t block_count, block_room;
	uint64_t *listed; /* blocks listed, by process; samples with their weights */
	struct lt_row *rows;
	size_t row_count;
	struct lt_estimate totals[LT_KIND_COUNT], native_totals[LT_KIND_COUNT];
	struct lt_estimate r_garbage; /* of what is reachable: only from R objects that are garbage and wait for their finalizers */
	uint64_t unknown_inherited; /* blocks whose site is in a dump that is not here */
	/* Of the processes that count and recorded samples: how many, and the least and largest interval. Without one all is exact. */
	uint32_t sampled;
	uint64_t sample_least, sample_most;
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

/* A pair's figures with their spread. */
static inline struct lt_estimate lt_pair_estimate(const struct lt_model *model, const struct lt_pair *pair)
{
	return (struct lt_estimate){pair->bytes, pair->blocks, model->spreads[pair->spread]};
}

/* How many blocks a listed one stands for. */
static inline uint64_t lt_block_weight(const struct lt_model *model, const struct lt_live_block *block)
{
	return leaktrace_sample_weight(block->size, lt_sample_bytes(&model->merge->processes[block->process].record));
}

#endif
