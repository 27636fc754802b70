/* SPDX-License-Identifier: MIT
 *
 * Findings are taken from all rows of the selected processes, whatever --kind, --min-bytes and --top show of them; what is
 * suppressed has no row.
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

bool lt_findings(const struct lt_report *report, const struct lt_fail_on *fail_on)
{
	char number[LT_OUT_NUMBER];
	bool found = false;

	for (int kind = 0; kind < LT_KIND_COUNT; kind++) {
		const struct lt_amount *total = &report->model->native_totals[kind];

		if (!fail_on->set[kind] || !total->blocks || total->bytes <= fail_on->bytes[kind])
			continue;
		fprintf(stderr, "leaktrace: finding: %s bytes of native memory are %s\n", lt_out_count(number, total->bytes),
			lt_kind_names[kind]);
		found = true;
	}
	for (size_t i = 0; fail_on->growth && i < report->model->row_count; i++) {
		const struct lt_row *row = &report->model->rows[i];
		double growth = lt_growth_bytes(lt_row_growth(report->model, row));

		if (lt_row_r_heap(report->model, row) || growth <= (double)fail_on->growth_bytes)
			continue;
		fprintf(stderr, "leaktrace: finding: site %" PRIu32 " grows by %s bytes per task\n", row->rank,
			lt_out_mean(number, growth));
		found = true;
		break;
	}
	return found;
}
