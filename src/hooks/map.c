/* SPDX-License-Identifier: MIT
 *
 * mmap and the like, called by an allocator behind us: what it takes from the kernel is not the program's, see trace/allocator.h.
 * All other calls are jumped on.
 */
#include "base/sys.h"
#include "hooks/real.h"
#include "trace/allocator.h"

#define EXPORT __attribute__((visibility("default")))
#define JUMP EXPORT __attribute__((optimize("optimize-sibling-calls", "omit-frame-pointer")))
#define CALLER __builtin_return_address(0)

/* The header calls mmap64() by the name of mmap(). */
void *small_mmap(void *address, size_t size, int prot, int flags, int fd, off_t offset) __asm__("mmap");
/* mremap(), whose fifth argument is not always there. */
void *five_mremap(void *old, size_t old_size, size_t size, int flags, void *address) __asm__("mremap");

/* What the constructor has not found yet: an allocator that comes to life before. */
static void *early_mmap(void *address, size_t size, int prot, int flags, int fd, off_t offset)
{
	void *mapped = lt_sys_mmap(address, size, prot, flags, fd, (uint64_t)offset);
	if (!lt_sys_mmap_failed(mapped))
		return mapped;
	errno = (int)-(long)mapped;
	return MAP_FAILED;
}

static __attribute__((noinline)) void *note_mmap(void *address, size_t size, int prot, int flags, int fd, off_t offset)
{
	void *mapped = lt_real.mmap(address, size, prot, flags, fd, offset);
	if (mapped != MAP_FAILED && flags & MAP_ANONYMOUS)
		lt_allocator_took((uintptr_t)mapped, size);
	return mapped;
}

JUMP void *mmap64(void *address, size_t size, int prot, int flags, int fd, off64_t offset)
{
	if (lt_unlikely(!lt_real.mmap))
		return early_mmap(address, size, prot, flags, fd, offset);
	return lt_unlikely(lt_allocator_is(CALLER)) ? note_mmap(address, size, prot, flags, fd, offset)
	                                            : lt_real.mmap(address, size, prot, flags, fd, offset);
}

JUMP void *small_mmap(void *address, size_t size, int prot, int flags, int fd, off_t offset)
{
	if (lt_unlikely(!lt_real.mmap))
		return early_mmap(address, size, prot, flags, fd, offset);
	return lt_unlikely(lt_allocator_is(CALLER)) ? note_mmap(address, size, prot, flags, fd, offset)
	                                            : lt_real.mmap(address, size, prot, flags, fd, offset);
}

static int early_munmap(void *address, size_t size)
{
	int error = lt_sys_munmap(address, size);
	if (!error)
		return 0;
	errno = -error;
	return -1;
}

/* Forgotten first, for another thread may get the addresses at once. */
JUMP int munmap(void *address, size_t size)
{
	if (lt_unlikely(!lt_real.munmap))
		return early_munmap(address, size);
	if (lt_unlikely(lt_allocator_is(CALLER)))
		lt_allocator_gave((uintptr_t)address, size);
	return lt_real.munmap(address, size);
}

static __attribute__((noinline)) void *note_mremap(void *old, size_t old_size, size_t size, int flags, void *address)
{
	lt_allocator_gave((uintptr_t)old, old_size);
	void *mapped = lt_real.mremap(old, old_size, size, flags, address);
	if (mapped == MAP_FAILED)
		lt_allocator_took((uintptr_t)old, old_size);
	else
		lt_allocator_took((uintptr_t)mapped, size);
	return mapped;
}

JUMP void *five_mremap(void *old, size_t old_size, size_t size, int flags, void *address)
{
	lt_real_init();
	return lt_unlikely(lt_allocator_is(CALLER)) ? note_mremap(old, old_size, size, flags, address)
	                                            : lt_real.mremap(old, old_size, size, flags, address);
}

static __attribute__((noinline)) void *note_sbrk(intptr_t more)
{
	void *before = lt_real.sbrk(more);
	if (before != (void *)-1 && more > 0)
		lt_allocator_took((uintptr_t)before, (size_t)more);
	else if (before != (void *)-1 && more < 0)
		lt_allocator_gave((uintptr_t)before + (uintptr_t)more, (size_t)-more);
	return before;
}

JUMP void *sbrk(intptr_t more)
{
	lt_real_init();
	return lt_unlikely(lt_allocator_is(CALLER)) ? note_sbrk(more) : lt_real.sbrk(more);
}
