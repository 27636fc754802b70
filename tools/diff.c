/* SPDX-License-Identifier: MIT
 *
 * From two reports to rows of change.
 *
 * What is compared are live bytes and blocks over all processes, of what may leak: definite, possible, indirect and unknown.
 * Reachable memory is what a program holds on purpose, and differs from run to run. But where one side is unknown (its process
 * was killed, say), what is reachable there is in it: of such a row all kinds count, or it would be gone for no reason.
 * Estimates differ from run to run: a site whose difference sampling may have made is unchanged. The totals have its figures all
 * the same, so a change that is spread over many sites shows there.
 * Where the number of processes differs, rows that differ by this alone come last.
 * R's own heap differs between any two runs: R decides when it collects. It is one total, unless all is asked for.
 */
#include "diff.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "out.h"
#include "rank.h"
#include "xalloc.h"

#define BIT(kind) (1u << (kind))
#define LEAKS (BIT(LT_KIND_DEFINITE) | BIT(LT_KIND_POSSIBLE) | BIT(LT_KIND_UNKNOWN))
#define NAMED 3 /* sites in the line of a finding */
#define TEXT_LENGTH 16 /* by less a block does not grow, but holds a longer text: the name of a temporary file, say */

const char *const lt_change_names[LT_CHANGE_COUNT] = {"new", "grown", "shrunk", "gone", "unchanged"};
const char *const lt_match_names[LT_MATCH_COUNT] = {"stack", "shape", "function"};

static int64_t difference(uint64_t a, uint64_t b)
{
	uint64_t size = a > b ? a - b : b - a;

	if (size > INT64_MAX)
		size = INT64_MAX;
	return a > b ? -(int64_t)size : (int64_t)size;
}

int64_t lt_diff_bytes(const struct lt_diff_row *row)
{
	return difference(row->half[0].live.bytes, row->half[1].live.bytes);
}

int64_t lt_diff_blocks(const struct lt_diff_row *row)
{
	return difference(row->half[0].live.blocks, row->half[1].live.blocks);
}

struct holder {
	size_t row;
	uint32_t process;
};

static int compare_holders(const void *a, const void *b)
{
	const struct holder *x = a, *y = b;

	if (x->row != y->row)
		return x->row < y->row ? -1 : 1;
	return x->process < y->process ? -1 : x->process > y->process;
}

/* A process can hold several sites of a row, and each in several kinds. */
static void count_processes(struct lt_diff *diff, unsigned side, struct holder *holders, size_t count)
{
	if (count)
		qsort(holders, count, sizeof *holders, compare_holders);
	for (size_t i = 0; i < count; i++)
		if (!i || compare_holders(&holders[i - 1], &holders[i]))
			diff->rows[holders[i].row].half[side].processes++;
}

/* All rows of one side. A site comes once for each kind; its key is made once. */
static void add_side(struct lt_diff *diff, unsigned side)
{
	const struct lt_model *model = diff->sides[side].model;
	size_t *rows = lt_xcalloc(model->site_count, sizeof *rows), count = 0, room = 0;
	struct holder *holders = NULL;

	for (size_t i = 0; i < model->row_count; i++) {
		const struct lt_row *row = &model->rows[i];
		const struct lt_site *site = &model->sites[row->site];
		bool r_heap = lt_row_r_heap(model, row);
		struct lt_diff_half *half;

		if (r_heap) {
			diff->r_heap.sites++;
			lt_estimate_add(&diff->r_heap.live[side], &row->live);
			if (!diff->options->all)
				continue;
		}
		if (!rows[row->site]) {
			struct lt_diff_row *made = lt_match_row(diff, side, row->site);

			made->r_heap = r_heap;
			half = &made->half[side];
			half->sites++;
			half->has_growth |= site->growth.tasks > 0;
			half->growth_bytes += lt_growth_bytes(&site->growth);
			half->growth_blocks += lt_growth_blocks(&site->growth);
			half->growth_bytes_variance += lt_growth_bytes_error(&site->growth) * lt_growth_bytes_error(&site->growth);
			half->growth_blocks_variance += lt_growth_blocks_error(&site->growth) * lt_growth_blocks_error(&site->growth);
			rows[row->site] = (size_t)(made - diff->rows) + 1;
		}
		half = &diff->rows[rows[row->site] - 1].half[side];
		lt_estimate_add(&half->kinds[row->kind], &row->live);
		if (!half->site || row->live.bytes > half->site_bytes) {
			half->site = row->site;
			half->site_bytes = row->live.bytes;
		}
		for (size_t j = 0; j < row->pair_count; j++) {
			LT_GROW(holders, count, room);
			holders[count++] = (struct holder){rows[row->site] - 1, model->pairs[row->first_pair + j].process};
		}
		lt_report_progress(i + 1, model->row_count + 1);
	}
	count_processes(diff, side, holders, count);
	free(holders);
	free(rows);
	lt_report_progress(1, 1);
}

