/* SPDX-License-Identifier: MIT
 *
 * Code that a tracer must stand: code KIND
 *
 * altstack        a handler on an alternate stack of 8 KiB allocates 100 times; leaves 1 block in leak_on_signal()
 * overflow        a recursion without end, with an alternate stack of the least size and no handler: dies of SIGSEGV
 * overflow-handled
 *                 likewise, its handler on an alternate stack of 16 KiB ends it by _exit(7)
 * timer           a timer at 1 kHz, whose handler counts, while main allocates and waits in read(), nanosleep() and waitpid()
 * dispositions    what sigset, sysv_signal and the like say of signals' handlers; ends by SIGTERM
 * jump            100,000 siglongjmps out of a deep recursion that allocates; leaves 1 block in leak_behind()
 * jump-in-handler a timer's handler siglongjmps, 500 times, out of computations between allocations; leaves 100 in leak_behind()
 * small-coroutines
 *                 200 coroutines on stacks of 16 KiB with nothing behind them, in turn; each leaves 1 block in leak_coroutine()
 * coroutine-threads
 *                 coroutines that go on in another thread than the one that they began in; likewise
 * recursion N     allocates below N frames; leaves 1 block in leak_below()
 * tls-late        destructors of thread-specific data free and allocate, three rounds; leaves 4 blocks in leak_late()
 * atfork          handlers of pthread_atfork allocate and free; leaves 1 block in leak_in_atfork() a handler
 * cancel          100 threads are cancelled in the midst of allocating; their clean-up handlers free
 * vfork-malloc    a vfork child allocates, frees and leaves 1 block in leak_in_vfork(), which the parent frees
 * jit             code without unwind data at an address where other such code was before; leaves 64 blocks in leak_from_code()
 * callbacks       qsort, bsearch and tsearch call back into code that allocates; leaves 1 block in leak_in_callback()
 * exit-frees      destructors and atexit functions free and allocate; leaves 1 block in leak_at_exit()
 */
#include "target.h"
#include <errno.h>
#include <pthread.h>
#include <search.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>
#include <ucontext.h>

static void *volatile keep[1024];
static volatile int kept;

#define LEAK(name, size)                      \
	SITE static void name(void)           \
	{                                     \
		keep[kept++] = malloc(size);  \
		KEEP_FRAME();                 \
	}
LEAK(leak_on_signal, 50)
LEAK(leak_behind, 51)
LEAK(leak_coroutine, 52)
LEAK(leak_below, 53)
LEAK(leak_late, 54)
LEAK(leak_in_atfork, 55)
LEAK(leak_in_vfork, 56)
LEAK(leak_from_code, 57)
LEAK(leak_in_callback, 58)
LEAK(leak_at_exit, 59)

static void say_number(const char *text, long number)
{
	char line[80];
	snprintf(line, sizeof line, "%s %ld\n", text, number);
	say(line);
}

