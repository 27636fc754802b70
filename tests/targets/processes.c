/* SPDX-License-Identifier: MIT
 *
 * Ways to live and to die that end as they would without a tracer: processes KIND
 *
 * deep N         forks, the child execs this again with N - 1, and forks …; each image leaks N blocks of 50 bytes in leak_level()
 * daemon         a daemon(), which leaks 3 blocks in leak_daemon(); main waits for its end
 * double-fork    likewise, by fork, setsid and fork
 * orphan         the child outlives its parent, and leaks 2 blocks in leak_orphan() afterwards
 * inherited      a child frees, reallocs and overwrites what it has inherited; main does the same afterwards; both leak 1 in leak_own()
 * signals        a child for each signal that ends a process; each leaks 1 block in leak_signalled()
 * stopped        a child is stopped and continued, and leaks 1 block in leak_stopped()
 * core           a child with a handler for SIGSEGV that resets it and returns, as R's does
 * threads-return, threads-exit, threads-_exit, threads-quick_exit, threads-abort, threads-exec, threads-kill
 *                that end while four threads allocate as fast as they can; threads-exec execs `leaf`
 * main-gone      main's thread ends by pthread_exit() while another forks, and leaks 1 block in leak_last()
 * reused-pid     two children in turn with the same PID (as the first process of a PID name space, by root); says whether it was so
 * vfork-exit     50 vfork children that call _exit
 * raw-fork       by the number of the system call fork
 * exec-failed N  N execs that fail, with allocations between, and a fork behind
 * exec-self N    execs itself N times, 64 blocks of 100 bytes live each time
 * many-at-once N N children at once, each leaks 1 block in leak_at_once()
 * leaf           leaks 2 blocks in leak_leaf()
 */
#include "target.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static void *keep[256];
static int kept;

#define LEAK(name)                              \
	SITE static void name(int blocks)       \
	{                                       \
		for (int i = 0; i < blocks; i++) \
			keep[kept++] = malloc(50); \
		KEEP_FRAME();                   \
	}
LEAK(leak_level)
LEAK(leak_daemon)
LEAK(leak_orphan)
LEAK(leak_own)
LEAK(leak_signalled)
LEAK(leak_stopped)
LEAK(leak_last)
LEAK(leak_at_once)
LEAK(leak_leaf)
LEAK(leak_failed)

static const char *self;

static void say_number(const char *text, int number)
{
	char line[80];
	snprintf(line, sizeof line, "%s %d\n", text, number);
	say(line);
}

static void exec_self(const char *kind, int number)
{
	char text[16];
	snprintf(text, sizeof text, "%d", number);
	execl(self, self, kind, text, (char *)NULL);
	_exit(97);
}

static pid_t child(void)
{
	pid_t pid = fork();
	REQUIRE(pid >= 0);
	return pid;
}

/* Waits until all that hold the pipe's other end are gone. */
static void wait_for_all(int pipes[2])
{
	char byte;
	close(pipes[1]);
	while (read(pipes[0], &byte, 1) > 0)
		;
}

static void leave_the_session(int by_hand)
{
	int pipes[2];
	REQUIRE(!pipe(pipes));
	pid_t pid = child();
	if (pid) {
		REQUIRE(reap(pid) == 0);
		wait_for_all(pipes);
		say("gone\n");
		return;
	}
	if (by_hand) {
		REQUIRE(setsid() > 0);
		if (child())
			_exit(0);
	} else {
		REQUIRE(!daemon(1, 1));
	}
	leak_daemon(3);
	exit(4);
}

static void become_daemon(void)
{
	leave_the_session(0);
}

static void fork_twice(void)
{
	leave_the_session(1);
}

static void orphan(void)
{
	int pipes[2];
	REQUIRE(!pipe(pipes));
	pid_t pid = child();
	if (!pid) {
		pid_t parent = getpid();
		if (child())
			_exit(0);
		while (getppid() == parent)
			usleep(1000);
		leak_orphan(2);
		_exit(5);
	}
	REQUIRE(reap(pid) == 0);
	wait_for_all(pipes);
}

