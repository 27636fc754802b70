/* SPDX-License-Identifier: MIT
 *
 * Programs that a tracer once hurt. usage: hurts KIND [NUMBER]
 *   exit-in-handler N  main allocates; a signal handler ends the process by _exit(7) at some moment
 *   parked N           a thread is parked in a signal handler at some moment of an allocation; main exits with 3
 *   sigsuspend         SIGTERM, which is open only inside sigsuspend, ends the process
 *   trap               a breakpoint instruction ends the process by SIGSEGV, with the instruction already behind it
 *   fork-in-handler    a signal handler forks while main forks and allocates; ends with 0
 *   coroutines SKEW    a coroutine made by hand at the very end of its mapping, SKEW bytes off the ABI's alignment, allocates 100 times
 *   fork-in-malloc     a signal handler forks 150 times while main allocates; each child goes on in what was interrupted, leaves
 *                      one block of 40 bytes and ends with 0
 *   small-stack        forks in a thread with the smallest stack, half of it in use; ends with 0
 *   large-environment  spawns a program with 20,000 variables from a thread with a 128 KiB stack; ends with 0
 *   idle-forks N       N children that do nothing
 */
#include "target.h"
#include <alloca.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <sys/time.h>
#include <sys/mman.h>
#include <unistd.h>

static volatile int parked, forks, in_child;

static void every(long microseconds)
{
	struct itimerval timer = { { 0, microseconds }, { 0, microseconds } };
	setitimer(ITIMER_REAL, &timer, NULL);
}

static void once(long microseconds)
{
	struct itimerval timer = { { 0, 0 }, { 0, microseconds } };
	setitimer(ITIMER_REAL, &timer, NULL);
}

static void churn(unsigned long rounds)
{
	static void *volatile blocks[64];
	for (unsigned long i = 0; i < rounds; i++) {
		free(blocks[i & 63]);
		blocks[i & 63] = malloc(16 + (i * 7 & 1023));
	}
}

static void end(int signal)
{
	_exit(7);
}

static void park(int signal)
{
	parked = 1;
	for (;;)
		pause();
}

static void *churn_for_ever(void *arg)
{
	for (;;)
		churn(1000);
	return NULL;
}

static void fork_here(int signal)
{
	int saved = errno, status;
	pid_t pid = fork();
	if (!pid) {
		in_child = 1;
	} else {
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		REQUIRE(status == 0);
		forks++;
	}
	errno = saved;
}

/* Stops the timer itself: where a fork takes longer than its period, nothing but handlers would run. */
static void fork_here_often(int sig)
{
	fork_here(sig);
	if (!in_child && forks >= 150)
		every(0);
}

