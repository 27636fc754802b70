/* SPDX-License-Identifier: MIT
 *
 * Resolution of the real functions, and the bootstrap arena: dlsym itself may allocate, and then the hooks find nothing behind
 * them yet. What is taken from the arena in that moment stays there; free and realloc recognise it.
 *
 * Functions that are looked up later (those of C++ and R, whose libraries may come late) are searched for in the objects' own
 * tables. dlsym was turned down for that: it waits for the loader's lock, which dlopen holds while it runs constructors, and
 * such a constructor may wait for the very thread that would call dlsym here. dl_iterate_phdr takes another lock, which the
 * loader holds only while it changes its list.
 */
#include "hooks/real.h"
#include "base/atomic.h"
#include "base/log.h"
#include "base/sys.h"
#include "r/elf.h"
#include "trace/allocator.h"
#include "trace/sample.h"
#include <gnu/libc-version.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>

extern __typeof__(gnu_get_libc_version) gnu_get_libc_version __attribute__((weak));

struct lt_real lt_real;

_Alignas(64) char lt_bootstrap[LT_BOOTSTRAP_BYTES];
static size_t bootstrap_used;
static int resolving; /* the thread (TID) that resolves, for the others to wait */
static int resolved;
static uint32_t start_objects; /* the first so many of the loader's list are there for good: they came with the program */

static bool libc_allocates; /* malloc and free are those of a glibc that calls none of the hooks from within them */

static bool holds(const struct dl_phdr_info *info, uintptr_t address)
{
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &info->dlpi_phdr[i];
		if (part->p_type == PT_LOAD && address - (info->dlpi_addr + part->p_vaddr) < part->p_memsz)
			return true;
	}
	return false;
}

/* glibc 2.34 has no malloc hooks any more. */
static int look_for_libc(struct dl_phdr_info *info, size_t size, void *arg)
{
	if (!&gnu_get_libc_version || !holds(info, (uintptr_t)&gnu_get_libc_version))
		return 0;
	const char *version = gnu_get_libc_version();
	int minor = 0;
	for (const char *digit = version + 2; *digit >= '0' && *digit <= '9'; digit++)
		minor = 10 * minor + *digit - '0';
	libc_allocates = !strncmp(version, "2.", 2) && minor >= 34 && holds(info, (uintptr_t)lt_real.malloc) && holds(info, (uintptr_t)lt_real.free);
	return 1;
}

static int count(struct dl_phdr_info *info, size_t size, void *arg)
{
	start_objects++;
	return 0;
}

/* By the beginnings of their files' names. */
static bool is_allocator(const char *path)
{
	static const char *const names[] = { "libjemalloc", "libtcmalloc", "libmimalloc", "libhoard", "librpmalloc", "libscudo",
		                             "libsnmalloc", "libtbbmalloc" };
	const char *name = path ? strrchr(path, '/') : NULL;
	name = name ? name + 1 : path;
	for (unsigned i = 0; name && i < sizeof names / sizeof *names; i++)
		if (!strncmp(name, names[i], strlen(names[i])))
			return true;
	return false;
}

static int look_for_called(struct dl_phdr_info *info, size_t size, void *arg)
{
	enum lt_malloc *called = arg;
	struct lt_r_object object;
	struct lt_r_symbol symbol;
	if (holds(info, (uintptr_t)&lt_elf_find))
		return 1;
	if (lt_r_elf_open(info, &object) || lt_r_elf_find(&object, "malloc", &symbol))
		return 0;
	*called = is_allocator(info->dlpi_name) ? LT_MALLOC_OF_ALLOCATOR : LT_MALLOC_OF_PROGRAM;
	return 1;
}

/* The object that the real malloc is in, if that is an allocator's library. */
static int look_for_allocator(struct dl_phdr_info *info, size_t size, void *arg)
{
	if (!holds(info, (uintptr_t)lt_real.malloc) || !is_allocator(info->dlpi_name))
		return 0;
	struct lt_range code = { UINTPTR_MAX, 0 };
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &info->dlpi_phdr[i];
		uintptr_t low = info->dlpi_addr + part->p_vaddr, high = low + part->p_memsz;
		if (part->p_type == PT_TLS && info->dlpi_tls_data) {
			lt_allocator.tls_low = (char *)info->dlpi_tls_data - (char *)__builtin_thread_pointer();
			lt_allocator.tls_high = lt_allocator.tls_low + (intptr_t)part->p_memsz;
		}
		if (part->p_type != PT_LOAD)
			continue;
		code.low = low < code.low ? low : code.low;
		code.high = high > code.high ? high : code.high;
		if (part->p_flags & PF_W && lt_allocator.data_count < LT_ALLOCATOR_DATA)
			lt_allocator.data[lt_allocator.data_count++] = (struct lt_range){ low, high };
	}
	lt_allocator.code = code;
	return 1;
}

/* The first in the loader's list. Not by the address of malloc: in a program that is not position-independent and takes it, that
 * is the program's own jump to it. */
enum lt_malloc lt_real_called(void)
{
	enum lt_malloc called = LT_MALLOC_OURS;
	dl_iterate_phdr(look_for_called, &called);
	return called;
}

bool lt_real_has_glibc(void)
{
	return &gnu_get_libc_version != NULL;
}

#define RESOLVE(name) (*(void **)&lt_real.name = dlsym(RTLD_NEXT, #name))

