/* SPDX-License-Identifier: MIT
 *
 * The command's half of a remote call: find the library and its structure, stop the main thread, aim it, let go.
 *
 * The thread is held for some 100 µs. PTRACE_SEIZE and PTRACE_INTERRUPT send no signal. A system call that the stop has interrupted
 * left an errno in rax that no program ever sees (Linux, include/linux/errno.h: ERESTARTSYS 512, ERESTARTNOINTR 513,
 * ERESTARTNOHAND 514, ERESTART_RESTARTBLOCK 516); the registers stored are those with which the kernel would restart it. Some never are
 * (epoll_wait(), semop(), sigtimedwait(), a receive with SO_RCVTIMEO): they return EINTR, as after SIGSTOP and SIGCONT. To restart
 * them here was turned down: a signal handled meanwhile would no longer end the call.
 */
#include "inject.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <inttypes.h>
#include <libelf.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "leaktrace/dump-format.h"
#include "xalloc.h"

#define HELD_MS 2000 /* wait so long for another command's hold, which takes a millisecond and its share of a busy machine */

static void nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
}

static int64_t milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Calls `match` with each line of /proc/PID/maps that names a file, until it returns true. 0, -ENOENT, -errno. */
static int each_mapping(pid_t pid, bool (*match)(uint64_t start, const char *flags, const char *path, void *data), void *data)
{
	char name[64], *line = NULL;
	size_t room = 0;
	int status = -ENOENT;

	snprintf(name, sizeof name, "/proc/%d/maps", (int)pid);
	FILE *maps = fopen(name, "re");
	if (!maps)
		return errno == ENOENT ? -ESRCH : -errno;
	while (status && getline(&line, &room, maps) > 0) {
		uint64_t start;
		char flags[8];
		int path = 0;

		line[strcspn(line, "\n")] = '\0';
		if (sscanf(line, "%" SCNx64 "-%*x %7s %*x %*s %*u %n", &start, flags, &path) == 2 && path && line[path] == '/' &&
		    match(start, flags, line + path, data))
			status = 0;
	}
	free(line);
	fclose(maps);
	return status;
}

/* The first character of a field of /proc/PID/status; 0: the process is gone. */
static char status_of(pid_t pid, const char *field)
{
	char name[64], line[256], first = 0;

	snprintf(name, sizeof name, "/proc/%d/status", (int)pid);
	FILE *status = fopen(name, "re");
	while (status && !first && fgets(line, sizeof line, status))
		if (strncmp(line, field, strlen(field)) == 0)
			sscanf(line + strlen(field), " %c", &first);
	if (status)
		fclose(status);
	return first;
}

/* The library's structure: file offset of the mapping is not asked for, as its first mapping holds the ELF header. */
struct library {
	pid_t pid;
	uint64_t address;
};

static uint64_t find_symbol(Elf *elf)
{
	Elf_Scn *section = NULL;

	while ((section = elf_nextscn(elf, section))) {
		GElf_Shdr header;
		Elf_Data *data;

		if (!gelf_getshdr(section, &header) || header.sh_type != SHT_DYNSYM || !header.sh_entsize ||
		    !(data = elf_getdata(section, NULL)))
			continue;
		for (int i = 0; i < (int)(header.sh_size / header.sh_entsize); i++) {
			GElf_Sym symbol;
			const char *name;

			if (gelf_getsym(data, i, &symbol) && symbol.st_value && (name = elf_strptr(elf, header.sh_link, symbol.st_name)) &&
			    strcmp(name, LEAKTRACE_REMOTE_SYMBOL) == 0)
				return symbol.st_value;
		}
	}
	return 0;
}

static bool is_library(uint64_t start, const char *flags, const char *path, void *data)
{
	struct library *library = data;
	const char *base = strrchr(path, '/') + 1;
	char name[96];
	uint64_t value = 0;

	if (strncmp(base, "libleaktrace", 12) != 0)
		return false;
	/* As the process sees it: in its mount name space, also when the file has been replaced since. */
	char *root = lt_xasprintf("/proc/%d/root%s", (int)library->pid, path);
	snprintf(name, sizeof name, "/proc/%d/map_files/", (int)library->pid);
	int fd = open(root, O_RDONLY | O_CLOEXEC);
	free(root);
	if (fd < 0)
		return false;
	elf_version(EV_CURRENT);
	Elf *elf = elf_begin(fd, ELF_C_READ, NULL);
	if (elf)
		value = find_symbol(elf);
	elf_end(elf);
	close(fd);
	library->address = start + value;
	return value != 0;
}

