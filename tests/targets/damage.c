/* SPDX-License-Identifier: MIT
 *
 * No target: the driver of damage.sh. Damages copies of a dump and gives them to the command. It must end by itself with a
 * result (status 0) or an error (2), in the memory that it takes for the whole dump, and say on stderr if something is
 * missing.
 *
 *   damage cut STEP turn|all DUMP DIRECTORY LEAKTRACE    the first 0, STEP, 2 * STEP, … bytes
 *   damage flip COUNT …      COUNT copies with some words and bytes overwritten, the same in each run
 *   damage header 1 …        each field of the file's and the chunks' headers, with each of some words
 *   damage stretch 1 …       sparse: each chunk in turn claims to reach up to 1 TiB
 *
 * `all`: each copy goes to all of `commands`; `turn`: to one after the other. Work is shared by one process per CPU, each with
 * its copy in DIRECTORY. Prints the number of runs and what went wrong; status 1 if anything did.
 *
 * There are no checksums in a dump: a figure that was overwritten is reported as it is. So in silence `flip` may change the
 * output, `cut`, `header` and `stretch` may not.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "leaktrace/dump-format.h"

enum { PATIENCE = 120, TOLD_MAX = 1 << 16, WORDS = 6 };
#define STRETCHED (UINT64_C(1) << 40)

enum { JSON, MERGE, TEXT, PS, BLOCKS, CSV, COMMANDS };
static const char *const commands[COMMANDS][WORDS] = {
	[JSON] = {"report", "--format=json", "--top", "20"},
	[MERGE] = {"merge", "-o"}, /* the output's name is added */
	[TEXT] = {"report", "--top", "5"},
	[PS] = {"ps"},
	[BLOCKS] = {"report", "--blocks", "--top", "5"},
	[CSV] = {"report", "--by=process", "--inherited", "--format=csv", "--top", "5"},
};

/* Finding names takes the most time, and a damaged dump matters least to it. */
static const unsigned turns[] = {JSON, MERGE, CSV, PS, TEXT, MERGE, CSV, BLOCKS};
enum { TURNS = sizeof turns / sizeof *turns };

struct outcome {
	int status; /* as waitpid gives it */
	uint64_t max_rss;
	char *out, *told;
	size_t out_size, told_size;
};

struct input {
	char *data;
	size_t size;
	struct outcome whole[COMMANDS]; /* of the dump as it is */
};

struct worker {
	char *tool, copy[4096], merged[4096], out[4096], err[4096];
	unsigned number, count;
	bool all;
	unsigned runs, wrong, turn;
	uint64_t variants;
};

static void die(const char *what)
{
	fprintf(stderr, "damage: %s: %s\n", what, strerror(errno));
	_exit(2);
}

static void put(int fd, const char *data, size_t size, uint64_t offset)
{
	while (size) {
		ssize_t n = pwrite(fd, data, size, (off_t)offset);
		if (n <= 0)
			die("write");
		data += n;
		size -= (size_t)n;
		offset += (uint64_t)n;
	}
}

static char *slurp(const char *path, size_t *size)
{
	int fd = open(path, O_RDONLY);
	struct stat status;
	if (fd < 0 || fstat(fd, &status))
		die(path);
	*size = (size_t)status.st_size;
	char *data = malloc(*size + 1);
	for (size_t done = 0; done < *size;) {
		ssize_t n = data ? read(fd, data + done, *size - done) : -1;
		if (n <= 0)
			die(path);
		done += (size_t)n;
	}
	data[*size] = 0;
	close(fd);
	return data;
}

static void clear(struct outcome *outcome)
{
	free(outcome->out);
	free(outcome->told);
	*outcome = (struct outcome){0};
}

static struct outcome run(struct worker *w, unsigned command, char *input)
{
	struct outcome outcome = {0};
	struct rusage usage;
	pid_t pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid) {
		char *argv[WORDS + 4] = {w->tool}, **next = argv + 1;
		for (unsigned i = 0; i < WORDS && commands[command][i]; i++)
			*next++ = (char *)commands[command][i];
		if (command == MERGE)
			*next++ = w->merged;
		*next = input;
		int out = open(w->out, O_WRONLY | O_CREAT | O_TRUNC, 0600), err = open(w->err, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		dup2(out, 1);
		dup2(err, 2);
		alarm(PATIENCE);
		execv(w->tool, argv);
		_exit(127);
	}
	while (wait4(pid, &outcome.status, 0, &usage) < 0)
		if (errno != EINTR)
			die("wait4");
	outcome.max_rss = (uint64_t)usage.ru_maxrss * 1024;
	outcome.out = slurp(w->out, &outcome.out_size);
	outcome.told = slurp(w->err, &outcome.told_size);
	return outcome;
}

