/* SPDX-License-Identifier: MIT
 *
 * Resolution of the real functions, and the bootstrap arena: dlsym itself may allocate, and then the hooks find nothing behind
 * them yet. What is taken from the arena in that moment stays there; free and realloc recognise it.
 */
#include "hooks/real.h"
#include "base/atomic.h"
#include "base/log.h"
#include "base/sys.h"
#include <elf.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>

#define BOOTSTRAP_BYTES 131072

struct lt_real lt_real;

static _Alignas(64) char bootstrap[BOOTSTRAP_BYTES];
static size_t bootstrap_used;
static int resolving; /* the thread (TID) that resolves, for the others to wait */
static int resolved;

#define RESOLVE(name) (*(void **)&lt_real.name = dlsym(RTLD_NEXT, #name))

static void resolve(void)
{
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
	RESOLVE(free);
	RESOLVE(__libc_start_main);
	RESOLVE(fork);
	RESOLVE(_Fork);
	RESOLVE(_exit);
	RESOLVE(_Exit);
	RESOLVE(quick_exit);
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
	RESOLVE(dlclose);
}

void lt_real_init(void)
{
	int tid = lt_sys_gettid(), nobody = 0;
	if (lt_load_acquire(&resolved)) /* pairs with the store below */
		return;
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

void *lt_bootstrap_alloc(size_t size, size_t alignment)
{
	if (alignment < 16)
		alignment = 16;
	for (;;) {
		size_t used = lt_load_relaxed(&bootstrap_used);
		size_t at = (used + sizeof(size_t) + alignment - 1) & ~(alignment - 1);
		if (size > BOOTSTRAP_BYTES || at + size > BOOTSTRAP_BYTES)
			return NULL;
		if (__atomic_compare_exchange_n(&bootstrap_used, &used, at + size, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
			memcpy(bootstrap + at - sizeof size, &size, sizeof size);
			return bootstrap + at;
		}
	}
}

bool lt_bootstrap_owns(const void *block)
{
	return (uintptr_t)block - (uintptr_t)bootstrap < BOOTSTRAP_BYTES;
}

size_t lt_bootstrap_size(const void *block)
{
	size_t size;
	memcpy(&size, (const char *)block - sizeof size, sizeof size);
	return size;
}

struct wanted {
	const char *name;
	uint32_t gnu_hash;
	void *found;
};

static uint32_t gnu_hash(const char *name)
{
	uint32_t h = 5381;
	while (*name)
		h = h * 33 + (unsigned char)*name++;
	return h;
}

static int look_into(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct wanted *wanted = arg;
	const ElfW(Dyn) *dynamic = NULL;
	const ElfW(Sym) *symbols = NULL;
	const char *strings = NULL;
	const uint32_t *hash = NULL;
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &info->dlpi_phdr[i];
		uintptr_t start = info->dlpi_addr + part->p_vaddr;
		if (part->p_type == PT_DYNAMIC)
			dynamic = (const void *)start;
		else if (part->p_type == PT_LOAD && (uintptr_t)&lt_elf_find - start < part->p_memsz)
			return 0; /* ourselves */
	}
	if (!dynamic || !info->dlpi_name || !strncmp(info->dlpi_name, "linux-vdso", 10))
		return 0;
	for (; dynamic->d_tag != DT_NULL; dynamic++) {
		/* glibc has relocated these in place, but for the vDSO's */
		if (dynamic->d_tag == DT_SYMTAB)
			symbols = (const void *)dynamic->d_un.d_ptr;
		else if (dynamic->d_tag == DT_STRTAB)
			strings = (const void *)dynamic->d_un.d_ptr;
		else if (dynamic->d_tag == DT_GNU_HASH)
			hash = (const void *)dynamic->d_un.d_ptr;
	}
	if (!symbols || !strings || !hash || (uintptr_t)symbols < info->dlpi_addr)
		return 0;
	uint32_t buckets = hash[0], first = hash[1], bloom = hash[2];
	const uint32_t *bucket = hash + 4 + bloom * (sizeof(ElfW(Addr)) / 4), *chain = bucket + buckets;
	uint32_t index = buckets ? bucket[wanted->gnu_hash % buckets] : 0;
	if (index < first || !index)
		return 0;
	for (;; index++) {
		uint32_t h = chain[index - first];
		const ElfW(Sym) *symbol = &symbols[index];
		if ((h | 1) == (wanted->gnu_hash | 1) && symbol->st_shndx != SHN_UNDEF && symbol->st_value &&
		    ELF64_ST_TYPE(symbol->st_info) == STT_FUNC && !strcmp(strings + symbol->st_name, wanted->name)) {
			wanted->found = (void *)(info->dlpi_addr + symbol->st_value);
			return 1;
		}
		if (h & 1)
			return 0;
	}
}

void *lt_elf_find(const char *name)
{
	struct wanted wanted = { .name = name, .gnu_hash = gnu_hash(name) };
	dl_iterate_phdr(look_into, &wanted);
	return wanted.found;
}