static void on_alternate_stack(size_t size, void (*handler)(int), int number)
{
	char *memory = mmap(NULL, size + 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	REQUIRE(memory != MAP_FAILED && !mprotect(memory, 4096, PROT_NONE) && !mprotect(memory + 4096 + size, 4096, PROT_NONE));
	stack_t stack = { .ss_sp = memory + 4096, .ss_size = size };
	REQUIRE(!sigaltstack(&stack, NULL));
	if (handler) {
		struct sigaction action = { .sa_handler = handler, .sa_flags = SA_ONSTACK };
		REQUIRE(!sigaction(number, &action, NULL));
	}
}

static void allocate_in_handler(int number)
{
	(void)number;
	for (int i = 0; i < 100; i++)
		free(malloc(100 + (size_t)i));
	leak_on_signal();
}

static void end_in_handler(int number)
{
	(void)number;
	_exit(7);
}

static volatile int end_of_it = -1;

SITE static int without_end(int n)
{
	volatile char frame[256];
	frame[0] = (char)n;
	free(malloc(10));
	return n == end_of_it ? 0 : without_end(n + 1) + frame[0];
}

static volatile sig_atomic_t ticks;

static void tick(int number)
{
	(void)number;
	ticks++;
}

static void every(long microseconds)
{
	struct itimerval timer = { { 0, microseconds }, { 0, microseconds } };
	setitimer(ITIMER_REAL, &timer, NULL);
}

/* Interrupted calls are begun anew; how often is the kernel's business. */
static void timer(void)
{
	int pipes[2], rounds = 0;
	signal(SIGALRM, tick);
	REQUIRE(!pipe(pipes));
	every(1000);
	while (ticks < 500) {
		for (int i = 0; i < 1000; i++)
			free(malloc(16 + (size_t)i));
		pid_t pid = fork();
		REQUIRE(pid >= 0);
		if (!pid) {
			REQUIRE(write(pipes[1], "x", 1) == 1);
			_exit(0);
		}
		char byte;
		while (read(pipes[0], &byte, 1) < 0)
			REQUIRE(errno == EINTR);
		while (waitpid(pid, NULL, 0) < 0)
			REQUIRE(errno == EINTR);
		rounds++;
	}
	every(0);
	REQUIRE(rounds > 0);
}

extern sighandler_t bsd_signal(int, sighandler_t);
extern sighandler_t __sysv_signal(int, sighandler_t);
extern int __sigaction(int, const struct sigaction *, struct sigaction *);

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
static void dispositions(void)
{
	struct sigaction now;
	say_number("signal", (long)signal(SIGTERM, SIG_DFL));
	say_number("bsd_signal", (long)bsd_signal(SIGTERM, SIG_DFL));
	say_number("ssignal", (long)ssignal(SIGTERM, SIG_DFL));
	say_number("sysv_signal", (long)sysv_signal(SIGTERM, tick));
	say_number("__sysv_signal", __sysv_signal(SIGTERM, SIG_DFL) == tick);
	say_number("sigset", (long)sigset(SIGUSR1, SIG_DFL));
	say_number("sigset, held", (long)sigset(SIGUSR1, SIG_HOLD));
	say_number("sigset, of a held one", (long)sigset(SIGUSR1, SIG_DFL));
	say_number("sigset, handler", (long)sigset(SIGUSR1, tick));
	say_number("sigset, back", sigset(SIGUSR1, SIG_DFL) == tick);
	say_number("sigignore", sigignore(SIGHUP));
	REQUIRE(!__sigaction(SIGHUP, NULL, &now));
	say_number("ignored", (long)now.sa_handler);
	say_number("sigset, ignored", (long)sigset(SIGHUP, SIG_DFL));
	REQUIRE(!__sigaction(SIGHUP, NULL, &now));
	say_number("default", (long)now.sa_handler);
	say_number("SIGRTMAX - 5", (long)sysv_signal(SIGRTMAX - 5, SIG_IGN));
	say_number("ignored", (long)sigset(SIGRTMAX - 5, SIG_DFL));
	raise(SIGTERM);
}
#pragma GCC diagnostic pop

static sigjmp_buf back;

SITE static void descend(int depth)
{
	keep[1000 + depth % 8] = realloc(keep[1000 + depth % 8], (size_t)(depth + 1) * 3);
	if (!depth)
		siglongjmp(back, 1);
	descend(depth - 1);
	KEEP_FRAME();
}

static void jump(void)
{
	volatile int jumps = 0;
	sigsetjmp(back, 1);
	if (jumps++ < 100000)
		descend(jumps % 20);
	for (int i = 0; i < 8; i++)
		free(keep[1000 + i]);
	leak_behind();
}

static volatile sig_atomic_t may_jump;

static void jump_out(int number)
{
	(void)number;
	if (may_jump) {
		may_jump = 0;
		siglongjmp(back, 1);
	}
}

static void jump_in_handler(void)
{
	volatile int jumps = 0;
	signal(SIGALRM, jump_out);
	every(1000);
	while (jumps < 500) {
		if (sigsetjmp(back, 1)) {
			if (jumps++ % 5 == 0)
				leak_behind();
			continue;
		}
		free(malloc(64));
		may_jump = 1;
		for (volatile int i = 0; i < 100000; i++)
			;
		may_jump = 0;
	}
	every(0);
}

enum { COROUTINES = 200, STACK = 16384 };
static ucontext_t main_context, context[COROUTINES];

static void coroutine(void)
{
	leak_coroutine();
	for (int i = 0; i < 20; i++)
		free(malloc(30 + (size_t)i));
}

static void make_coroutine(int i, ucontext_t *next)
{
	char *memory = mmap(NULL, STACK + 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	REQUIRE(memory != MAP_FAILED && !mprotect(memory, 4096, PROT_NONE) && !mprotect(memory + 4096 + STACK, 4096, PROT_NONE));
	REQUIRE(!getcontext(&context[i]));
	context[i].uc_stack.ss_sp = memory + 4096;
	context[i].uc_stack.ss_size = STACK;
	context[i].uc_link = next;
}

static void small_coroutines(void)
{
	for (int i = 0; i < COROUTINES; i++) {
		make_coroutine(i, &main_context);
		makecontext(&context[i], coroutine, 0);
		REQUIRE(!swapcontext(&main_context, &context[i]));
	}
}

static ucontext_t thread_context[2];

static void wandering(void)
{
	leak_coroutine();
	swapcontext(&context[0], &thread_context[0]);
	leak_coroutine();
	swapcontext(&context[0], &thread_context[1]);
}

static void *go_on(void *which)
{
	REQUIRE(!swapcontext(&thread_context[(intptr_t)which], &context[0]));
	free(malloc(100));
	return NULL;
}

static void run_thread(void *(*function)(void *), void *argument)
{
	pthread_t thread;
	REQUIRE(!pthread_create(&thread, NULL, function, argument) && !pthread_join(thread, NULL));
}

static void coroutine_threads(void)
{
	make_coroutine(0, NULL);
	makecontext(&context[0], wandering, 0);
	run_thread(go_on, (void *)0);
	run_thread(go_on, (void *)1);
}

SITE static int below(int n)
{
	if (!n)
		leak_below();
	else
		below(n - 1);
	KEEP_FRAME();
	return n;
}

static void *below_in_thread(void *n)
{
	below((int)(intptr_t)n);
	return NULL;
}

static void recursion(int n)
{
	pthread_attr_t attributes;
	pthread_t thread;
	REQUIRE(!pthread_attr_init(&attributes) && !pthread_attr_setstacksize(&attributes, (size_t)n * 100 + (1 << 20)));
	REQUIRE(!pthread_create(&thread, &attributes, below_in_thread, (void *)(intptr_t)n) && !pthread_join(thread, NULL));
}

static pthread_key_t key;

static void late(void *block)
{
	static __thread int rounds;
	free(block);
	free(malloc(70));
	if (rounds++ < 3)
		pthread_setspecific(key, malloc(80));
	else
		leak_late();
}

static void *use_key(void *unused)
{
	pthread_setspecific(key, malloc(90));
	return unused;
}

static void tls_late(void)
{
	REQUIRE(!pthread_key_create(&key, late));
	for (int i = 0; i < 4; i++)
		run_thread(use_key, NULL);
}

static void in_atfork(void)
{
	free(malloc(100));
	leak_in_atfork();
}

static void atfork(void)
{
	REQUIRE(!pthread_atfork(in_atfork, in_atfork, in_atfork));
	pid_t pid = fork();
	REQUIRE(pid >= 0);
	if (!pid)
		_exit(4);
	say_number("child", WEXITSTATUS(reap(pid)));
}

static void *allocate_for_ever(void *unused)
{
	void *blocks[16] = { NULL };
	(void)unused;
	for (volatile unsigned i = 0;; i++) {
		pthread_cleanup_push(free, blocks[i & 15]);
		pthread_testcancel();
		pthread_cleanup_pop(0);
		free(blocks[i & 15]);
		blocks[i & 15] = i % 16 ? NULL : malloc(100 + i % 64);
	}
	return NULL;
}

static void cancel(void)
{
	for (int i = 0; i < 100; i++) {
		pthread_t thread;
		void *result;
		REQUIRE(!pthread_create(&thread, NULL, allocate_for_ever, NULL));
		usleep(200);
		REQUIRE(!pthread_cancel(thread) && !pthread_join(thread, &result) && result == PTHREAD_CANCELED);
	}
}

static void vfork_malloc(void)
{
	pid_t pid = vfork();
	REQUIRE(pid >= 0);
	if (!pid) {
		free(malloc(1000));
		leak_in_vfork();
		_exit(5);
	}
	say_number("child", WEXITSTATUS(reap(pid)));
	free(keep[0]);
	leak_in_vfork();
}

#if defined __x86_64__
/* sub $N,%rsp; call *%rdi; add $N,%rsp; ret */
static void jit(void)
{
	for (int i = 0; i < 64; i++) {
		unsigned char code[] = { 0x48, 0x83, 0xec, 0x08, 0xff, 0xd7, 0x48, 0x83, 0xc4, 0x08, 0xc3 };
		code[3] = code[9] = (unsigned char)(8 + i % 6 * 16);
		void *page = mmap((void *)0x200000000000, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		REQUIRE(page != MAP_FAILED);
		memcpy(page, code, sizeof code);
		REQUIRE(!mprotect(page, 4096, PROT_READ | PROT_EXEC));
		((void (*)(void (*)(void)))page)(leak_from_code);
		REQUIRE(!munmap(page, 4096));
	}
}
#else
static void jit(void)
{
	for (int i = 0; i < 64; i++)
		leak_from_code();
}
#endif

static int compare(const void *a, const void *b)
{
	free(malloc(20));
	if (!kept)
		leak_in_callback();
	return *(const int *)a - *(const int *)b;
}

static void callbacks(void)
{
	static int values[5000];
	void *tree = NULL;
	for (int i = 0; i < 5000; i++)
		values[i] = i * 7919 % 5003;
	qsort(values, 5000, sizeof *values, compare);
	for (int i = 1; i < 5000; i++)
		REQUIRE(values[i - 1] < values[i]);
	REQUIRE(bsearch(&values[17], values, 5000, sizeof *values, compare) == &values[17]);
	for (int i = 0; i < 500; i++)
		REQUIRE(tsearch(&values[i], &tree, compare));
	for (int i = 0; i < 500; i++)
		REQUIRE(tdelete(&values[i], &tree, compare));
}

static void *freed_late;

static __attribute__((destructor)) void destructor(void)
{
	if (freed_late) {
		free(freed_late);
		free(malloc(10));
		leak_at_exit();
		say("destructor\n");
	}
}

static void in_atexit(void)
{
	free(malloc(10));
	say("atexit\n");
}

static void altstack(void)
{
	on_alternate_stack(8192, allocate_in_handler, SIGUSR1);
	raise(SIGUSR1);
}

static void overflow(void)
{
	on_alternate_stack(4096, NULL, 0);
	without_end(0);
}

static void overflow_handled(void)
{
	on_alternate_stack(16384, end_in_handler, SIGSEGV);
	without_end(0);
}

static void exit_frees(void)
{
	freed_late = malloc(60);
	REQUIRE(!atexit(in_atexit));
}

static const struct {
	const char *kind;
	void (*run)(void);
} kinds[] = {
	{ "altstack", altstack },
	{ "overflow", overflow },
	{ "overflow-handled", overflow_handled },
	{ "timer", timer },
	{ "dispositions", dispositions },
	{ "jump", jump },
	{ "jump-in-handler", jump_in_handler },
	{ "small-coroutines", small_coroutines },
	{ "coroutine-threads", coroutine_threads },
	{ "tls-late", tls_late },
	{ "atfork", atfork },
	{ "cancel", cancel },
	{ "vfork-malloc", vfork_malloc },
	{ "jit", jit },
	{ "callbacks", callbacks },
	{ "exit-frees", exit_frees },
};

int main(int argc, char **argv)
{
	REQUIRE(argc >= 2);
	if (!strcmp(argv[1], "recursion")) {
		REQUIRE(argc > 2);
		recursion(atoi(argv[2]));
		return 0;
	}
	for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (!strcmp(argv[1], kinds[i].kind)) {
			kinds[i].run();
			return 0;
		}
	REQUIRE(!"known kind");
}
