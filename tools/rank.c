/* SPDX-License-Identifier: MIT
 *
 * Ranking. Native memory comes before R's heap, kinds by how sure a leak they are, then what grows per task before what was
 * there from the start: growth over all tasks, then bytes, then blocks. The last word have the frames themselves (module
 * path, build-id, offset, R calls), so the order never depends on that of the inputs.
 */
#include "rank.h"

#include <string.h>

#include "xalloc.h"

static int by_place(const void *a, const void *b)
{
	const struct lt_pair *x = a, *y = b;

	if (x->site != y->site)
		return x->site < y->site ? -1 : 1;
	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	return x->process < y->process ? -1 : x->process > y->process;
}

static int compare_rows(const void *a, const void *b, void *data)
{
	const struct lt_row *x = a, *y = b;
	const struct lt_model *model = data;
	const struct lt_site *s = &model->sites[x->site], *t = &model->sites[y->site];
	const struct lt_intern *intern = model->merge->intern;
	bool x_heap = lt_row_r_heap(model, x), y_heap = lt_row_r_heap(model, y);
	double x_growth = lt_growth_total(lt_row_growth(model, x)), y_growth = lt_growth_total(lt_row_growth(model, y));
	int order;

	if (x_heap != y_heap)
		return x_heap ? 1 : -1;
	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	if (x_growth != y_growth)
		return x_growth > y_growth ? -1 : 1;
	if (x->live.bytes != y->live.bytes)
		return x->live.bytes > y->live.bytes ? -1 : 1;
	if (x->live.blocks != y->live.blocks)
		return x->live.blocks > y->live.blocks ? -1 : 1;
	order = lt_intern_compare_native(intern, s->native, t->native);
	return order ? order : lt_intern_compare_r(intern, s->r, t->r);
}

static void add_to_totals(struct lt_model *model, const struct lt_row *row)
{
	lt_estimate_add(&model->totals[row->kind], &row->live);
	if (!lt_row_r_heap(model, row))
		lt_estimate_add(&model->native_totals[row->kind], &row->live);
}

void lt_rank_totals(struct lt_model *model)
{
	for (int kind = 0; kind < LT_KIND_COUNT; kind++) {
		if (kind == LT_KIND_SUPPRESSED)
			continue;
		memset(&model->totals[kind], 0, sizeof model->totals[kind]);
		memset(&model->native_totals[kind], 0, sizeof model->native_totals[kind]);
	}
	for (size_t i = 0; i < model->row_count; i++)
		add_to_totals(model, &model->rows[i]);
}

/* One pair for each (site, kind, process), in this order; a site can come twice from one process (a module that was loaded
 * twice, inherited blocks of a stack that is also its own). */
static void unite_pairs(struct lt_model *model)
{
	size_t kept = 0;

	if (model->pair_count)
		qsort(model->pairs, model->pair_count, sizeof *model->pairs, by_place);
	for (size_t i = 0; i < model->pair_count; i++) {
		struct lt_pair *last = kept ? &model->pairs[kept - 1] : NULL;

		if (last && by_place(last, &model->pairs[i]) == 0) {
			last->bytes = lt_add(last->bytes, model->pairs[i].bytes);
			last->blocks = lt_add(last->blocks, model->pairs[i].blocks);
			if (last->spread)
				lt_spread_add(&model->spreads[last->spread], &model->spreads[model->pairs[i].spread]);
			else
				last->spread = model->pairs[i].spread;
		} else {
			model->pairs[kept++] = model->pairs[i];
		}
	}
	model->pair_count = kept;
}

static int compare_blocks(const void *a, const void *b, void *data)
{
	const struct lt_live_block *x = a, *y = b;
	const uint32_t *ranks = data;
	uint32_t x_rank = ranks[(size_t)x->site * LT_KIND_COUNT + x->kind];
	uint32_t y_rank = ranks[(size_t)y->site * LT_KIND_COUNT + y->kind];

	if (x_rank != y_rank)
		return x_rank < y_rank ? -1 : 1;
	if (x->address != y->address)
		return x->address < y->address ? -1 : 1;
	if (x->process != y->process)
		return x->process < y->process ? -1 : 1;
	return x->size < y->size ? -1 : x->size > y->size;
}

