/* SPDX-License-Identifier: MIT
 *
 * Threads: their stacks, registers, thread-local data and keys, while they live and after; coroutines and alternate stacks.
 * Threads that "block" are still there when main ends the process.
 */
#include "leaks.h"
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>

static void *volatile slot;
static volatile int arrived;
static void *volatile churned[64];

SITE static void block_for_ever(void)
{
	arrived = 1;
	for (;;)
		pause();
}

static pthread_t start(void *(*function)(void *), void *argument)
{
	pthread_t thread;
	arrived = 0;
	REQUIRE(!pthread_create(&thread, NULL, function, argument));
	return thread;
}

/* A thread that blocks: waits until it does. */
static void start_blocking(void *(*function)(void *), void *argument)
{
	start(function, argument);
	while (!arrived)
		sched_yield();
	leaks_nap();
}

static void start_and_join(void *(*function)(void *), void *argument)
{
	REQUIRE(!pthread_join(start(function, argument), NULL));
}

/* ------------------------------------------------------------------ stacks */

MALLOCS(on_living_stack)
SITE static void *living_stack_thread(void *unused)
{
	void *volatile local = on_living_stack(101);
	TOUCH(&local);
	block_for_ever();
	return unused;
}

static void living_stack(void)
{
	start_blocking(living_stack_thread, NULL);
}

MALLOCS(below_living_stack)
SITE static void leave_below(void)
{
	volatile char room[64 << 10];
	void *volatile local = below_living_stack(102);
	room[0] = 1;
	TOUCH(room);
	TOUCH(&local);
}

SITE static void *below_living_stack_thread(void *unused)
{
	leave_below();
	leaks_wipe_registers();
	block_for_ever();
	return unused;
}

static void living_stack_below(void)
{
	start_blocking(below_living_stack_thread, NULL);
}

MALLOCS(on_dead_stack)
SITE static void *dead_stack_thread(void *unused)
{
	void *volatile local[100];
	for (int i = 0; i < 100; i++)
		local[i] = NULL;
	local[50] = on_dead_stack(103);
	TOUCH(local);
	return unused;
}

static void dead_stack(void)
{
	start_and_join(dead_stack_thread, NULL);
}

MALLOCS(on_detached_stack)
static volatile pid_t detached_tid;
SITE static void *detached_thread(void *unused)
{
	void *volatile local[100];
	for (int i = 0; i < 100; i++)
		local[i] = NULL;
	local[50] = on_detached_stack(104);
	TOUCH(local);
	detached_tid = (pid_t)syscall(SYS_gettid);
	return unused;
}

static void detached_stack(void)
{
	pthread_t thread = start(detached_thread, NULL);
	REQUIRE(!pthread_detach(thread));
	while (!detached_tid || !syscall(SYS_tgkill, getpid(), detached_tid, 0))
		leaks_nap();
}

/* A joined thread's stack is kept by libc and given to the next: what the dead one left below the living one is stale. */
MALLOCS(on_reused_stack)
SITE static void *reused_first(void *unused)
{
	volatile char room[32 << 10];
	void *volatile local = on_reused_stack(105);
	room[0] = 1;
	TOUCH(room);
	TOUCH(&local);
	return unused;
}

SITE static void *reused_second(void *unused)
{
	block_for_ever();
	return unused;
}

static void reused_stack(void)
{
	start_and_join(reused_first, NULL);
	start_blocking(reused_second, NULL);
}

/* Large stacks are given back to the kernel, not kept. */
MALLOCS(on_large_stack)
SITE static void *large_stack_thread(void *unused)
{
	void *volatile local = on_large_stack(106);
	TOUCH(&local);
	return unused;
}

static void large_dead_stack(void)
{
	pthread_attr_t attributes;
	pthread_t thread;
	pthread_attr_init(&attributes);
	REQUIRE(!pthread_attr_setstacksize(&attributes, 128 << 20));
	REQUIRE(!pthread_create(&thread, &attributes, large_stack_thread, NULL) && !pthread_join(thread, NULL));
	pthread_attr_destroy(&attributes);
}

/* A stack that the program brought itself, in mapped and in malloc'ed memory. */
MALLOCS(on_own_stack)
SITE static void *own_stack_thread(void *unused)
{
	void *volatile local = on_own_stack(107);
	TOUCH(&local);
	block_for_ever();
	return unused;
}

