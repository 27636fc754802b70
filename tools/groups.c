/* SPDX-License-Identifier: MIT
 *
 * Groups of rows: by function, module, R call site, or process.
 *
 * The R call site that a user thinks in is the innermost call of a function outside R's own machinery: numeric(), lapply()
 * and tryCatch() of base allocate on behalf of their caller, as malloc() does, and so does all that the byte compiler calls.
 * The machinery alone (start-up, a worker's loop waiting for its first task) is known by its innermost call.
 *
 * A group's name is its key. Growth of a group is the sum of its sites' means, in the order of their ranks, so it comes out
 * the same whatever the order of inputs. Native memory and R's heap are kept apart within a group.
 */
#include <inttypes.h>
#include <string.h>

#include "rank.h"
#include "report.h"
#include "xalloc.h"

#include <uthash.h>

struct by_name {
	const char *name; /* the group's */
	size_t group;
	UT_hash_handle hh;
};

static int compare_groups(const void *a, const void *b)
{
	const struct lt_group *x = a, *y = b;
	uint64_t x_bytes = lt_add(x->native.bytes, x->r_heap.bytes), y_bytes = lt_add(y->native.bytes, y->r_heap.bytes);

	if (x->growth_total != y->growth_total)
		return x->growth_total > y->growth_total ? -1 : 1;
	if (x_bytes != y_bytes)
		return x_bytes > y_bytes ? -1 : 1;
	return strcmp(x->name, y->name);
}

/* Rows list their processes in order, so most come at the end; a group has few in any case but that of many workers. */
static void add_process(const struct lt_model *model, struct lt_group *group, const struct lt_pair *pair)
{
	const struct lt_estimate share = lt_pair_estimate(model, pair);
	size_t low = 0, high = group->process_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (group->processes[middle] < pair->process)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == group->process_count || group->processes[low] != pair->process) {
		if (group->process_count == group->process_room) {
			group->process_room = group->process_room ? group->process_room * 2 : 4;
			group->processes = lt_xreallocarray(group->processes, group->process_room, sizeof *group->processes);
			group->amounts = lt_xreallocarray(group->amounts, group->process_room, sizeof *group->amounts);
		}
		memmove(group->processes + low + 1, group->processes + low, (group->process_count - low) * sizeof *group->processes);
		memmove(group->amounts + low + 1, group->amounts + low, (group->process_count - low) * sizeof *group->amounts);
		group->processes[low] = pair->process;
		memset(&group->amounts[low], 0, sizeof *group->amounts);
		group->process_count++;
	}
	lt_estimate_add(&group->amounts[low], &share);
}

static struct lt_group *get_group(struct lt_report *report, struct by_name **index, char *name)
{
	struct by_name *entry;

	HASH_FIND_STR(*index, name, entry);
	if (entry) {
		free(name);
		return &report->groups[entry->group];
	}
	LT_GROW(report->groups, report->group_count, report->group_room);
	memset(&report->groups[report->group_count], 0, sizeof *report->groups);
	report->groups[report->group_count].name = name;
	entry = lt_xcalloc(1, sizeof *entry);
	entry->name = name;
	entry->group = report->group_count++;
	HASH_ADD_KEYPTR(hh, *index, entry->name, strlen(entry->name), entry);
	return &report->groups[entry->group];
}

static void add_row(struct lt_report *report, struct lt_group *group, const struct lt_row *row)
{
	const struct lt_growth *growth = lt_row_growth(report->model, row);

	group->sites++;
	lt_estimate_add(lt_row_r_heap(report->model, row) ? &group->r_heap : &group->native, &row->live);
	if (growth->tasks) {
		group->has_growth = true;
		group->growth_bytes += lt_growth_bytes(growth);
		group->growth_blocks += lt_growth_blocks(growth);
		group->growth_total += lt_growth_total(growth);
		group->growth_bytes_variance += lt_growth_bytes_error(growth) * lt_growth_bytes_error(growth);
		group->growth_blocks_variance += lt_growth_blocks_error(growth) * lt_growth_blocks_error(growth);
	}
	for (size_t i = 0; i < row->pair_count; i++)
		add_process(report->model, group, &report->model->pairs[row->first_pair + i]);
}

