/* SPDX-License-Identifier: MIT
 *
 * A whole report from SESSION arguments: of `report`, and at the end of `run`.
 */
#ifndef LT_CMD_REPORT_H
#define LT_CMD_REPORT_H

#include <stdio.h>

#include "command.h"
#include "findings.h"
#include "report.h"

/* Writes the report to `out`, messages to stderr. LT_STATUS_TROUBLE if nothing could be read. */
enum lt_status lt_report_session(char *const *arguments, size_t count, const struct lt_report_options *options,
				 const struct lt_fail_on *fail_on, FILE *out);

#endif
