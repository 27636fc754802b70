/* SPDX-License-Identifier: MIT
 *
 * What a program could notice of its classifier. All but the last modes have 200,000 live blocks, so that the classifier is still
 * at work when they look. Each leaves 3 blocks of 100 bytes in leak(), which nothing points to.
 *
 * usage: snapshots KIND
 *   unseen    leaktrace_snapshot(): no SIGCHLD, nothing to wait for, no descriptor more, the pipe's end is seen at once, the
 *             same signal mask, the same process group; ends with 0
 *   group [N] leaktrace_snapshot(), then SIGTERM to its process group: ends by it. N blocks instead of 200,000
 *   many      20 snapshots in a row
 *   signals   300 snapshots while a thread is sent signals: it gets each
 *   threads   4 threads that hold the only pointers to their blocks in a register, in a stack slot and in TLS while main ends;
 *             held() makes 4 blocks of 200 bytes
 *   files     the same with one in a thread's stack slot, and no descriptor is free at the end
 *   unheld    the same with a thread that never waits, and ptrace is forbidden
 *   wait      says "ready" and waits in select() for a byte on stdin, then says "go on" and the return of select()
 *   busy      allocates and frees in two threads until a byte comes on stdin
 *   kills     kills children by SIGKILL that are in every state, and says how they ended
 *   steps     says "ready"; for each byte on stdin it calls leak() again and says "leaked"
 *   fill N    N live blocks, then ends by exit(0)
 *   exit N    ends by exit(N); _exit N, quick_exit N, abort, segv, exec likewise
 */
#include "leaktrace/leaktrace.h"
#include "target.h"
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <time.h>

static volatile int children, stop, ready;
static void **table;

SITE static void leak(void)
{
	for (int i = 0; i < 3; i++) {
		void *volatile block = malloc(100);
		(void)block;
		block = NULL;
	}
	KEEP_FRAME();
}

/* No register and no word of the red zone holds the last block any more, which a snapshot takes for roots. */
SITE static void forget(void)
{
	volatile char stale[1024];
	for (unsigned i = 0; i < sizeof stale; i++)
		stale[i] = 0;
#if defined __x86_64__
	__asm__ volatile("xorl %%r8d, %%r8d; xorl %%r9d, %%r9d; xorl %%r10d, %%r10d" ::: "r8", "r9", "r10");
#endif
}

static void fill(size_t blocks)
{
	table = malloc(blocks * sizeof *table);
	for (size_t i = 0; i < blocks; i++)
		table[i] = malloc(200 + i % 300);
}

static void on_child(int signal)
{
	children++;
}

static double seconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static unsigned descriptors(void)
{
	unsigned open = 0;
	for (int fd = 0; fd < 256; fd++)
		open += dup2(fd, fd) == fd;
	return open;
}

static void unseen(void)
{
	int ends[2];
	char byte;
	sigset_t before, after;
	REQUIRE(pipe(ends) == 0);
	signal(SIGCHLD, on_child);
	REQUIRE(sigprocmask(SIG_SETMASK, NULL, &before) == 0);
	unsigned open = descriptors();
	leaktrace_snapshot("unseen");
	REQUIRE(descriptors() == open);
	REQUIRE(sigprocmask(SIG_SETMASK, NULL, &after) == 0);
	for (int sig = 1; sig < 65; sig++)
		REQUIRE(sigismember(&before, sig) == sigismember(&after, sig));
	close(ends[1]);
	double begin = seconds();
	REQUIRE(read(ends[0], &byte, 1) == 0);
	REQUIRE(seconds() - begin < 5); /* not at all, but for the classifier's first moments */
	REQUIRE(waitpid(-1, NULL, WNOHANG | __WALL) == -1 && errno == ECHILD);
	usleep(300000);
	REQUIRE(waitpid(-1, NULL, WNOHANG | __WALL) == -1 && errno == ECHILD);
	REQUIRE(children == 0);
}

