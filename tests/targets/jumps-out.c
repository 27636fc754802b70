/* SPDX-License-Identifier: MIT
 *
 * Signal handlers that jump out of whatever they interrupted, also out of an allocation, as programs do that time a call out. Not out
 * of libc's own code, whose malloc would be left as it is. usage: jumps-out KIND [TIMES]
 *
 *   alone        TIMES jumps, of a single thread
 *   threads      likewise, of the main thread, while three others allocate
 *   mask         the mask that the handler ran with stays, as sigsetjmp(…, 0) has it
 *   altstack     the handler runs on an alternate stack
 *   inside       the handler jumps, but within itself, and returns
 *   fork         jumps out of fork, and whatever is called by it
 *   overflow     recursions that allocate, until the stack is used up; the handler of SIGSEGV jumps
 *
 * At the end leak_behind() leaves 100 blocks of 51 bytes, and as many threads' blocks are given back as were taken.
 */
#include "target.h"
#include <link.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <ucontext.h>

enum { DEEP = 24, BLOCKS = 64, THREADS = 3 };

static sigjmp_buf back;
static volatile sig_atomic_t may_jump, within;
static volatile unsigned long jumps, seen;
static uintptr_t libc_low, libc_high;
static void *volatile keep[100];
static volatile bool done;

SITE static void leak_behind(void)
{
	for (int i = 0; i < 100; i++)
		keep[i] = malloc(51);
	KEEP_FRAME();
	for (int i = 0; i < 100; i++)
		keep[i] = NULL;
}

static int find_libc(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	(void)arg;
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		uintptr_t low = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr, high = low + info->dlpi_phdr[i].p_memsz;
		if (info->dlpi_phdr[i].p_type == PT_LOAD && (uintptr_t)&dl_iterate_phdr >= low && (uintptr_t)&dl_iterate_phdr < high) {
			libc_low = low;
			libc_high = high;
		}
	}
	return 0;
}

static void jump_within(void)
{
	sigjmp_buf here;
	if (!sigsetjmp(here, 1))
		siglongjmp(here, 1);
}

static void on_signal(int number, siginfo_t *info, void *context)
{
	uintptr_t pc = (uintptr_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
	(void)info;
	seen++;
	if (within)
		jump_within();
	else if (may_jump && (number == SIGSEGV || pc < libc_low || pc >= libc_high)) {
		may_jump = 0;
		siglongjmp(back, 1);
	}
}

static void every(long microseconds)
{
	struct itimerval timer = { { 0, microseconds }, { 0, microseconds } };
	setitimer(ITIMER_REAL, &timer, NULL);
}

SITE static void *allocate_at(int depth, size_t size)
{
	void *block = depth ? allocate_at(depth - 1, size) : malloc(size);
	KEEP_FRAME();
	return block;
}

static void work(unsigned *random)
{
	*random = *random * 1103515245 + 12345;
	free(allocate_at((int)(*random >> 16) % DEEP, 16 + (*random >> 8) % 480));
}

static void catch(int number, int flags)
{
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | flags };
	REQUIRE(!sigaction(number, &action, NULL));
}

static void go_on(unsigned long times, int save_mask, void (*step)(unsigned *))
{
	static unsigned random = 1;
	sigset_t mask;
	every(40);
	while (jumps < times) {
		if (sigsetjmp(back, save_mask)) {
			jumps++;
			sigprocmask(SIG_SETMASK, NULL, &mask);
			REQUIRE(sigismember(&mask, SIGALRM) == !save_mask && !sigismember(&mask, SIGUSR1));
			sigdelset(&mask, SIGALRM);
			sigprocmask(SIG_SETMASK, &mask, NULL);
			continue;
		}
		may_jump = 1;
		for (int i = 0; i < 1000; i++)
			step(&random);
		may_jump = 0;
	}
	every(0);
}

static void *allocate(void *arg)
{
	unsigned random = (unsigned)(uintptr_t)arg;
	void *blocks[BLOCKS] = { 0 };
	for (unsigned long i = 0; !done; i++) {
		free(blocks[i % BLOCKS]);
		random = random * 1103515245 + 12345;
		blocks[i % BLOCKS] = allocate_at((int)(random >> 16) % DEEP, 16 + (random >> 8) % 480);
	}
	for (int i = 0; i < BLOCKS; i++)
		free(blocks[i]);
	return NULL;
}

static void with_threads(unsigned long times)
{
	pthread_t threads[THREADS];
	sigset_t alarm;
	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	sigprocmask(SIG_BLOCK, &alarm, NULL);
	for (uintptr_t i = 0; i < THREADS; i++)
		REQUIRE(!pthread_create(&threads[i], NULL, allocate, (void *)(i + 1)));
	sigprocmask(SIG_UNBLOCK, &alarm, NULL);
	go_on(times, 1, work);
	done = true;
	for (int i = 0; i < THREADS; i++)
		REQUIRE(!pthread_join(threads[i], NULL));
}

static void with_altstack(unsigned long times)
{
	static char memory[65536];
	stack_t stack = { .ss_sp = memory, .ss_size = sizeof memory };
	REQUIRE(!sigaltstack(&stack, NULL));
	catch(SIGALRM, SA_ONSTACK);
	go_on(times, 1, work);
}

static void inside(unsigned long times)
{
	unsigned random = 1;
	within = 1;
	every(40);
	while (seen < times)
		work(&random);
	every(0);
}

/* Whoever is forked does nothing. Where the jump comes first there is no child, or nobody who knows its number. */
static void fork_once(unsigned *random)
{
	pid_t me = getpid(), pid = fork();
	if (!pid || getpid() != me)
		_exit(0);
	work(random);
}

static void with_forks(unsigned long times)
{
	signal(SIGCHLD, SIG_IGN);
	go_on(times, 1, fork_once);
}

SITE static int without_end(int n)
{
	volatile char frame[200];
	frame[n % 200] = (char)n;
	free(allocate_at(3, 40 + (size_t)n % 100));
	return n < 0 ? 0 : without_end(n + 1) + frame[0];
}

static void overflow(unsigned long times)
{
	static char memory[65536];
	struct rlimit limit = { 256 << 10, RLIM_INFINITY };
	stack_t stack = { .ss_sp = memory, .ss_size = sizeof memory };
	REQUIRE(!setrlimit(RLIMIT_STACK, &limit) && !sigaltstack(&stack, NULL));
	catch(SIGSEGV, SA_ONSTACK);
	while (jumps < times) {
		if (sigsetjmp(back, 1)) {
			jumps++;
			continue;
		}
		may_jump = 1;
		without_end((int)jumps);
	}
}

int main(int argc, char **argv)
{
	REQUIRE(argc >= 2);
	unsigned long times = argc > 2 ? strtoul(argv[2], NULL, 10) : 2000;
	REQUIRE(!dl_iterate_phdr(find_libc, NULL) && libc_high);
	catch(SIGALRM, 0);
	if (!strcmp(argv[1], "alone"))
		go_on(times, 1, work);
	else if (!strcmp(argv[1], "mask"))
		go_on(times, 0, work);
	else if (!strcmp(argv[1], "threads"))
		with_threads(times);
	else if (!strcmp(argv[1], "altstack"))
		with_altstack(times);
	else if (!strcmp(argv[1], "inside"))
		inside(times);
	else if (!strcmp(argv[1], "fork"))
		with_forks(times);
	else if (!strcmp(argv[1], "overflow"))
		overflow(times);
	else
		REQUIRE(!"known kind");
	leak_behind();
	say("ok\n");
	return 0;
}
