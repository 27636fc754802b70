/* SPDX-License-Identifier: MIT
 *
 * Estimates from samples. What a recorded block stands for, and how uncertain that is, is dump-format.h's to say.
 */
#include "estimate.h"

void lt_spread_add(struct lt_spread *sum, const struct lt_spread *spread)
{
	sum->bytes = lt_variance_add(sum->bytes, spread->bytes);
	sum->blocks = lt_variance_add(sum->blocks, spread->blocks);
	sum->sampled = lt_add(sum->sampled, spread->sampled);
	sum->unlisted |= spread->unlisted;
}

void lt_spread_subtract(struct lt_spread *spread, const struct lt_spread *part)
{
	spread->bytes = spread->bytes > part->bytes ? spread->bytes - part->bytes : 0;
	spread->blocks = spread->blocks > part->blocks ? spread->blocks - part->blocks : 0;
}

static lt_variance share(lt_variance variance, uint64_t part, uint64_t whole)
{
	return (lt_variance)((long double)variance * ((long double)part / (long double)whole));
}

struct lt_spread lt_spread_share(const struct lt_spread *spread, uint64_t part, uint64_t whole)
{
	struct lt_spread result = *spread;

	if (part >= whole)
		return result;
	result.bytes = share(spread->bytes, part, whole);
	result.blocks = share(spread->blocks, part, whole);
	if (spread->sampled)
		result.unlisted = true;
	result.sampled = 0;
	return result;
}

void lt_estimate_add(struct lt_estimate *sum, const struct lt_estimate *estimate)
{
	sum->bytes = lt_add(sum->bytes, estimate->bytes);
	sum->blocks = lt_add(sum->blocks, estimate->blocks);
	lt_spread_add(&sum->spread, &estimate->spread);
}

void lt_estimate_add_block(struct lt_estimate *sum, uint64_t size, uint64_t sample_bytes)
{
	uint64_t weight = leaktrace_sample_weight(size, sample_bytes);

	/* size * weight is below 4T, or size itself. */
	sum->bytes = lt_add(sum->bytes, size * weight);
	sum->blocks = lt_add(sum->blocks, weight);
	if (!sample_bytes)
		return;
	sum->spread.bytes = lt_variance_add(sum->spread.bytes, leaktrace_sample_variance_bytes(size, weight, sample_bytes) *
					    lt_sample_square(sample_bytes));
	sum->spread.blocks = lt_variance_add(sum->spread.blocks, leaktrace_sample_variance_blocks(weight));
	sum->spread.sampled++;
}

struct lt_estimate lt_estimate_site(const struct leaktrace_site *site, uint64_t sample_bytes)
{
	struct lt_estimate live = {.bytes = site->allocated_bytes - site->freed_bytes, .blocks = site->allocations - site->frees};

	if (!sample_bytes || (!live.bytes && !live.blocks))
		return live;
	live.spread.bytes = site->variance_bytes * lt_sample_square(sample_bytes);
	live.spread.blocks = site->variance_blocks;
	/* Without a variance each has the weight 1. */
	if (live.spread.blocks)
		live.spread.unlisted = true;
	else
		live.spread.sampled = live.blocks;
	return live;
}

struct lt_spread lt_spread_guess(uint64_t bytes, uint64_t blocks, uint64_t sample_bytes)
{
	uint64_t size = blocks ? bytes / blocks : 0, weight = leaktrace_sample_weight(size, sample_bytes);
	struct lt_spread spread = {.unlisted = sample_bytes && blocks};

	if (!spread.unlisted)
		return spread;
	spread.blocks = (lt_variance)blocks * (weight - 1);
	spread.bytes = (lt_variance)bytes * (size * (weight - 1));
	return spread;
}
