/* SPDX-License-Identifier: MIT
 *
 * The process's mappings, from /proc/thread-self/maps: /proc/self is empty once the main thread has left by pthread_exit().
 * Read twice, to count and to fill, for memory that is mapped while reading would change what is read.
 *
 * Devices are known by their paths. Turned down: VmFlags of smaps (io, pf), which would be exact, but costs a walk through all
 * page tables. So what a mapping of a device can look like must be named here: /dev (but /dev/zero and /dev/shm, which are
 * memory), /sys (registers of PCI devices), /proc, and what is no path at all (anon_inode:, dmabuf, i915).
 */
#include "base/arena.h"
#include "base/sys.h"
#include "scan/work.h"
#include <string.h>

#define LINES_SPARE 64 /* what the second reading may find more */

static bool begins(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

static uint32_t flags_of_name(const char *name, bool inode)
{
	if (!*name)
		return inode ? LT_MAP_FILE : 0;
	if (*name == '[') {
		if (begins(name, "[heap]"))
			return LT_MAP_HEAP;
		if (begins(name, "[stack"))
			return LT_MAP_STACK;
		if (begins(name, "[v")) /* vvar, vdso, vsyscall */
			return LT_MAP_DEVICE;
		return begins(name, "[anon") ? 0 : LT_MAP_DEVICE; /* [anon:NAME], [anon_shmem:NAME] by PR_SET_VMA_ANON_NAME */
	}
	if (*name != '/')
		return LT_MAP_FILE | LT_MAP_DEVICE;
	if (begins(name, "/dev/") && !begins(name, "/dev/zero") && !begins(name, "/dev/shm/"))
		return LT_MAP_FILE | LT_MAP_DEVICE;
	if (begins(name, "/sys/") || begins(name, "/proc/") || begins(name, "/[aio]") || begins(name, "/dmabuf"))
		return LT_MAP_FILE | LT_MAP_DEVICE;
	return LT_MAP_FILE;
}

/* LOW-HIGH PERM OFFSET DEV INODE NAME */
static bool parse(const char *text, struct lt_map_line *line)
{
	uint64_t low, high, inode;
	if (lt_text_parse_hex(&text, &low) || *text++ != '-' || lt_text_parse_hex(&text, &high) || *text++ != ' ')
		return false;
	const char *permissions = text;
	for (unsigned field = 0; field < 3; field++) {
		while (*text && *text != ' ')
			text++;
		while (*text == ' ')
			text++;
	}
	if (text - permissions < 10 || lt_text_parse_decimal(&text, &inode))
		return false;
	while (*text == ' ')
		text++;
	line->low = low;
	line->high = high;
	line->flags = flags_of_name(text, inode);
	if (permissions[0] == 'r')
		line->flags |= LT_MAP_READ;
	if (permissions[1] == 'w')
		line->flags |= LT_MAP_WRITE;
	if (permissions[2] == 'x')
		line->flags |= LT_MAP_EXEC;
	if (permissions[3] == 's')
		line->flags |= LT_MAP_SHARED;
	return true;
}

static void take(struct lt_scan_work *w, const char *text)
{
	struct lt_map_line line;
	if (!parse(text, &line) || line.low >= line.high)
		return;
	if (w->lines && w->line_count < w->line_room) {
		const uint32_t named = LT_MAP_FILE | LT_MAP_STACK | LT_MAP_DEVICE, data = LT_MAP_FILE | LT_MAP_WRITE;
		struct lt_map_line *before = w->line_count ? &w->lines[w->line_count - 1] : NULL;
		if (before && before->high == line.low && (before->flags & (data | LT_MAP_SHARED)) == data && !(line.flags & named))
			line.flags |= LT_MAP_BSS;
		w->lines[w->line_count] = line;
	}
	w->line_count++;
}

static int read_lines(struct lt_scan_work *w)
{
	int fd = lt_sys_open(AT_FDCWD, "/proc/thread-self/maps", O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		fd = lt_sys_open(AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	size_t have = 0;
	long n;
	w->line_count = 0;
	while ((n = lt_sys_read(fd, w->maps + have, LT_MAPS_BYTES - 1 - have)) > 0 || n == -EINTR) {
		if (n < 0)
			continue;
		have += (size_t)n;
		char *at = w->maps, *end = w->maps + have, *newline;
		while ((newline = memchr(at, '\n', (size_t)(end - at)))) {
			*newline = 0;
			take(w, at);
			at = newline + 1;
		}
		have = (size_t)(end - at);
		if (have == LT_MAPS_BYTES - 1) /* no line is that long: the longest path is 4096 bytes, each written as \ooo */
			have = 0;
		memmove(w->maps, at, have);
	}
	lt_sys_close(fd);
	return n < 0 ? (int)n : 0;
}

int lt_maps_read(struct lt_scan_work *w)
{
	int error = read_lines(w);
	if (error)
		return error;
	if (!w->line_count)
		return -ESRCH;
	w->line_room = w->line_count + LINES_SPARE;
	w->lines = lt_map(w->line_room * sizeof *w->lines);
	if (!w->lines)
		return -ENOMEM;
	error = read_lines(w);
	if (w->line_count > w->line_room)
		return -EAGAIN; /* not in a process of one thread */
	return error;
}

const struct lt_map_line *lt_maps_find(const struct lt_scan_work *w, uintptr_t address)
{
	size_t low = 0, high = w->line_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (address >= w->lines[middle].high)
			low = middle + 1;
		else
			high = middle;
	}
	return low < w->line_count && address >= w->lines[low].low ? &w->lines[low] : NULL;
}