/* What is wrong with the run; NULL: nothing. `may_change`: the output may differ in silence. */
static const char *fault(const struct outcome *outcome, const struct outcome *whole, unsigned command, bool must_tell, bool may_change)
{
	if (WIFSIGNALED(outcome->status))
		return WTERMSIG(outcome->status) == SIGALRM ? "hangs" : "dies";
	int status = WEXITSTATUS(outcome->status);
	if (status != 0 && status != 2)
		return "ends with a wrong status";
	if (outcome->told_size > TOLD_MAX)
		return "says too much";
	if (outcome->max_rss > 2 * whole->max_rss + (32u << 20))
		return "takes too much memory";
	if (status == 2)
		return !outcome->told_size ? "fails without a word" : outcome->out_size ? "fails, but prints a report" : NULL;
	if (must_tell && !outcome->told_size)
		return "does not say what is missing";
	if (command == JSON) {
		json_t *json = json_loadb(outcome->out, outcome->out_size, JSON_REJECT_DUPLICATES, NULL);
		if (!json)
			return "prints no JSON";
		json_decref(json);
	}
	if (!may_change && !outcome->told_size &&
	    (outcome->out_size != whole->out_size || memcmp(outcome->out, whole->out, whole->out_size)))
		return "changes its output in silence";
	return NULL;
}

static void judge(struct worker *w, const struct input *input, unsigned command, const char *what, bool must_tell, bool may_change)
{
	struct outcome outcome = run(w, command, w->copy), again = {0};
	const char *wrong = fault(&outcome, &input->whole[command], command, must_tell, may_change);
	w->runs++;
	if (!wrong && command == MERGE && outcome.status == 0) {
		again = run(w, PS, w->merged);
		if (again.status)
			wrong = "writes what cannot be read";
		clear(&again);
		unlink(w->merged);
	}
	if (wrong && w->wrong++ < 5) {
		char line[2048];
		snprintf(line, sizeof line, "%s%s%s: %s: wait status %#x, %" PRIu64 " KiB: %.1000s\n", commands[command][0],
			 commands[command][1] ? " " : "", commands[command][1] ? commands[command][1] : "", what,
			 (unsigned)outcome.status, outcome.max_rss / 1024, outcome.told_size ? outcome.told : "(silent)");
		fprintf(stdout, "%s %s", wrong, line);
		fflush(stdout);
	}
	clear(&outcome);
}

/* The copy is there: hands it out. */
static void judge_all(struct worker *w, const struct input *input, const char *what, bool must_tell, bool may_change)
{
	for (unsigned i = 0; w->all && i < COMMANDS; i++)
		judge(w, input, i, what, must_tell, may_change);
	if (!w->all)
		judge(w, input, turns[w->turn++ % TURNS], what, must_tell, may_change);
}

/* The next copy is for another worker. */
static bool skips(struct worker *w)
{
	return w->variants++ % w->count != w->number;
}

static void make_copy(const struct worker *w, const char *data, size_t size)
{
	int fd = open(w->copy, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0)
		die(w->copy);
	put(fd, data, size, 0);
	close(fd);
}

