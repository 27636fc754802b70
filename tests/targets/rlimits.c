/* SPDX-License-Identifier: MIT
 *
 * Programs with limits, other signals, environments and identities: rlimits KIND. For what they do then see hostile.h.
 *
 * Limits
 *   fsize-term, fsize-ignore, fsize-handle  RLIMIT_FSIZE of 4 KiB, and the program itself writes beyond: SIGXFSZ ends a child, is ignored,
 *                                           is handled | fsize  without writing
 *   as         RLIMIT_AS as good as used up | as-used  until malloc fails | data  RLIMIT_DATA likewise, as `as`
 *   nofile, nofile-3, nproc, memlock, stack-limit  RLIMIT_NOFILE 0 and 3, RLIMIT_NPROC 0, RLIMIT_MEMLOCK 0, RLIMIT_STACK 8 KiB
 *   mlockall   all memory locked, also what is yet to be mapped
 *   stack      on a thread with the smallest stack there is
 *   memory     400,000 small blocks more and a snapshot, then a quarter of them is written to again and again (at a cgroup's limit)
 * Signals, environment, identity
 *   sigmask    all signals blocked | sigchld  SIGCHLD ignored | clearenv, clearenv-exec
 *   thread-holds  another thread, which waits, holds a block of 777 bytes, from leak_held()
 *   setuid     drops root's privileges, if it is root | undumpable PR_SET_DUMPABLE 0 | no-new-privs | plain
 */
#include "hostile.h"
#include "leaktrace/leaktrace.h"
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static volatile int handled;

static void limit(int resource, rlim_t soft)
{
	struct rlimit limit = { .rlim_cur = soft, .rlim_max = soft };
	REQUIRE(!setrlimit((unsigned)resource, &limit));
}

static void on_signal(int sig)
{
	handled++;
}

/* ---- limits ---- */

static void file_size(void)
{
	limit(RLIMIT_FSIZE, 4096);
}

static ssize_t write_much(void)
{
	static const char much[8192];
	char name[] = "/tmp/leaktrace-test-XXXXXX";
	int fd = mkstemp(name);
	REQUIRE(fd >= 0 && !unlink(name));
	file_size();
	leak_from(0, 500);
	ssize_t n = 0, all = 0;
	while ((n = write(fd, much, sizeof much)) > 0)
		all += n;
	REQUIRE(n < 0 && errno == EFBIG);
	return all;
}

static void file_size_kills(void)
{
	pid_t pid = fork();
	if (!pid) {
		write_much();
		_exit(96);
	}
	int status = reap(pid);
	REQUIRE(WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ);
}

static void file_size_ignored(void)
{
	signal(SIGXFSZ, SIG_IGN);
	REQUIRE(write_much() == 4096);
}

static void file_size_handled(void)
{
	signal(SIGXFSZ, on_signal);
	REQUIRE(write_much() == 4096 && handled == 1);
}

static void address_space(void)
{
	reserve_memory();
	limit(RLIMIT_AS, 1 << 20);
}

static void address_space_used(void)
{
	reserve_memory();
	limit(RLIMIT_AS, 256 << 20);
	void **last = NULL, **block;
	for (size_t size = 8 << 20; size >= 100000; size /= 4)
		while ((block = malloc(size))) {
			*block = last;
			last = block;
		}
	REQUIRE(last && errno == ENOMEM);
	leak_from(0, 500);
	while (last) {
		block = *last;
		free(last);
		last = block;
	}
}

static void data(void)
{
	reserve_memory();
	limit(RLIMIT_DATA, 1 << 20);
}

static void no_files(void)
{
	limit(RLIMIT_NOFILE, 0);
}

static void three_files(void)
{
	limit(RLIMIT_NOFILE, 3);
}

static void drop_root(void)
{
	if (!geteuid())
		REQUIRE(!setgid(65534) && !setuid(65534));
}

static void no_processes(void)
{
	drop_root();
	limit(RLIMIT_NPROC, 0);
	ways = 1;
}

