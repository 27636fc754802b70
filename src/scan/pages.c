/* SPDX-License-Identifier: MIT
 *
 * Which pages have contents, and reading them.
 *
 * Private memory: /proc/thread-self/pagemap says of each page whether it is in memory or swapped out; what was never touched is
 * neither, and stays so. A fork copies page tables of private memory that was written to, so what the kernel says of the
 * classifier holds for the traced process. Of a private mapping of a file only the pages that were written to count: the others
 * say what the file says, which is no address of this run; so a file that was truncated since does no harm.
 *
 * Shared memory: a fork does not copy its page tables, so pagemap is silent; mincore() says what is in the page cache. It is
 * read by process_vm_readv(), which fails where a load would be SIGBUS (a file that shrank). So are pages that are swapped out or
 * seem so, for guard regions (MADV_GUARD_INSTALL) look like that, and blocks that the program has protected.
 *
 * Turned down: handlers for SIGSEGV and SIGBUS with a jump out of the reader. They would have to be told from faults in our own
 * code, and each read would need a place to go on from; asking the kernel costs 2 % of the scan.
 */
#include "base/arena.h"
#include "base/sys.h"
#include "scan/work.h"
#include <string.h>
#include <sys/auxv.h>
#include <sys/uio.h>

#define PRESENT (UINT64_C(1) << 63)
#define SWAPPED (UINT64_C(1) << 62)
#define OF_FILE (UINT64_C(1) << 61)

enum what { ABSENT, READ, COPY };

int lt_pages_open(struct lt_scan_work *w)
{
	w->page = getauxval(AT_PAGESZ);
	if (!w->page)
		w->page = 4096;
	w->pagemap = lt_sys_open(AT_FDCWD, "/proc/thread-self/pagemap", O_RDONLY | O_CLOEXEC, 0);
	if (w->pagemap < 0)
		w->pagemap = lt_sys_open(AT_FDCWD, "/proc/self/pagemap", O_RDONLY | O_CLOEXEC, 0);
	return 0;
}

/* Fills entries[] as pagemap would; `low` is a page's address. */
static void ask(struct lt_scan_work *w, uintptr_t low, size_t pages, uint64_t *entries)
{
	if (w->pagemap >= 0) {
		long n = lt_syscall6(SYS_pread64, w->pagemap, (long)entries, (long)(pages * 8), (long)(low / w->page * 8), 0, 0);
		if (n == (long)(pages * 8))
			return;
		memset(entries, 0, pages * 8);
		if (n >= 0) /* beyond the end of the address space */
			return;
	}
	w->swap_unknown = true;
	long error = lt_syscall6(SYS_mincore, (long)low, (long)(pages * w->page), (long)w->incore, 0, 0, 0);
	for (size_t i = 0; i < pages; i++)
		entries[i] = !error && (w->incore[i] & 1) ? PRESENT : 0;
}

static void ask_cache(struct lt_scan_work *w, uintptr_t low, size_t pages)
{
	long error = lt_syscall6(SYS_mincore, (long)low, (long)(pages * w->page), (long)w->incore, 0, 0, 0);
	for (size_t i = 0; i < pages; i++)
		w->entries[i] = !error && (w->incore[i] & 1) ? PRESENT : 0;
}

static enum what what_of(uint64_t entry, enum lt_pages_how how)
{
	if (!(entry & (PRESENT | SWAPPED)))
		return ABSENT;
	switch (how) {
	case LT_PAGES_PRIVATE:
		return entry & PRESENT ? READ : COPY;
	case LT_PAGES_FILE:
		return entry & OF_FILE ? ABSENT : entry & PRESENT ? READ : COPY;
	default:
		return COPY;
	}
}

/* By the thread's own number: that of the process is nobody's memory once the main thread has left. */
bool lt_pages_copy(const void *from, void *to, size_t size)
{
	struct iovec local = { to, size }, remote = { (void *)from, size };
	return lt_syscall6(SYS_process_vm_readv, lt_sys_gettid(), (long)&local, 1, (long)&remote, 1, 0) == (long)size;
}

/* Whole pages but for the ends of the range. */
static void copy_words(struct lt_scan_work *w, uintptr_t low, uintptr_t high, lt_words_fn *words)
{
	while (low < high) {
		size_t size = high - low < LT_COPY_BYTES ? high - low : LT_COPY_BYTES;
		struct iovec local = { w->copy, size }, remote = { (void *)low, size };
		long n = lt_syscall6(SYS_process_vm_readv, lt_sys_gettid(), (long)&local, 1, (long)&remote, 1, 0);
		if (n >= (long)LT_WORD) { /* up to the first page that can't be read */
			n &= ~(long)(LT_WORD - 1);
			words(w, (const uintptr_t *)w->copy, (const uintptr_t *)(w->copy + n), low);
			low += (size_t)n;
			continue;
		}
		if (n != -EFAULT && n < 0) { /* a system call filter */
			w->copy_refused = true;
			return;
		}
		uintptr_t next = (low & -w->page) + w->page;
		w->unreadable += (next < high ? next : high) - low;
		low = next;
	}
}

void lt_pages_read(struct lt_scan_work *w, uintptr_t low, uintptr_t high, enum lt_pages_how how, lt_words_fn *words)
{
	low = (low + LT_WORD - 1) & -LT_WORD;
	high &= -LT_WORD;
	while (low < high) {
		uintptr_t first = low & -w->page;
		size_t pages = (high - first + w->page - 1) / w->page;
		if (pages > LT_PAGEMAP_ENTRIES)
			pages = LT_PAGEMAP_ENTRIES;
		if (how == LT_PAGES_SHARED)
			ask_cache(w, first, pages);
		else
			ask(w, first, pages, w->entries);
		for (size_t i = 0, next; i < pages; i = next) {
			enum what what = what_of(w->entries[i], how);
			for (next = i + 1; next < pages && what_of(w->entries[next], how) == what; next++)
				;
			uintptr_t from = first + i * w->page, to = first + next * w->page;
			from = from < low ? low : from;
			to = to > high ? high : to;
			if (what == READ)
				words(w, (const uintptr_t *)from, (const uintptr_t *)to, from);
			else if (what == COPY)
				copy_words(w, from, to, words);
		}
		low = first + pages * w->page;
	}
}

enum lt_pages_how lt_pages_how(const struct lt_map_line *line)
{
	if (line->flags & LT_MAP_SHARED)
		return LT_PAGES_SHARED;
	return line->flags & LT_MAP_FILE ? LT_PAGES_FILE : LT_PAGES_PRIVATE;
}

bool lt_pages_there(struct lt_scan_work *w, uintptr_t address)
{
	address &= -w->page;
	if (w->pagemap < 0) { /* mincore fails for a range with a hole in it */
		ask(w, address, 1, w->window_entries);
		return w->window_entries[0] != 0;
	}
	if (!w->window || address < w->window || address - w->window >= LT_PAGEMAP_ENTRIES * w->page) {
		ask(w, address, LT_PAGEMAP_ENTRIES, w->window_entries);
		w->window = address;
	}
	return (w->window_entries[(address - w->window) / w->page] & (PRESENT | SWAPPED)) != 0;
}
