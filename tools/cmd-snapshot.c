/* SPDX-License-Identifier: MIT
 *
 * leaktrace snapshot: has a running process copied and classified, waits for the verdict, says what it is.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "command.h"
#include "estimate.h"
#include "inject.h"
#include "leaktrace/dump-format.h"
#include "out.h"
#include "xalloc.h"

struct arguments {
	const char *label;
};

static bool take(void *data, const struct lt_option *option, const char *value)
{
	(void)option;
	((struct arguments *)data)->label = value;
	return true;
}

/* The verdict that a snapshot file is for. */
static bool read_verdict(int file, struct leaktrace_verdict *verdict, uint64_t *sample_bytes)
{
	struct leaktrace_header header;
	struct leaktrace_chunk chunk;

	if (pread(file, &header, sizeof header, 0) != sizeof header || memcmp(header.magic, LEAKTRACE_DUMP_MAGIC, 8) != 0)
		return false;
	*sample_bytes = lt_sample_bytes(&header.process);
	for (uint64_t at = header.header_size; at < header.committed; at += chunk.size) {
		if (pread(file, &chunk, sizeof chunk, (off_t)at) != sizeof chunk || chunk.magic != LEAKTRACE_CHUNK_MAGIC ||
		    chunk.size < sizeof chunk)
			return false;
		if (chunk.type == LEAKTRACE_CHUNK_VERDICTS && chunk.count && chunk.record_size >= sizeof *verdict)
			return pread(file, verdict, sizeof *verdict, (off_t)(at + sizeof chunk)) == sizeof *verdict;
	}
	return false;
}

/* Until the classifier has done or is gone. */
static bool wait_for_verdict(const char *path, struct leaktrace_verdict *verdict, uint64_t *sample_bytes)
{
	int file;
	bool known;

	/* The program goes on before its classifier has made the file. */
	for (unsigned tries = 0; (file = open(path, O_RDONLY | O_CLOEXEC)) < 0 || !read_verdict(file, verdict, sample_bytes); tries++) {
		if (file >= 0)
			close(file);
		if (tries == 2500)
			return false;
		nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
	}
	while ((known = read_verdict(file, verdict, sample_bytes)) && verdict->state == LEAKTRACE_VERDICT_RUNNING) {
		if (kill((pid_t)verdict->classifier_pid, 0) != 0 && errno == ESRCH) {
			known = read_verdict(file, verdict, sample_bytes);
			break;
		}
		nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
	}
	close(file);
	return known && verdict->state == LEAKTRACE_VERDICT_DONE;
}

static int snapshot(pid_t pid, const char *label)
{
	static const char *const kinds[LEAKTRACE_KINDS] = {"unknown", "definite", "indirect", "possible", "reachable"};
	struct leaktrace_remote done;
	struct leaktrace_verdict verdict;

	if (lt_inject_or_say(pid, LEAKTRACE_REMOTE_SNAPSHOT, label, &done))
		return LT_STATUS_TROUBLE;
	char *dump = lt_inject_dump(pid);
	if (!dump) {
		fprintf(stderr, "leaktrace: process %d has no dump any more\n", (int)pid);
		return LT_STATUS_TROUBLE;
	}
	char *path = lt_xasprintf("%.*s-%" PRIu32 LEAKTRACE_SNAPSHOT_SUFFIX, (int)(strlen(dump) - strlen(LEAKTRACE_DUMP_SUFFIX)), dump,
		done.snapshot);
	free(dump);
	int status = LT_STATUS_TROUBLE;
	uint64_t sample_bytes = 0;
	if (wait_for_verdict(path, &verdict, &sample_bytes)) {
		char bytes[LT_OUT_NUMBER], blocks[LT_OUT_NUMBER];

		lt_out_safe(stdout, path);
		putchar('\n');
		for (unsigned kind = 0; kind < LEAKTRACE_KINDS; kind++) {
			static const unsigned order[LEAKTRACE_KINDS] = {1, 2, 3, 4, 0};
			unsigned k = order[kind];

			if (k || verdict.kinds[k].blocks)
				printf("  %-10s %15s bytes in %s blocks\n", kinds[k], lt_out_count(bytes, verdict.kinds[k].bytes),
				       lt_out_count(blocks, verdict.kinds[k].blocks));
		}
		if (sample_bytes)
			printf("These are estimates, from samples of one allocation in %s; a report on the file has their errors.\n",
			       lt_out_size(bytes, sample_bytes));
		printf("The process stood still for %.1f ms; the verdict took %.1f ms.\n", (double)verdict.pause_ns / 1e6,
		       (double)verdict.work_ns / 1e6);
		status = LT_STATUS_FINE;
	} else {
		fputs("leaktrace: no verdict in ", stderr);
		lt_out_safe(stderr, path);
		fputs(": its classifier has ended without\n", stderr);
	}
	free(path);
	return status;
}

static int run(const struct lt_command *command, int argc, char **argv)
{
	struct arguments arguments = {0};
	int status, first = lt_command_options(command, argc, argv, take, &arguments, &status);

	if (first < 0)
		return status;
	pid_t pid = lt_inject_pid(command, argc - first, argv + first);
	return pid ? snapshot(pid, arguments.label) : LT_STATUS_TROUBLE;
}

static const struct lt_option options[] = {
	{"label", "TEXT", "name the snapshot; at most 255 bytes", 0},
	{NULL, NULL, NULL, 0},
};

const struct lt_command lt_command_snapshot = {
	.name = "snapshot",
	.arguments = "PID",
	.summary = "Classify now, in a running process",
	.help = "The process is copied, which stops it for the time of a fork; the copy classifies what is live and leaves a file beside\n"
		"the dump, which report and diff take. No signal is sent: a worker that waits for its next task goes on waiting. Needs\n"
		"the right to ptrace the process (the same user; root where kernel.yama.ptrace_scope is set).\n",
	.options = options,
	.run = run,
};
