/* SPDX-License-Identifier: MIT
 *
 * Parts of the report's JSON, for other formats that hold the same things.
 */
#ifndef LT_RENDER_JSON_H
#define LT_RENDER_JSON_H

#include <jansson.h>

#include "report.h"

/* Null for NULL and "". */
json_t *lt_json_string(const char *bytes);
/* With `sampled` also the standard errors. */
json_t *lt_json_estimate(bool sampled, const struct lt_estimate *estimate);
json_t *lt_json_growth(bool known, double bytes, double blocks);
/* Adds standard errors, if `growth` is not null. */
void lt_json_growth_errors(json_t *growth, double bytes, double blocks);
json_t *lt_json_session(const struct lt_report *report);
json_t *lt_json_native(const struct lt_stack *stack);
json_t *lt_json_r(const struct lt_intern *intern, uint32_t r);

/* Writes `before` and the value on one line, and frees it. */
void lt_json_emit(FILE *out, const char *before, json_t *value);

#endif
