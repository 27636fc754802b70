/* SPDX-License-Identifier: MIT
 *
 * PTRACE_SEIZE and PTRACE_INTERRUPT, as LeakSanitizer does it: no signal is made or lost, and a system call that was waiting goes
 * on waiting when the thread is let go (Linux restarts it; epoll_wait(), semop(), sigtimedwait() and a receive with SO_RCVTIMEO are
 * the known ones that return EINTR). A
 * debugger or strace at the process, a seccomp filter or Yama may refuse; then /proc/PID/task/TID/syscall tells the stack
 * pointers of those that wait. Only the process itself may read that, so it does so beforehand.
 *
 * Turned down: a signal to each thread, whose handler would make select() and poll() fail with EINTR in a program that goes on
 * living.
 *
 * Threads: one caller at a time. Failure: a thread that can't be held is listed with what is known of it.
 */
#include "process/threads.h"
#include "base/sys.h"
#include "base/text.h"
#include <dirent.h>
#include <elf.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#define STOP_PATIENCE_NS 20000000

/* What getdents64 fills in; not in libc's headers. */
struct entry {
	uint64_t inode;
	int64_t offset;
	unsigned short size;
	unsigned char type;
	char name[];
};

static void task_path(struct lt_text *text, int pid, int tid, const char *file)
{
	lt_text_add(text, "/proc/");
	if (pid)
		lt_text_add_decimal(text, (uint64_t)pid);
	else
		lt_text_add(text, "self");
	lt_text_add(text, "/task");
	if (!tid)
		return;
	lt_text_add(text, "/");
	lt_text_add_decimal(text, (uint64_t)tid);
	lt_text_add(text, file);
}

/* Calls visit for each thread but `caller` until it returns false. */
static void each_thread(int pid, int caller, bool (*visit)(int pid, int tid, void *arg), void *arg)
{
	char path[64];
	_Alignas(8) char buffer[2048];
	struct lt_text text = LT_TEXT(path);
	task_path(&text, pid, 0, "");
	int fd = lt_sys_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd < 0)
		return;
	long n;
	bool more = true;
	while (more && (n = lt_syscall6(SYS_getdents64, fd, (long)buffer, sizeof buffer, 0, 0, 0)) > 0) {
		for (long at = 0; more && at < n;) {
			const struct entry *entry = (const void *)(buffer + at);
			const char *name = entry->name;
			uint64_t tid;
			at += entry->size;
			if (!lt_text_parse_decimal(&name, &tid) && !*name && (int)tid != caller)
				more = visit(pid, (int)tid, arg);
		}
	}
	lt_sys_close(fd);
}

static bool found(int pid, int tid, void *arg)
{
	*(bool *)arg = true;
	return false;
}

bool lt_threads_others(int pid, int caller)
{
	bool others = false;
	each_thread(pid, caller, found, &others);
	return others;
}

/* The number that the link ends with; 0: none. */
static int number_in(const char *link)
{
	char target[64];
	uint64_t number = 0;
	long n = lt_sys_readlink(link, target, sizeof target - 1);
	if (n <= 0)
		return 0;
	target[n] = '\0';
	const char *last = strrchr(target, '/');
	last = last ? last + 1 : target;
	return lt_text_parse_decimal(&last, &number) ? 0 : (int)number;
}

bool lt_threads_are_numbered(int pid, bool *others)
{
	int there = number_in("/proc/self");
	*others = there && lt_threads_others(there == pid ? pid : 0, number_in("/proc/thread-self"));
	return there == pid;
}

/* By place in the list. */
static struct {
	bool seized, stopped;
	uint8_t signal; /* it was stopped on its way to this signal, which it gets when it is let go; 0: none */
} held[LT_THREADS_MAX];

struct holding {
	struct lt_scan_thread *threads;
	unsigned count, max, guessed, unstopped;
	bool missing;
};

/* The line is "running", or the call's number and arguments, the stack pointer and the program counter. */
static void read_stack_pointer(int pid, struct lt_scan_thread *thread)
{
	char path[64], line[256];
	struct lt_text text = LT_TEXT(path);
	task_path(&text, pid, (int)thread->tid, "/syscall");
	if (lt_text_read_file(path, line, sizeof line) <= 0)
		return;
	const char *pc = strrchr(line, ' ');
	if (!pc)
		return;
	while (pc > line && pc[-1] != ' ')
		pc--;
	uint64_t sp;
	if (pc[0] == '0' && pc[1] == 'x' && (pc += 2, !lt_text_parse_hex(&pc, &sp)))
		thread->sp = sp - LT_RED_ZONE;
}

