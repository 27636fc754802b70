/* SPDX-License-Identifier: MIT
 *
 * For tests of the tracer: a dump in a directory of its own, the file as a reader sees it, and children for what can't be
 * undone in a process. Include cmocka.h first.
 *
 * The tracer's modules are singletons: a fixture empties them as a fork child does.
 */
#ifndef TRACER_H
#define TRACER_H

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "dump/dump.h"
#include "dump_builder.h"
#include "trace/intern.h"
#include "trace/modules.h"
#include "trace/unwind.h"

#define FIRST_SIZE (UINT64_C(256) << 10)
#define MAX_SIZE (UINT64_C(16) << 20)

struct tracer {
	char *directory, *path;
};

/* A published dump of its own directory, with all else empty. */
static inline void tracer_start(struct tracer *tracer, uint64_t max_size)
{
	tracer->directory = db_directory();
	tracer->path = db_path(tracer->directory, "test.ltd");
	lt_intern_fork_child(false);
	lt_unwind_fork_child(true);
	if (lt_dump_create(tracer->path, FIRST_SIZE, max_size))
		abort();
	lt_process->peak_seq = 1;
	lt_process->first_site = lt_site_first();
	lt_modules_fork_child();
	lt_dump_publish();
}

static inline void tracer_end(struct tracer *tracer)
{
	lt_dump_fork_child(false);
	lt_intern_fork_child(false);
	free(tracer->path);
	db_remove(tracer->directory);
}

/* For cmocka: *state is a struct tracer. */
static inline int tracer_set_up(void **state)
{
	struct tracer *tracer = calloc(1, sizeof *tracer);

	tracer_start(tracer, MAX_SIZE);
	*state = tracer;
	return 0;
}

static inline int tracer_tear_down(void **state)
{
	tracer_end(*state);
	free(*state);
	return 0;
}

/* Appends records until the file is full. */
static inline void tracer_fill(void)
{
	while (lt_dump_chunk(4711, 1, 4000))
		;
}

/* A copy of the file, read twice: marks and counts of the first reading, so all that they cover is in the second. */
struct view {
	unsigned char *bytes;
	size_t size;
	struct leaktrace_header header;
};

static inline struct leaktrace_chunk *view_chunk(const struct view *view, size_t offset)
{
	return (struct leaktrace_chunk *)(view->bytes + offset);
}

/* All chunks of a type; `type` 0: all. */
#define VIEW_EACH(view, wanted, chunk)                                                                             \
	for (size_t offset_ = LEAKTRACE_HEADER_SIZE; offset_ < (view)->header.committed;                           \
	     offset_ += view_chunk(view, offset_)->size)                                                           \
		for (struct leaktrace_chunk *chunk = view_chunk(view, offset_);                                    \
		     chunk && (!(wanted) || chunk->type == (wanted)); chunk = NULL)

/* What holds at every moment: whole chunks below the commit mark, records only inside them. NULL, or what does not hold. */
static inline const char *view_fault(const struct view *view)
{
	uint32_t chunks = 0;
	size_t offset = LEAKTRACE_HEADER_SIZE;

	if (view->size < LEAKTRACE_HEADER_SIZE || view->header.committed > view->size)
		return "commit mark behind the end";
	for (; offset < view->header.committed; chunks++) {
		const struct leaktrace_chunk *chunk = view_chunk(view, offset);

		if (chunk->magic != LEAKTRACE_CHUNK_MAGIC)
			return "no chunk";
		if (!chunk->size || chunk->size % LEAKTRACE_CHUNK_ALIGN)
			return "odd chunk";
		if (sizeof *chunk + chunk->count * chunk->record_size > chunk->size)
			return "too many records";
		offset += chunk->size;
	}
	if (offset != view->header.committed)
		return "chunk over the commit mark";
	return view->header.chunks <= chunks ? NULL : "number of chunks"; /* counted after the mark is raised */
}

static inline bool view_read(struct view *view, const char *path)
{
	size_t size;
	unsigned char *first = db_slurp(path, &size);

	view->bytes = db_slurp(path, &view->size);
	view->header = *(const struct leaktrace_header *)first;
	for (size_t offset = LEAKTRACE_HEADER_SIZE; offset < view->header.committed && offset < size;) {
		const struct leaktrace_chunk *chunk = (const struct leaktrace_chunk *)(first + offset);

		if (!chunk->size || view->size < size)
			break;
		memcpy(view->bytes + offset, chunk, sizeof *chunk);
		offset += chunk->size;
	}
	free(first);
	return !view_fault(view);
}

static inline void view_free(struct view *view)
{
	free(view->bytes);
	view->bytes = NULL;
}

/* The file of the tracer's dump, which must be sound. */
static inline struct view view_of(const struct tracer *tracer)
{
	struct view view;

	if (!view_read(&view, tracer->path))
		fail_msg("%s", view_fault(&view));
	return view;
}

static inline uint64_t view_count(const struct view *view, uint32_t type)
{
	uint64_t count = 0;

	VIEW_EACH(view, type, chunk)
		count += chunk->count;
	return count;
}

/* Record `index` of a type; NULL: there is none. */
static inline const void *view_record(const struct view *view, uint32_t type, uint64_t index)
{
	VIEW_EACH(view, type, chunk)
		if (index >= chunk->first && index - chunk->first < chunk->count)
			return (const char *)(chunk + 1) + (index - chunk->first) * chunk->record_size;
	return NULL;
}

/* NULL: the reference names no string. */
static inline const struct leaktrace_string *view_string(const struct view *view, uint32_t reference)
{
	uint64_t at = (uint64_t)reference * 8;

	VIEW_EACH(view, LEAKTRACE_CHUNK_STRINGS, chunk)
		if (at >= offset_ + sizeof *chunk && at < offset_ + sizeof *chunk + chunk->count)
			return (const struct leaktrace_string *)(view->bytes + at);
	return NULL;
}

/* In a child that can't use cmocka's asserts (they jump back into the runner, which would go on in the child). */
#define CHILD_CHECK(condition)                                                                                     \
	do {                                                                                                       \
		if (!(condition)) {                                                                                \
			dprintf(STDERR_FILENO, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);             \
			_exit(1);                                                                                  \
		}                                                                                                  \
	} while (0)

/* Runs `body` in a forked child; its wait status, 0 when all checks held. */
static inline int in_child(void (*body)(void *), void *argument)
{
	int status = -1;
	pid_t pid = fork();

	if (!pid) {
		body(argument);
		_exit(0);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0)
		;
	return status;
}

#endif