static void start_on(void *stack, size_t size, void *(*function)(void *))
{
	pthread_attr_t attributes;
	pthread_t thread;
	pthread_attr_init(&attributes);
	REQUIRE(!pthread_attr_setstack(&attributes, stack, size) && !pthread_create(&thread, &attributes, function, NULL));
	pthread_attr_destroy(&attributes);
	while (!arrived)
		sched_yield();
	leaks_nap();
}

static void own_stack(void)
{
	void *stack = mmap(NULL, 256 << 10, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	REQUIRE(stack != MAP_FAILED);
	start_on(stack, 256 << 10, own_stack_thread);
}

SITE static void *stack_block(void)
{
	void *block = NULL;
	REQUIRE(!posix_memalign(&block, 4096, 256 << 10));
	memset(block, 0, 256 << 10);
	return block;
}

static void own_stack_of_malloc(void)
{
	void *stack = stack_block();
	slot = stack;
	start_on(stack, 256 << 10, own_stack_thread);
}

/* Only the thread itself holds its stack. */
static void own_stack_of_malloc_dropped(void)
{
	start_on(stack_block(), 256 << 10, own_stack_thread);
}

/* ------------------------------------------------------------------ registers */

#if defined __x86_64__
void pause_with_r12(void *variable) __attribute__((noreturn));
void pause_with_r9(void *variable) __attribute__((noreturn));
void spin_with_rbx(void *variable) __attribute__((noreturn));
__asm__(".text\n"
	"pause_with_r12: " TAKE("r12") "0:\tmov $34, %eax\n\tsyscall\n\tjmp 0b\n"
	"pause_with_r9: " TAKE("r9") "0:\tmov $34, %eax\n\tsyscall\n\tjmp 0b\n"
	"spin_with_rbx: " TAKE("rbx") "xor %eax, %eax\n0:\tpause\n\tjmp 0b\n");

MALLOCS(in_r12)
SITE static void *r12_thread(void *unused)
{
	void *block = in_r12(111);
	leaks_wipe();
	arrived = 1;
	pause_with_r12(&block);
	return unused;
}

static void callee_saved(void)
{
	start_blocking(r12_thread, NULL);
}

MALLOCS(in_r9)
SITE static void *r9_thread(void *unused)
{
	void *block = in_r9(112);
	leaks_wipe();
	arrived = 1;
	pause_with_r9(&block);
	return unused;
}

static void caller_saved(void)
{
	start_blocking(r9_thread, NULL);
}

MALLOCS(in_rbx)
SITE static void *rbx_thread(void *unused)
{
	void *block = in_rbx(113);
	leaks_wipe();
	arrived = 1;
	spin_with_rbx(&block);
	return unused;
}

static void spinning(void)
{
	start_blocking(rbx_thread, NULL);
}

/* All signals blocked: nothing can be delivered to it. */
SITE static void *deaf_thread(void *unused)
{
	void *block = in_rbx(113);
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	leaks_wipe();
	arrived = 1;
	spin_with_rbx(&block);
	return unused;
}

static void deaf(void)
{
	start_blocking(deaf_thread, NULL);
}
#endif

/* ------------------------------------------------------------------ threads that run on */

MALLOCS(of_busy)
MALLOCS(churn)
SITE static void *busy_thread(void *number)
{
	void *volatile local = of_busy(121);
	TOUCH(&local);
	for (unsigned i = 0;; i++) {
		unsigned at = (unsigned)(uintptr_t)number * 16 + i % 16;
		arrived = 1;
		free(churned[at]);
		churned[at] = NULL;
		churned[at] = churn(16 + i % 500);
		if (i % 64 == 0)
			sched_yield();
	}
	return NULL;
}

MALLOCS(lost_before_busy)
static void busy(void)
{
	lost_before_busy(122);
	for (uintptr_t i = 0; i < 3; i++)
		start_blocking(busy_thread, (void *)i);
}

/* ------------------------------------------------------------------ what libc keeps of a thread */

MALLOCS(as_argument)
SITE static void *argument_thread(void *argument)
{
	argument = NULL;
	TOUCH(argument);
	block_for_ever();
	return NULL;
}

static void argument(void)
{
	start_blocking(argument_thread, as_argument(131));
}

MALLOCS(as_result)
SITE static void *result_thread(void *unused)
{
	return as_result(132);
}

/* Not joined yet: somebody may still ask for it. */
static void result(void)
{
	static pthread_t thread;
	thread = start(result_thread, NULL);
	pid_t self = getpid();
	leaks_nap();
	leaks_nap();
	REQUIRE(self > 0);
}

MALLOCS(as_joined_result)
SITE static void *joined_result_thread(void *unused)
{
	return as_joined_result(133);
}

static void joined_result(void)
{
	start_and_join(joined_result_thread, NULL);
}

static void do_nothing(void *unused)
{
}

MALLOCS(as_cleanup_argument)
SITE static void *cleanup_thread(void *unused)
{
	pthread_cleanup_push(do_nothing, as_cleanup_argument(134));
	block_for_ever();
	pthread_cleanup_pop(0);
	return unused;
}

static void cleanup(void)
{
	start_blocking(cleanup_thread, NULL);
}

/* ------------------------------------------------------------------ thread-local data */

enum { KEYS = 100 };
static pthread_key_t keys[KEYS];
static __thread void *tls_slot, *tls_initialised = (void *)keys;
static __thread void *tls_large[2000];

MALLOCS(in_tls)
MALLOCS(in_tls_initialised)
MALLOCS(in_tls_large)
static void fill_tls(void)
{
	tls_slot = in_tls(141);
	tls_initialised = in_tls_initialised(142);
	tls_large[1500] = in_tls_large(143);
}

SITE static void *tls_thread(void *ends)
{
	fill_tls();
	if (!ends)
		block_for_ever();
	return NULL;
}

static void tls_of_main(void)
{
	fill_tls();
}

static void tls_of_living(void)
{
	start_blocking(tls_thread, NULL);
}

static void tls_of_dead(void)
{
	start_and_join(tls_thread, (void *)1);
}

static void (*set_tls)(void *);

static void open_holder(void)
{
	void *handle = dlopen(leaks_beside("leaks-holder.so"), RTLD_NOW);
	REQUIRE(handle);
	*(void **)&set_tls = dlsym(handle, "holder_set_tls");
	REQUIRE(set_tls);
}

MALLOCS(in_dynamic_tls)
SITE static void *dynamic_tls_thread(void *ends)
{
	set_tls(in_dynamic_tls(144));
	if (!ends)
		block_for_ever();
	return NULL;
}

static void dynamic_tls_of_main(void)
{
	open_holder();
	set_tls(in_dynamic_tls(144));
}

static void dynamic_tls_of_living(void)
{
	open_holder();
	start_blocking(dynamic_tls_thread, NULL);
}

/* The library is opened while the thread is already there. */
static volatile int go;
SITE static void *early_thread(void *unused)
{
	arrived = 1;
	while (!go)
		sched_yield();
	set_tls(in_dynamic_tls(144));
	go = 2;
	block_for_ever();
	return unused;
}

static void dynamic_tls_of_earlier(void)
{
	start_blocking(early_thread, NULL);
	open_holder();
	go = 1;
	while (go != 2)
		sched_yield();
	leaks_nap();
}

static void dynamic_tls_of_dead(void)
{
	open_holder();
	start_and_join(dynamic_tls_thread, (void *)1);
}

static void make_keys(void)
{
	for (int i = 0; i < KEYS; i++)
		REQUIRE(!pthread_key_create(&keys[i], NULL));
}

MALLOCS(in_first_keys)
MALLOCS(in_later_keys)
static void fill_keys(void)
{
	REQUIRE(!pthread_setspecific(keys[3], in_first_keys(151)));
	REQUIRE(!pthread_setspecific(keys[50], in_later_keys(152)) && !pthread_setspecific(keys[99], in_later_keys(152)));
}

SITE static void *keys_thread(void *ends)
{
	fill_keys();
	if (!ends)
		block_for_ever();
	return NULL;
}

static void keys_of_main(void)
{
	make_keys();
	fill_keys();
}

static void keys_of_living(void)
{
	make_keys();
	start_blocking(keys_thread, NULL);
}

static void keys_of_dead(void)
{
	make_keys();
	start_and_join(keys_thread, (void *)1);
}

MALLOCS(freed_by_destructor)
SITE static void *destructor_thread(void *unused)
{
	REQUIRE(!pthread_setspecific(keys[0], freed_by_destructor(153)));
	return unused;
}

static void key_with_destructor(void)
{
	REQUIRE(!pthread_key_create(&keys[0], free));
	start_and_join(destructor_thread, NULL);
}

MALLOCS(in_deleted_key)
static void deleted_key(void)
{
	make_keys();
	REQUIRE(!pthread_setspecific(keys[60], in_deleted_key(154)) && !pthread_key_delete(keys[60]));
}

/* ------------------------------------------------------------------ other stacks */

static ucontext_t main_context, coroutine_context;
MALLOCS(on_coroutine)
SITE static void coroutine_body(void)
{
	void *volatile local = on_coroutine(161);
	TOUCH(&local);
	swapcontext(&coroutine_context, &main_context);
	leaks_end(1);
}

static void run_coroutine(void *stack, size_t size)
{
	REQUIRE(!getcontext(&coroutine_context));
	coroutine_context.uc_stack.ss_sp = stack;
	coroutine_context.uc_stack.ss_size = size;
	coroutine_context.uc_link = &main_context;
	makecontext(&coroutine_context, coroutine_body, 0);
	REQUIRE(!swapcontext(&main_context, &coroutine_context));
}

static void coroutine_mapped(void)
{
	void *stack = mmap(NULL, 64 << 10, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	REQUIRE(stack != MAP_FAILED);
	run_coroutine(stack, 64 << 10);
}

MALLOCS(coroutine_stack)
static void coroutine_malloced(void)
{
	run_coroutine(coroutine_stack(65536), 65536);
}

/* Ends the process while it runs on the coroutine's stack: main's own stack is suspended. */
MALLOCS(on_suspended_main)
MALLOCS(on_running_coroutine)
SITE static void ending_body(void)
{
	void *volatile local = on_running_coroutine(162);
	TOUCH(&local);
	exit(0);
}

static void coroutine_ends(void)
{
	void *stack = mmap(NULL, 256 << 10, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	void *volatile local = on_suspended_main(163);
	TOUCH(&local);
	REQUIRE(stack != MAP_FAILED && !getcontext(&coroutine_context));
	coroutine_context.uc_stack.ss_sp = stack;
	coroutine_context.uc_stack.ss_size = 256 << 10;
	makecontext(&coroutine_context, ending_body, 0);
	REQUIRE(!swapcontext(&main_context, &coroutine_context));
}

MALLOCS(on_alternate_stack)
MALLOCS(below_alternate_stack)
SITE static void on_signal(int signal)
{
	void *volatile local = on_alternate_stack(171);
	TOUCH(&local);
	exit(0);
}

static void alternate_stack(void)
{
	stack_t stack = { .ss_size = 256 << 10 };
	stack.ss_sp = mmap(NULL, stack.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_ONSTACK };
	void *volatile local = below_alternate_stack(172);
	TOUCH(&local);
	REQUIRE(stack.ss_sp != MAP_FAILED && !sigaltstack(&stack, NULL) && !sigaction(SIGUSR1, &action, NULL));
	raise(SIGUSR1);
}

/* main's first frames were interrupted: the pointer is in a register that only the signal frame holds. */
#if defined __x86_64__
MALLOCS(in_interrupted_register)
SITE static void end_here(int signal)
{
	exit(0);
}

void raise_with_r12(void *variable);
__asm__("raise_with_r12: push %r12\n\t" TAKE("r12") "sub $8, %rsp\n\tmov $39, %eax\n\tsyscall\n\t"
	"mov %eax, %edi\n\tmov $10, %esi\n\tmov $62, %eax\n\tsyscall\n0:\tjmp 0b\n");

static void interrupted_register(void)
{
	struct sigaction action = { .sa_handler = end_here };
	REQUIRE(!sigaction(SIGUSR1, &action, NULL));
	void *block = in_interrupted_register(173);
	leaks_wipe();
	raise_with_r12(&block);
}
#endif

#define DEAD "libc keeps a joined thread's stack for the next thread, who starts anew: what the dead one held is held by nobody"
#define TLS(kind) { { "in_tls", kind, 1, 141 }, { "in_tls_initialised", kind, 1, 142 }, { "in_tls_large", kind, 1, 143 } }
#define KEYED(kind) { { "in_first_keys", kind, 1, 151 }, { "in_later_keys", kind, 2, 304 } }
LEAK_CASES = {
	{ "living_stack", living_stack, { { "on_living_stack", REACHABLE, 1, 101 } } },
	{ "living_stack_below", living_stack_below, { { "below_living_stack", DEFINITE, 1, 102 } } },
	{ "dead_stack", dead_stack, { { "on_dead_stack", DEFINITE, 1, 103 } } },
	{ "detached_stack", detached_stack, { { "on_detached_stack", DEFINITE, 1, 104 } } },
	{ "reused_stack", reused_stack, { { "on_reused_stack", DEFINITE, 1, 105 } } },
	{ "large_dead_stack", large_dead_stack, { { "on_large_stack", DEFINITE, 1, 106 } } },
	{ "own_stack", own_stack, { { "on_own_stack", REACHABLE, 1, 107 } } },
	{ "own_stack_of_malloc", own_stack_of_malloc, { { "on_own_stack", REACHABLE, 1, 107 },
		{ "stack_block", REACHABLE, 1, 262144 } } },
	{ "own_stack_of_malloc_dropped", own_stack_of_malloc_dropped, { { "on_own_stack", REACHABLE, 1, 107 },
		{ "stack_block", REACHABLE, 1, 262144 } } },
#if defined __x86_64__
	{ "callee_saved", callee_saved, { { "in_r12", REACHABLE, 1, 111 } } },
	{ "caller_saved", caller_saved, { { "in_r9", REACHABLE, 1, 112 } } },
	{ "spinning", spinning, { { "in_rbx", REACHABLE, 1, 113 } } },
	{ "deaf", deaf, { { "in_rbx", REACHABLE, 1, 113 } } },
	{ "interrupted_register", interrupted_register, { { "in_interrupted_register", REACHABLE, 1, 173 } } },
#endif
	{ "busy", busy, { { "of_busy", REACHABLE, 3, 363 }, { "lost_before_busy", DEFINITE, 1, 122 } } },
	{ "argument", argument, { { "as_argument", REACHABLE, 1, 131 } } },
	{ "result", result, { { "as_result", REACHABLE, 1, 132 } } },
	{ "joined_result", joined_result, { { "as_joined_result", DEFINITE, 1, 133, { REACHABLE, 1, 133 } } }, .why = DEAD },
	{ "cleanup", cleanup, { { "as_cleanup_argument", REACHABLE, 1, 134 } } },
	{ "tls_of_main", tls_of_main, TLS(REACHABLE) },
	{ "tls_of_living", tls_of_living, TLS(REACHABLE) },
	{ "tls_of_dead", tls_of_dead, { { "in_tls", DEFINITE, 1, 141, { REACHABLE, 1, 141 } },
		{ "in_tls_initialised", DEFINITE, 1, 142, { REACHABLE, 1, 142 } },
		{ "in_tls_large", DEFINITE, 1, 143, { REACHABLE, 1, 143 } } }, .why = DEAD },
	{ "dynamic_tls_of_main", dynamic_tls_of_main, { { "in_dynamic_tls", REACHABLE, 1, 144 } } },
	{ "dynamic_tls_of_living", dynamic_tls_of_living, { { "in_dynamic_tls", REACHABLE, 1, 144 } } },
	{ "dynamic_tls_of_earlier", dynamic_tls_of_earlier, { { "in_dynamic_tls", REACHABLE, 1, 144, { POSSIBLE, 1, 144 } } },
		.why = "Valgrind gets there by libc's table of such data, which libc holds by an interior pointer; "
			"a living thread's data are roots" },
	{ "dynamic_tls_of_dead", dynamic_tls_of_dead, { { "in_dynamic_tls", ANY, 1, 144, { POSSIBLE, 1, 144 } } },
		.why = "libc keeps a dead thread's table of such data, by an interior pointer, and frees the data when it "
			"starts another: any verdict has a reason" },
	{ "keys_of_main", keys_of_main, KEYED(REACHABLE) },
	{ "keys_of_living", keys_of_living, KEYED(REACHABLE) },
	{ "keys_of_dead", keys_of_dead, KEYED(DEFINITE) },
	{ "key_with_destructor", key_with_destructor, { { "freed_by_destructor", GONE, 0, 0 } } },
	{ "deleted_key", deleted_key, { { "in_deleted_key", REACHABLE, 1, 154 } } },
	{ "coroutine_mapped", coroutine_mapped, { { "on_coroutine", REACHABLE, 1, 161 } } },
	{ "coroutine_malloced", coroutine_malloced, { { "on_coroutine", REACHABLE, 1, 161 },
		{ "coroutine_stack", REACHABLE, 1, 65536 } } },
	{ "coroutine_ends", coroutine_ends, { { "on_running_coroutine", REACHABLE, 1, 162 },
		{ "on_suspended_main", REACHABLE, 1, 163 } } },
	{ "alternate_stack", alternate_stack, { { "on_alternate_stack", REACHABLE, 1, 171 },
		{ "below_alternate_stack", REACHABLE, 1, 172 } } },
};
LEAK_CASE_COUNT;