/* The key keeps apart what differs only in its file or line. */
static char *call_key(const struct lt_intern *intern, const struct lt_rnode *node)
{
	const char *namespace = lt_intern_text(intern, node->namespace), *call = lt_intern_text(intern, node->call);

	if (!node->file)
		return lt_xasprintf("%s%s%s()", namespace, *namespace ? "::" : "", call);
	return lt_xasprintf("%s%s%s() %s:%" PRIu32, namespace, *namespace ? "::" : "", call, lt_intern_text(intern, node->file),
			    node->line);
}

static bool is_machinery(const struct lt_intern *intern, const struct lt_rnode *node)
{
	const char *namespace = lt_intern_text(intern, node->namespace);

	return strcmp(namespace, "base") == 0 || strcmp(namespace, "compiler") == 0;
}

static uint32_t call_site(const struct lt_intern *intern, uint32_t innermost)
{
	for (uint32_t r = innermost; r; r = intern->rframes[r].parent)
		if (!is_machinery(intern, &intern->rframes[r]))
			return r;
	return innermost;
}

static void group_row(struct lt_report *report, struct by_name **index, const struct lt_row *row)
{
	const struct lt_site *site = &report->model->sites[row->site];
	const struct lt_intern *intern = report->merge->intern;
	const struct lt_shown_frame *function;
	struct lt_stack stack = {0};
	struct lt_group *group;

	if (report->options->by == LT_BY_RCALL) {
		uint32_t r = call_site(intern, site->r);
		const struct lt_rnode *node = &intern->rframes[r];

		group = get_group(report, index, r ? call_key(intern, node) : lt_xstrdup("(no R call)"));
		group->call = node->call;
		group->namespace = node->namespace;
		group->file = node->file;
		group->line = node->line;
		add_row(report, group, row);
		return;
	}
	lt_stack_make(report->symbols, intern, site->native, &stack);
	function = lt_stack_function(&stack);
	if (report->options->by == LT_BY_MODULE)
		group = get_group(report, index, lt_xstrdup(!function ? "(no stack)" : *function->path ? function->path :
							    "(no module)"));
	else
		group = get_group(report, index, lt_xstrdup(function ? lt_frame_name(function) : "(no stack)"));
	add_row(report, group, row);
	lt_stack_clear(&stack);
}

/* Here each process gets its share of a row. Growth in one process is not known apart: it is left out. */
static void group_processes(struct lt_report *report, struct by_name **index, const struct lt_row *row)
{
	for (size_t i = 0; i < row->pair_count; i++) {
		const struct lt_pair *pair = &report->model->pairs[row->first_pair + i];
		struct lt_group *group = get_group(report, index, lt_xstrdup(report->merge->processes[pair->process].id));

		group->process = pair->process;
		group->sites++;
		const struct lt_estimate share = lt_pair_estimate(report->model, pair);

		lt_estimate_add(lt_row_r_heap(report->model, row) ? &group->r_heap : &group->native, &share);
		add_process(report->model, group, pair);
	}
}

void lt_groups_make(struct lt_report *report)
{
	struct by_name *index = NULL, *entry, *next;

	for (size_t i = 0; i < report->row_count; i++) {
		if (report->options->by == LT_BY_PROCESS)
			group_processes(report, &index, report->rows[i]);
		else
			group_row(report, &index, report->rows[i]);
		lt_report_progress(i + 1, report->row_count);
	}
	HASH_ITER(hh, index, entry, next) {
		HASH_DEL(index, entry);
		free(entry);
	}
	if (report->group_count)
		qsort(report->groups, report->group_count, sizeof *report->groups, compare_groups);
}
