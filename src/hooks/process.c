/* SPDX-License-Identifier: MIT
 *
 * fork, exec, exit, spawn and wait. The work of a fork is done by atfork handlers (process/fork.c), also for forkpty, daemon and
 * the like; the hook only notes the child's PID. vfork can't be hooked by a C function and needs no hook.
 */
#include "base/arena.h"
#include "base/sys.h"
#include "hooks/real.h"
#include "process/adopted.h"
#include "process/process.h"
#include "process/request.h"
#include "trace/record.h"
#include <alloca.h>
#include <paths.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

int __libc_start_main(int (*program)(int, char **, char **), int argc, char **argv, void (*init)(void), void (*fini)(void),
                      void (*rtld_fini)(void), void *stack_end);

/* A tail call, so that no stack shows it. */
EXPORT __attribute__((optimize("optimize-sibling-calls"))) int
__libc_start_main(int (*program)(int, char **, char **), int argc, char **argv, void (*init)(void), void (*fini)(void),
                  void (*rtld_fini)(void), void *stack_end)
{
	lt_real_init();
	lt_start_before_main();
	return lt_real.__libc_start_main(program, argc, argv, init, fini, rtld_fini, stack_end);
}

static void prepare(void)
{
	lt_real_init();
	lt_session_environ();
}

EXPORT pid_t fork(void)
{
	prepare();
	pid_t pid = lt_real.fork();
	if (pid > 0)
		lt_event(LEAKTRACE_EVENT_FORK, (uint32_t)pid, 0, NULL);
	return pid;
}

/* No atfork handlers here: async-signal-safe by POSIX. The child finds out by itself at its first hook. */
EXPORT pid_t _Fork(void)
{
	prepare();
	pid_t pid = lt_real._Fork();
	if (pid > 0)
		lt_event(LEAKTRACE_EVENT_FORK, (uint32_t)pid, 0, NULL);
	return pid;
}

EXPORT void _exit(int status)
{
	lt_real_init();
	lt_end(LEAKTRACE_END__EXIT, status & 0xff, true, NULL);
	lt_real._exit(status);
	__builtin_unreachable();
}

EXPORT void _Exit(int status)
{
	lt_real_init();
	lt_end(LEAKTRACE_END__EXIT, status & 0xff, true, NULL);
	lt_real._Exit(status);
	__builtin_unreachable();
}

/* Its handlers, ours last, don't learn the status. */
EXPORT void quick_exit(int status)
{
	lt_real_init();
	lt_quick_exit_status = status & 0xff;
	lt_real.quick_exit(status);
	__builtin_unreachable();
}

static int finish_exec(bool ended, int result)
{
	if (ended) {
		int saved = errno;
		lt_end_undo(saved);
		errno = saved;
	}
	return result;
}

#define ENVP_ON_STACK 256

/* An envp with the session in it: on the stack, for exec may be called in a signal handler or a vfork child; a large one in
 * memory of its own, for a stack may be small. It is given back by END_SESSION; a vfork child whose exec succeeds can't. */
#define WITH_SESSION(envp)                                                          \
	unsigned envp_size = lt_session_envp_size(envp);                            \
	char **envp_copy = NULL;                                                    \
	do {                                                                        \
		if (envp_size && envp_size <= ENVP_ON_STACK)                        \
			envp_copy = alloca(envp_size * sizeof *envp_copy);          \
		else if (envp_size)                                                 \
			envp_copy = lt_map(envp_size * sizeof *envp_copy);          \
		if (envp_copy) {                                                    \
			lt_session_envp(envp, envp_copy);                           \
			(envp) = envp_copy;                                         \
		}                                                                   \
	} while (0)
#define END_SESSION()                                                               \
	do {                                                                        \
		if (envp_copy && envp_size > ENVP_ON_STACK)                         \
			lt_unmap(envp_copy, envp_size * sizeof *envp_copy);         \
	} while (0)

EXPORT int execve(const char *path, char *const argv[], char *const envp[])
{
	prepare();
	WITH_SESSION(envp);
	bool ended = lt_end(LEAKTRACE_END_EXEC, 0, true, NULL);
	int result = finish_exec(ended, lt_real.execve(path, argv, envp));
	END_SESSION();
	return result;
}

EXPORT int execvpe(const char *file, char *const argv[], char *const envp[])
{
	prepare();
	WITH_SESSION(envp);
	bool ended = lt_end(LEAKTRACE_END_EXEC, 0, true, NULL);
	int result = finish_exec(ended, lt_real.execvpe(file, argv, envp));
	END_SESSION();
	return result;
}

EXPORT int execv(const char *path, char *const argv[])
{
	prepare();
	return execve(path, argv, environ);
}

EXPORT int execvp(const char *file, char *const argv[])
{
	prepare();
	return execvpe(file, argv, environ);
}

EXPORT int fexecve(int fd, char *const argv[], char *const envp[])
{
	prepare();
	WITH_SESSION(envp);
	bool ended = lt_end(LEAKTRACE_END_EXEC, 0, true, NULL);
	int result = finish_exec(ended, lt_real.fexecve(fd, argv, envp));
	END_SESSION();
	return result;
}

EXPORT int execveat(int dirfd, const char *path, char *const argv[], char *const envp[], int flags)
{
	prepare();
	if (!lt_real.execveat) {
		errno = ENOSYS;
		return -1;
	}
	WITH_SESSION(envp);
	bool ended = lt_end(LEAKTRACE_END_EXEC, 0, true, NULL);
	int result = finish_exec(ended, lt_real.execveat(dirfd, path, argv, envp, flags));
	END_SESSION();
	return result;
}

