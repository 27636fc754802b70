/* SPDX-License-Identifier: MIT
 *
 * No target: the driver of damage.sh. Damages copies of a dump and gives them to a command, which must end by itself with
 * status 0 or 2, and must not be silent about what a cut took away.
 *
 *   damage cut STEP DUMP COPY COMMAND...    the first 0, STEP, 2 * STEP, … bytes; COMMAND gets COPY as its last argument
 *   damage flip COUNT DUMP COPY COMMAND...  COUNT copies, in each some words and bytes overwritten (the same in each run)
 *
 * Prints the number of copies and of those that went wrong; status 1 if there were any.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "leaktrace/dump-format.h"

enum { PATIENCE = 120, TOLD = 400 };

struct outcome {
	int status;       /* as waitpid gives it */
	char told[TOLD];  /* the start of its stderr */
};

static unsigned copies, wrong;

static void die(const char *what)
{
	fprintf(stderr, "damage: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void write_copy(const char *path, const char *data, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0)
		die(path);
	for (size_t done = 0; done < size;) {
		ssize_t n = write(fd, data + done, size - done);
		if (n <= 0)
			die(path);
		done += (size_t)n;
	}
	close(fd);
}

static struct outcome run(char **command)
{
	struct outcome outcome = { 0, "" };
	int fds[2];
	if (pipe(fds))
		die("pipe");
	pid_t pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid) {
		int null = open("/dev/null", O_WRONLY);
		dup2(null, 1);
		dup2(fds[1], 2);
		close(fds[0]);
		close(fds[1]);
		alarm(PATIENCE);
		execv(command[0], command);
		_exit(127);
	}
	close(fds[1]);
	char rest[4096];
	for (size_t told = 0;;) {
		char *to = told < TOLD - 1 ? outcome.told + told : rest;
		ssize_t n = read(fds[0], to, told < TOLD - 1 ? TOLD - 1 - told : sizeof rest);
		if (n <= 0)
			break;
		if (told < TOLD - 1)
			told += (size_t)n;
	}
	close(fds[0]);
	while (waitpid(pid, &outcome.status, 0) < 0)
		;
	return outcome;
}

/* `must_tell`: something that counts is missing. */
static void judge(char **command, const char *which, uint64_t number, int must_tell)
{
	struct outcome outcome = run(command);
	int ended = WIFEXITED(outcome.status) && (WEXITSTATUS(outcome.status) == 0 || WEXITSTATUS(outcome.status) == 2);
	copies++;
	if (ended && !(must_tell && !outcome.told[0]) && !(WEXITSTATUS(outcome.status) == 2 && !outcome.told[0]))
		return;
	wrong++;
	printf("%s %s at %" PRIu64 ": wait status %#x%s\n%s\n", command[1], which, number, (unsigned)outcome.status,
	       outcome.told[0] ? "" : ", silent", outcome.told);
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Mostly in headers of chunks and the first records, where a word decides most. */
static void overwrite(char *data, size_t size, uint64_t *random)
{
	static const uint64_t words[] = { 0, 1, 0xff, 0x7fffffff, 0x80000000, 0xffffffff, UINT64_MAX, INT64_MAX, 4095, 4096 };
	unsigned times = 1 + (unsigned)(next_random(random) % 6);
	while (times--) {
		size_t page = next_random(random) % (size / 4096) * 4096;
		size_t at = page + next_random(random) % (next_random(random) & 1 ? 128 : 4096);
		uint64_t word = words[next_random(random) % (sizeof words / sizeof *words)];
		size_t length = (size_t)1 << next_random(random) % 4;
		if (next_random(random) & 1)
			word = next_random(random);
		if (at + length <= size)
			memcpy(data + at, &word, length);
	}
}

int main(int argc, char **argv)
{
	if (argc < 6 || (strcmp(argv[1], "cut") && strcmp(argv[1], "flip"))) {
		fprintf(stderr, "usage: damage cut|flip NUMBER DUMP COPY COMMAND...\n");
		return 2;
	}
	uint64_t number = strtoull(argv[2], NULL, 10), random = 0x9e3779b97f4a7c15u;
	char **command = calloc((size_t)argc, sizeof *command);
	int fd = open(argv[3], O_RDONLY);
	struct stat status;
	if (fd < 0 || fstat(fd, &status) || !command || !number)
		die(argv[3]);
	size_t size = (size_t)status.st_size;
	char *data = malloc(size), *copy = malloc(size);
	if (!data || !copy || read(fd, data, size) != (ssize_t)size || size < LEAKTRACE_HEADER_SIZE)
		die(argv[3]);
	for (int i = 5; i < argc; i++)
		command[i - 5] = argv[i];
	command[argc - 5] = argv[4];
	const struct leaktrace_header *header = (const void *)data;
	setvbuf(stdout, NULL, _IOLBF, 0);

	if (!strcmp(argv[1], "cut")) {
		for (uint64_t at = 0; at < size; at += number) {
			write_copy(argv[4], data, at);
			judge(command, "cut", at, at < header->committed);
		}
	} else {
		for (uint64_t i = 0; i < number; i++) {
			memcpy(copy, data, size);
			overwrite(copy, size, &random);
			write_copy(argv[4], copy, size);
			judge(command, "overwritten, copy", i, 0);
		}
	}
	printf("%s %s: %u copies, %u wrong\n", argv[5], argv[1], copies, wrong);
	return wrong ? 1 : 0;
}
