/* SPDX-License-Identifier: MIT
 *
 * Where we stand among the preloaded libraries. Two things can't be mended once the loader has bound the program's symbols, so the
 * image is executed once more, with another LD_PRELOAD:
 *
 *   aside   the program has a sanitizer. AddressSanitizer's library insists on being the first; the others, linked into the program,
 *           take our calls to libc before they are ready, and theirs would go through our hooks. So the image goes on without us.
 *   first   an allocator was preloaded before us: its malloc is the one that the program calls, and none of our hooks. It works
 *           as well behind us.
 *
 * This comes first of all in the constructor, before the sanitizer has begun, so nothing of libc is called that one of them
 * intercepts. Nothing of the program has run yet, and exec keeps all that the image was given: PID, descriptors, signal mask, limits.
 * If it fails, things stay as they were. There is no loop: the other LD_PRELOAD gives no reason to come here again.
 *
 * Turned down: to hide from libasan's look at the loader's list, and to stay: then our hooks' frames are in its reports, and the
 * other sanitizers are not helped.
 */
#include "base/arena.h"
#include "base/log.h"
#include "base/sys.h"
#include "hooks/real.h"
#include "process/process.h"
#include <limits.h>
#include <link.h>
#include <sys/auxv.h>

#define VARIABLE "LD_PRELOAD="
#define OURS "libleaktrace"
#define CMDLINE_MAX (UINT64_C(16) << 20) /* Linux has some 6 MiB at most */

/* A compiler makes calls of libc's strlen and the like from such loops. */
#define PLAIN_LOOPS __attribute__((optimize("no-tree-loop-distribute-patterns")))

/* Bound by the loader, so no call is needed to look for them. */
#define SANITIZER(init) extern void init(void) __attribute__((weak, visibility("default")))
SANITIZER(__asan_init);
SANITIZER(__hwasan_init);
SANITIZER(__msan_init);
SANITIZER(__tsan_init);
SANITIZER(__lsan_init);

static const char *sanitizer(void)
{
	return &__asan_init ? "AddressSanitizer" : &__hwasan_init ? "HWAddressSanitizer" : &__msan_init ? "MemorySanitizer"
	     : &__tsan_init ? "ThreadSanitizer" : &__lsan_init ? "LeakSanitizer" : NULL;
}

static PLAIN_LOOPS size_t length(const char *string)
{
	size_t n = 0;
	while (string[n])
		n++;
	return n;
}

static PLAIN_LOOPS bool begins(const char *text, const char *with)
{
	while (*with)
		if (*text++ != *with++)
			return false;
	return true;
}

static bool between_libraries(char c)
{
	return c == ' ' || c == ':';
}

static size_t library_length(const char *at)
{
	size_t n = 0;
	while (at[n] && !between_libraries(at[n]))
		n++;
	return n;
}

static bool is_ours(const char *at, size_t n)
{
	const char *name = at;
	for (size_t i = 0; i < n; i++)
		if (at[i] == '/')
			name = at + i + 1;
	return begins(name, OURS);
}

static PLAIN_LOOPS char *append(char *to, const char *from, size_t n)
{
	while (n--)
		*to++ = *from++;
	return to;
}

/* "LD_PRELOAD=" with the libraries of `list`, ours first or not at all. NULL: it would say the same, or there is no memory. */
static char *other_preload(const char *list, bool first)
{
	char *made = lt_map(sizeof VARIABLE + length(list) + 2), *out = made;
	bool found = false, leads = false;
	if (!made)
		return NULL;
	out = append(out, VARIABLE, sizeof VARIABLE - 1);
	for (unsigned pass = first ? 0 : 1, place = 0; pass < 2; pass++, place = 0)
		for (const char *at = list; *at;) {
			size_t n = library_length(at);
			bool ours = is_ours(at, n);
			found |= ours;
			leads |= ours && !place;
			if (n && ours == (pass == 0)) {
				if (out[-1] != '=')
					*out++ = ':';
				out = append(out, at, n);
			}
			place += n > 0;
			at += n + (at[n] != '\0');
		}
	if (!found || (first && leads)) {
		lt_unmap(made, sizeof VARIABLE + length(list) + 2);
		return NULL;
	}
	return made;
}