struct dump {
	char *path;
};

static bool is_dump(uint64_t start, const char *flags, const char *path, void *data)
{
	struct dump *dump = data;
	size_t length = strlen(path), suffix = strlen(LEAKTRACE_DUMP_SUFFIX);

	(void)start;
	if (flags[3] != 's' || length < suffix || strcmp(path + length - suffix, LEAKTRACE_DUMP_SUFFIX) != 0)
		return false;
	dump->path = lt_xstrdup(path);
	return true;
}

char *lt_inject_dump(pid_t pid)
{
	struct dump dump = {NULL};

	each_mapping(pid, is_dump, &dump);
	return dump.path;
}

static int transfer(pid_t pid, bool write, uint64_t address, void *bytes, size_t size)
{
	struct iovec mine = {bytes, size}, theirs = {(void *)(uintptr_t)address, size};
	ssize_t n = write ? process_vm_writev(pid, &mine, 1, &theirs, 1, 0) : process_vm_readv(pid, &mine, 1, &theirs, 1, 0);

	return n == (ssize_t)size ? 0 : n < 0 ? -errno : -EFAULT;
}

#if defined __x86_64__

static void store_registers(struct leaktrace_remote *remote, const struct user_regs_struct *r)
{
	remote->rip = r->rip;
	remote->rflags = r->eflags;
	remote->rsp = r->rsp;
	remote->rax = r->rax;
	remote->rbx = r->rbx;
	remote->rcx = r->rcx;
	remote->rdx = r->rdx;
	remote->rsi = r->rsi;
	remote->rdi = r->rdi;
	remote->rbp = r->rbp;
	remote->r8 = r->r8;
	remote->r9 = r->r9;
	remote->r10 = r->r10;
	remote->r11 = r->r11;
	remote->r12 = r->r12;
	remote->r13 = r->r13;
	remote->r14 = r->r14;
	remote->r15 = r->r15;
	if ((int64_t)r->orig_rax < 0)
		return;
	switch ((int64_t)r->rax) {
	case -512:
	case -513:
	case -514:
		remote->rax = r->orig_rax;
		remote->rip -= 2; /* the instruction `syscall` */
		break;
	case -516:
		remote->rax = SYS_restart_syscall;
		remote->rip -= 2;
		break;
	}
}

/* The thread is stopped. */
static int aim(pid_t pid, uint64_t address, enum leaktrace_remote_wish wish, const char *label, struct leaktrace_remote *remote)
{
	struct user_regs_struct registers;
	uint32_t busy = 1;
	int error = transfer(pid, false, address, remote, sizeof *remote);

	if (error)
		return error;
	if (remote->busy)
		return -EBUSY;
	if (ptrace(PTRACE_GETREGS, pid, NULL, &registers) != 0)
		return -errno;
	if (registers.cs != 0x33)
		return -ENOEXEC; /* 32-bit code */
	store_registers(remote, &registers);
	remote->busy = busy;
	remote->wish = wish;
	snprintf(remote->label, sizeof remote->label, "%s", label ? label : "");
	error = transfer(pid, true, address, remote, sizeof *remote);
	if (error)
		return error;
	registers.rip = remote->entry;
	registers.rsp = remote->stack;
	registers.orig_rax = (unsigned long long)-1; /* no system call to restart */
	if (ptrace(PTRACE_SETREGS, pid, NULL, &registers) != 0) {
		error = -errno;
		busy = 0;
		transfer(pid, true, address + offsetof(struct leaktrace_remote, busy), &busy, sizeof busy);
	}
	return error;
}

