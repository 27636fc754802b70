/* SPDX-License-Identifier: MIT
 *
 * Samples /proc. A process belongs to the tree if its chain of parents leads to the root, or if it has a dump in the
 * session's directory (PSOCK workers are reparented at once); the dump's start time guards against a PID that was reused.
 */
#include "tree-memory.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <leaktrace/dump-format.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <uthash.h>

#include "xalloc.h"

struct lt_dump_pid {
	char *name;
	struct leaktrace_key key;
	UT_hash_handle hh;
};

struct entry {
	pid_t pid, parent;
	uint64_t start;
	int in_tree; /* -1: not known yet */
};

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static size_t read_file(const char *path, char *buffer, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t used = 0;
	ssize_t n;

	if (fd < 0)
		return 0;
	while (used < size - 1 && (n = read(fd, buffer + used, size - 1 - used)) > 0)
		used += (size_t)n;
	close(fd);
	buffer[used] = '\0';
	return used;
}

/* Parent and start time; false if the process is gone or a zombie, which has no memory. */
static bool read_stat(pid_t pid, struct entry *entry)
{
	char path[64], text[1024], state;
	unsigned long long start;
	const char *rest;
	int parent;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	if (!read_file(path, text, sizeof text) || !(rest = strrchr(text, ')')))
		return false;
	if (sscanf(rest + 1, " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &state, &parent,
		   &start) != 3)
		return false;
	*entry = (struct entry){.pid = pid, .parent = parent, .start = start, .in_tree = -1};
	return state != 'Z' && state != 'X';
}

static uint64_t field(const char *text, const char *name)
{
	const char *line = strstr(text, name);

	return line ? strtoull(line + strlen(name), NULL, 10) * 1024 : 0;
}

static bool read_memory(pid_t pid, uint64_t *rss, uint64_t *pss)
{
	char path[64], text[4096];

	snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
	if (!read_file(path, text, sizeof text))
		return false;
	*rss = field(text, "\nRss:");
	*pss = field(text, "\nPss:");
	return true;
}

/* Opens each dump once: its key stands in the header from the first moment. */
static void note_dumps(struct lt_tree_memory *memory)
{
	DIR *directory = opendir(memory->dir);
	struct dirent *file;

	if (!directory)
		return;
	while ((file = readdir(directory))) {
		size_t length = strlen(file->d_name), suffix = strlen(LEAKTRACE_DUMP_SUFFIX);
		struct leaktrace_header header;
		struct lt_dump_pid *known;
		int fd;

		if (length <= suffix || strcmp(file->d_name + length - suffix, LEAKTRACE_DUMP_SUFFIX))
			continue;
		HASH_FIND_STR(memory->dumps, file->d_name, known);
		if (known)
			continue;
		fd = openat(dirfd(directory), file->d_name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
		if (fd < 0)
			continue;
		if (pread(fd, &header, sizeof header, 0) == sizeof header && header.process.key.pid) {
			known = lt_xcalloc(1, sizeof *known);
			known->name = lt_xstrdup(file->d_name);
			known->key = header.process.key;
			HASH_ADD_KEYPTR(hh, memory->dumps, known->name, strlen(known->name), known);
		}
		close(fd);
	}
	closedir(directory);
}

static bool has_dump(const struct lt_tree_memory *memory, const struct entry *entry)
{
	for (const struct lt_dump_pid *dump = memory->dumps; dump; dump = dump->hh.next)
		if (dump->key.pid == (uint32_t)entry->pid && dump->key.start == entry->start)
			return true;
	return false;
}

static int by_pid(const void *a, const void *b)
{
	return ((const struct entry *)a)->pid < ((const struct entry *)b)->pid ? -1 : 1;
}

static struct entry *find(struct entry *entries, size_t count, pid_t pid)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (entries[middle].pid < pid)
			low = middle + 1;
		else
			high = middle;
	}
	return low < count && entries[low].pid == pid ? &entries[low] : NULL;
}