static void no_locked_memory(void)
{
	drop_root();
	limit(RLIMIT_MEMLOCK, 0);
	ways = 1;
}

static void lock_all(void)
{
	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		REQUIRE(errno == ENOMEM || errno == EPERM);
	ways = 1;
}

static void small_main_stack(void)
{
	limit(RLIMIT_STACK, 8192);
	ways = 1;
}

static void *on_thread(void *unused)
{
	(void)unused;
	leak_all();
	return NULL;
}

static void small_stack(void)
{
	pthread_attr_t attr;
	pthread_t thread;
	REQUIRE(!pthread_attr_init(&attr) && !pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN));
	REQUIRE(!pthread_create(&thread, &attr, on_thread, NULL) && !pthread_join(thread, NULL));
}

static void much_memory(void)
{
	enum { N = 400000 };
	void **all = malloc(N * sizeof *all);
	REQUIRE(all);
	for (int i = 0; i < N; i++)
		REQUIRE((all[i] = malloc(40)));
	leaktrace_snapshot("at the limit");
	for (int turn = 0; turn < 20; turn++)
		for (int i = 0; i < N; i += 4)
			memset(all[i], turn, 40);
	for (int i = 0; i < N; i++)
		free(all[i]);
	free(all);
	ways = 1;
}

/* ---- signals, environment, identity ---- */

/* A block to which only the stack of a thread that waits has a pointer. */
SITE static void *leak_held(void)
{
	void *block = malloc(777);
	KEEP_FRAME();
	return block;
}

static void *hold_block(void *pipe_end)
{
	char byte;
	void *volatile block = leak_held();
	while (read((int)(intptr_t)pipe_end, &byte, 1) != 1)
		;
	free(block);
	return NULL;
}

static void thread_holds(void)
{
	int pipes[2];
	pthread_t thread;
	REQUIRE(!pipe(pipes) && !pthread_create(&thread, NULL, hold_block, (void *)(intptr_t)pipes[0]));
	usleep(50000);
	ways = 1;
}

static void block_signals(void)
{
	sigset_t all;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
}

static void ignore_children(void)
{
	signal(SIGCHLD, SIG_IGN);
	ways = 1;
}

static void clear(void)
{
	clearenv();
	ways = 1;
}

static void clear_and_exec(void)
{
	ways = 1;
	clearenv();
	execl(self, self, "plain", (char *)NULL);
	_exit(95);
}

static void undumpable(void)
{
	REQUIRE(!prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
	ways = 1;
}

static void no_new_privileges(void)
{
	REQUIRE(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	ways = 1;
}

static void nothing(void)
{
	ways = 1;
}

static const struct kind kinds[] = {
	{ "plain", nothing, NULL },
	{ "fsize", file_size, NULL },
	{ "fsize-term", file_size_kills, NULL },
	{ "fsize-ignore", file_size_ignored, NULL },
	{ "fsize-handle", file_size_handled, NULL },
	{ "as", address_space, NULL },
	{ "as-used", address_space_used, NULL },
	{ "data", data, NULL },
	{ "nofile", no_files, NULL },
	{ "nofile-3", three_files, NULL },
	{ "nproc", no_processes, NULL },
	{ "memlock", no_locked_memory, NULL },
	{ "mlockall", lock_all, NULL },
	{ "stack-limit", small_main_stack, NULL },
	{ "stack", small_stack, NULL },
	{ "memory", much_memory, NULL },
	{ "sigmask", block_signals, NULL },
	{ "thread-holds", thread_holds, NULL },
	{ "sigchld", ignore_children, NULL },
	{ "clearenv", clear, NULL },
	{ "clearenv-exec", clear_and_exec, NULL },
	{ "setuid", drop_root, NULL },
	{ "undumpable", undumpable, NULL },
	{ "no-new-privs", no_new_privileges, NULL },
};

int main(int argc, char **argv)
{
	return run_kind(kinds, sizeof kinds / sizeof *kinds, argc, argv);
}
