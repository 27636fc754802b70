/* SPDX-License-Identifier: MIT
 *
 * libunwind as it unwinds another process's stack (unw_init_remote), with accessors that read our own.
 *
 * Its cursor for the own process (unw_init_local) was turned down: to try out addresses it opens a pipe and keeps it open for
 * good. The program would get other descriptor numbers; and when it has closed all descriptors and opened its own, libunwind
 * would read from and write to those (1.6, src/x86_64/Ginit.c). unw_backtrace was turned down too: its per-thread cache is not
 * emptied by dlclose, so code loaded at a reused address is unwound by the rules of what was there before.
 *
 * Here a page is tried out by a system call that reads one word, then read directly. Nothing is cached between walks
 * (UNW_CACHE_NONE), but for option check. libunwind blocks signals while it holds a lock of its own.
 *
 * Threads: any, each walk has its own cursor and registers, on its stack: some 5 KiB. Failure: 0 frames.
 */
#include "trace/libunwind.h"
#include "base/options.h"
#include "base/sys.h"
#include "trace/cfi.h"
#include "trace/modules.h"
#include <dlfcn.h>
#include <errno.h>
#include <libunwind.h>
#include <fcntl.h>
#include <sys/stat.h>

#define SKIP_MAX 16 /* frames of our own above the hook's caller */
#define PAGES 16    /* a power of two */

#define NAME2(symbol) #symbol
#define NAME(symbol) NAME2(symbol)

#if defined __x86_64__

static struct {
	bool on;
	unw_addr_space_t space, judge;
	void (*flush)(unw_addr_space_t, unw_word_t, unw_word_t);
	int (*getcontext)(unw_tdep_context_t *);
	int (*init_remote)(unw_cursor_t *, unw_addr_space_t, void *);
	int (*step)(unw_cursor_t *);
	int (*get_reg)(unw_cursor_t *, int, unw_word_t *);
	int (*search)(unw_addr_space_t, unw_word_t, unw_dyn_info_t *, unw_proc_info_t *, int, void *);
} libunwind;

struct walk {
	unw_tdep_context_t context;
	uintptr_t pages[PAGES]; /* that can be read, by number; 0: none */
};

static bool can_read(struct walk *walk, uintptr_t address)
{
	uintptr_t page = address >> 12, *known = &walk->pages[page % PAGES];
	if (*known == page + 1) /* 0: none yet */
		return true;
	if (!lt_sys_can_read(address))
		return false;
	*known = page + 1;
	return true;
}

static int access_memory(unw_addr_space_t space, unw_word_t address, unw_word_t *value, int write, void *arg)
{
	if (write || address & 7 || !can_read(arg, address))
		return -UNW_EINVAL;
	*value = *(const unw_word_t *)address;
	return 0;
}

static int access_register(unw_addr_space_t space, unw_regnum_t number, unw_word_t *value, int write, void *arg)
{
	static const signed char gregs[] = { REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI, REG_RBP, REG_RSP, REG_R8,
		                             REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15, REG_RIP };
	const struct walk *walk = arg;
	if (write || number < 0 || (size_t)number >= sizeof gregs)
		return -UNW_EBADREG;
	*value = (unw_word_t)walk->context.uc_mcontext.gregs[gregs[number]];
	return 0;
}

static int access_float(unw_addr_space_t space, unw_regnum_t number, unw_fpreg_t *value, int write, void *arg)
{
	return -UNW_EBADREG;
}

static int find_tables(unw_addr_space_t space, unw_word_t pc, unw_proc_info_t *info, int need_unwind_info, void *arg)
{
	const void *table;
	uint64_t count;
	const void *header = lt_cfi_header(pc, &table, &count);
	if (!header)
		return -UNW_ENOINFO;
	unw_dyn_info_t tables = {
		.start_ip = 0,
		.end_ip = UINTPTR_MAX,
		.format = UNW_INFO_FORMAT_REMOTE_TABLE,
		.u.rti = {
			.segbase = (uintptr_t)header,
			.table_data = (uintptr_t)table,
			.table_len = count * 8 / sizeof(unw_word_t),
		},
	};
	return libunwind.search(space, pc, &tables, info, need_unwind_info, arg);
}

static void put_tables(unw_addr_space_t space, unw_proc_info_t *info, void *arg)
{
}

static int find_dynamic(unw_addr_space_t space, unw_word_t *list, void *arg)
{
	return -UNW_ENOINFO;
}

/* Starts libunwind up, and closes the pipe that it opens even so, for stacks of its own process, which it is never asked for.
 * Descriptors are given out lowest number first: the pipe has the two numbers that were free. */