static void fork_in_handler(void)
{
	signal(SIGALRM, fork_here);
	for (long round = 0; forks < 40; round++) {
		once(50 + round * 97 % 3000); /* one signal a round: on a busy machine a fork takes longer than a timer's period, and begins anew */
		churn(200);
		pid_t pid = in_child ? 0 : fork();
		if (in_child) { /* the handler has returned into what it interrupted */
			every(0);
			churn(200);
			_exit(0);
		}
		if (!pid)
			_exit(0);
		while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	every(0);
}

static __attribute__((noinline)) void leak_in_child(void)
{
	static void *volatile block __attribute__((unused));
	block = malloc(40);
}

static void fork_in_malloc(void)
{
	signal(SIGALRM, fork_here_often);
	every(1000);
	while (forks < 150) {
		churn(1);
		if (in_child) {
			every(0);
			leak_in_child();
			_exit(0);
		}
	}
	every(0);
}

#if defined __x86_64__
/* A switch of stacks written by hand, without unwind data. */
void switch_stack(void **save, void *to);
__asm__("	.text\n"
        "	.type switch_stack, @function\n"
        "switch_stack:\n"
        "	push %rbp\n	push %rbx\n	push %r12\n	push %r13\n	push %r14\n	push %r15\n"
        "	mov %rsp, (%rdi)\n"
        "	mov %rsi, %rsp\n"
        "	pop %r15\n	pop %r14\n	pop %r13\n	pop %r12\n	pop %rbx\n	pop %rbp\n"
        "	ret\n"
        "	.size switch_stack, . - switch_stack\n");
static void *main_stack, *coroutine_stack;

static __attribute__((noinline)) void run_coroutine(void)
{
	for (;;) {
		void *volatile block = malloc(32);
		free(block);
		switch_stack(&coroutine_stack, main_stack);
	}
}

/* Whereto the coroutine would return: a function with a large frame, of which nothing is there. */
static __attribute__((noinline)) void end_coroutine(void)
{
	volatile char frame[512];
	for (unsigned i = 0; i < sizeof frame; i++)
		frame[i] = 0;
	abort();
}

/* `skew`: bytes by which the stack is not aligned as the ABI wants. */
static void coroutines(size_t skew)
{
	char *memory = mmap(NULL, 65536 + 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	REQUIRE(memory != MAP_FAILED);
	REQUIRE(mprotect(memory, 4096, PROT_NONE) == 0 && mprotect(memory + 4096 + 65536, 4096, PROT_NONE) == 0);
	void **top = (void **)(void *)(memory + 4096 + 65536 - skew);
	*--top = (void *)end_coroutine;
	*--top = (void *)run_coroutine;
	for (unsigned i = 0; i < 6; i++)
		*--top = NULL;
	coroutine_stack = top;
	for (unsigned i = 0; i < 100; i++)
		switch_stack(&main_stack, coroutine_stack);
	say("100 turns\n");
}
#else
static void coroutines(size_t skew)
{
}
#endif

static void *fork_on_half(void *arg)
{
	memset(alloca((size_t)(uintptr_t)arg), 1, 16);
	pid_t pid = fork();
	if (!pid) {
		churn(10);
		_exit(5);
	}
	int status = reap(pid);
	REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 5);
	return NULL;
}

static void *spawn_large(void *arg)
{
	enum { N = 20000 };
	static char *environment[N + 1];
	static char *argv[] = { (char *)"true", NULL };
	static char preload[PATH_MAX + 16] = "LD_PRELOAD=";
	for (int i = 0; i < N; i++)
		environment[i] = (char *)"X=1";
	strncat(preload, getenv("LD_PRELOAD") ? getenv("LD_PRELOAD") : "", PATH_MAX);
	environment[0] = preload;
	pid_t pid;
	REQUIRE(!posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environment));
	int status = reap(pid);
	REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	return NULL;
}

static void run_thread(size_t stack, void *(*function)(void *), void *arg)
{
	pthread_attr_t attributes;
	pthread_t thread;
	pthread_attr_init(&attributes);
	REQUIRE(!pthread_attr_setstacksize(&attributes, stack));
	REQUIRE(!pthread_create(&thread, &attributes, function, arg));
	pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
	const char *kind = argc > 1 ? argv[1] : "";
	int number = argc > 2 ? atoi(argv[2]) : 0;
	if (!strcmp(kind, "exit-in-handler")) {
		signal(SIGALRM, end);
		every(500 + number * 37 % 3000);
		for (;;)
			churn(1000);
	} else if (!strcmp(kind, "parked")) {
		pthread_t thread;
		signal(SIGUSR1, park);
		REQUIRE(!pthread_create(&thread, NULL, churn_for_ever, NULL));
		usleep((useconds_t)(500 + number * 37 % 3000));
		pthread_kill(thread, SIGUSR1);
		while (!parked)
			usleep(10);
		exit(3);
	} else if (!strcmp(kind, "sigsuspend")) {
		sigset_t term, none;
		sigemptyset(&none);
		sigemptyset(&term);
		sigaddset(&term, SIGTERM);
		sigprocmask(SIG_BLOCK, &term, NULL);
		raise(SIGTERM);
		sigsuspend(&none);
		say("survived\n");
	} else if (!strcmp(kind, "trap")) {
#if defined __x86_64__
		__asm__ volatile("int $4");
#else
		raise(SIGSEGV);
#endif
		say("survived\n");
	} else if (!strcmp(kind, "fork-in-handler")) {
		fork_in_handler();
	} else if (!strcmp(kind, "coroutines")) {
		coroutines((size_t)number);
	} else if (!strcmp(kind, "fork-in-malloc")) {
		fork_in_malloc();
	} else if (!strcmp(kind, "small-stack")) {
		run_thread(PTHREAD_STACK_MIN, fork_on_half, (void *)(PTHREAD_STACK_MIN / 2));
	} else if (!strcmp(kind, "large-environment")) {
		run_thread(128 << 10, spawn_large, NULL);
	} else if (!strcmp(kind, "idle-forks")) {
		for (int i = 0; i < number; i++) {
			pid_t pid = fork();
			if (!pid)
				_exit(0);
			reap(pid);
		}
	} else {
		return 97;
	}
	return 0;
}