/* Blocks get the number of their row in place of their site's; those of no row (freed since the list was written) go. */
static void rank_blocks(struct lt_model *model)
{
	uint32_t *ranks = lt_xcalloc((size_t)model->site_count * LT_KIND_COUNT, sizeof *ranks);
	size_t kept = 0;

	for (size_t i = 0; i < model->row_count; i++)
		ranks[(size_t)model->rows[i].site * LT_KIND_COUNT + model->rows[i].kind] = model->rows[i].rank;
	for (size_t i = 0; i < model->block_count; i++)
		if (ranks[(size_t)model->blocks[i].site * LT_KIND_COUNT + model->blocks[i].kind])
			model->blocks[kept++] = model->blocks[i];
	model->block_count = kept;
	if (kept)
		qsort_r(model->blocks, kept, sizeof *model->blocks, compare_blocks, ranks);
	for (size_t i = 0; i < kept; i++)
		model->blocks[i].site = ranks[(size_t)model->blocks[i].site * LT_KIND_COUNT + model->blocks[i].kind] - 1;
	free(ranks);
}

/* Rows of a site stand together: [first, end). */
static void choose_leader(struct lt_row *first, struct lt_row *end)
{
	struct lt_row *best = first;
	struct lt_amount all = {0, 0};

	for (struct lt_row *row = first; row < end; row++) {
		all.bytes = lt_add(all.bytes, row->live.bytes);
		all.blocks = lt_add(all.blocks, row->live.blocks);
		if (row->live.blocks > best->live.blocks)
			best = row;
	}
	best->leads = true;
	best->others.bytes = all.bytes - best->live.bytes;
	best->others.blocks = all.blocks - best->live.blocks;
}

static void choose_leaders(struct lt_model *model)
{
	size_t first = 0;

	for (size_t i = 1; i <= model->row_count; i++)
		if (i == model->row_count || model->rows[i].site != model->rows[first].site) {
			choose_leader(model->rows + first, model->rows + i);
			first = i;
		}
}

const struct lt_growth *lt_row_growth(const struct lt_model *model, const struct lt_row *row)
{
	static const struct lt_growth none;

	return row->leads ? &model->sites[row->site].growth : &none;
}

struct lt_amount lt_row_allocated(const struct lt_model *model, const struct lt_row *row)
{
	const struct lt_site *site = &model->sites[row->site];

	if (!row->leads)
		return (struct lt_amount){row->live.bytes, row->live.blocks};
	return (struct lt_amount){
		site->allocated_bytes > row->others.bytes ? site->allocated_bytes - row->others.bytes : 0,
		site->allocations > row->others.blocks ? site->allocations - row->others.blocks : 0,
	};
}

void lt_rank_rows(struct lt_model *model)
{
	size_t room = 0;

	unite_pairs(model);
	for (size_t i = 0; i < model->pair_count; i++) {
		const struct lt_pair *pair = &model->pairs[i];
		struct lt_row *row = model->row_count ? &model->rows[model->row_count - 1] : NULL;

		if (!row || row->site != pair->site || row->kind != pair->kind) {
			LT_GROW(model->rows, model->row_count, room);
			row = &model->rows[model->row_count++];
			*row = (struct lt_row){.site = pair->site, .kind = pair->kind, .first_pair = i};
		}
		const struct lt_estimate share = lt_pair_estimate(model, pair);

		lt_estimate_add(&row->live, &share);
		row->pair_count++;
	}
	choose_leaders(model);
	if (model->row_count)
		qsort_r(model->rows, model->row_count, sizeof *model->rows, compare_rows, model);
	for (size_t i = 0; i < model->row_count; i++)
		model->rows[i].rank = (uint32_t)i + 1;
	lt_rank_totals(model);
	rank_blocks(model);
}
