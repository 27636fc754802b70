/* SPDX-License-Identifier: MIT
 *
 * Findings are taken from all rows of the selected processes, whatever --kind, --min-bytes and --top show of them; what is
 * suppressed has no row. Estimates are findings if they are surely above the bound.
 */
#include "findings.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "out.h"
#include "rank.h"
#include "xalloc.h"

static int parse_one(char *text, struct lt_fail_on *fail_on)
{
	char *colon = strchr(text, ':');
	uint64_t bytes = 0;
	int kind;

	if (colon) {
		*colon = '\0';
		if (lt_out_parse_size(colon + 1, &bytes))
			return -EINVAL;
	}
	if (strcmp(text, "growth") == 0) {
		fail_on->growth = true;
		fail_on->growth_bytes = bytes;
		return 0;
	}
	kind = lt_kind_parse(text, strlen(text));
	if (kind < 0 || kind == LT_KIND_SUPPRESSED)
		return -EINVAL;
	fail_on->set[kind] = true;
	fail_on->bytes[kind] = bytes;
	return 0;
}

int lt_fail_on_parse(const char *text, struct lt_fail_on *fail_on)
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

/* An estimate must be above the bound by more than chance. */
static double above(uint64_t bound, double error)
{
	return (double)bound + LT_SURE * error;
}

bool lt_findings(const struct lt_report *report, const struct lt_fail_on *fail_on)
{
	char number[LT_OUT_NUMBER];
	bool found = false;

	for (int kind = 0; kind < LT_KIND_COUNT; kind++) {
		const struct lt_estimate *total = &report->model->native_totals[kind];
		char bytes[LT_OUT_ESTIMATE];

		/* What was recorded is there, however much of it there may be. */
		if (!fail_on->set[kind] || !total->blocks ||
		    (double)total->bytes <= above(fail_on->bytes[kind], fail_on->bytes[kind] ? lt_standard_error(total->spread.bytes) : 0))
			continue;
		fprintf(stderr, "leaktrace: finding: %s bytes of native memory are %s\n",
			lt_out_estimate(bytes, total->bytes, lt_standard_error(total->spread.bytes)), lt_kind_names[kind]);
		found = true;
	}
	for (size_t i = 0; fail_on->growth && i < report->model->row_count; i++) {
		const struct lt_row *row = &report->model->rows[i];
		const struct lt_growth *grown = lt_row_growth(report->model, row);
		double growth = lt_growth_bytes(grown);

		if (lt_row_r_heap(report->model, row) || growth <= above(fail_on->growth_bytes, lt_growth_bytes_error(grown)))
			continue;
		fprintf(stderr, "leaktrace: finding: site %" PRIu32 " grows by %s bytes per task\n", row->rank,
			lt_out_mean(number, growth));
		found = true;
		break;
	}
	return found;
}
