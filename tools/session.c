/* SPDX-License-Identifier: MIT
 *
 * Session resolution.
 */
#include "session.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "xalloc.h"

#define SESSION_PREFIX "leaktrace."

static void add(struct lt_files *files, char *path)
{
	LT_GROW(files->paths, files->count, files->room);
	files->paths[files->count++] = path;
}

void lt_files_clear(struct lt_files *files)
{
	for (size_t i = 0; i < files->count; i++)
		free(files->paths[i]);
	free(files->paths);
	memset(files, 0, sizeof *files);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int add_directory(const char *path, struct lt_notes *notes, struct lt_files *files)
{
	size_t before = files->count;
	size_t suffix = strlen(LEAKTRACE_DUMP_SUFFIX), dumps = 0;
	struct dirent *entry;
	DIR *directory = opendir(path);

	if (!directory) {
		int error = -errno;

		lt_note(notes, path, "cannot be opened: %s", strerror(-error));
		return error;
	}
	while ((entry = readdir(directory))) {
		size_t length = strlen(entry->d_name);

		if (length <= suffix)
			continue;
		if (strcmp(entry->d_name + length - suffix, LEAKTRACE_DUMP_SUFFIX) == 0)
			dumps++;
		else if (strcmp(entry->d_name + length - suffix, LEAKTRACE_SNAPSHOT_SUFFIX) != 0)
			continue;
		add(files, lt_xasprintf("%s/%s", path, entry->d_name));
	}
	closedir(directory);
	if (!dumps) {
		lt_note(notes, path, "holds no dump (*%s)", LEAKTRACE_DUMP_SUFFIX);
		return -ENOENT;
	}
	qsort(files->paths + before, files->count - before, sizeof *files->paths, by_name);
	return 0;
}

static bool is_snapshot(const char *path)
{
	size_t length = strlen(path), suffix = strlen(LEAKTRACE_SNAPSHOT_SUFFIX);

	return length > suffix && strcmp(path + length - suffix, LEAKTRACE_SNAPSHOT_SUFFIX) == 0;
}

/* A snapshot's sites are in the dump beside it: STEM-NUMBER.lts, STEM.ltd. */
static int add_sibling(const char *path, struct lt_notes *notes, struct lt_files *files)
{
	const char *dash = strrchr(path, '-');
	LT_AUTO_FREE char *dump = dash ? lt_xasprintf("%.*s%s", (int)(dash - path), path, LEAKTRACE_DUMP_SUFFIX) : NULL;

	if (!dump || access(dump, R_OK)) {
		lt_note(notes, path, "is a snapshot, and the dump of its process is not beside it");
		return -ENOENT;
	}
	add(files, lt_xstrdup(dump));
	return 0;
}

/* The newest session directory here; NULL if there is none. */
static char *newest(void)
{
	struct timespec newest_time = {0};
	struct dirent *entry;
	char *best = NULL;
	DIR *directory = opendir(".");

	if (!directory)
		return NULL;
	while ((entry = readdir(directory))) {
		struct stat status;

		if (strncmp(entry->d_name, SESSION_PREFIX, strlen(SESSION_PREFIX)) || stat(entry->d_name, &status) ||
		    !S_ISDIR(status.st_mode))
			continue;
		if (best && (status.st_mtim.tv_sec < newest_time.tv_sec ||
			     (status.st_mtim.tv_sec == newest_time.tv_sec && status.st_mtim.tv_nsec < newest_time.tv_nsec) ||
			     (status.st_mtim.tv_sec == newest_time.tv_sec && status.st_mtim.tv_nsec == newest_time.tv_nsec &&
			      strcmp(entry->d_name, best) < 0)))
			continue;
		free(best);
		best = lt_xstrdup(entry->d_name);
		newest_time = status.st_mtim;
	}
	closedir(directory);
	return best;
}

int lt_session_files(char *const *arguments, size_t count, struct lt_notes *notes, struct lt_files *files)
{
	int error = 0;

	if (!count) {
		LT_AUTO_FREE char *session = newest();

		if (!session) {
			lt_note(notes, NULL, "there is no %s* directory here: name a session or dump files", SESSION_PREFIX);
			return -ENOENT;
		}
		return add_directory(session, notes, files);
	}
	for (size_t i = 0; i < count; i++) {
		struct stat status;

		if (stat(arguments[i], &status)) {
			error = -errno;
			lt_note(notes, arguments[i], "%s", strerror(errno));
		} else if (S_ISDIR(status.st_mode)) {
			int failed = add_directory(arguments[i], notes, files);

			error = failed ? failed : error;
		} else {
			int failed = is_snapshot(arguments[i]) ? add_sibling(arguments[i], notes, files) : 0;

			error = failed ? failed : error;
			add(files, lt_xstrdup(arguments[i]));
		}
	}
	return error;
}

static bool is_named(const char *path, char *const *arguments, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(arguments[i], path) == 0)
			return true;
	return false;
}

unsigned lt_session_wait_seconds = 60;

struct lt_merge *lt_session_open(char *const *arguments, size_t count, struct lt_notes *notes)
{
	struct lt_files files = {0};
	struct lt_merge *merge;
	int error = lt_session_files(arguments, count, notes, &files);

	/* A session that is not there is a mistake of the user's, while a damaged dump among others is not. */
	if (error) {
		lt_files_clear(&files);
		return NULL;
	}
	merge = lt_merge_new(notes);
	for (size_t i = 0; i < files.count; i++)
		(void)(is_snapshot(files.paths[i]) && is_named(files.paths[i], arguments, count) ?
		       lt_merge_add_alone(merge, files.paths[i]) : lt_merge_add(merge, files.paths[i]));
	lt_files_clear(&files);
	lt_verdicts_wait(merge, lt_session_wait_seconds);
	lt_merge_select(merge);
	if (!merge->process_count) {
		lt_note(notes, NULL, "no dump could be read");
		lt_merge_free(merge);
		return NULL;
	}
	return merge;
}