static unsigned compared_kinds(const struct lt_diff *diff, const struct lt_diff_row *row)
{
	unsigned kinds = LEAKS | BIT(LT_KIND_INDIRECT);

	if (diff->options->kinds)
		return diff->options->kinds;
	if (diff->options->all || row->half[0].kinds[LT_KIND_UNKNOWN].blocks || row->half[1].kinds[LT_KIND_UNKNOWN].blocks)
		kinds |= BIT(LT_KIND_REACHABLE);
	return kinds;
}

static enum lt_change compare(uint64_t a, uint64_t b)
{
	return a < b ? LT_CHANGE_GROWN : a > b ? LT_CHANGE_SHRUNK : LT_CHANGE_UNCHANGED;
}

/* More workers hold more: what each sets up at its start says nothing about what changed. */
static bool same_each(const struct lt_diff_half *a, const struct lt_diff_half *b)
{
	return a->processes && b->processes && a->processes != b->processes && !a->growth_bytes && !b->growth_bytes &&
	       (__uint128_t)a->live.bytes * b->processes == (__uint128_t)b->live.bytes * a->processes &&
	       (__uint128_t)a->live.blocks * b->processes == (__uint128_t)b->live.blocks * a->processes;
}

static bool within(uint64_t a, uint64_t b, lt_variance a_variance, lt_variance b_variance)
{
	return (double)(a > b ? a - b : b - a) <= LT_SURE * lt_standard_error(lt_variance_add(a_variance, b_variance));
}

/* Two runs of one program record other blocks of the same site. */
static bool by_chance(const struct lt_estimate *a, const struct lt_estimate *b)
{
	if (!a->spread.bytes && !b->spread.bytes && !a->spread.blocks && !b->spread.blocks)
		return false;
	return within(a->bytes, b->bytes, a->spread.bytes, b->spread.bytes) &&
	       within(a->blocks, b->blocks, a->spread.blocks, b->spread.blocks);
}

static void judge(struct lt_diff *diff, struct lt_diff_row *row)
{
	unsigned kinds = compared_kinds(diff, row);
	const struct lt_estimate *a = &row->half[0].live, *b = &row->half[1].live;
	bool aside = false;

	for (unsigned side = 0; side < 2; side++) {
		struct lt_diff_half *half = &row->half[side];

		half->kind = LT_KIND_COUNT;
		for (int kind = LT_KIND_COUNT - 1; kind >= 0; kind--) {
			if (!half->kinds[kind].blocks && !half->kinds[kind].bytes)
				continue;
			half->kind = kind;
			if (kinds & BIT(kind)) {
				lt_estimate_add(&half->live, &half->kinds[kind]);
			} else {
				lt_estimate_add(&diff->aside.live[side], &half->kinds[kind]);
				aside = true;
			}
		}
	}
	diff->aside.sites += aside;
	if (!b->bytes && !b->blocks)
		row->change = a->bytes || a->blocks ? LT_CHANGE_GONE : LT_CHANGE_COUNT;
	else if (!a->bytes && !a->blocks)
		row->change = LT_CHANGE_NEW;
	else
		row->change = a->bytes != b->bytes ? compare(a->bytes, b->bytes) : compare(a->blocks, b->blocks);
	if (row->change != LT_CHANGE_UNCHANGED && row->change != LT_CHANGE_COUNT && by_chance(a, b)) {
		row->change = LT_CHANGE_UNCHANGED;
		diff->by_chance += !row->r_heap;
	}
	row->same_each = same_each(&row->half[0], &row->half[1]);
}