static int stop_thread(pid_t pid, int64_t deadline)
{
	if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) != 0)
		return -errno;
	if (ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) != 0)
		return -errno;
	for (;;) {
		int status;
		pid_t n = waitpid(pid, &status, WNOHANG | __WALL);

		if (n < 0)
			return -errno;
		if (n == pid && !WIFSTOPPED(status))
			return -ESRCH;
		if (n == pid && status >> 16 == PTRACE_EVENT_STOP)
			return WSTOPSIG(status) == SIGTRAP ? 0 : -ETIMEDOUT; /* else it is stopped by SIGSTOP or the like */
		if (n == pid) /* a signal on its way: the program gets it */
			ptrace(PTRACE_CONT, pid, NULL, (void *)(intptr_t)WSTOPSIG(status));
		else
			nap();
		if (milliseconds() > deadline)
			return -ETIMEDOUT;
	}
}

/* Another command may be at it, or a debugger. */
static int stop_and_aim(pid_t pid, uint64_t address, enum leaktrace_remote_wish wish, const char *label, int64_t deadline,
			struct leaktrace_remote *remote)
{
	int64_t held_until = milliseconds() + HELD_MS;

	for (unsigned unheld = 0;;) {
		int error = stop_thread(pid, deadline);

		if (!error)
			error = aim(pid, address, wish, label, remote);
		ptrace(PTRACE_DETACH, pid, NULL, NULL);
		if (error == -EPERM) {
			/* Refused though nobody holds it: whoever did may have let go since. Time and again: it is no hold. */
			if (status_of(pid, "TracerPid:") <= '0' && ++unheld == 20)
				return error;
			if (milliseconds() >= held_until)
				return error;
		} else if (error != -EBUSY || milliseconds() >= deadline) {
			return error;
		}
		nap();
	}
}

int lt_inject(pid_t pid, enum leaktrace_remote_wish wish, const char *label, unsigned patience_ms, struct leaktrace_remote *done)
{
	struct library library = {.pid = pid};
	struct leaktrace_remote remote;
	int64_t deadline = milliseconds() + patience_ms;
	int error = each_mapping(pid, is_library, &library);

	if (error == -ENOENT && status_of(pid, "State:") == 'Z')
		return -ECHILD;
	if (error)
		return error;
	error = transfer(pid, false, library.address, &remote, sizeof remote);
	if (error)
		return error;
	if (remote.version != LEAKTRACE_REMOTE_VERSION || remote.size != sizeof remote)
		return -ENOENT;
	error = stop_and_aim(pid, library.address, wish, label, deadline, &remote);
	if (error)
		return error;
	do {
		nap();
		error = transfer(pid, false, library.address, done, sizeof *done);
		if (error)
			return error;
		if (done->calls != remote.calls)
			return done->result;
	} while (milliseconds() < deadline);
	return -ETIMEDOUT;
}

#else

int lt_inject(pid_t pid, enum leaktrace_remote_wish wish, const char *label, unsigned patience_ms, struct leaktrace_remote *done)
{
	(void)pid, (void)wish, (void)label, (void)patience_ms, (void)done;
	return -ENOSYS;
}

#endif

static const char *reason(int error)
{
	switch (-error) {
	case ESRCH: return "there is no such process, or its tracing is over";
	case ENOENT: return "is not traced by this version of libleaktrace.so";
	case EPERM: case EACCES:
		return "may not be looked into: be its user, and root where kernel.yama.ptrace_scope is not 0, or no debugger is at it";
	case ECHILD: return "can't be called: its main thread has ended";
	case EBUSY: return "is busy with another snapshot, start or stop";
	case ETIMEDOUT: return "does not come to run: it is stopped, or waits for a device";
	case ENODATA: return "is not classified: option verdict=off, or it has no dump";
	}
	return strerror(-error);
}

bool lt_inject_or_say(pid_t pid, enum leaktrace_remote_wish wish, const char *label, struct leaktrace_remote *done)
{
	int error = lt_inject(pid, wish, label, 5000, done);

	if (error)
		fprintf(stderr, "leaktrace: process %d %s\n", (int)pid, reason(error));
	return error;
}

pid_t lt_inject_pid(const struct lt_command *command, int argc, char **argv)
{
	char *end;
	long pid;

	if (argc != 1) {
		lt_command_bad(command, "one PID is wanted");
		return 0;
	}
	errno = 0;
	pid = strtol(argv[0], &end, 10);
	if (errno || end == argv[0] || *end || pid <= 0 || pid != (pid_t)pid) {
		lt_command_bad(command, "%s is no PID", argv[0]);
		return 0;
	}
	return (pid_t)pid;
}
