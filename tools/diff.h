/* SPDX-License-Identifier: MIT
 *
 * Two sessions side by side: which sites are new, grown, shrunk and gone.
 *
 * Each side is a report of its own (numbers of strings, modules and stacks mean nothing on the other); what joins them is a
 * key per site that survives rebuilds, address randomisation and moved lines: see diff-match.c.
 */
#ifndef LT_DIFF_H
#define LT_DIFF_H

#include "report.h"

enum lt_change { LT_CHANGE_NEW, LT_CHANGE_GROWN, LT_CHANGE_SHRUNK, LT_CHANGE_GONE, LT_CHANGE_UNCHANGED, LT_CHANGE_COUNT };
extern const char *const lt_change_names[LT_CHANGE_COUNT];

/* What made two sites one, from the surest on. */
enum lt_match { LT_MATCH_STACK, LT_MATCH_SHAPE, LT_MATCH_FUNCTION, LT_MATCH_COUNT };
extern const char *const lt_match_names[LT_MATCH_COUNT];

struct lt_diff_options {
	enum lt_format format;
	unsigned kinds; /* bits of enum lt_kind; 0: what may leak, see diff.c */
	bool all;       /* also what is reachable, and R's heap row by row */
	uint64_t top;   /* 0: all, or the first LT_TOP_TEXT in text */
	uint64_t min_bytes; /* of the change */
	bool full;
};

/* What one side holds of a row's sites. */
struct lt_diff_half {
	uint32_t sites; /* that the key stands for; 0: none on this side */
	uint32_t site;  /* the largest of them: its stacks are shown */
	uint32_t processes; /* that hold something of it */
	uint64_t site_bytes;
	struct lt_estimate kinds[LT_KIND_COUNT];
	struct lt_estimate live; /* of the kinds that are compared */
	enum lt_kind kind;     /* the surest leak of all that is there; LT_KIND_COUNT: nothing */
	double growth_bytes, growth_blocks; /* per task: the sum of its sites' */
	double growth_bytes_variance, growth_blocks_variance;
	bool has_growth;
};

struct lt_diff_row {
	uint32_t key;
	bool r_heap;
	enum lt_match match;
	enum lt_change change;
	bool same_each; /* there are more or fewer processes, but each holds the same, and tasks add nothing */
	struct lt_diff_half half[2];
};

struct lt_diff_total {
	uint64_t sites;
	struct lt_estimate live[2];
};

struct lt_diff {
	const struct lt_diff_options *options;
	struct lt_report *sides; /* A and B */
	struct lt_intern *words; /* of keys: names of frames and calls, and the keys themselves */
	struct lt_index index;   /* rows by key */
	bool *rebuilt[2];        /* by module: the other side has another build of it */
	struct lt_diff_row *rows;
	size_t row_count, room;
	struct lt_diff_row **shown; /* changed and passing the filters, in order */
	size_t shown_count;
	struct lt_diff_total changes[LT_CHANGE_COUNT];
	uint64_t by_chance; /* sites that differ, but by no more than sampling may have made: of those unchanged */
	struct lt_diff_total r_heap, aside; /* aside: of kinds that are not compared */
};

/* Compares two loaded reports; `sides` stays with the caller, and sides[1] uses the symbols of sides[0] from here on. */
void lt_diff_make(struct lt_report *sides, const struct lt_diff_options *options, struct lt_notes *notes, struct lt_diff *diff);
void lt_diff_clear(struct lt_diff *diff);

/* The side whose stacks stand for the row: B, if it is there. */
static inline unsigned lt_diff_side(const struct lt_diff_row *row)
{
	return row->half[1].sites ? 1 : 0;
}

static inline const struct lt_site *lt_diff_site(const struct lt_diff *diff, const struct lt_diff_row *row)
{
	return &diff->sides[lt_diff_side(row)].model->sites[row->half[lt_diff_side(row)].site];
}

/* Bytes by which B holds more than A; negative: less. */
int64_t lt_diff_bytes(const struct lt_diff_row *row);
int64_t lt_diff_blocks(const struct lt_diff_row *row);

/* Of the difference in bytes. */
static inline lt_variance lt_diff_variance(const struct lt_diff_row *row)
{
	return lt_variance_add(row->half[0].live.spread.bytes, row->half[1].live.spread.bytes);
}

/* One side at least has estimates. */
static inline bool lt_diff_sampled(const struct lt_diff *diff)
{
	return diff->sides[0].model->sampled || diff->sides[1].model->sampled;
}

/* --fail-on: bytes that new sites hold, or that others grew by. */
struct lt_diff_fail_on {
	bool set[LT_CHANGE_COUNT];
	uint64_t bytes[LT_CHANGE_COUNT];
};

/* "new[:BYTES]", "grown[:BYTES]", more separated by commas. 0 or -EINVAL. */
int lt_diff_fail_on_parse(const char *text, struct lt_diff_fail_on *fail_on);
/* Says on stderr what was found. */
bool lt_diff_findings(const struct lt_diff *diff, const struct lt_diff_fail_on *fail_on);

/* Of diff-match.c: finds out which modules were rebuilt; the row of a site, made if need be; joins rows of one side. */
void lt_match_begin(struct lt_diff *diff, struct lt_notes *notes);
struct lt_diff_row *lt_match_row(struct lt_diff *diff, unsigned side, uint32_t site);
void lt_match_join(struct lt_diff *diff);
/* Order of keys by what they say. */
int lt_match_compare(const struct lt_diff *diff, uint32_t a, uint32_t b);

void lt_render_diff(struct lt_diff *diff, FILE *out);

#endif