static void start_without_pipe(int (*set_caching)(unw_addr_space_t, unw_caching_policy_t))
{
	struct stat status[2];
	int fds[2];
	for (unsigned i = 0; i < 2; i++)
		fds[i] = lt_sys_open(AT_FDCWD, "/", O_PATH | O_CLOEXEC, 0);
	for (unsigned i = 0; i < 2; i++)
		if (fds[i] >= 0)
			lt_sys_close(fds[i]);
	set_caching(libunwind.space, UNW_CACHE_NONE);
	for (unsigned i = 0; i < 2; i++)
		if (fds[i] < 0 || lt_syscall6(SYS_fstat, fds[i], (long)&status[i], 0, 0, 0, 0) || !S_ISFIFO(status[i].st_mode))
			return;
	if (status[0].st_dev == status[1].st_dev && status[0].st_ino == status[1].st_ino) {
		lt_sys_close(fds[0]);
		lt_sys_close(fds[1]);
	}
}

int lt_libunwind_init(void)
{
	unw_addr_space_t (*create)(unw_accessors_t *, int);
	int (*set_caching)(unw_addr_space_t, unw_caching_policy_t);
	static unw_accessors_t accessors = {
		.find_proc_info = find_tables,
		.put_unwind_info = put_tables,
		.get_dyn_info_list_addr = find_dynamic,
		.access_mem = access_memory,
		.access_reg = access_register,
		.access_fpreg = access_float,
	};
	void *handle = dlopen("libunwind-x86_64.so.8", RTLD_NOW | RTLD_LOCAL);
	if (!handle)
		return -ENOENT;
	*(void **)&create = dlsym(handle, NAME(unw_create_addr_space));
	*(void **)&set_caching = dlsym(handle, NAME(unw_set_caching_policy));
	*(void **)&libunwind.getcontext = dlsym(handle, NAME(unw_tdep_getcontext));
	*(void **)&libunwind.init_remote = dlsym(handle, NAME(unw_init_remote));
	*(void **)&libunwind.step = dlsym(handle, NAME(unw_step));
	*(void **)&libunwind.get_reg = dlsym(handle, NAME(unw_get_reg));
	*(void **)&libunwind.search = dlsym(handle, NAME(UNW_OBJ(dwarf_search_unwind_table)));
	if (!create || !set_caching || !libunwind.getcontext || !libunwind.init_remote || !libunwind.step || !libunwind.get_reg ||
	    !libunwind.search || !(libunwind.space = create(&accessors, 0)))
		return -ENOENT;
	start_without_pipe(set_caching);
	if (lt_options.check) {
		libunwind.judge = create(&accessors, 0);
		*(void **)&libunwind.flush = dlsym(handle, NAME(unw_flush_cache));
		if (!libunwind.judge || !libunwind.flush || set_caching(libunwind.judge, UNW_CACHE_GLOBAL))
			libunwind.judge = NULL;
	}
	libunwind.on = true;
	return 0;
}

/* libunwind needs the stack that the ABI wants; a program's may be another. */
#if defined __x86_64__
__attribute__((force_align_arg_pointer))
#endif
static unsigned walk_in(unw_addr_space_t space, uintptr_t from, uintptr_t *pcs, unsigned max, bool *cut)
{
	struct walk walk = { .pages = { 0 } };
	unw_cursor_t cursor;
	unsigned n = 0, skipped = 0;
	if (!libunwind.on)
		return 0;
	libunwind.getcontext(&walk.context);
	if (libunwind.init_remote(&cursor, space, &walk) < 0)
		return 0;
	int step;
	unw_word_t pc = 0;
	while ((step = libunwind.step(&cursor)) > 0) {
		if (libunwind.get_reg(&cursor, UNW_REG_IP, &pc) < 0 || !pc)
			break;
		if (!n && pc != from) {
			if (++skipped > SKIP_MAX)
				return 0;
			continue;
		}
		if (n == max) {
			*cut = true;
			return n;
		}
		pcs[n++] = pc;
		if (lt_cfi_rule(pc - 1).kind == LT_RULE_UNKNOWN) { /* it would guess */
			*cut = true;
			return n;
		}
	}
	if (step < 0)
		*cut = true;
	return n;
}

unsigned lt_libunwind_walk(uintptr_t from, uintptr_t *pcs, unsigned max, bool *cut)
{
	return walk_in(libunwind.space, from, pcs, max, cut);
}

unsigned lt_libunwind_judge(uintptr_t from, uintptr_t *pcs, unsigned max, bool *cut)
{
	bool kept = libunwind.judge && !lt_load_relaxed(&lt_code_unsure);
	return walk_in(kept ? libunwind.judge : libunwind.space, from, pcs, max, cut);
}

void lt_libunwind_flush(void)
{
	if (libunwind.judge)
		libunwind.flush(libunwind.judge, 0, 0);
}

void lt_libunwind_off(void)
{
	libunwind.on = false;
}

#else

int lt_libunwind_init(void)
{
	return -ENOENT;
}

unsigned lt_libunwind_walk(uintptr_t from, uintptr_t *pcs, unsigned max, bool *cut)
{
	return 0;
}

unsigned lt_libunwind_judge(uintptr_t from, uintptr_t *pcs, unsigned max, bool *cut)
{
	return 0;
}

void lt_libunwind_flush(void)
{
}

void lt_libunwind_off(void)
{
}

#endif