static char **other_environment(char **envp, bool first)
{
	unsigned count = 0, kept = 0;
	char *preload = NULL;
	for (; envp[count]; count++)
		if (!preload && begins(envp[count], VARIABLE))
			preload = other_preload(envp[count] + sizeof VARIABLE - 1, first);
	char **made = preload ? lt_map((count + 1) * sizeof *made) : NULL;
	for (unsigned i = 0; made && i < count; i++) {
		if (!begins(envp[i], VARIABLE))
			made[kept++] = envp[i];
		else if (preload[sizeof VARIABLE - 1])
			made[kept++] = preload;
	}
	return made;
}

/* The arguments that the kernel was given: of a program started by the loader's own command, argv has only the rest. */
static char **arguments(char **argv)
{
	char *text = lt_map(CMDLINE_MAX), **made = NULL;
	int fd = text ? lt_sys_open(AT_FDCWD, "/proc/self/cmdline", O_RDONLY | O_CLOEXEC, 0) : -1;
	size_t size = 0, count = 0;
	long n;
	while (fd >= 0 && size < CMDLINE_MAX - 1 && (n = lt_sys_read(fd, text + size, CMDLINE_MAX - 1 - size)) > 0)
		size += (size_t)n;
	if (fd >= 0)
		lt_sys_close(fd);
	for (size_t i = 0; i < size; i++)
		count += !text[i];
	if (!size || !(made = lt_map((count + 2) * sizeof *made))) {
		lt_unmap(text, CMDLINE_MAX);
		return argv;
	}
	count = 0;
	for (size_t i = 0; i < size; i += length(text + i) + 1)
		made[count++] = text + i;
	return made;
}

static bool same_file(const char *a, const char *b)
{
	struct stat one, other;
	return !lt_syscall6(SYS_newfstatat, AT_FDCWD, (long)a, (long)&one, 0, 0, 0) &&
	       !lt_syscall6(SYS_newfstatat, AT_FDCWD, (long)b, (long)&other, 0, 0, 0) && one.st_dev == other.st_dev &&
	       one.st_ino == other.st_ino;
}

/* By the name that it was started by, if that is the image's (not an interpreter's script), so that nothing looks different. */
static const char *image(char path[PATH_MAX])
{
	const char *self = "/proc/self/exe", *started = (const char *)getauxval(AT_EXECFN);
	if (started && same_file(started, self))
		return started;
	long n = lt_sys_readlink(self, path, PATH_MAX - 1);
	path[n > 0 ? n : 0] = '\0';
	return same_file(path, self) ? path : self;
}

static void again(char **argv, char **environment)
{
	static char path[PATH_MAX];
	const char *file = image(path);
	char **all = arguments(argv);
	lt_syscall6(SYS_execve, (long)file, (long)all, (long)environment, 0, 0, 0);
	if (all != argv)
		lt_unmap(all[0], CMDLINE_MAX);
}

static bool in_session(char **envp)
{
	for (char **e = envp; *e; e++)
		if (begins(*e, "LEAKTRACE_SESSION="))
			return true;
	return false;
}

static void step_aside(char **argv, char **envp, const char *why)
{
	char **environment = other_environment(envp, false);
	lt_log_init();
	if (in_session(envp))
		lt_log_quiet();
	lt_warn(environment ? "not traced, nor what it starts" : "not traced", ": the program has ", why);
	if (environment)
		again(argv, environment);
}

void lt_preload_settle(char **argv, char **envp)
{
	const char *why = sanitizer();
	if (why) {
		step_aside(argv, envp, why);
	} else if (lt_real_called() == LT_MALLOC_OF_ALLOCATOR) {
		char **environment = other_environment(envp, true);
		if (environment)
			again(argv, environment);
	}
}

bool lt_preload_aside(void)
{
	return sanitizer() != NULL;
}
