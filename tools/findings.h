/* SPDX-License-Identifier: MIT
 *
 * --fail-on: what makes a report a finding.
 */
#ifndef LT_FINDINGS_H
#define LT_FINDINGS_H

#include "report.h"

/* A sum of live bytes of one kind, or growth per task of one site; a finding if it is above the bound. */
struct lt_fail_on {
	bool set[LT_KIND_COUNT], growth;
	uint64_t bytes[LT_KIND_COUNT], growth_bytes;
};

/* "KIND[:BYTES]", more separated by commas; KIND is a leak kind or `growth`. 0 or -EINVAL. */
int lt_fail_on_parse(const char *text, struct lt_fail_on *fail_on);

/* Says on stderr what was found. R's own heap does not count: R keeps it by design. */
bool lt_findings(const struct lt_report *report, const struct lt_fail_on *fail_on);

#endif
