/* SPDX-License-Identifier: MIT
 *
 * A report: the model, what of it is shown, and the three ways to write it.
 */
#ifndef LT_REPORT_H
#define LT_REPORT_H

#include <stdio.h>

#include "frames.h"
#include "model.h"
#include "notes.h"
#include "suppress.h"

enum lt_format { LT_FORMAT_TEXT, LT_FORMAT_JSON, LT_FORMAT_CSV };
enum lt_by { LT_BY_SITE, LT_BY_FUNCTION, LT_BY_MODULE, LT_BY_RCALL, LT_BY_PROCESS, LT_BY_COUNT };
extern const char *const lt_by_names[LT_BY_COUNT];

#define LT_TOP_TEXT 20

struct lt_report_options {
	enum lt_format format;
	enum lt_by by;
	unsigned kinds; /* bits of enum lt_kind; 0: all */
	uint64_t top;   /* 0: all, or the first LT_TOP_TEXT in text without --blocks */
	uint64_t min_bytes;
	bool blocks, inherited, full;
	bool generate; /* suppressions, not a report */
	const char *const *processes; /* ids or PIDs; none: all */
	size_t process_count;
	struct lt_suppressions *suppressions; /* NULL: none; the report counts their hits */
};

/* Rows of one function, module, R call or process. */
struct lt_group {
	char *name;
	/* Of --by=rcall: the call (0: no R call) and its parts. Of --by=process: its number. */
	uint32_t call, namespace, file, line, process;
	struct lt_estimate native, r_heap;
	uint64_t sites;
	double growth_bytes, growth_blocks; /* per task: the sum of its sites' */
	double growth_total;
	double growth_bytes_variance, growth_blocks_variance;
	bool has_growth;
	uint32_t *processes; /* sorted */
	struct lt_estimate *amounts;
	size_t process_count, process_room;
};

struct lt_report {
	const struct lt_report_options *options;
	struct lt_model *model;
	struct lt_merge *merge;
	struct lt_symbols *symbols;
	struct lt_notes *notes;
	const struct lt_row **rows; /* that are shown but for --top, ranked */
	size_t row_count;
	struct lt_group *groups; /* of options->by, ranked; none for LT_BY_SITE */
	size_t group_count, group_room;
};

/* Loads everything from `merge` as the options say. -ENOENT: no such process; -EBADMSG: nothing could be read. */
int lt_report_make(struct lt_merge *merge, const struct lt_report_options *options, struct lt_notes *notes,
		   struct lt_report *report);
void lt_report_clear(struct lt_report *report);

/* The row passes the filters. */
bool lt_report_row_shown(const struct lt_report *report, const struct lt_row *row);

/* How many of `count` rows are shown. */
size_t lt_report_shown(const struct lt_report *report, size_t count);

/* The earliest process that was loaded: session, host and directory are taken from it. */
const struct lt_process *lt_report_first(const struct lt_report *report);

/* How the report names a call: "f() at x.R:12". */
char *lt_report_call(const struct lt_intern *intern, const struct lt_rnode *node);

/* Progress of symbolising, on a terminal only. */
void lt_report_progress(size_t done, size_t total);

void lt_groups_make(struct lt_report *report);

/* Write to `out`. */
void lt_render_text(struct lt_report *report, FILE *out);
void lt_render_text_groups(struct lt_report *report, FILE *out);
void lt_render_text_blocks(struct lt_report *report, FILE *out);
void lt_render_json(struct lt_report *report, FILE *out);
void lt_render_csv(struct lt_report *report, FILE *out);
/* The suppressions that had hits; nothing if none had. */
void lt_render_suppressions(const struct lt_report *report, FILE *out);
/* Suppressions for all leaks that are shown. */
void lt_render_gen_suppressions(struct lt_report *report, FILE *out);

/* Parts of them, for what is drawn elsewhere: native frames and R calls of a site side by side; texts of CSV. */
void lt_render_text_stacks(struct lt_report *report, const struct lt_site *site, FILE *out);
void lt_render_csv_field(FILE *out, const char *text);
void lt_render_csv_stacks(struct lt_report *report, const struct lt_site *site, FILE *out);

#endif
