/* SPDX-License-Identifier: MIT
 *
 * leaktrace run: trace a program, then print the summary report.
 *
 * The report goes to stdout when the program is done, so that nothing comes in between its own output; -o FILE keeps the
 * two apart. The program's status is passed on.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cmd-report.h"
#include "out.h"
#include "preload.h"
#include "spawn.h"
#include "tree-memory.h"
#include "xalloc.h"

#define SAMPLE_MS 250
/* Workers of a job may end a moment after it: so long we wait for them, in steps. */
#define GRACE_MS 2000
#define GRACE_STEP_MS 20

struct arguments {
	const struct lt_command *command;
	const char *dir, *output;
	char *options; /* "key=value:…" for the library; NULL: none */
	bool no_report;
	struct lt_fail_on fail_on;
	struct lt_suppress_arguments suppress;
	struct lt_report_options report;
	bool fails;
};

static void add_option(struct arguments *arguments, const char *key, const char *value)
{
	char *joined = lt_xasprintf("%s%s%s%s%s", arguments->options ? arguments->options : "", arguments->options ? ":" : "", key,
				    *key ? "=" : "", value);

	free(arguments->options);
	arguments->options = joined;
}

static bool take(void *data, const struct lt_option *option, const char *value)
{
	struct arguments *arguments = data;
	bool taken;

	if (!lt_suppress_option(&arguments->suppress, option, value, &taken))
		return false;
	if (taken)
		return true;
	if (value && strchr(value, ':') && strcmp(option->name, "fail-on") && strcmp(option->name, "output")) {
		lt_command_bad(arguments->command, "\"%s\": a colon would end the option", value);
		return false;
	}
	if (strcmp(option->name, "dir") == 0) {
		arguments->dir = value;
	} else if (strcmp(option->name, "option") == 0) {
		if (!strchr(value, '=') || *value == '=')
			return lt_command_bad(arguments->command, "\"%s\" is not key=value", value), false;
		if (strncmp(value, "dir=", 4) == 0)
			arguments->dir = value + 4;
		else
			add_option(arguments, "", value);
	} else if (strcmp(option->name, "output") == 0) {
		arguments->output = value;
	} else if (strcmp(option->name, "no-report") == 0) {
		arguments->no_report = true;
	} else if (strcmp(option->name, "fail-on") == 0) {
		if (lt_fail_on_parse(value, &arguments->fail_on))
			return lt_command_bad(arguments->command, "\"%s\" is not KIND[:BYTES]", value), false;
		arguments->fails = true;
	} else if (strcmp(option->name, "top") == 0) {
		if (lt_out_parse_size(value, &arguments->report.top) || !arguments->report.top)
			return lt_command_bad(arguments->command, "--top takes a number from 1 on, not \"%s\"", value), false;
	} else {
		add_option(arguments, option->name, value); /* scope, sample, depth: the library's own names */
	}
	return true;
}

static void tick(void *data, pid_t child)
{
	struct lt_tree_memory *memory = data;

	memory->root = child;
	lt_tree_memory_sample(memory);
}

static void wait_for_workers(struct lt_tree_memory *memory)
{
	static const struct timespec step = {0, GRACE_STEP_MS * 1000000L};

	memory->root = 0; /* it is gone; its PID may be another's soon */
	for (int waited = 0; waited < GRACE_MS && lt_tree_memory_alive(memory); waited += GRACE_STEP_MS)
		nanosleep(&step, NULL);
}

static void print_memory(const struct lt_tree_memory *memory, FILE *out)
{
	char pss[LT_OUT_NUMBER], rss[LT_OUT_NUMBER];

	if (!memory->samples)
		return;
	fprintf(out, "Memory of all processes together at its highest: PSS %s, RSS %s (counts shared pages for each process), "
		"%u process%s\n", lt_out_size(pss, memory->peak_pss), lt_out_size(rss, memory->peak_rss), memory->peak_processes,
		memory->peak_processes == 1 ? "" : "es");
	if (memory->fd >= 0) {
		fputs("samples in ", out);
		lt_out_safe(out, memory->dir);
		fputs("/memory.csv\n", out);
	}
	fputc('\n', out);
}

