/* SPDX-License-Identifier: MIT
 *
 * Small helpers for what people read: numbers with separators, sizes, times, text out of dumps made safe.
 */
#ifndef LT_OUT_H
#define LT_OUT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Room for any text that the functions below make. */
#define LT_OUT_NUMBER 32
#define LT_OUT_ESTIMATE (2 * LT_OUT_NUMBER + 8)

/* "1,234,567" */
const char *lt_out_count(char buffer[LT_OUT_NUMBER], uint64_t number);
/* Of a number that is not negative. */
const char *lt_out_rounded(char buffer[LT_OUT_NUMBER], double number);
/* "1,234,567 ± 1,234", of an exact figure without the error. */
const char *lt_out_estimate(char buffer[LT_OUT_ESTIMATE], uint64_t number, double error);
/* The same of a mean. */
const char *lt_out_estimated_mean(char buffer[LT_OUT_ESTIMATE], double number, double error);
/* "512 B", "1.5 KiB", "51.6 MiB" */
const char *lt_out_size(char buffer[LT_OUT_NUMBER], uint64_t bytes);
/* "1,024" or "12.34": three digits after the point at most, none that say nothing */
const char *lt_out_mean(char buffer[LT_OUT_NUMBER], double number);
/* "2.4 s", "3 min 20 s", "2 h 5 min" */
const char *lt_out_duration(char buffer[LT_OUT_NUMBER], int64_t ns);
/* "2026-11-23 09:14:01" in local time; "?" for 0 */
const char *lt_out_time(char buffer[LT_OUT_NUMBER], int64_t ns);
/* "SIGKILL", "signal 63" */
const char *lt_out_signal(char buffer[LT_OUT_NUMBER], int number);

/* Writes text with control characters (they could drive a terminal) as \xHH; bytes of UTF-8 pass. */
void lt_out_safe(FILE *out, const char *text);
/* The same, at most `width` columns, a cut marked by "..."; pads with blanks to `width` if `pad`. Returns columns used. */
size_t lt_out_cell(FILE *out, const char *text, size_t width, int pad);

/* A new string that holds valid UTF-8, bad bytes replaced by U+FFFD. */
char *lt_out_utf8(const char *text, size_t length);

/* Columns of the terminal behind `out`; `otherwise` if it is none. */
unsigned lt_out_columns(FILE *out, unsigned otherwise);

/* Reads "512", "64k", "1.5m" is not taken: digits and one of k, m, g, t. 0 or -EINVAL. */
int lt_out_parse_size(const char *text, uint64_t *bytes);

/* 0, or -errno if something written to `out` got lost. */
int lt_out_flush(FILE *out);

#endif