static void cut(struct worker *w, const struct input *input, uint64_t step)
{
	const struct leaktrace_header *header = (const void *)input->data;
	char what[64];
	make_copy(w, input->data, input->size);
	/* From the end, so that the copy only has to shrink. */
	for (uint64_t at = (input->size - 1) / step * step + step; at >= step;) {
		at -= step;
		if (skips(w))
			continue;
		if (truncate(w->copy, (off_t)at))
			die(w->copy);
		snprintf(what, sizeof what, "cut at %" PRIu64, at);
		judge_all(w, input, what, at < header->committed, at >= header->committed);
	}
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static const uint64_t words[] = {0, 1, 0xff, 4095, 4096, 0x7fffffff, 0x80000000, 0xffffffff, INT64_MAX, UINT64_MAX};
enum { WORD_COUNT = sizeof words / sizeof *words, NEW_TYPE = LEAKTRACE_CHUNK_PROCESSES + 1 };

/* Mostly in headers of chunks and the first records, where a word decides most. */
static void overwrite(char *data, size_t size, uint64_t *random)
{
	unsigned times = 1 + (unsigned)(next_random(random) % 6);
	while (times--) {
		size_t page = next_random(random) % (size / 4096) * 4096;
		size_t at = page + next_random(random) % (next_random(random) & 1 ? 128 : 4096);
		uint64_t word = words[next_random(random) % WORD_COUNT];
		size_t length = (size_t)1 << next_random(random) % 4;
		if (next_random(random) & 1)
			word = next_random(random);
		if (at + length <= size)
			memcpy(data + at, &word, length);
	}
}

static void flip(struct worker *w, const struct input *input, uint64_t count)
{
	uint64_t random = UINT64_C(0x9e3779b97f4a7c15);
	char *copy = malloc(input->size), what[64];
	if (!copy)
		die("malloc");
	for (uint64_t i = 0; i < count; i++) {
		memcpy(copy, input->data, input->size);
		overwrite(copy, input->size, &random);
		if (skips(w))
			continue;
		make_copy(w, copy, input->size);
		snprintf(what, sizeof what, "overwritten, copy %" PRIu64, i);
		judge_all(w, input, what, false, true);
	}
	free(copy);
}

/* The next chunk of the dump as it is; 0: none. */
static uint64_t next_chunk(const struct input *input, uint64_t offset)
{
	const struct leaktrace_header *header = (const void *)input->data;
	const struct leaktrace_chunk *chunk = (const void *)(input->data + offset);
	uint64_t next = offset ? offset + chunk->size : LEAKTRACE_HEADER_SIZE;
	return next < header->committed ? next : 0;
}

static void judge_field(struct worker *w, const struct input *input, uint64_t chunk, const char *name, size_t offset, size_t size,
			bool may_fall, bool may_be_new)
{
	char what[96];
	uint64_t old = 0;
	memcpy(&old, input->data + chunk + offset, size);
	for (unsigned i = 0; i < WORD_COUNT + 4; i++) {
		uint64_t word = i < WORD_COUNT ? words[i] : i == WORD_COUNT ? old + 1 : i == WORD_COUNT + 1 ? old - 1 :
				i == WORD_COUNT + 2 ? old * 2 : old ^ (UINT64_C(1) << (8 * size - 1));
		if (memcmp(&word, &old, size) == 0 || skips(w))
			continue;
		int fd = open(w->copy, O_WRONLY);
		if (fd < 0)
			die(w->copy);
		put(fd, (const char *)&word, size, chunk + offset);
		close(fd);
		snprintf(what, sizeof what, "%s %#" PRIx64 " at %" PRIu64, name, word, chunk);
		judge_all(w, input, what, false, (may_fall && word < old) || (may_be_new && word >= NEW_TYPE && word <= UINT16_MAX));
		fd = open(w->copy, O_WRONLY);
		put(fd, input->data + chunk + offset, size, chunk + offset);
		close(fd);
	}
}

/* A count that fell takes the last records with it, and nothing else in the file has to know; the type may be one that is to
 * come, which is skipped. */
static void header(struct worker *w, const struct input *input)
{
#define FIELD(record, field) \
	judge_field(w, input, at, #field, offsetof(struct record, field), sizeof ((struct record *)0)->field, \
		    offsetof(struct record, field) == offsetof(struct leaktrace_chunk, count) && at, \
		    offsetof(struct record, field) == offsetof(struct leaktrace_chunk, type) && at)
	uint64_t at = 0;
	make_copy(w, input->data, input->size);
	FIELD(leaktrace_header, magic);
	FIELD(leaktrace_header, major);
	FIELD(leaktrace_header, endian);
	FIELD(leaktrace_header, header_size);
	FIELD(leaktrace_header, committed);
	FIELD(leaktrace_header, flags);
	FIELD(leaktrace_header, chunks);
	while ((at = next_chunk(input, at))) {
		FIELD(leaktrace_chunk, magic);
		FIELD(leaktrace_chunk, type);
		FIELD(leaktrace_chunk, size);
		FIELD(leaktrace_chunk, record_size);
		FIELD(leaktrace_chunk, first);
		FIELD(leaktrace_chunk, count);
	}
}

static void stretch(struct worker *w, const struct input *input)
{
	char what[64];
	for (uint64_t at = 0; (at = next_chunk(input, at));) {
		struct leaktrace_header head;
		struct leaktrace_chunk chunk;
		if (skips(w))
			continue;
		make_copy(w, input->data, input->size);
		memcpy(&head, input->data, sizeof head);
		memcpy(&chunk, input->data + at, sizeof chunk);
		head.committed = STRETCHED;
		chunk.size = STRETCHED - at;
		chunk.count = (chunk.size - sizeof chunk) / (chunk.record_size ? chunk.record_size : 1);
		int fd = open(w->copy, O_WRONLY);
		if (fd < 0)
			die(w->copy);
		put(fd, (const char *)&head, sizeof head, 0);
		put(fd, (const char *)&chunk, sizeof chunk, at);
		if (ftruncate(fd, (off_t)STRETCHED)) {
			printf("no sparse files of 1 TiB here: %s\n", strerror(errno));
			close(fd);
			return;
		}
		close(fd);
		snprintf(what, sizeof what, "stretched at %" PRIu64, at);
		judge_all(w, input, what, false, false);
	}
}

static void work(struct worker *w, struct input *input, const char *mode, uint64_t number, const char *directory)
{
	snprintf(w->copy, sizeof w->copy, "%s/damaged%u.ltd", directory, w->number);
	snprintf(w->merged, sizeof w->merged, "%s/merged%u.ltd", directory, w->number);
	snprintf(w->out, sizeof w->out, "%s/out%u", directory, w->number);
	snprintf(w->err, sizeof w->err, "%s/err%u", directory, w->number);
	make_copy(w, input->data, input->size);
	for (unsigned i = 0; i < COMMANDS; i++) {
		input->whole[i] = run(w, i, w->copy);
		if (input->whole[i].status) {
			printf("%s of the whole dump: wait status %#x: %s\n", commands[i][0], (unsigned)input->whole[i].status,
			       input->whole[i].told);
			w->wrong++;
		}
	}
	w->turn = w->number * (TURNS / 2 + 1);
	if (!strcmp(mode, "cut"))
		cut(w, input, number);
	else if (!strcmp(mode, "flip"))
		flip(w, input, number);
	else if (!strcmp(mode, "header"))
		header(w, input);
	else
		stretch(w, input);
}

int main(int argc, char **argv)
{
	static const char *const modes[] = {"cut", "flip", "header", "stretch"};
	uint64_t number = argc == 7 ? strtoull(argv[2], NULL, 10) : 0;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct input input = {0};
	unsigned totals[2] = {0, 0};
	bool known = false;
	int pipes[2];

	for (unsigned i = 0; argc > 1 && i < sizeof modes / sizeof *modes; i++)
		known |= !strcmp(argv[1], modes[i]);
	if (!known || !number) {
		fprintf(stderr, "usage: damage cut|flip|header|stretch NUMBER turn|all DUMP DIRECTORY LEAKTRACE\n");
		return 2;
	}
	input.data = slurp(argv[4], &input.size);
	if (input.size < LEAKTRACE_HEADER_SIZE || pipe(pipes))
		die(argv[4]);
	if (cpus < 1 || cpus > 16)
		cpus = cpus < 1 ? 1 : 16;
	for (long i = 0; i < cpus; i++) {
		pid_t pid = fork();
		if (pid < 0)
			die("fork");
		if (!pid) {
			struct worker w = {.tool = argv[6], .number = (unsigned)i, .count = (unsigned)cpus, .all = !strcmp(argv[3], "all")};
			work(&w, &input, argv[1], number, argv[5]);
			unsigned figures[2] = {w.runs, w.wrong};
			fflush(stdout);
			_exit(write(pipes[1], figures, sizeof figures) == sizeof figures ? 0 : 2);
		}
	}
	for (long i = 0; i < cpus; i++) {
		unsigned figures[2];
		int status = 0;
		if (wait(&status) < 0 || status || read(pipes[0], figures, sizeof figures) != sizeof figures) {
			printf("a worker of the test failed\n");
			return 2;
		}
		totals[0] += figures[0];
		totals[1] += figures[1];
	}
	printf("%s %s: %u runs, %u wrong\n", argv[1], argv[3], totals[0], totals[1]);
	return totals[1] || !totals[0] ? 1 : 0;
}
