/* SPDX-License-Identifier: MIT
 *
 * Commands print by stdout and stderr, which are variables in glibc: they are set to streams into memory meanwhile. libFuzzer
 * and the sanitizers keep what they had.
 */
#include "fuzz.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "session.h"

/* Inputs are below a megabyte. */
#define OUTPUT_MOST (64u << 20)
#define ARGUMENTS_MOST 32
#define PATHS_MOST 16

void fuzz_fault(const char *format, ...)
{
	char text[1024];
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(text, sizeof text - 1, format, arguments);
	va_end(arguments);
	if (length > (int)sizeof text - 2)
		length = sizeof text - 2;
	text[length++] = '\n';
	if (write(2, text, (size_t)length) < 0) { /* no more can be done */ }
	abort();
}

static char *paths[PATHS_MOST];
static char *directory;
static pid_t owner;

static void remove_directory(void)
{
	if (getpid() != owner)
		return;
	for (unsigned i = 0; i < PATHS_MOST && paths[i]; i++)
		unlink(paths[i]);
	rmdir(directory);
}

static void make_directory(void)
{
	const char *base = getenv("TMPDIR");

	if (!base || !*base)
		base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	if (asprintf(&directory, "%s/leaktrace-fuzz.XXXXXX", base) < 0 || !mkdtemp(directory))
		fuzz_fault("%s: no directory can be made", base);
	owner = getpid();
	atexit(remove_directory);
}

const char *fuzz_path(const char *name)
{
	unsigned i;

	if (!directory)
		make_directory();
	for (i = 0; i < PATHS_MOST && paths[i]; i++)
		if (strcmp(strrchr(paths[i], '/') + 1, name) == 0)
			return paths[i];
	if (i == PATHS_MOST || asprintf(&paths[i], "%s/%s", directory, name) < 0)
		fuzz_fault("too many files");
	return paths[i];
}

void fuzz_write(const char *path, const void *bytes, size_t size)
{
	FILE *file = fopen(path, "wb");

	if (!file || (size && fwrite(bytes, size, 1, file) != 1) || fclose(file))
		fuzz_fault("%s: cannot be written", path);
}

/* A stream that keeps what is written. */
struct kept {
	FILE *stream;
	char *bytes;
	size_t size, room;
};
static struct kept out, told;
static struct fuzz_output output;

static ssize_t keep(void *cookie, const char *bytes, size_t size)
{
	struct kept *kept = cookie;

	if (kept->size + size > OUTPUT_MOST)
		fuzz_fault("the output is out of all proportion: more than %u MiB", OUTPUT_MOST >> 20);
	if (kept->size + size + 1 > kept->room) {
		kept->room = 2 * (kept->size + size) + 4096;
		if (!(kept->bytes = realloc(kept->bytes, kept->room)))
			fuzz_fault("no memory");
	}
	memcpy(kept->bytes + kept->size, bytes, size);
	kept->size += size;
	kept->bytes[kept->size] = '\0';
	return (ssize_t)size;
}

/* Made once, then used again for each command. */
static void begin(struct kept *kept)
{
	if (!kept->stream)
		kept->stream = fopencookie(kept, "w", (cookie_io_functions_t){.write = keep});
	if (!kept->stream)
		fuzz_fault("no stream");
	kept->size = 0;
	keep(kept, "", 0);
}

static bool asks_for_json(const char *const *argv)
{
	while (*argv)
		if (strcmp(*argv++, "--format=json") == 0)
			return true;
	return false;
}

static void judge(const char *const *argv)
{
	if (output.status != LT_STATUS_FINE && output.status != LT_STATUS_FINDINGS && output.status != LT_STATUS_TROUBLE)
		fuzz_fault("%s: status %d", argv[0], output.status);
	if (output.status == LT_STATUS_TROUBLE) {
		if (!output.told_size)
			fuzz_fault("%s: fails without a word", argv[0]);
		if (output.out_size)
			fuzz_fault("%s: fails, but prints a report: %.200s", argv[0], output.out);
	} else if (asks_for_json(argv) && strncmp(output.out, "Usage:", 6)) { /* --help may be among them */
		json_error_t error;
		json_t *json = json_loadb(output.out, output.out_size, JSON_REJECT_DUPLICATES, &error);

		if (!json)
			fuzz_fault("%s: no JSON: %s, at byte %d", argv[0], error.text, error.position);
		json_decref(json);
	}
}

const struct fuzz_output *fuzz_command(const char *const *argv)
{
	const struct lt_command *command = lt_command_find(argv[0]);
	FILE *old_out = stdout, *old_err = stderr;
	char *copy[ARGUMENTS_MOST + 1] = {NULL}, *given[ARGUMENTS_MOST + 1];
	int argc = 0;

	while (argv[argc] && argc < ARGUMENTS_MOST) {
		copy[argc] = strdup(argv[argc]);
		argc++;
	}
	memcpy(given, copy, sizeof given); /* getopt puts them in another order */
	lt_session_wait_seconds = 0; /* a dump may claim that this very process is its classifier */
	begin(&out);
	begin(&told);
	stdout = out.stream;
	stderr = told.stream;
	output.status = command->run(command, argc, copy);
	fflush(stdout);
	fflush(stderr);
	stdout = old_out;
	stderr = old_err;
	for (int i = 0; i < argc; i++)
		free(given[i]);
	output.out = out.bytes;
	output.out_size = out.size;
	output.told = told.bytes;
	output.told_size = told.size;
	judge(argv);
	return &output;
}
