/* SPDX-License-Identifier: MIT
 *
 * Live figures with what is not known exactly of them: in a process that recorded samples, they are estimates.
 *
 * Kept are variances, as integers, for these add up the same in any order; the standard error is the square root. A figure
 * without a spread is exact.
 */
#ifndef LT_ESTIMATE_H
#define LT_ESTIMATE_H

#include <leaktrace/dump-format.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>

typedef unsigned __int128 lt_variance;

struct lt_spread {
	lt_variance bytes, blocks;
	uint64_t sampled; /* blocks that sampled processes recorded: what the figure rests on */
	bool unlisted;    /* and there are more, of which only the sum is known */
};

/* bytes and blocks as in struct lt_amount. */
struct lt_estimate {
	uint64_t bytes, blocks;
	struct lt_spread spread;
};

/* a + b, or the largest number: damaged counters must not wrap. */
static inline uint64_t lt_add(uint64_t a, uint64_t b)
{
	return a + b < a ? UINT64_MAX : a + b;
}

static inline lt_variance lt_variance_add(lt_variance a, lt_variance b)
{
	return a + b < a ? ~(lt_variance)0 : a + b;
}

/* A difference of so many standard errors or less may be chance. */
#define LT_SURE 2

static inline double lt_standard_error(lt_variance variance)
{
	return sqrt((double)variance);
}

/* Interval of a process's samples; 0: it is exact. */
static inline uint64_t lt_sample_bytes(const struct leaktrace_process *process)
{
	return process->flags & LEAKTRACE_PROCESS_SAMPLED ? process->sample_bytes : 0;
}

/* Squares of the unit that variance_bytes is in. */
static inline lt_variance lt_sample_square(uint64_t sample_bytes)
{
	return (lt_variance)leaktrace_sample_unit(sample_bytes) * leaktrace_sample_unit(sample_bytes);
}

static inline bool lt_spread_none(const struct lt_spread *spread)
{
	return !spread->bytes && !spread->blocks && !spread->sampled && !spread->unlisted;
}

void lt_spread_add(struct lt_spread *sum, const struct lt_spread *spread);
/* Takes away the variances of a part; what the rest rests on is not known then. */
void lt_spread_subtract(struct lt_spread *spread, const struct lt_spread *part);
/* That of `part` blocks out of `whole`. */
struct lt_spread lt_spread_share(const struct lt_spread *spread, uint64_t part, uint64_t whole);

void lt_estimate_add(struct lt_estimate *sum, const struct lt_estimate *estimate);
/* Adds a recorded block with its weight; sample_bytes 0: the block alone. */
void lt_estimate_add_block(struct lt_estimate *sum, uint64_t size, uint64_t sample_bytes);

/* What the live figures of a process's site are known to be. */
struct lt_estimate lt_estimate_site(const struct leaktrace_site *site, uint64_t sample_bytes);
/* Of scaled sums without a spread: as if all their blocks were of one size. */
struct lt_spread lt_spread_guess(uint64_t bytes, uint64_t blocks, uint64_t sample_bytes);

#endif