static bool guess(int pid, int tid, void *arg)
{
	struct holding *holding = arg;
	if (holding->count == holding->max)
		return false;
	struct lt_scan_thread *thread = &holding->threads[holding->count++];
	memset(thread, 0, sizeof *thread);
	thread->tid = (uint32_t)tid;
	read_stack_pointer(pid, thread);
	return true;
}

unsigned lt_threads_guess(int pid, int caller, struct lt_scan_thread *threads, unsigned max)
{
	struct holding holding = { .threads = threads, .max = max };
	each_thread(pid, caller, guess, &holding);
	return holding.count;
}

/* Is it stopped by now? A signal may have come before our PTRACE_INTERRUPT; it is lost unless the thread is let go with it. */
static bool is_stopped(unsigned i, int tid)
{
	int status;
	if (held[i].stopped)
		return true;
	long n = lt_syscall6(SYS_wait4, tid, (long)&status, WNOHANG | __WALL, 0, 0, 0);
	if (n == tid && WIFSTOPPED(status)) {
		held[i].stopped = true;
		held[i].signal = status >> 16 == PTRACE_EVENT_STOP ? 0 : (uint8_t)WSTOPSIG(status);
	} else if (n && n != -EINTR) { /* it has ended */
		held[i].seized = false;
	}
	return held[i].stopped;
}

static bool stops(unsigned i, int tid)
{
	int64_t deadline = lt_sys_clock(CLOCK_MONOTONIC) + STOP_PATIENCE_NS;
	for (unsigned round = 0; !is_stopped(i, tid); round++) {
		if (!held[i].seized || lt_sys_clock(CLOCK_MONOTONIC) > deadline)
			return false;
		lt_sys_wait(64 + round);
	}
	return true;
}

static void take_registers(unsigned i, struct lt_scan_thread *thread)
{
#if defined __x86_64__
	long tid = (long)thread->tid;
	struct user_regs_struct registers;
	struct iovec vector = { &registers, sizeof registers };
	if (lt_syscall6(SYS_ptrace, PTRACE_SEIZE, tid, 0, 0, 0, 0) != 0)
		return;
	held[i].seized = true;
	if (lt_syscall6(SYS_ptrace, PTRACE_INTERRUPT, tid, 0, 0, 0, 0) != 0 || !stops(i, (int)tid) ||
	    lt_syscall6(SYS_ptrace, PTRACE_GETREGSET, tid, NT_PRSTATUS, (long)&vector, 0, 0) != 0)
		return;
	const uintptr_t values[] = { registers.rax, registers.rbx, registers.rcx, registers.rdx, registers.rsi,
		                     registers.rdi, registers.rbp, registers.r8,  registers.r9,  registers.r10,
		                     registers.r11, registers.r12, registers.r13, registers.r14, registers.r15,
		                     registers.rsp };
	memcpy(thread->reg, values, sizeof values);
	thread->registers = sizeof values / sizeof *values;
	thread->sp = registers.rsp - LT_RED_ZONE;
	thread->pc = registers.rip;
	thread->tp = registers.fs_base;
#endif
}

static bool hold(int pid, int tid, void *arg)
{
	struct holding *holding = arg;
	unsigned i = 0;
	while (i < holding->guessed && (int)holding->threads[i].tid != tid)
		i++;
	if (i == holding->max) {
		holding->missing = true;
		return false;
	}
	struct lt_scan_thread *thread = &holding->threads[i];
	if (i == holding->guessed) { /* it has come since */
		holding->guessed++;
		memset(thread, 0, sizeof *thread);
		thread->tid = (uint32_t)tid;
	}
	holding->count = holding->guessed;
	memset(&held[i], 0, sizeof held[i]);
	take_registers(i, thread);
	if (!thread->registers)
		holding->unstopped++;
	return true;
}

unsigned lt_threads_hold(int pid, int caller, struct lt_scan_thread *threads, unsigned guessed, unsigned max, unsigned *unstopped,
                         bool *missing)
{
	struct holding holding = { .threads = threads, .count = guessed, .guessed = guessed, .max = max };
	each_thread(pid, caller, hold, &holding);
	*unstopped = holding.unstopped;
	*missing = holding.missing;
	return holding.count;
}

bool lt_threads_release(const struct lt_scan_thread *threads, unsigned count)
{
	bool all = true;
	for (unsigned i = 0; i < count; i++) {
		if (held[i].seized && is_stopped(i, (int)threads[i].tid)) {
			lt_syscall6(SYS_ptrace, PTRACE_DETACH, (long)threads[i].tid, 0, held[i].signal, 0, 0);
			held[i].seized = false;
		}
		all &= !held[i].seized;
	}
	return all;
}
