/* SPDX-License-Identifier: MIT
 *
 * leaktrace ps: the process tree of a session.
 *
 * All cells are made first, so that columns are as wide as they must be. On a terminal a line ends where the terminal does,
 * and columns give way to the command; elsewhere nothing is cut.
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

enum column { TREE, ROLE, START, LIFE, END, LIVE, PEAK, RSS, TASKS, ID, COMMAND, COLUMNS };

static const struct {
	const char *title;
	bool right; /* aligned */
} columns[COLUMNS] = {
	[TREE] = {"PID/IMAGE", false}, [ROLE] = {"ROLE", false}, [START] = {"START", false}, [LIFE] = {"LIFE", true},
	[END] = {"END", false}, [LIVE] = {"LIVE", true}, [PEAK] = {"PEAK LIVE", true}, [RSS] = {"MAX RSS", true},
	[TASKS] = {"TASKS", true}, [ID] = {"ID", false}, [COMMAND] = {"COMMAND", false},
};

/* The first to go where the terminal is too narrow to show so much of the command. */
static const enum column dispensable[] = {ID, START, PEAK, LIFE, RSS};
#define COMMAND_LEAST 24

struct line {
	char *cells[COLUMNS];
};

struct tree {
	const struct lt_merge *merge;
	uint32_t *first, *next; /* children of each process as a list, in the processes' order; LT_NO_PROCESS ends it */
	bool *shown;
	struct line *lines;
	size_t count, room;
};

/* Arguments are separated by NUL bytes; in one line they need blanks. Of the program the last part of its path. */
static char *command_line(const struct lt_merge *merge, const struct lt_process *process)
{
	const struct lt_bytes *cmdline = &merge->intern->strings[process->record.cmdline];
	const char *text = cmdline->text, *slash;
	uint32_t length = cmdline->length;
	char *copy;

	if (!length) {
		text = lt_intern_text(merge->intern, process->record.exe);
		length = (uint32_t)strlen(text);
	}
	slash = strrchr(text, '/'); /* it ends with the first argument */
	if (slash && slash[1]) {
		length -= (uint32_t)(slash + 1 - text);
		text = slash + 1;
	}
	while (length && !text[length - 1])
		length--;
	copy = lt_xmalloc((size_t)length + 1);
	memcpy(copy, text, length);
	copy[length] = '\0';
	for (uint32_t i = 0; i < length; i++)
		if (!copy[i])
			copy[i] = ' ';
	return copy;
}

static void add_process(struct tree *tree, const struct lt_process *process, unsigned depth)
{
	const struct leaktrace_process *record = &process->record;
	char text[64];
	struct line *line;

	LT_GROW(tree->lines, tree->count, tree->room);
	line = &tree->lines[tree->count++];
	line->cells[TREE] = lt_xasprintf("%*s%" PRIu32 "%s%.0" PRIu32, depth < 10 ? (int)depth * 2 : 20, "", record->key.pid,
					 record->key.image ? "/" : "", record->key.image);
	line->cells[ROLE] = lt_xstrdup(lt_lineage_role(process));
	line->cells[START] = lt_xstrdup(lt_out_time(text, record->start_ns));
	line->cells[LIFE] = lt_xstrdup(process->end_ns ? lt_out_duration(text, process->end_ns - record->start_ns) : "-");
	lt_lineage_describe(process, text, sizeof text);
	line->cells[END] = lt_xstrdup(text);
	/* An estimate is marked. */
	line->cells[LIVE] = lt_xasprintf("%s%s", lt_sample_bytes(record) ? "~" : "", lt_out_size(text, record->live_bytes));
	line->cells[PEAK] = lt_xasprintf("%s%s", lt_sample_bytes(record) ? "~" : "", lt_out_size(text, record->peak_live_bytes));
	line->cells[RSS] = lt_xstrdup(record->max_rss ? lt_out_size(text, record->max_rss) : "-");
	line->cells[TASKS] = lt_xstrdup(lt_out_count(text, lt_growth_tasks(record)));
	line->cells[ID] = lt_xstrdup(process->id);
	line->cells[COMMAND] = command_line(tree->merge, process);
}

static void print_line(const struct line *line, const size_t *widths, unsigned terminal)
{
	LT_AUTO_FREE char *text = NULL;
	size_t size;
	FILE *memory = open_memstream(&text, &size);

	if (!memory)
		return;
	for (unsigned i = 0; i < COLUMNS; i++) {
		const char *cell = line ? line->cells[i] : columns[i].title;
		int width = i == COMMAND ? 0 : (int)widths[i];

		if (!widths[i])
			continue;

		fprintf(memory, columns[i].right ? "%s%*s" : "%s%-*s", i ? "  " : "", width, cell);
	}
	fclose(memory);
	if (terminal)
		lt_out_cell(stdout, text, terminal, 0);
	else
		lt_out_safe(stdout, text);
	putchar('\n');
}

static void print_lines(const struct tree *tree)
{
	unsigned terminal = lt_out_columns(stdout, 0);
	size_t widths[COLUMNS], used = 0; /* a width of 0: not shown */

	for (unsigned i = 0; i < COLUMNS; i++) {
		widths[i] = strlen(columns[i].title);
		for (size_t j = 0; j < tree->count; j++) {
			size_t width = strlen(tree->lines[j].cells[i]);

			widths[i] = width > widths[i] ? width : widths[i];
		}
		used += i == COMMAND ? 0 : widths[i] + 2;
	}
	for (size_t i = 0; terminal && i < sizeof dispensable / sizeof *dispensable && used + COMMAND_LEAST > terminal; i++) {
		used -= widths[dispensable[i]] + 2;
		widths[dispensable[i]] = 0;
	}
	print_line(NULL, widths, terminal);
	for (size_t j = 0; j < tree->count; j++)
		print_line(&tree->lines[j], widths, terminal);
}

static void add_tree(struct tree *tree, uint32_t process, unsigned depth)
{
	for (; process != LT_NO_PROCESS; process = tree->next[process]) {
		/* A damaged record may make a ring of parents, or a deep chain. */
		if (tree->shown[process])
			continue;
		tree->shown[process] = true;
		add_process(tree, &tree->merge->processes[process], depth);
		if (depth < 1000)
			add_tree(tree, tree->first[process], depth + 1);
	}
}

static void print_all(const struct lt_merge *merge)
{
	struct tree tree = {.merge = merge};
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
	add_tree(&tree, roots, 0);
	for (uint32_t i = 0; i < merge->process_count; i++) /* those of a ring, or of a parent that was not read */
		if (merge->processes[i].loaded && !tree.shown[i]) {
			tree.next[i] = LT_NO_PROCESS;
			add_tree(&tree, i, 0);
		}
	print_lines(&tree);
	for (size_t i = 0; i < tree.count; i++)
		for (unsigned j = 0; j < COLUMNS; j++)
			free(tree.lines[i].cells[j]);
	free(tree.lines);
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
	lt_session_wait_seconds = 0; /* no kinds are shown */
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
		"as PID/IMAGE. LIVE and PEAK LIVE are traced memory; ~ marks an estimate from samples. A process is `running` if\n"
		"this machine still has it; `unknown` one ended before it could say how, and no traced parent saw it end. On a\n"
		"terminal lines are cut to its width, and columns that leave no room for the command are left out; in a pipe or a\n"
		"file nothing is.\n",
	.run = run,
};