static void use_inherited(void **blocks)
{
	for (int i = 0; i < 90; i++) {
		if (i % 3 == 0) {
			free(blocks[i]);
		} else if (i % 3 == 1) {
			blocks[i] = realloc(blocks[i], (size_t)(i * 50));
			REQUIRE(blocks[i]);
			memset(blocks[i], 3, (size_t)(i * 50));
			free(blocks[i]);
		} else {
			memset(blocks[i], 2, 300);
			free(blocks[i]);
		}
	}
	leak_own(1);
}

static void inherited(void)
{
	void *blocks[90];
	for (int i = 0; i < 90; i++) {
		REQUIRE((blocks[i] = malloc(300)));
		memset(blocks[i], 1, 300);
	}
	pid_t pid = child();
	if (!pid) {
		use_inherited(blocks);
		_exit(6);
	}
	int status = reap(pid);
	for (int i = 0; i < 90; i++)
		REQUIRE(((char *)blocks[i])[299] == 1);
	use_inherited(blocks);
	say_number("child", WEXITSTATUS(status));
}

static void signals(void)
{
	static const int spared[] = { SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH };
	for (int number = 1; number <= SIGRTMAX; number++) {
		int skip = number > SIGSYS && number < SIGRTMIN;
		for (unsigned i = 0; i < sizeof spared / sizeof *spared; i++)
			skip |= spared[i] == number;
		if (skip)
			continue;
		pid_t pid = child();
		if (!pid) {
			leak_signalled(1);
			kill(getpid(), number);
			_exit(97);
		}
		int status = reap(pid);
		if (!WIFSIGNALED(status) || WTERMSIG(status) != number)
			say_number("not by", number);
	}
	say("each by its signal\n");
}

/* It ends when it has been seen to go on. */
static void stopped(void)
{
	int status, seen[2];
	char byte = 0;
	REQUIRE(!pipe(seen));
	pid_t pid = child();
	if (!pid) {
		raise(SIGSTOP);
		leak_stopped(1);
		REQUIRE(read(seen[0], &byte, 1) == 1);
		_exit(8);
	}
	REQUIRE(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
	kill(pid, SIGCONT);
	REQUIRE(waitpid(pid, &status, WCONTINUED) == pid && WIFCONTINUED(status));
	REQUIRE(write(seen[1], &byte, 1) == 1);
	say_number("ends with", WEXITSTATUS(reap(pid)));
}

static void reset(int number)
{
	say("handler\n");
	signal(number, SIG_DFL);
}

static void core(void)
{
	pid_t pid = child();
	if (!pid) {
		prctl(PR_SET_DUMPABLE, 0);
		signal(SIGSEGV, reset);
		leak_signalled(1);
		*(volatile int *)8 = 1;
	}
	say_number("signal", WTERMSIG(reap(pid)));
}

static atomic_int running;

static void *churn(void *unused)
{
	void *block[64] = { NULL };
	(void)unused;
	running++;
	for (unsigned i = 0;; i++) {
		free(block[i & 63]);
		block[i & 63] = malloc(16 + (i * 7 & 1023));
	}
	return NULL;
}

static int beside_threads(const char *how)
{
	pthread_t thread;
	for (int i = 0; i < 4; i++)
		REQUIRE(!pthread_create(&thread, NULL, churn, NULL));
	while (running < 4)
		usleep(100);
	usleep(3000);
	if (!strcmp(how, "exit"))
		exit(21);
	if (!strcmp(how, "_exit"))
		_exit(22);
	if (!strcmp(how, "quick_exit"))
		quick_exit(23);
	if (!strcmp(how, "abort"))
		abort();
	if (!strcmp(how, "exec"))
		exec_self("leaf", 0);
	if (!strcmp(how, "kill"))
		kill(getpid(), SIGKILL);
	return 24;
}

static void *fork_when_alone(void *unused)
{
	(void)unused;
	usleep(20000);
	pid_t pid = child();
	if (!pid) {
		leak_last(1);
		_exit(9);
	}
	say_number("child", WEXITSTATUS(reap(pid)));
	leak_last(1);
	return NULL;
}

static void main_gone(void)
{
	pthread_t thread;
	REQUIRE(!pthread_create(&thread, NULL, fork_when_alone, NULL));
	pthread_exit(NULL);
}

static void reused_pid(void)
{
	pid_t first = 0;
	for (int i = 0; i < 200; i++) {
		char text[16];
		if (first) {
			int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY);
			REQUIRE(fd >= 0);
			snprintf(text, sizeof text, "%d", (int)first - 1);
			REQUIRE(write(fd, text, strlen(text)) > 0);
			close(fd);
		}
		pid_t pid = child();
		if (!pid) {
			leak_own(1);
			_exit(0);
		}
		REQUIRE(reap(pid) == 0);
		if (pid == first) {
			say("the same\n");
			return;
		}
		first = first ? first : pid;
	}
	say("never the same\n");
}