static enum lt_kind row_kind(const struct lt_diff_row *row)
{
	return row->half[0].kind < row->half[1].kind ? row->half[0].kind : row->half[1].kind;
}

static int compare_shown(const void *a, const void *b, void *data)
{
	const struct lt_diff_row *x = *(struct lt_diff_row *const *)a, *y = *(struct lt_diff_row *const *)b;
	bool x_definite = row_kind(x) == LT_KIND_DEFINITE, y_definite = row_kind(y) == LT_KIND_DEFINITE;
	int64_t x_change = llabs(lt_diff_bytes(x)), y_change = llabs(lt_diff_bytes(y));

	if (x->r_heap != y->r_heap)
		return x->r_heap ? 1 : -1;
	if (x_definite != y_definite)
		return x_definite ? -1 : 1;
	if (x->same_each != y->same_each)
		return x->same_each ? 1 : -1;
	if (x_change != y_change)
		return x_change > y_change ? -1 : 1;
	x_change = llabs(lt_diff_blocks(x));
	y_change = llabs(lt_diff_blocks(y));
	if (x_change != y_change)
		return x_change > y_change ? -1 : 1;
	return lt_match_compare(data, x->key, y->key);
}

void lt_diff_make(struct lt_report *sides, const struct lt_diff_options *options, struct lt_notes *notes, struct lt_diff *diff)
{
	memset(diff, 0, sizeof *diff);
	diff->options = options;
	diff->sides = sides;
	diff->words = lt_intern_new();
	/* One set of debug information for both: most modules are the same. */
	if (sides[1].symbols != sides[0].symbols)
		lt_symbols_free(sides[1].symbols);
	sides[1].symbols = sides[0].symbols;
	lt_match_begin(diff, notes);
	add_side(diff, 0);
	add_side(diff, 1);
	lt_match_join(diff);
	diff->shown = lt_xcalloc(diff->row_count + 1, sizeof *diff->shown);
	for (size_t i = 0; i < diff->row_count; i++) {
		struct lt_diff_row *row = &diff->rows[i];

		judge(diff, row);
		if (row->change == LT_CHANGE_COUNT)
			continue;
		/* R's heap has a total of its own. */
		if (!row->r_heap) {
			diff->changes[row->change].sites++;
			lt_estimate_add(&diff->changes[row->change].live[0], &row->half[0].live);
			lt_estimate_add(&diff->changes[row->change].live[1], &row->half[1].live);
		}
		if (row->change != LT_CHANGE_UNCHANGED && (uint64_t)llabs(lt_diff_bytes(row)) >= options->min_bytes)
			diff->shown[diff->shown_count++] = row;
	}
	qsort_r(diff->shown, diff->shown_count, sizeof *diff->shown, compare_shown, diff);
}

void lt_diff_clear(struct lt_diff *diff)
{
	if (!diff->sides)
		return;
	/* Lent by the first. */
	diff->sides[1].symbols = NULL;
	free(diff->rebuilt[0]);
	free(diff->rebuilt[1]);
	free(diff->index.slots);
	free(diff->rows);
	free(diff->shown);
	lt_intern_free(diff->words);
	memset(diff, 0, sizeof *diff);
}

static int parse_one(char *text, struct lt_diff_fail_on *fail_on)
{
	char *colon = strchr(text, ':');
	uint64_t bytes = 0;

	if (colon) {
		*colon = '\0';
		if (lt_out_parse_size(colon + 1, &bytes))
			return -EINVAL;
	}
	for (enum lt_change change = LT_CHANGE_NEW; change <= LT_CHANGE_GROWN; change++) {
		if (strcmp(text, lt_change_names[change]) == 0) {
			fail_on->set[change] = true;
			fail_on->bytes[change] = bytes;
			return 0;
		}
	}
	return -EINVAL;
}

int lt_diff_fail_on_parse(const char *text, struct lt_diff_fail_on *fail_on)
{
	LT_AUTO_FREE char *copy = lt_xstrdup(text);
	char *rest = copy, *part;

	while ((part = strsep(&rest, ","))) {
		int error = parse_one(part, fail_on);

		if (error)
			return error;
	}
	return 0;
}

