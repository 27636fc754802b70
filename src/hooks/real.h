/* SPDX-License-Identifier: MIT
 *
 * The functions behind our hooks: the next definition after ours (RTLD_NEXT), so that another allocator preloaded behind us
 * still works; and the memory that dlsym needs while they are not known yet.
 */
#ifndef LT_REAL_H
#define LT_REAL_H

#include "base/atomic.h"
#include <dlfcn.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>

struct __jmp_buf_tag;

struct lt_real {
	void *(*malloc)(size_t);
	void *(*calloc)(size_t, size_t);
	void *(*realloc)(void *, size_t);
	void *(*reallocarray)(void *, size_t, size_t);
	void (*free)(void *);
	int (*posix_memalign)(void **, size_t, size_t);
	void *(*aligned_alloc)(size_t, size_t);
	void *(*memalign)(size_t, size_t);
	void *(*valloc)(size_t);
	void *(*pvalloc)(size_t);
	size_t (*malloc_usable_size)(void *);
	int (*__libc_start_main)(int (*)(int, char **, char **), int, char **, void (*)(void), void (*)(void), void (*)(void),
	                         void *);
	pid_t (*fork)(void);
	pid_t (*_Fork)(void);
	void (*_exit)(int);
	void (*_Exit)(int);
	void (*quick_exit)(int);
	void (*longjmp)(struct __jmp_buf_tag *, int);
	void (*_longjmp)(struct __jmp_buf_tag *, int);
	void (*siglongjmp)(struct __jmp_buf_tag *, int);
	void (*__longjmp_chk)(struct __jmp_buf_tag *, int);
	int (*execve)(const char *, char *const[], char *const[]);
	int (*execvpe)(const char *, char *const[], char *const[]);
	int (*fexecve)(int, char *const[], char *const[]);
	int (*execveat)(int, const char *, char *const[], char *const[], int);
	int (*posix_spawn)(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *,
	                   char *const[], char *const[]);
	int (*posix_spawnp)(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *,
	                    char *const[], char *const[]);
	int (*system)(const char *);
	FILE *(*popen)(const char *, const char *);
	pid_t (*wait)(int *);
	pid_t (*waitpid)(pid_t, int *, int);
	pid_t (*wait3)(int *, int, struct rusage *);
	pid_t (*wait4)(pid_t, int *, int, struct rusage *);
	int (*waitid)(idtype_t, id_t, siginfo_t *, int);
	int (*kill)(pid_t, int);
	int (*sigaction)(int, const struct sigaction *, struct sigaction *);
	sighandler_t (*signal)(int, sighandler_t);
	sighandler_t (*__sysv_signal)(int, sighandler_t);
	sighandler_t (*sigset)(int, sighandler_t);
	int (*sigignore)(int);
	int (*prctl)(int, unsigned long, unsigned long, unsigned long, unsigned long);
	long (*syscall)(long, long, long, long, long, long, long);
	ssize_t (*recv)(int, void *, size_t, int);
	ssize_t (*send)(int, const void *, size_t, int);
	int (*dlclose)(void *);
	void *(*mmap)(void *, size_t, int, int, int, off_t);
	int (*munmap)(void *, size_t);
	void *(*mremap)(void *, size_t, size_t, int, ...);
	void *(*sbrk)(intptr_t);
};

extern LT_HIDDEN struct lt_real lt_real;

/* Resolves all of them, once; by the first hook that is called or by the constructor. Fails (in a message, then abort) only
 * where libc itself lacks malloc. */
void lt_real_init(void);

/* malloc and free are those of glibc 2.34 or later. */
bool lt_real_is_libc(void);

/* Whose malloc does the program call? */
enum lt_malloc { LT_MALLOC_OURS, LT_MALLOC_OF_ALLOCATOR, LT_MALLOC_OF_PROGRAM };
enum lt_malloc lt_real_called(void);

/* libc is glibc. */
bool lt_real_has_glibc(void);

/* From the bootstrap arena, zeroed; never given back. NULL when it is used up. */
void *lt_bootstrap_alloc(size_t size, size_t alignment);
#define LT_BOOTSTRAP_BYTES 131072
extern LT_HIDDEN char lt_bootstrap[LT_BOOTSTRAP_BYTES];
static inline bool lt_bootstrap_owns(const void *block)
{
	return (uintptr_t)block - (uintptr_t)lt_bootstrap < LT_BOOTSTRAP_BYTES;
}
/* Bytes asked for. */
size_t lt_bootstrap_size(const void *block);

/* Some of it was given out. No more is once the real functions are known. */
bool lt_bootstrap_is_used(void);

/* The definition behind ours of a function that is hooked: in an object that came with the program and stands behind us (what
 * RTLD_NEXT finds); else in a C++ library; else in the first object that has one, for instance a plugin opened RTLD_LOCAL. NULL:
 * there is none. *stays: it can't be unloaded. Takes the loader's lock for dl_iterate_phdr, not the one that dlopen holds while
 * it runs constructors. */
void *lt_elf_find(const char *name, bool *stays);

/* Around the real dlclose: what the hooks of C++'s operators keep of objects that may be going is forgotten, and they look it
 * up each time until the end. */
void lt_cxx_unload_begin(void);
void lt_cxx_unload_end(void);

#endif