static bool in_tree(const struct lt_tree_memory *memory, struct entry *entries, size_t count, struct entry *entry, int steps)
{
	struct entry *parent;

	if (entry->in_tree >= 0)
		return entry->in_tree;
	if (entry->pid == memory->root || has_dump(memory, entry)) {
		entry->in_tree = 1;
		return true;
	}
	parent = entry->parent > 0 && steps < 1000 ? find(entries, count, entry->parent) : NULL;
	entry->in_tree = parent && in_tree(memory, entries, count, parent, steps + 1);
	return entry->in_tree;
}

static struct entry *all_processes(size_t *count)
{
	DIR *directory = opendir("/proc");
	struct entry *entries = NULL;
	struct dirent *file;
	size_t room = 0;

	*count = 0;
	while (directory && (file = readdir(directory))) {
		if (!isdigit((unsigned char)file->d_name[0]))
			continue;
		LT_GROW(entries, *count, room);
		if (read_stat((pid_t)strtol(file->d_name, NULL, 10), &entries[*count]))
			(*count)++;
	}
	if (directory)
		closedir(directory);
	if (*count)
		qsort(entries, *count, sizeof *entries, by_pid);
	return entries;
}

void lt_tree_memory_start(struct lt_tree_memory *memory, pid_t root, const char *dir)
{
	memset(memory, 0, sizeof *memory);
	memory->root = root;
	memory->dir = lt_xstrdup(dir);
	memory->start_ns = now_ns();
	memory->fd = -1;
}

static void open_csv(struct lt_tree_memory *memory)
{
	LT_AUTO_FREE char *path = lt_xasprintf("%s/memory.csv", memory->dir);

	if (memory->fd >= 0 || memory->failed)
		return;
	memory->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	/* The directory comes with the first traced image. */
	memory->failed = memory->fd < 0 && access(memory->dir, F_OK) == 0;
	if (memory->fd >= 0)
		dprintf(memory->fd, "seconds,pid,rss_bytes,pss_bytes\n");
}

void lt_tree_memory_sample(struct lt_tree_memory *memory)
{
	size_t count;
	struct entry *entries = all_processes(&count);
	int64_t time = now_ns() - memory->start_ns;
	uint64_t rss_sum = 0, pss_sum = 0;
	unsigned processes = 0;

	note_dumps(memory);
	open_csv(memory);
	for (size_t i = 0; i < count; i++) {
		uint64_t rss, pss;

		if (!in_tree(memory, entries, count, &entries[i], 0) || !read_memory(entries[i].pid, &rss, &pss))
			continue;
		rss_sum += rss;
		pss_sum += pss;
		processes++;
		if (memory->fd >= 0)
			dprintf(memory->fd, "%.3f,%d,%" PRIu64 ",%" PRIu64 "\n", (double)time / 1e9, (int)entries[i].pid, rss, pss);
	}
	free(entries);
	if (!processes)
		return;
	memory->samples++;
	if (rss_sum > memory->peak_rss)
		memory->peak_rss = rss_sum;
	if (pss_sum > memory->peak_pss)
		memory->peak_pss = pss_sum;
	if (processes > memory->peak_processes)
		memory->peak_processes = processes;
}

bool lt_tree_memory_alive(struct lt_tree_memory *memory)
{
	note_dumps(memory);
	for (const struct lt_dump_pid *dump = memory->dumps; dump; dump = dump->hh.next) {
		struct entry entry;

		if (read_stat((pid_t)dump->key.pid, &entry) && entry.start == dump->key.start)
			return true;
	}
	return false;
}

void lt_tree_memory_clear(struct lt_tree_memory *memory)
{
	struct lt_dump_pid *dump, *next;

	if (memory->fd >= 0)
		close(memory->fd);
	HASH_ITER(hh, memory->dumps, dump, next) {
		HASH_DEL(memory->dumps, dump);
		free(dump->name);
		free(dump);
	}
	free(memory->dir);
}