static void resolve(void)
{
	dl_iterate_phdr(count, NULL);
	/* free first: once another is known, dlsym gets real memory and gives it back. */
	RESOLVE(free);
	RESOLVE(malloc);
	RESOLVE(calloc);
	RESOLVE(realloc);
	RESOLVE(reallocarray);
	RESOLVE(posix_memalign);
	RESOLVE(aligned_alloc);
	RESOLVE(memalign);
	RESOLVE(valloc);
	RESOLVE(pvalloc);
	RESOLVE(malloc_usable_size);
	RESOLVE(__libc_start_main);
	RESOLVE(fork);
	RESOLVE(_Fork);
	RESOLVE(_exit);
	RESOLVE(_Exit);
	RESOLVE(quick_exit);
	RESOLVE(longjmp);
	RESOLVE(_longjmp);
	RESOLVE(siglongjmp);
	RESOLVE(__longjmp_chk);
	RESOLVE(execve);
	RESOLVE(execvpe);
	RESOLVE(fexecve);
	RESOLVE(execveat);
	RESOLVE(posix_spawn);
	RESOLVE(posix_spawnp);
	RESOLVE(system);
	RESOLVE(popen);
	RESOLVE(wait);
	RESOLVE(waitpid);
	RESOLVE(wait3);
	RESOLVE(wait4);
	RESOLVE(waitid);
	RESOLVE(kill);
	RESOLVE(sigaction);
	RESOLVE(signal);
	RESOLVE(__sysv_signal);
	RESOLVE(sigset);
	RESOLVE(sigignore);
	RESOLVE(prctl);
	RESOLVE(syscall);
	RESOLVE(recv);
	RESOLVE(send);
	RESOLVE(dlclose);
	RESOLVE(mmap);
	RESOLVE(munmap);
	RESOLVE(mremap);
	RESOLVE(sbrk);
	dl_iterate_phdr(look_for_libc, NULL);
	dl_iterate_phdr(look_for_allocator, NULL);
}

void lt_real_init(void)
{
	if (lt_load_acquire(&resolved)) /* pairs with the store below */
		return;
	int tid = lt_sys_gettid(), nobody = 0;
	if (lt_load_relaxed(&resolving) == tid)
		return; /* dlsym allocates: the hook uses the bootstrap arena */
	if (__atomic_compare_exchange_n(&resolving, &nobody, tid, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
		resolve();
		if (!lt_real.malloc || !lt_real.free || !lt_real.realloc || !lt_real.calloc) {
			lt_warn("no malloc behind ours", NULL, NULL);
			abort();
		}
		lt_store_release(&resolved, 1); /* pairs with the load above */
	} else {
		while (!lt_load_acquire(&resolved))
			lt_sys_yield();
	}
}

bool lt_real_is_libc(void)
{
	return libc_allocates;
}

void *lt_bootstrap_alloc(size_t size, size_t alignment)
{
	if (alignment < 16)
		alignment = 16;
	for (;;) {
		size_t used = lt_load_relaxed(&bootstrap_used);
		size_t at = (used + sizeof(size_t) + alignment - 1) & ~(alignment - 1);
		if (size > LT_BOOTSTRAP_BYTES || at + size > LT_BOOTSTRAP_BYTES)
			return NULL;
		if (__atomic_compare_exchange_n(&bootstrap_used, &used, at + size, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
			memcpy(lt_bootstrap + at - sizeof size, &size, sizeof size);
			lt_sample_mark((uintptr_t)lt_bootstrap + at); /* its free must be looked at */
			return lt_bootstrap + at;
		}
	}
}

bool lt_bootstrap_is_used(void)
{
	return lt_load_relaxed(&bootstrap_used);
}

size_t lt_bootstrap_size(const void *block)
{
	size_t size;
	memcpy(&size, (const char *)block - sizeof size, sizeof size);
	return size;
}

struct wanted {
	const char *name;
	uint32_t index; /* of the object looked at */
	bool behind_us;
	bool stays;
	enum { NOT_FOUND, ANYWHERE, IN_CXX_LIBRARY, IN_PROGRAM } where;
	void *found;
};

static bool is_cxx_library(const char *path)
{
	const char *name = path ? strrchr(path, '/') : NULL;
	name = name ? name + 1 : path;
	return name && (!strncmp(name, "libstdc++", 9) || !strncmp(name, "libc++", 6));
}

static int look_into(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct wanted *wanted = arg;
	struct lt_r_object object;
	struct lt_r_symbol symbol;
	bool at_start = wanted->index++ < start_objects;
	if (holds(info, (uintptr_t)&lt_elf_find)) {
		wanted->behind_us = true;
		return 0;
	}
	int where = at_start && wanted->behind_us ? IN_PROGRAM : is_cxx_library(info->dlpi_name) ? IN_CXX_LIBRARY : ANYWHERE;
	if (where <= (int)wanted->where || lt_r_elf_open(info, &object) || lt_r_elf_find(&object, wanted->name, &symbol))
		return 0;
	wanted->where = where;
	wanted->found = (void *)symbol.address;
	wanted->stays = at_start;
	return where == IN_PROGRAM;
}

void *lt_elf_find(const char *name, bool *stays)
{
	struct wanted wanted = { .name = name };
	dl_iterate_phdr(look_into, &wanted);
	*stays = wanted.stays;
	return wanted.found;
}