SITE static void *held(void)
{
	void *block = malloc(200);
	KEEP_FRAME();
	return block;
}

static __thread void *volatile in_tls; /* never read: else the compiler leaves it out */

/* The pointer is in a register that calls preserve, and nowhere else. */
static void *hold_in_register(void *arg)
{
#if defined __x86_64__
	register void *block __asm__("r13") = held();
	__asm__ volatile("" : "+r"(block));
	__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
	while (!stop)
		__asm__ volatile("pause" : "+r"(block));
	__asm__ volatile("" : "+r"(block));
#endif
	return NULL;
}

static void *hold_on_stack(void *arg)
{
	void *volatile block = held();
	__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
	while (!stop)
		pause();
	return block;
}

static void *hold_running(void *arg)
{
	void *volatile block = held();
	__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
	while (!stop)
		;
	return block;
}

static void forbid_ptrace(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ptrace, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = { sizeof filter / sizeof *filter, filter };
	REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	REQUIRE(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void *hold_in_tls(void *arg)
{
	in_tls = held();
	__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
	while (!stop)
		pause();
	return NULL;
}

static void *hold_in_slot(void *arg)
{
	pthread_setspecific(*(pthread_key_t *)arg, held());
	__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
	while (!stop)
		pause();
	return NULL;
}

static void threads(void)
{
	void *(*const holders[])(void *) = { hold_in_register, hold_on_stack, hold_in_tls, hold_in_slot };
	static pthread_key_t key;
	REQUIRE(pthread_key_create(&key, NULL) == 0);
	for (unsigned i = 0; i < 4; i++) {
		pthread_t thread;
		REQUIRE(pthread_create(&thread, NULL, holders[i], &key) == 0);
	}
	while (ready < 4)
		usleep(1000);
	usleep(50000);
}

static volatile int caught;

static void on_queued(int sig)
{
	__atomic_add_fetch(&caught, 1, __ATOMIC_SEQ_CST);
}

static void *doze(void *arg)
{
	const struct timespec some = { 0, 100000 };
	while (stop < 2)
		nanosleep(&some, NULL);
	return NULL;
}

static void *send_signals(void *receiver)
{
	long sent = 0;
	while (!stop) {
		sent += pthread_kill(*(pthread_t *)receiver, SIGRTMIN + 1) == 0;
		usleep(20);
	}
	return (void *)sent;
}

/* Signals of real time are queued, each of them. */
static void signals(void)
{
	pthread_t receiver, sender;
	void *sent;
	sigset_t set;
	REQUIRE(signal(SIGRTMIN + 1, on_queued) != SIG_ERR);
	REQUIRE(pthread_create(&receiver, NULL, doze, NULL) == 0);
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 1);
	REQUIRE(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
	REQUIRE(pthread_create(&sender, NULL, send_signals, &receiver) == 0);
	for (int i = 0; i < 300; i++) {
		leaktrace_snapshot("signals");
		usleep(1000);
	}
	stop = 1;
	REQUIRE(pthread_join(sender, &sent) == 0);
	usleep(200000);
	stop = 2;
	REQUIRE(pthread_join(receiver, NULL) == 0);
	REQUIRE(caught == (int)(long)sent);
}

static void *churn(void *arg)
{
	void *volatile blocks[64] = { NULL };
	for (unsigned i = 0; !stop; i++) {
		free(blocks[i & 63]);
		blocks[i & 63] = malloc(16 + (i * 7 & 1023));
	}
	for (unsigned i = 0; i < 64; i++)
		free(blocks[i]);
	return NULL;
}

static void wait_for_byte(void)
{
	char text[32] = "go on: x\n";
	fd_set set;
	FD_ZERO(&set);
	FD_SET(0, &set);
	say("ready\n");
	int n = select(1, &set, NULL, NULL, NULL);
	text[7] = n == 1 ? '1' : n == 0 ? '0' : errno == EINTR ? 'i' : 'e';
	say(text);
}

/* Once it has had the time to come where it is to be killed. */
static void kill_child(const char *state, pid_t pid)
{
	usleep(100000);
	REQUIRE(kill(pid, SIGKILL) == 0);
	int status = reap(pid);
	say(state);
	say(!WIFSIGNALED(status) ? ": ended before\n" : WTERMSIG(status) == SIGKILL ? ": SIGKILL\n" : ": another signal\n");
}

static void kills(void)
{
	char *const argv[] = { (char *)"sleep", (char *)"100", NULL }, *const envp[] = { NULL };
	static const char *const states[] = { "pausing", "zombie", "stopped", "sigwait", "program", "ignoring" };
	for (unsigned i = 0; i < sizeof states / sizeof *states; i++) {
		pid_t pid = fork();
		sigset_t set;
		if (pid) {
			kill_child(states[i], pid);
			continue;
		}
		leak();
		sigfillset(&set);
		switch (i) {
		case 1:
			syscall(SYS_exit_group, 0);
			break;
		case 2:
			raise(SIGSTOP);
			break;
		case 3:
			sigprocmask(SIG_BLOCK, &set, NULL);
			sigwaitinfo(&set, NULL);
			say("sigwait: a signal\n");
			break;
		case 4:
			syscall(SYS_execve, "/bin/sleep", argv, envp);
			break;
		case 5:
			signal(SIGRTMAX - 5, SIG_IGN);
			break;
		}
		for (;;)
			pause();
	}
}

static void steps(void)
{
	char byte;
	say("ready\n");
	while (read(0, &byte, 1) == 1) {
		leak();
		forget();
		say("leaked\n");
	}
}

int main(int argc, char **argv)
{
	const char *kind = argc > 1 ? argv[1] : "";
	int number = argc > 2 ? atoi(argv[2]) : 0;
	leak();
	if (!strcmp(kind, "unseen")) {
		fill(200000);
		unseen();
	} else if (!strcmp(kind, "group")) {
		fill(number ? (size_t)number : 200000);
		REQUIRE(setpgid(0, 0) == 0);
		leaktrace_snapshot("group");
		kill(0, SIGTERM);
	} else if (!strcmp(kind, "many")) {
		for (int i = 0; i < 20; i++)
			leaktrace_snapshot("many");
	} else if (!strcmp(kind, "signals")) {
		signals();
	} else if (!strcmp(kind, "threads")) {
		threads();
	} else if (!strcmp(kind, "unheld")) {
		pthread_t thread;
		REQUIRE(pthread_create(&thread, NULL, hold_running, NULL) == 0);
		while (ready < 1)
			usleep(1000);
		forbid_ptrace();
	} else if (!strcmp(kind, "files")) {
		pthread_t thread;
		REQUIRE(pthread_create(&thread, NULL, hold_on_stack, NULL) == 0);
		while (ready < 1)
			usleep(1000);
		while (dup(0) >= 0)
			;
	} else if (!strcmp(kind, "wait")) {
		wait_for_byte();
	} else if (!strcmp(kind, "kills")) {
		kills();
	} else if (!strcmp(kind, "steps")) {
		steps();
	} else if (!strcmp(kind, "fill")) {
		fill((size_t)number);
		exit(0);
	} else if (!strcmp(kind, "busy")) {
		pthread_t thread[2];
		for (int i = 0; i < 2; i++)
			REQUIRE(pthread_create(&thread[i], NULL, churn, NULL) == 0);
		wait_for_byte();
		stop = 1;
		for (int i = 0; i < 2; i++)
			pthread_join(thread[i], NULL);
	} else if (!strcmp(kind, "_exit")) {
		_exit(number);
	} else if (!strcmp(kind, "quick_exit")) {
		quick_exit(number);
	} else if (!strcmp(kind, "abort")) {
		abort();
	} else if (!strcmp(kind, "segv")) {
		*(volatile int *)(uintptr_t)8 = 1;
	} else if (!strcmp(kind, "exec")) {
		execl("/bin/true", "true", (char *)NULL);
	}
	exit(number);
}