static void raw_fork(void)
{
#ifdef SYS_fork
	pid_t pid = (pid_t)syscall(SYS_fork);
#else
	pid_t pid = child();
#endif
	REQUIRE(pid >= 0);
	if (!pid) {
		leak_own(1);
		_exit(3);
	}
	say_number("child", WEXITSTATUS(reap(pid)));
}

static void vfork_exit(void)
{
	for (volatile int i = 0; i < 50; i++) {
		pid_t pid = vfork();
		REQUIRE(pid >= 0);
		if (!pid)
			_exit(i);
		REQUIRE(WEXITSTATUS(reap(pid)) == i);
		free(malloc(100));
	}
	leak_own(1);
}

static void exec_failed(int times)
{
	for (int i = 0; i < times; i++) {
		REQUIRE(execl("/nonexistent/program", "program", (char *)NULL) == -1 && errno == ENOENT);
		leak_failed(1);
	}
	pid_t pid = child();
	if (!pid) {
		leak_failed(1);
		_exit(2);
	}
	say_number("child", WEXITSTATUS(reap(pid)));
}

static void at_once(int count)
{
	int pipes[2];
	REQUIRE(!pipe(pipes));
	for (int i = 0; i < count; i++)
		if (!child()) {
			char byte;
			leak_at_once(1);
			close(pipes[1]);
			if (read(pipes[0], &byte, 1) != 0)
				_exit(97);
			_exit(0);
		}
	close(pipes[1]);
	for (int i = 0; i < count; i++)
		REQUIRE(reap(-1) == 0);
}

static void deep(int number)
{
	leak_level(number);
	if (number) {
		pid_t pid = child();
		if (!pid)
			exec_self("deep", number - 1);
		say_number("level", WEXITSTATUS(reap(pid)));
	}
	exit(number);
}

static void leaf(int unused)
{
	(void)unused;
	leak_leaf(2);
	exit(3);
}

static void exec_again(int number)
{
	leak_own(64);
	if (number)
		exec_self("exec-self", number - 1);
}

static const struct {
	const char *kind;
	void (*run)(void);
	void (*run_times)(int number);
} kinds[] = {
	{ "deep", NULL, deep },
	{ "leaf", NULL, leaf },
	{ "exec-self", NULL, exec_again },
	{ "exec-failed", NULL, exec_failed },
	{ "many-at-once", NULL, at_once },
	{ "daemon", become_daemon, NULL },
	{ "double-fork", fork_twice, NULL },
	{ "orphan", orphan, NULL },
	{ "inherited", inherited, NULL },
	{ "signals", signals, NULL },
	{ "stopped", stopped, NULL },
	{ "core", core, NULL },
	{ "main-gone", main_gone, NULL },
	{ "reused-pid", reused_pid, NULL },
	{ "raw-fork", raw_fork, NULL },
	{ "vfork-exit", vfork_exit, NULL },
};

int main(int argc, char **argv)
{
	REQUIRE(argc >= 2);
	self = argv[0];
	if (!strncmp(argv[1], "threads-", 8))
		return beside_threads(argv[1] + 8);
	for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		if (strcmp(argv[1], kinds[i].kind))
			continue;
		if (kinds[i].run)
			kinds[i].run();
		else
			kinds[i].run_times(argc > 2 ? atoi(argv[2]) : 0);
		return 0;
	}
	REQUIRE(!"known kind");
}