/* Exit status of the whole, given the program's. */
static int summarize(struct arguments *arguments, struct lt_tree_memory *memory, FILE *out, int program)
{
	enum lt_status status;

	if (arguments->no_report && !arguments->fails)
		return program;
	if (access(memory->dir, F_OK)) {
		fputs("leaktrace run: the program left no dump: it holds no R and the scope is `r`, or it is linked statically\n", stderr);
		/* Nothing was looked at: no success for who asked to be told of findings. */
		return program || !arguments->fails ? program : LT_STATUS_TROUBLE;
	}
	if (arguments->no_report) {
		/* Findings only. */
		FILE *nowhere = fopen("/dev/null", "we");

		if (!nowhere)
			return program;
		arguments->report.top = 1;
		status = lt_report_session(&memory->dir, 1, &arguments->report, &arguments->fail_on, nowhere);
		fclose(nowhere);
	} else {
		print_memory(memory, out);
		status = lt_report_session(&memory->dir, 1, &arguments->report, &arguments->fail_on, out);
	}
	if (program)
		return program;
	return arguments->fails && status != LT_STATUS_FINE ? (int)status : 0;
}

static int run_program(struct arguments *arguments, char **argv, const char *library, const char *dir)
{
	struct lt_tree_memory memory;
	FILE *out = stdout;
	int error, wait_status = 0, status;

	/* Before the program runs for hours. */
	if (arguments->output && !(out = fopen(arguments->output, "we"))) {
		fprintf(stderr, "leaktrace run: %s: %s\n", arguments->output, strerror(errno));
		return LT_STATUS_TROUBLE;
	}
	add_option(arguments, "dir", dir);
	lt_preload_environment(library, arguments->options);
	lt_tree_memory_start(&memory, 0, dir);
	error = lt_spawn(argv, SAMPLE_MS, tick, &memory, &wait_status);
	/* Symbolising is not to be traced, nor what it may start. */
	unsetenv("LD_PRELOAD");
	if (error) {
		fputs("leaktrace run: ", stderr);
		lt_out_safe(stderr, argv[0]);
		fprintf(stderr, ": %s\n", strerror(-error));
		status = error == -ENOENT || error == -ENOTDIR ? 127 : 126;
	} else {
		status = WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
		wait_for_workers(&memory);
		status = summarize(arguments, &memory, out, status);
	}
	lt_tree_memory_clear(&memory);
	if (out != stdout) {
		error = lt_out_flush(out);
		if (error)
			fprintf(stderr, "leaktrace run: %s: %s\n", arguments->output, strerror(-error));
		fclose(out);
	}
	return status;
}

static int run(const struct lt_command *command, int argc, char **argv)
{
	struct arguments arguments = {.command = command};
	LT_AUTO_FREE char *library = NULL, *dir = NULL;
	struct lt_notes notes = {0};
	int status, first = lt_command_options(command, argc, argv, take, &arguments, &status);

	if (first < 0)
		goto out;
	status = LT_STATUS_TROUBLE;
	arguments.report.suppressions = lt_suppress_list(&arguments.suppress);
	if (first >= argc) {
		lt_command_bad(command, "no program to run");
		goto out;
	}
	dir = arguments.dir ? lt_preload_absolute(arguments.dir) : lt_preload_directory();
	if (strchr(dir, ':')) {
		lt_command_bad(command, "dumps cannot go to %s: a colon would end the option; name another with --dir", dir);
		goto out;
	}
	library = lt_preload_library(&notes);
	lt_notes_print(&notes);
	if (library)
		status = run_program(&arguments, argv + first, library, dir);
out:
	lt_notes_free(&notes);
	free(arguments.options);
	lt_suppressions_free(&arguments.suppress.list);
	return status;
}

static const struct lt_option options[] = {
	{"dir", "DIR", "where dumps go (leaktrace.<session> here)", 0},
	{"scope", "auto|all|r", "which process images are traced (auto: of an R session those with R, else all)", 0},
	{"sample", "SIZE", "record one allocation per SIZE bytes on average (0: every one)", 0},
	{"depth", "N", "most native frames kept (256)", 0},
	{"option", "KEY=VALUE", "any key of LEAKTRACE_OPTIONS; repeat for more", 'o'},
	{"output", "FILE", "write the report there, not to stdout", 0},
	{"no-report", NULL, "only trace", 0},
	{"top", "N", "the first N sites (20)", 0},
	{"fail-on", "KIND[:BYTES]", "exit status 1 if the program's is 0 and more than BYTES (0) are of KIND\n"
	 "and not suppressed; KIND may be `growth`", 0},
	LT_SUPPRESS_OPTIONS,
	{NULL, NULL, NULL, 0},
};

const struct lt_command lt_command_run = {
	.name = "run",
	.arguments = "-- PROGRAM [ARGUMENT...]",
	.summary = "Trace a program and all that it starts, then report",
	.help = "The report comes on stdout once the program has ended (--output: to a file). Meanwhile the memory of the whole\n"
		"process tree is sampled four times a second, as RSS and as PSS. Exit status: the program's, 128+N if signal N\n"
		"killed it, 127 if it was not found, 126 if it could not be started.\n",
	.options = options,
	.stop = true,
	.run = run,
};
