/* SPDX-License-Identifier: MIT
 *
 * Programs under seccomp filters: sandbox KIND. All leak as hostile.h says, from memory that malloc has got before.
 *
 * each ERRNO|kill      a child for each system call that a tracer may want and a program like this does not: a filter answers it with
 *                      that error number, or kills. The child leaks 100 blocks and ends by _exit(0). Says of each child that ends otherwise
 * each-exec ERRNO      likewise, but the child execs `leaf`, so that the filter is there from the start. Only calls that the start of a
 *                      program does not need
 * only HOW             a filter that lets pass what an allocating program needs (read, write, brk, mmap, munmap, mremap, exit and the
 *                      like) and kills for anything else. HOW it is installed: prctl or syscall. Then all ways of hostile.h, and exit(0)
 * only-fatal           likewise; ends by SIGSEGV | only-abort by abort()
 * only-threads         likewise, four threads allocate
 * only-fork            likewise, but the filter allows fork and wait, and a child leaks too
 * exec CALL PROGRAM…   a filter that kills for that system call, then execs the program
 * trap                 a filter that sends SIGSYS to a handler, which must not be called
 * strict               SECCOMP_MODE_STRICT
 * leaf                 leaks 100 blocks
 */
#include "hostile.h"
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define IS(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
#define RETURN(what) BPF_STMT(BPF_RET | BPF_K, what)

#define CALL(name) { #name, SYS_##name }
static const struct call {
	const char *name;
	int number;
} at_run_time[] = {
	CALL(openat), CALL(close), CALL(read), CALL(write), CALL(pread64), CALL(pwrite64), CALL(fstat), CALL(newfstatat), CALL(fstatfs),
	CALL(fallocate), CALL(ftruncate), CALL(unlinkat), CALL(mkdirat), CALL(fchmod), CALL(fchmodat), CALL(readlinkat), CALL(getcwd),
	CALL(chdir), CALL(getdents64), CALL(fcntl), CALL(flock), CALL(close_range), CALL(mmap), CALL(munmap), CALL(mremap), CALL(msync),
	CALL(madvise), CALL(mincore), CALL(memfd_create), CALL(membarrier), CALL(process_vm_readv), CALL(process_vm_writev), CALL(clone),
	CALL(clone3), CALL(wait4), CALL(waitid), CALL(kill), CALL(tgkill), CALL(exit), CALL(ptrace), CALL(prctl), CALL(setsid),
	CALL(setitimer), CALL(sched_setscheduler), CALL(sched_getaffinity), CALL(sched_yield), CALL(nanosleep), CALL(clock_nanosleep),
	CALL(futex), CALL(rt_sigaction), CALL(rt_sigprocmask), CALL(rt_sigqueueinfo), CALL(rt_tgsigqueueinfo), CALL(rt_sigreturn),
	CALL(getpid), CALL(gettid), CALL(getppid), CALL(getuid), CALL(geteuid), CALL(getrusage), CALL(prlimit64), CALL(uname),
	CALL(getrandom), CALL(clock_gettime), CALL(gettimeofday), CALL(socket),
}, at_start[] = {
	CALL(fstatfs), CALL(fallocate), CALL(ftruncate), CALL(unlinkat), CALL(mkdirat), CALL(fchmod), CALL(fchmodat), CALL(readlinkat),
	CALL(getcwd), CALL(chdir), CALL(getdents64), CALL(fcntl), CALL(close_range), CALL(msync), CALL(madvise), CALL(mincore),
	CALL(membarrier), CALL(process_vm_readv), CALL(clone), CALL(wait4), CALL(kill), CALL(tgkill), CALL(exit), CALL(ptrace),
	CALL(prctl), CALL(setsid), CALL(futex), CALL(rt_sigaction), CALL(rt_sigprocmask), CALL(getpid), CALL(gettid), CALL(getppid),
	CALL(getuid), CALL(geteuid), CALL(getrusage), CALL(uname), CALL(clock_gettime),
};

static int trapped;

static void install(struct sock_filter *filter, size_t count, int by_syscall)
{
	struct sock_fprog program = { (unsigned short)count, filter };
	REQUIRE(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	if (by_syscall)
		REQUIRE(!syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
	else
		REQUIRE(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

static void forbid(int number, unsigned action)
{
	struct sock_filter filter[] = { LOAD(nr), IS((unsigned)number, 0, 1), RETURN(action), RETURN(SECCOMP_RET_ALLOW) };
	install(filter, sizeof filter / sizeof *filter, number & 1);
}

static void each(const struct call *calls, size_t count, const char *how, int exec)
{
	char line[128];
	unsigned action = !strcmp(how, "kill") ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_ERRNO | (unsigned)atoi(how);
	reserve_memory();
	for (size_t i = 0; i < count; i++) {
		pid_t pid = fork();
		REQUIRE(pid >= 0);
		if (!pid) {
			leak_from(1, 50);
			forbid(calls[i].number, action);
			if (exec)
				execl(self, self, "leaf", (char *)NULL);
			leak_from(50, 101);
			_exit(0);
		}
		int status = reap(pid);
		if (status) {
			snprintf(line, sizeof line, "%s: status %x\n", calls[i].name, (unsigned)status);
			say(line);
		}
	}
}

/* Instructions: each call that is allowed, by number; else the action. */
static void allow_only(const int *numbers, size_t count, unsigned action, int by_syscall)
{
	struct sock_filter filter[64];
	size_t n = 0;
	filter[n++] = (struct sock_filter)LOAD(arch);
	filter[n++] = (struct sock_filter)IS(AUDIT_ARCH_X86_64, 1, 0);
	filter[n++] = (struct sock_filter)RETURN(SECCOMP_RET_KILL_PROCESS);
	filter[n++] = (struct sock_filter)LOAD(nr);
	for (size_t i = 0; i < count; i++)
		filter[n++] = (struct sock_filter)IS((unsigned)numbers[i], (unsigned char)(count - i), 0);
	filter[n++] = (struct sock_filter)RETURN(action);
	filter[n++] = (struct sock_filter)RETURN(SECCOMP_RET_ALLOW);
	install(filter, n, by_syscall);
}

static const int needed[] = { SYS_read, SYS_write, SYS_brk, SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise, SYS_exit, SYS_exit_group,
	                      SYS_futex, SYS_rt_sigreturn, SYS_rt_sigprocmask, SYS_getrandom, SYS_rseq, SYS_set_robust_list,
	                      /* abort() and pthread_create() */
	                      SYS_rt_sigaction, SYS_gettid, SYS_getpid, SYS_tgkill, SYS_clone3,
	                      /* fork() and waitpid() */
	                      SYS_clone, SYS_wait4 };
#define FEW 16
#define MORE 21
#define ALL (sizeof needed / sizeof *needed)

static void *on_thread(void *from)
{
	unsigned first = (unsigned)(size_t)from;
	for (int i = 0; i < 20; i++)
		leak_from(first, first + 100);
	return NULL;
}

static void threads(void)
{
	pthread_t all[4];
	for (size_t i = 0; i < 4; i++)
		REQUIRE(!pthread_create(&all[i], NULL, on_thread, (void *)(i * 100)));
	for (size_t i = 0; i < 4; i++)
		REQUIRE(!pthread_join(all[i], NULL));
}

static void on_trap(int sig)
{
	trapped++;
}

int main(int argc, char **argv)
{
	REQUIRE(argc >= 2);
	const char *kind = argv[1];
	self = argv[0];
	if (!strcmp(kind, "each")) {
		each(at_run_time, sizeof at_run_time / sizeof *at_run_time, argv[2], 0);
	} else if (!strcmp(kind, "each-exec")) {
		each(at_start, sizeof at_start / sizeof *at_start, argv[2], 1);
	} else if (!strcmp(kind, "leaf")) {
		leak_from(1, 101);
	} else if (!strcmp(kind, "only")) {
		leak_from(0, 100);
		allow_only(needed, FEW, SECCOMP_RET_KILL_PROCESS, !strcmp(argv[2], "syscall"));
		leak_from(100, 1000);
	} else if (!strcmp(kind, "only-fatal")) {
		allow_only(needed, FEW, SECCOMP_RET_KILL_PROCESS, 0);
		leak_all();
		*(volatile int *)8 = 1;
	} else if (!strcmp(kind, "only-abort")) {
		allow_only(needed, MORE, SECCOMP_RET_KILL_PROCESS, 0);
		leak_all();
		abort();
	} else if (!strcmp(kind, "only-threads")) {
		allow_only(needed, MORE, SECCOMP_RET_KILL_PROCESS, 0);
		threads();
	} else if (!strcmp(kind, "only-fork")) {
		allow_only(needed, ALL, SECCOMP_RET_KILL_PROCESS, 0);
		leak_all();
		pid_t pid = fork();
		REQUIRE(pid >= 0);
		if (!pid) {
			leak_from(0, 10);
			_exit(3);
		}
		int status;
		REQUIRE(waitpid(-1, &status, 0) == pid && WEXITSTATUS(status) == 3);
	} else if (!strcmp(kind, "exec")) {
		REQUIRE(argc >= 4);
		for (size_t i = 0; i < sizeof at_run_time / sizeof *at_run_time; i++)
			if (!strcmp(at_run_time[i].name, argv[2]))
				forbid(at_run_time[i].number, SECCOMP_RET_KILL_PROCESS);
		execv(argv[3], argv + 3);
		return 95;
	} else if (!strcmp(kind, "trap")) {
		signal(SIGSYS, on_trap);
		allow_only(needed, FEW, SECCOMP_RET_TRAP, 1);
		leak_all();
		REQUIRE(!trapped);
	} else if (!strcmp(kind, "strict")) {
		reserve_memory();
		leak_from(1, 50);
		REQUIRE(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT));
		leak_from(50, 1000);
		say("strict\n");
		syscall(SYS_exit, 0);
	} else {
		REQUIRE(!"known kind");
	}
	return 0;
}
