/* SPDX-License-Identifier: MIT
 *
 * leaktrace ps: the process tree of a session.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "growth.h"
#include "lineage.h"
#include "out.h"
#include "reader.h"
#include "session.h"
#include "xalloc.h"

#define TREE_WIDTH 26

struct tree {
	const struct lt_merge *merge;
	uint32_t *first, *next; /* children of each process as a list, in the processes' order; LT_NO_PROCESS ends it */
	bool *shown;
	unsigned columns;
};

/* Arguments are separated by NUL bytes; in one line they need blanks. */
static char *command_line(const struct lt_merge *merge, const struct lt_process *process)
{
	const struct lt_bytes *cmdline = &merge->intern->strings[process->record.cmdline];
	uint32_t length = cmdline->length;
	char *text = lt_xmalloc((size_t)length + 1);

	while (length && !cmdline->text[length - 1])
		length--;
	memcpy(text, cmdline->text, length);
	text[length] = '\0';
	for (uint32_t i = 0; i < length; i++)
		if (!text[i])
			text[i] = ' ';
	if (!length) {
		free(text);
		text = lt_xstrdup(lt_intern_text(merge->intern, process->record.exe));
	}
	return text;
}

static void print_process(const struct tree *tree, const struct lt_process *process, unsigned depth)
{
	const struct leaktrace_process *record = &process->record;
	LT_AUTO_FREE char *command = command_line(tree->merge, process), *name = NULL;
	char end[64], start[LT_OUT_NUMBER], life[LT_OUT_NUMBER], live[LT_OUT_NUMBER], peak[LT_OUT_NUMBER], rss[LT_OUT_NUMBER];
	unsigned indent = depth < 10 ? depth * 2 : 20;
	int used;

	lt_lineage_describe(process, end, sizeof end);
	name = lt_xasprintf("%*s%" PRIu32 "%s%.0" PRIu32, (int)indent, "", record->key.pid, record->key.image ? "/" : "",
			    record->key.image);
	lt_out_cell(stdout, name, TREE_WIDTH, 1);
	used = printf(" %-6s  %-19s %12s  %-18s %11s %11s %11s %8" PRIu64 "  ", lt_lineage_role(process),
		      lt_out_time(start, record->start_ns),
		      process->end_ns ? lt_out_duration(life, process->end_ns - record->start_ns) : "-", end,
		      lt_out_size(live, record->live_bytes), lt_out_size(peak, record->peak_live_bytes),
		      record->max_rss ? lt_out_size(rss, record->max_rss) : "-", lt_growth_tasks(record));
	used += printf("%-34s  ", process->id);
	used += TREE_WIDTH;
	if (tree->columns)
		lt_out_cell(stdout, command, (unsigned)used + 20 < tree->columns ? tree->columns - (unsigned)used : 20, 0);
	else
		lt_out_safe(stdout, command);
	putchar('\n');
}

static void print_tree(const struct tree *tree, uint32_t process, unsigned depth)
{
	for (; process != LT_NO_PROCESS; process = tree->next[process]) {
		/* A damaged record may make a ring of parents, or a deep chain. */
		if (tree->shown[process])
			continue;
		tree->shown[process] = true;
		print_process(tree, &tree->merge->processes[process], depth);
		if (depth < 1000)
			print_tree(tree, tree->first[process], depth + 1);
	}
}

static void print_all(const struct lt_merge *merge)
{
	struct tree tree = {.merge = merge, .columns = lt_out_columns(stdout, 0)};
	uint32_t roots = LT_NO_PROCESS;

	tree.first = lt_xmalloc(merge->process_count * sizeof *tree.first);
	tree.next = lt_xmalloc(merge->process_count * sizeof *tree.next);
	tree.shown = lt_xcalloc(merge->process_count, sizeof *tree.shown);
	for (uint32_t i = 0; i < merge->process_count; i++)
		tree.first[i] = tree.next[i] = LT_NO_PROCESS;
	/* From the last on, so that each list comes out in order. */
	for (uint32_t i = merge->process_count; i-- > 0;) {
		uint32_t parent = merge->processes[i].parent, *list = parent == LT_NO_PROCESS ? &roots : &tree.first[parent];

		if (!merge->processes[i].loaded)
			continue;
		tree.next[i] = *list;
		*list = i;
	}
	printf("%-*s %-6s  %-19s %12s  %-18s %11s %11s %11s %8s  %-34s  %s\n", TREE_WIDTH, "PID/IMAGE", "ROLE", "START", "LIFE",
	       "END", "LIVE", "PEAK LIVE", "MAX RSS", "TASKS", "ID", "COMMAND");
	print_tree(&tree, roots, 0);
	for (uint32_t i = 0; i < merge->process_count; i++) /* those of a ring, or of a parent that was not read */
		if (merge->processes[i].loaded && !tree.shown[i]) {
			tree.next[i] = LT_NO_PROCESS;
			print_tree(&tree, i, 0);
		}
	free(tree.first);
	free(tree.next);
	free(tree.shown);
}

static int run(const struct lt_command *command, int argc, char **argv)
{
	static const struct lt_sink nothing;
	struct lt_notes notes = {0};
	struct lt_merge *merge;
	int status, first = lt_command_options(command, argc, argv, NULL, NULL, &status);

	if (first < 0)
		return status;
	status = LT_STATUS_TROUBLE;
	merge = lt_session_open(argv + first, (size_t)(argc - first), &notes);
	if (merge && lt_merge_load(merge, LT_PART(LEAKTRACE_CHUNK_EVENTS) | LT_PART(LEAKTRACE_CHUNK_STRINGS), &nothing)) {
		lt_lineage_resolve(merge);
		lt_notes_print(&notes);
		print_all(merge);
		status = LT_STATUS_FINE;
	}
	lt_notes_print(&notes);
	lt_merge_free(merge);
	lt_notes_free(&notes);
	return status;
}

const struct lt_command lt_command_ps = {
	.name = "ps",
	.arguments = "[SESSION...]",
	.summary = "Show the process tree of a session: role, life, how it ended, memory",
	.help = "One line for each process image: children below their parents, an image after exec below the one that it replaced,\n"
		"as PID/IMAGE. LIVE and PEAK LIVE are traced memory. A process is `running` if this machine still has it; `unknown`\n"
		"one ended before it could say how, and no traced parent saw it end.\n",
	.run = run,
};