/* What counts of a row: its growth, as far as it may be leaked. */
static struct lt_amount found_in(const struct lt_diff *diff, const struct lt_diff_row *row)
{
	unsigned kinds = diff->options->kinds ? diff->options->kinds : LEAKS;
	struct lt_estimate leaks = {0};
	uint64_t bytes = (uint64_t)(lt_diff_bytes(row) > 0 ? lt_diff_bytes(row) : 0);
	uint64_t blocks = (uint64_t)(lt_diff_blocks(row) > 0 ? lt_diff_blocks(row) : 0);

	for (int kind = 0; kind < LT_KIND_COUNT; kind++)
		if (kinds & BIT(kind))
			lt_estimate_add(&leaks, &row->half[1].kinds[kind]);
	return (struct lt_amount){leaks.bytes < bytes ? leaks.bytes : bytes, leaks.blocks < blocks ? leaks.blocks : blocks};
}

static void name_site(const struct lt_diff *diff, const struct lt_diff_row *row, FILE *out)
{
	const struct lt_report *report = &diff->sides[lt_diff_side(row)];
	const struct lt_shown_frame *function;
	struct lt_stack stack;

	lt_stack_make(report->symbols, report->merge->intern, lt_diff_site(diff, row)->native, &stack);
	function = lt_stack_function(&stack);
	lt_out_safe(out, function ? lt_frame_name(function) : "(no native stack)");
	lt_stack_clear(&stack);
}

/* What grew by the names that are there may be another site where names are missing: it counts as new too. */
static bool counts_as(const struct lt_diff_row *row, enum lt_change change)
{
	uint64_t blocks = row->half[1].live.blocks;

	if (row->change == LT_CHANGE_GROWN && !lt_diff_blocks(row) && (uint64_t)lt_diff_bytes(row) / TEXT_LENGTH < blocks)
		return false;
	return row->change == change ||
	       (change == LT_CHANGE_NEW && row->change == LT_CHANGE_GROWN && row->match == LT_MATCH_SHAPE);
}

/* --top and --min-bytes say what is shown, not what is found. */
static bool find(const struct lt_diff *diff, enum lt_change change, uint64_t bound)
{
	struct lt_diff_row **found = lt_xcalloc(diff->row_count + 1, sizeof *found);
	char number[LT_OUT_NUMBER], sites[LT_OUT_NUMBER];
	struct lt_amount total = {0, 0};
	lt_variance variance = 0;
	size_t count = 0;

	for (size_t i = 0; i < diff->row_count; i++) {
		struct lt_diff_row *row = &diff->rows[i];
		struct lt_amount amount = found_in(diff, row);

		if (!counts_as(row, change) || row->r_heap || (!amount.bytes && !amount.blocks))
			continue;
		total.bytes = lt_add(total.bytes, amount.bytes);
		total.blocks = lt_add(total.blocks, amount.blocks);
		variance = lt_variance_add(variance, lt_diff_variance(row));
		found[count++] = row;
	}
	if (bound && (total.bytes <= bound || (double)(total.bytes - bound) <= LT_SURE * lt_standard_error(variance)))
		count = 0;
	if (count) {
		qsort_r(found, count, sizeof *found, compare_shown, (void *)diff);
		fprintf(stderr, "leaktrace: finding: %s %s site%s", lt_out_count(sites, count), lt_change_names[change],
			count == 1 ? "" : "s");
		fprintf(stderr, change == LT_CHANGE_NEW ? ", %s bytes: " : ", by %s bytes: ", lt_out_count(number, total.bytes));
		for (size_t i = 0; i < count && i < NAMED; i++) {
			fputs(i ? ", " : "", stderr);
			name_site(diff, found[i], stderr);
		}
		fputs(count > NAMED ? " ...\n" : "\n", stderr);
	}
	free(found);
	return count;
}

bool lt_diff_findings(const struct lt_diff *diff, const struct lt_diff_fail_on *fail_on)
{
	bool found = false;

	for (enum lt_change change = LT_CHANGE_NEW; change <= LT_CHANGE_GROWN; change++)
		if (fail_on->set[change] && find(diff, change, fail_on->bytes[change]))
			found = true;
	return found;
}
