/* SPDX-License-Identifier: MIT
 *
 * One write(2) a line, so that lines of several processes don't mix; the log is opened and closed for each, for no
 * descriptor stays open in the traced program.
 */
#include "base/log.h"
#include "base/sys.h"
#include "base/text.h"
#include <stdbool.h>

static const char *log_path;
static bool silent;
static dev_t stderr_device;
static ino_t stderr_inode;

/* Descriptor 2 is still what it was: a daemon closes it, and its next file may get the number. */
static bool is_stderr(void)
{
	struct stat status;
	return !silent && lt_syscall6(SYS_fstat, STDERR_FILENO, (long)&status, 0, 0, 0, 0) == 0 && stderr_inode &&
	       status.st_dev == stderr_device && status.st_ino == stderr_inode;
}

void lt_log_init(void)
{
	struct stat status;
	if (lt_syscall6(SYS_fstat, STDERR_FILENO, (long)&status, 0, 0, 0, 0) == 0) {
		stderr_device = status.st_dev;
		stderr_inode = status.st_ino;
	}
}

void lt_log_quiet(void)
{
	silent = true;
}

static void compose(struct lt_text *line, const char *a, const char *b, const char *c)
{
	lt_text_add(line, "leaktrace: [");
	lt_text_add_decimal(line, (uint64_t)lt_sys_getpid());
	lt_text_add(line, "] ");
	lt_text_add(line, a);
	if (b)
		lt_text_add(line, b);
	if (c)
		lt_text_add(line, c);
	if (line->cut)
		line->length = line->size - 2;
	lt_text_add(line, "\n");
}

static void write_log(const struct lt_text *line)
{
	if (!log_path)
		return;
	int fd = lt_sys_open(AT_FDCWD, log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
	if (fd < 0)
		return;
	lt_sys_write(fd, line->bytes, line->length);
	lt_sys_close(fd);
}

void lt_warn(const char *a, const char *b, const char *c)
{
	char buffer[1024];
	struct lt_text line = LT_TEXT(buffer);
	compose(&line, a, b, c);
	if (is_stderr())
		lt_sys_write(STDERR_FILENO, line.bytes, line.length);
	write_log(&line);
}

void lt_log(const char *a, const char *b, const char *c)
{
	char buffer[1024];
	if (!log_path)
		return;
	struct lt_text line = LT_TEXT(buffer);
	compose(&line, a, b, c);
	write_log(&line);
}

void lt_log_open(const char *path)
{
	log_path = path;
}
