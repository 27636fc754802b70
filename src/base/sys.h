/* SPDX-License-Identifier: MIT
 *
 * System calls made directly, without libc's wrappers: they leave errno alone, are no cancellation points, and can't be
 * interposed by another preloaded library. Each returns the kernel's value, -errno on failure; -EPERM and no call where a seccomp filter
 * of the program would not let it pass (sandbox.h). Callable from any context, signal handlers and vfork children included.
 */
#ifndef LT_SYS_H
#define LT_SYS_H

#include "base/sandbox.h"
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if defined __x86_64__
static inline long lt_syscall_anyway(long n, long a, long b, long c, long d, long e, long f)
{
	long result;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	__asm__ volatile("syscall"
	                 : "=a"(result)
	                 : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
	                 : "rcx", "r11", "memory");
	return result;
}
#else
static inline long lt_syscall_anyway(long n, long a, long b, long c, long d, long e, long f)
{
	int saved = errno;
	long result = syscall(n, a, b, c, d, e, f);
	if (result == -1)
		result = -errno;
	errno = saved;
	return result;
}
#endif

static inline long lt_syscall6(long n, long a, long b, long c, long d, long e, long f)
{
	if (__builtin_expect(lt_sandboxed, 0) && lt_sandbox_forbids(n, a, b, c, d, e, f))
		return -EPERM;
	return lt_syscall_anyway(n, a, b, c, d, e, f);
}

/* This thread or process ends, without any work of libc's. Where that is forbidden, by an illegal instruction. */
static inline __attribute__((noreturn)) void lt_sys_leave(long n, int status)
{
	lt_syscall_anyway(n, status, 0, 0, 0, 0, 0);
	lt_syscall_anyway(SYS_exit_group, status, 0, 0, 0, 0, 0);
	for (;;)
		__builtin_trap();
}

static inline int lt_sys_open(int dirfd, const char *path, int flags, unsigned mode)
{
	return (int)lt_syscall6(SYS_openat, dirfd, (long)path, flags, mode, 0, 0);
}

static inline int lt_sys_close(int fd)
{
	return (int)lt_syscall6(SYS_close, fd, 0, 0, 0, 0, 0);
}

static inline long lt_sys_read(int fd, void *buffer, size_t size)
{
	return lt_syscall6(SYS_read, fd, (long)buffer, (long)size, 0, 0, 0);
}

static inline long lt_sys_write(int fd, const void *buffer, size_t size)
{
	return lt_syscall6(SYS_write, fd, (long)buffer, (long)size, 0, 0, 0);
}

static inline void *lt_sys_mmap(void *address, size_t size, int prot, int flags, int fd, uint64_t offset)
{
	return (void *)lt_syscall6(SYS_mmap, (long)address, (long)size, prot, flags, fd, (long)offset);
}

/* True for what lt_sys_mmap returns on failure; the errno is then -(long)p. */
static inline int lt_sys_mmap_failed(const void *p)
{
	return (unsigned long)p > -4096UL;
}

static inline int lt_sys_munmap(void *address, size_t size)
{
	return (int)lt_syscall6(SYS_munmap, (long)address, (long)size, 0, 0, 0, 0);
}

static inline int lt_sys_madvise(void *address, size_t size, int advice)
{
	return (int)lt_syscall6(SYS_madvise, (long)address, (long)size, advice, 0, 0, 0);
}

static inline int lt_sys_fallocate(int fd, int mode, uint64_t offset, uint64_t size)
{
	return (int)lt_syscall6(SYS_fallocate, fd, mode, (long)offset, (long)size, 0, 0);
}

static inline int lt_sys_ftruncate(int fd, uint64_t size)
{
	return (int)lt_syscall6(SYS_ftruncate, fd, (long)size, 0, 0, 0, 0);
}

static inline int lt_sys_mkdir(const char *path, unsigned mode)
{
	return (int)lt_syscall6(SYS_mkdirat, AT_FDCWD, (long)path, mode, 0, 0, 0);
}

/* A mode that no umask takes bits off; of what was just made. */
static inline int lt_sys_fchmod(int fd, unsigned mode)
{
	return (int)lt_syscall6(SYS_fchmod, fd, mode, 0, 0, 0, 0);
}

static inline long lt_sys_readlink(const char *path, char *buffer, size_t size)
{
	return lt_syscall6(SYS_readlinkat, AT_FDCWD, (long)path, (long)buffer, (long)size, 0, 0);
}

static inline long lt_sys_getcwd(char *buffer, size_t size)
{
	return lt_syscall6(SYS_getcwd, (long)buffer, (long)size, 0, 0, 0, 0);
}

static inline int lt_sys_getpid(void)
{
	int pid = (int)lt_syscall6(SYS_getpid, 0, 0, 0, 0, 0, 0);
	return pid > 0 ? pid : lt_sandbox_pid();
}

static inline int lt_sys_gettid(void)
{
	int tid = (int)lt_syscall6(SYS_gettid, 0, 0, 0, 0, 0, 0);
	return tid > 0 ? tid : (int)((uintptr_t)__builtin_thread_pointer() >> 6 & 0x3fffffff) | 0x40000000; /* nobody else's, but no number */
}

static inline int lt_sys_getppid(void)
{
	return (int)lt_syscall6(SYS_getppid, 0, 0, 0, 0, 0, 0);
}

static inline void lt_sys_yield(void)
{
	lt_syscall6(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
}

/* Can 8 bytes at `address` (aligned) be read? The kernel copies a signal set from there, then turns down what to do with it. Hardly a
 * sandbox forbids this call, as some do process_vm_readv, and mincore takes a guard page for readable. */
static inline int lt_sys_can_read(uintptr_t address)
{
	return lt_syscall6(SYS_rt_sigprocmask, -1, (long)address, 0, 8, 0, 0) == -EINVAL;
}

/* In the `round`-th turn of a loop that waits for another thread, from 0 on. First it is likely to be running, then it may need
 * this CPU, and at last it may be of a lower real-time priority, which yielding does not let run. */
static inline void lt_sys_wait(unsigned round)
{
	if (round >= 264) {
		struct timespec some = { 0, 50000 };
		lt_syscall6(SYS_nanosleep, (long)&some, 0, 0, 0, 0, 0);
	} else if (round >= 64) {
		lt_sys_yield();
	}
}

/* ns; clock is CLOCK_REALTIME or CLOCK_MONOTONIC. clock_gettime() of libc is the vDSO's: no system call, no errno on
 * success, not a cancellation point, async-signal-safe (POSIX). */
static inline int64_t lt_sys_clock(clockid_t clock)
{
	struct timespec now = { 0 };
	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

#endif