/* Puts the arguments from `first` to NULL into `argv`; declares it on the caller's stack. */
#define COLLECT(first)                                              \
	va_list list;                                               \
	unsigned argc = 1;                                          \
	va_start(list, first);                                      \
	const char *arg0 = first;                                   \
	__asm__("" : "+r"(arg0)); /* declared nonnull; programs pass NULL all the same */ \
	if (arg0)                                                   \
		while (va_arg(list, char *))                        \
			argc++;                                     \
	va_end(list);                                               \
	char **argv = alloca((argc + 1) * sizeof *argv);            \
	va_start(list, first);                                      \
	argv[0] = (char *)(uintptr_t)arg0;                          \
	for (unsigned i = 1; arg0 && i <= argc; i++)                \
		argv[i] = va_arg(list, char *)

EXPORT int execl(const char *path, const char *arg, ...)
{
	COLLECT(arg);
	va_end(list);
	return execv(path, argv);
}

EXPORT int execlp(const char *file, const char *arg, ...)
{
	COLLECT(arg);
	va_end(list);
	return execvp(file, argv);
}

EXPORT int execle(const char *path, const char *arg, ...)
{
	COLLECT(arg);
	char *const *envp = va_arg(list, char *const *);
	va_end(list);
	return execve(path, argv, envp);
}

EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
{
	prepare();
	WITH_SESSION(envp);
	int error = lt_real.posix_spawn(pid, path, actions, attributes, argv, envp);
	END_SESSION();
	return error;
}

EXPORT int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                        const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
{
	prepare();
	WITH_SESSION(envp);
	int error = lt_real.posix_spawnp(pid, file, actions, attributes, argv, envp);
	END_SESSION();
	return error;
}

EXPORT int system(const char *command)
{
	prepare();
	return lt_real.system(command);
}

EXPORT FILE *popen(const char *command, const char *mode)
{
	prepare();
	return lt_real.popen(command, mode);
}

EXPORT int kill(pid_t pid, int sig)
{
	lt_real_init();
	if (sig == SIGKILL && lt_recording())
		lt_request_before_kill(pid);
	return lt_real.kill(pid, sig);
}

static pid_t note_end(pid_t pid, int status)
{
	if (pid > 0 && (WIFEXITED(status) || WIFSIGNALED(status))) {
		int saved = errno;
		lt_request_leave(pid);
		lt_event(LEAKTRACE_EVENT_CHILD_END, (uint32_t)pid, status, NULL);
		errno = saved;
	}
	return pid;
}

/* wait() and wait3() are libc's by other means: a program may have either interposed. */
enum wait { BY_WAIT, BY_WAIT3, BY_WAIT4, BY_WAITPID };

static pid_t wait_by(enum wait how, pid_t pid, int *status, int options, struct rusage *usage)
{
	switch (how) {
	case BY_WAIT: return lt_real.wait(status);
	case BY_WAIT3: return lt_real.wait3(status, options, usage);
	case BY_WAIT4: return lt_real.wait4(pid, status, options, usage);
	default: return lt_real.waitpid(pid, status, options);
	}
}

/* For any child, in a process that gets orphans: classifiers are not to be seen. */
static pid_t wait_as_reaper(enum wait how, int *status, int options, struct rusage *usage)
{
	for (;;) {
		pid_t next = lt_adopted_next(options);
		if (next < 0)
			return -1;
		if (!next)
			return wait_by(how, -1, status, options, usage);
		pid_t ended = lt_real.wait4(next, status, options | WNOHANG, usage);
		if (ended > 0 || (ended < 0 && errno != ECHILD))
			return ended;
	}
}

static pid_t wait_for(enum wait how, pid_t pid, int *status, int options, struct rusage *usage)
{
	int mine = 0;
	lt_real_init();
	pid_t ended = pid == -1 && lt_adopted_is_reaper() ? wait_as_reaper(how, &mine, options, usage) : wait_by(how, pid, &mine, options, usage);
	if (status && ended > 0)
		*status = mine;
	return note_end(ended, mine);
}

EXPORT pid_t wait4(pid_t pid, int *status, int options, struct rusage *usage)
{
	return wait_for(BY_WAIT4, pid, status, options, usage);
}

EXPORT pid_t wait3(int *status, int options, struct rusage *usage)
{
	return wait_for(BY_WAIT3, -1, status, options, usage);
}

EXPORT pid_t waitpid(pid_t pid, int *status, int options)
{
	return wait_for(BY_WAITPID, pid, status, options, NULL);
}

EXPORT pid_t wait(int *status)
{
	return wait_for(BY_WAIT, -1, status, 0, NULL);
}

static int waitid_as_reaper(siginfo_t *info, int options)
{
	siginfo_t mine;
	for (;;) {
		int result = lt_real.waitid(P_ALL, 0, &mine, options | WNOWAIT);
		bool none = result || !mine.si_pid;
		if (!none && options & WEXITED && lt_adopted_reap(mine.si_pid))
			continue;
		if (!none && !(options & WNOWAIT))
			result = lt_real.waitid(P_PID, (id_t)mine.si_pid, &mine, options | WNOHANG);
		if (!none && ((!result && !mine.si_pid) || (result && errno == ECHILD)))
			continue; /* another thread has waited for it */
		if (!result && info)
			*info = mine;
		return result;
	}
}

EXPORT int waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
	lt_real_init();
	int result = type == P_ALL && lt_adopted_is_reaper() ? waitid_as_reaper(info, options) : lt_real.waitid(type, id, info, options);
	if (result == 0 && info && !(options & WNOWAIT) && info->si_pid > 0) {
		if (info->si_code == CLD_EXITED)
			note_end(info->si_pid, (info->si_status & 0xff) << 8);
		else if (info->si_code == CLD_KILLED || info->si_code == CLD_DUMPED)
			note_end(info->si_pid, info->si_status & 0x7f);
	}
	return result;
}
