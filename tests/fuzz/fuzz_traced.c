/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: texts that the traced side reads. The first byte says which: LEAKTRACE_OPTIONS, LEAKTRACE_SESSION,
 * /proc/self/maps, R's DESCRIPTION, R's machine code.
 *
 * Two of its sources are compiled into this one: their parsers are not to be had otherwise, and what they allocate would
 * stay for ever.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/options.h"
#include "base/sys.h"
#include "fuzz.h"
#include "r/version.h"
#include "scan/work.h"

static char *allocated[8];
static unsigned allocated_count;

static void *allocate(size_t size)
{
	if (allocated_count == sizeof allocated / sizeof *allocated)
		fuzz_fault("more is allocated than ever was");
	return allocated[allocated_count++] = calloc(1, size);
}

/* What /proc/self/maps has. */
static const uint8_t *given;
static size_t given_size, given_at;

static long read_text(int fd, void *buffer, size_t size)
{
	size_t n = given_size - given_at < size ? given_size - given_at : size;

	memcpy(buffer, given + given_at, n);
	given_at += n;
	return (long)n;
}

static int open_text(int directory, const char *path, int flags, unsigned mode)
{
	given_at = 0;
	return 0;
}

#define lt_arena_alloc allocate
#define lt_map allocate
#define lt_sys_open open_text
#define lt_sys_read read_text
#define lt_sys_close(fd) (void)(fd)
#include "process/session.c"
#include "scan/maps.c"

static struct lt_options defaults;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	defaults = lt_options;
	return 0;
}

static unsigned complaints;

static void complain(const char *what, const char *which)
{
	complaints += (unsigned)(strlen(what) + strlen(which) > 0);
}

static void options(const char *value)
{
	struct lt_options *o = &lt_options;

	lt_options = defaults;
	lt_options_parse(value, complain);
	if (o->depth < 1 || o->depth > LT_DEPTH_MAX || o->sample > LEAKTRACE_SAMPLE_MAX || (unsigned)o->scope > LT_SCOPE_R ||
	    o->max_size < 256u << 10 || o->max_size > UINT64_C(16) << 30 || !memchr(o->dir, 0, sizeof o->dir) ||
	    !memchr(o->log, 0, sizeof o->log))
		fuzz_fault("an option has a value that it may not have");
}

/* Founded or joined, there are an absolute directory and an id, and what is handed on is understood. */
static void session(const char *value)
{
	static char name[] = "program";
	char *argv[] = {name, NULL}, *assignment = malloc(strlen(value) + sizeof VARIABLE);
	char *envp[] = {assignment, NULL}, *handed[4];
	struct lt_session first;

	strcpy(assignment, VARIABLE);
	strcat(assignment, value);
	lt_session = (struct lt_session){0};
	lt_session_init(1, argv, envp);
	if (!lt_session.id || !lt_session.dir || lt_session.dir[0] != '/')
		fuzz_fault("a session without an id or a directory");
	first = lt_session;
	copy_env(envp, handed);
	lt_session = (struct lt_session){0};
	lt_session_init(1, argv, handed);
	if (strcmp(first.dir, lt_session.dir) || strcmp(first.id, lt_session.id) || first.only_r != lt_session.only_r ||
	    memcmp(&first.parent, &lt_session.parent, sizeof first.parent))
		fuzz_fault("a session that is handed on is not joined");
	free(assignment);
}

static void maps(const uint8_t *bytes, size_t size)
{
	static struct lt_scan_work work;

	given = bytes;
	given_size = size;
	memset(&work, 0, offsetof(struct lt_scan_work, maps));
	if (lt_maps_read(&work))
		return;
	for (size_t i = 0; i < work.line_count; i++)
		lt_maps_find(&work, work.lines[i].low);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *value;

	if (!size || !(value = malloc(size)))
		return 0;
	memcpy(value, data + 1, size - 1);
	value[size - 1] = '\0';
	switch (data[0] % 5) {
	case 0:
		options(value);
		break;
	case 1:
		session(value);
		break;
	case 2:
		maps(data + 1, size - 1);
		break;
	case 3:
		lt_r_version_in_text(value);
		break;
	default:
		lt_r_version_in_code(data + 1, size - 1);
	}
	free(value);
	while (allocated_count)
		free(allocated[--allocated_count]);
	return 0;
}
