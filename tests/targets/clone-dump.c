/* SPDX-License-Identifier: MIT
 *
 * No target: the helper of merge-scale.sh.
 *
 *   clone-dump clone DUMP DIRECTORY FIRST COUNT   copies of a dump as of other processes, numbers FIRST and on
 *   clone-dump peak FILE COMMAND...               runs COMMAND; its peak memory in KiB and time in ms go to FILE
 *
 * Copy i differs from the dump in PID, start, and in its first site: i more live blocks of 10 bytes each, at a return address
 * that is i % 8 bytes further on. So the sums over copies are known, and stacks are partly the same. Each has a chunk of
 * strings more than the dump, that nothing refers to: what a merge forgets to give back is large.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "leaktrace/dump-format.h"

enum { BYTES = 10, ADDRESSES = 8, BALLAST = 65536 };

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "clone-dump: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void *find_chunk(char *data, uint32_t type)
{
	const struct leaktrace_header *header = (const void *)data;
	for (uint64_t at = LEAKTRACE_HEADER_SIZE; at < header->committed;) {
		struct leaktrace_chunk *chunk = (void *)(data + at);
		if (chunk->type == type && chunk->count)
			return chunk + 1;
		at += chunk->size;
	}
	errno = ENOENT;
	die("no chunk of that type");
}

static void clone_one(char *data, size_t size, const char *directory, uint64_t number)
{
	struct leaktrace_header *header = (void *)data, header_before = *header;
	struct leaktrace_site *site = find_chunk(data, LEAKTRACE_CHUNK_SITES), site_before = *site;
	struct leaktrace_frame *frames = find_chunk(data, LEAKTRACE_CHUNK_FRAMES), *frame = &frames[site->native - 1], frame_before = *frame;
	struct leaktrace_chunk ballast = {.magic = LEAKTRACE_CHUNK_MAGIC, .type = LEAKTRACE_CHUNK_STRINGS, .size = BALLAST,
		.record_size = 1, .count = BALLAST - sizeof ballast};
	char path[4096];

	header->committed += BALLAST;
	header->chunks++;
	header->process.key.pid = 100000 + (uint32_t)number;
	header->process.key.start += number;
	header->process.start_ns += (int64_t)number * 1000;
	header->process.live_blocks += number;
	header->process.live_bytes += number * BYTES;
	site->allocations += number;
	site->allocated_bytes += number * BYTES;
	frame->offset += number % ADDRESSES;
	snprintf(path, sizeof path, "%s/%06" PRIu64 LEAKTRACE_DUMP_SUFFIX, directory, number);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size || pwrite(fd, &ballast, sizeof ballast, (off_t)header_before.committed) < 0 ||
	    ftruncate(fd, (off_t)header->committed) || close(fd))
		die(path);
	*header = header_before;
	*site = site_before;
	*frame = frame_before;
}

static int clone_all(char **argv)
{
	uint64_t first = strtoull(argv[2], NULL, 10), count = strtoull(argv[3], NULL, 10);
	struct stat status;
	int fd = open(argv[0], O_RDONLY);
	if (fd < 0 || fstat(fd, &status))
		die(argv[0]);
	char *data = malloc((size_t)status.st_size);
	if (!data || read(fd, data, (size_t)status.st_size) != status.st_size || status.st_size < LEAKTRACE_HEADER_SIZE)
		die(argv[0]);
	for (uint64_t i = first; i < first + count; i++)
		clone_one(data, (size_t)status.st_size, argv[1], i);
	free(data);
	close(fd);
	return 0;
}

static int peak(char **argv)
{
	struct timespec before, after;
	struct rusage usage;
	int status;
	clock_gettime(CLOCK_MONOTONIC, &before);
	pid_t pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid) {
		execv(argv[1], argv + 1);
		_exit(127);
	}
	if (wait4(pid, &status, 0, &usage) < 0)
		die("wait4");
	clock_gettime(CLOCK_MONOTONIC, &after);
	FILE *file = fopen(argv[0], "w");
	if (!file || fprintf(file, "%ld %lld\n", usage.ru_maxrss, (long long)(after.tv_sec - before.tv_sec) * 1000 +
			     (after.tv_nsec - before.tv_nsec) / 1000000) < 0 || fclose(file))
		die(argv[0]);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(int argc, char **argv)
{
	if (argc == 6 && !strcmp(argv[1], "clone"))
		return clone_all(argv + 2);
	if (argc >= 4 && !strcmp(argv[1], "peak"))
		return peak(argv + 2);
	fprintf(stderr, "usage: clone-dump clone DUMP DIRECTORY FIRST COUNT | clone-dump peak FILE COMMAND...\n");
	return 2;
}
