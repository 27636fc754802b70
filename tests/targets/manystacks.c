/* SPDX-License-Identifier: MIT
 *
 * OPERATIONS allocations of each thread through STACKS different stacks (up to 10 million: 7 frames, each one of 10 functions), in
 * random order, or STACKS 0: each through a new one. Each operation frees the oldest of LIVE blocks and allocates another, of 16 to
 * 200 bytes. usage: manystacks OPERATIONS STACKS LIVE THREADS
 *
 * Prints what the tracer says of itself, read from its own dump, which is mapped here, at OPERATIONS / 100, / 50, / 20, … of the
 * first thread's and at the end:
 *     OPERATION memory BYTES peak BYTES dump BYTES file BYTES dropped ALLOCATIONS
 * Without a dump: OPERATION, and the bytes of anonymous private mappings, here as with one.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>

#include "leaktrace/dump-format.h"
#include "target.h"

SITE static void *innermost(uint64_t stack, size_t size)
{
	void *block = malloc(size);
	KEEP_FRAME();
	return block;
}

#define FRAME(name, next)                                              \
	SITE static void *name(uint64_t stack, size_t size)        \
	{                                                              \
		void *block = next(stack / 10, size);                  \
		KEEP_FRAME();                                          \
		return block;                                          \
	}
#define LEVEL(level, next)                                                                                     \
	FRAME(level##0, next) FRAME(level##1, next) FRAME(level##2, next) FRAME(level##3, next)                \
	FRAME(level##4, next) FRAME(level##5, next) FRAME(level##6, next) FRAME(level##7, next)                \
	FRAME(level##8, next) FRAME(level##9, next)                                                            \
	static void *level(uint64_t stack, size_t size)                                                        \
	{                                                                                                      \
		static void *(*const functions[])(uint64_t, size_t) = {                                        \
			level##0, level##1, level##2, level##3, level##4, level##5, level##6, level##7, level##8, level##9, \
		};                                                                                             \
		return functions[stack % 10](stack, size);                                                     \
	}
LEVEL(g, innermost)
LEVEL(f, g)
LEVEL(e, f)
LEVEL(d, e)
LEVEL(c, d)
LEVEL(b, c)
LEVEL(a, b)

static uint64_t operations, stacks, live;

/* The first page of the dump, and its file. What it does must not allocate, nor be long: nothing is to change meanwhile. */
static const struct leaktrace_header *find_dump(char *path, size_t room)
{
	static char maps[1 << 20];
	size_t size = 0;
	ssize_t n = 1;
	int fd = open("/proc/self/maps", O_RDONLY);

	while (fd >= 0 && size < sizeof maps - 1 && (n = read(fd, maps + size, sizeof maps - 1 - size)) > 0)
		size += (size_t)n;
	close(fd);
	maps[size] = '\0';
	for (char *line = maps, *end; (end = strchr(line, '\n')); line = end + 1) {
		uint64_t start, offset;
		int at = 0;

		*end = '\0';
		if (sscanf(line, "%" SCNx64 "-%*x %*s %" SCNx64 " %*s %*s %n", &start, &offset, &at) == 2 && at && !offset &&
		    (size_t)(end - line) > strlen(LEAKTRACE_DUMP_SUFFIX) &&
		    strcmp(end - strlen(LEAKTRACE_DUMP_SUFFIX), LEAKTRACE_DUMP_SUFFIX) == 0) {
			snprintf(path, room, "%s", line + at);
			return (const struct leaktrace_header *)(uintptr_t)start;
		}
	}
	return NULL;
}

/* Of the process, in bytes: data, without shared mappings. */
static uint64_t anonymous(void)
{
	char text[256];
	unsigned long pages = 0;
	int fd = open("/proc/self/statm", O_RDONLY);
	ssize_t n = read(fd, text, sizeof text - 1);

	close(fd);
	text[n > 0 ? n : 0] = '\0';
	sscanf(text, "%*s %*s %*s %*s %*s %lu", &pages);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void look(uint64_t done)
{
	static char path[4096], line[512];
	static const struct leaktrace_header *header;
	struct stat status = {0};
	int length;

	if (!header)
		header = find_dump(path, sizeof path);
	if (header) {
		const struct leaktrace_process *process = &header->process;

		stat(path, &status);
		length = snprintf(line, sizeof line,
				  "%" PRIu64 " anonymous %" PRIu64 " memory %" PRIu64 " peak %" PRIu64 " dump %" PRIu64 " file %" PRIu64
				  " dropped %" PRIu64 "\n",
				  done, anonymous(), process->tracer_bytes, process->tracer_peak_bytes, process->dump_bytes,
				  (uint64_t)status.st_size, process->dropped_allocations);
	} else {
		length = snprintf(line, sizeof line, "%" PRIu64 " anonymous %" PRIu64 "\n", done, anonymous());
	}
	if (write(1, line, (size_t)length) != length)
		exit(1);
}

static void *run(void *arg)
{
	bool first = arg == NULL;
	uint64_t random = 88172645463325252ULL + (uintptr_t)arg, next = operations / 100, factor[] = { 2, 25, 20 }, step = 0;
	void **blocks = calloc(live, sizeof *blocks);

	for (uint64_t i = 0; i < operations; i++) {
		void **block = &blocks[i % live];

		if (first && i == next && i) {
			look(i);
			next = next * factor[step % 3] / (step % 3 ? 10 : 1);
			step++;
		}
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		free(*block);
		*block = a(stacks ? (random >> 20) % stacks : i, 16 + (random >> 40) % 185);
		if (!*block)
			exit(1);
	}
	if (first)
		look(operations);
	return blocks;
}

static void *kept[16]; /* all are reachable */

int main(int argc, char **argv)
{
	unsigned threads = argc > 4 ? (unsigned)atoi(argv[4]) : 1;
	pthread_t ids[16];

	operations = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
	stacks = argc > 2 ? strtoull(argv[2], NULL, 10) : 10000;
	live = argc > 3 ? strtoull(argv[3], NULL, 10) : 100000;
	if (!live || !threads || threads > 16)
		return 2;
	for (unsigned i = 1; i < threads; i++)
		if (pthread_create(&ids[i], NULL, run, (void *)(uintptr_t)i))
			return 1;
	kept[0] = run(NULL);
	for (unsigned i = 1; i < threads; i++)
		pthread_join(ids[i], &kept[i]);
	return 0;
}
