/* SPDX-License-Identifier: MIT
 *
 * Which parts of which stacks are roots. Each test in a child of its own, for threads and their stacks stay.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/syscall.h>

#include "base/sys.h"
#include "scan_world.h"
#include "tracer.h"

enum { ABOVE, BELOW, LOCAL, SPECIFIC, NOWHERE, OWN, BLOCKS };

static __thread uintptr_t thread_local_word;
static pthread_key_t key;
static int parked, go_on;

static NOINLINE void make_blocks(void)
{
	for (unsigned i = 0; i < BLOCKS; i++)
		make(100);
	pthread_key_create(&key, NULL);
}

static NOINLINE void leave_below(void)
{
	volatile uintptr_t stale[600];

	for (unsigned i = 0; i < 600; i++)
		stale[i] = i < 300 ? at(BELOW, 0) : 0; /* the lower half: system calls write nothing there */
	(void)stale[10];
}

static NOINLINE void park(void)
{
	world->threads[world->thread_count] = (struct lt_scan_thread){
		.tid = (uint32_t)gettid(), .sp = (uintptr_t)__builtin_frame_address(0), .tp = thread_pointer(),
	};
	__atomic_fetch_add(&world->thread_count, 1, __ATOMIC_SEQ_CST);
	__atomic_store_n(&parked, 1, __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&go_on, __ATOMIC_SEQ_CST))
		lt_syscall6(SYS_nanosleep, (long)&(struct timespec){ 0, 1000000 }, 0, 0, 0, 0, 0);
}

static NOINLINE void *live(void *argument)
{
	volatile uintptr_t above[4] = { 0, at(ABOVE, 0) };

	*(volatile uintptr_t *)&thread_local_word = at(LOCAL, 0);
	pthread_setspecific(key, (void *)at(SPECIFIC, 0));
	leave_below();
	park();
	return (void *)above[0];
}

static void wait_parked(void)
{
	while (!__atomic_load_n(&parked, __ATOMIC_SEQ_CST))
		lt_syscall6(SYS_nanosleep, (long)&(struct timespec){ 0, 1000000 }, 0, 0, 0, 0, 0);
}

static NOINLINE void start(void *(*body)(void *), pthread_attr_t *attributes)
{
	pthread_t thread;

	if (pthread_create(&thread, attributes, body, NULL))
		abort();
	wait_parked();
}

static NOINLINE int judge_here(void)
{
	add_thread((uintptr_t)__builtin_frame_address(0) + 16);
	return judge();
}

static void live_thread(void *with_stack_of_its_own)
{
	pthread_attr_t attributes;
	size_t size = 1 << 20;

	world_start(NULL);
	make_blocks();
	pthread_attr_init(&attributes);
	if (with_stack_of_its_own) {
		char *stack = mmap(NULL, size + 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		*(volatile uintptr_t *)(stack + 64) = at(OWN, 0);             /* next to it, on both sides */
		*(volatile uintptr_t *)(stack + 4096 + size) = at(NOWHERE, 0);
		pthread_attr_setstack(&attributes, stack + 4096, size);
	}
	start(live, &attributes);
	CHILD_CHECK(judge_here() == 0);
	CHILD_CHECK(!strcmp(kinds(), with_stack_of_its_own ? "rdrrrr" : "rdrrdd"));
}

static void live_thread_counts_from_its_stack_pointer_up(void **state)
{
	assert_int_equal(in_child(live_thread, NULL), 0);
}

static void neighbours_of_a_stack_the_program_made_are_roots(void **state)
{
	assert_int_equal(in_child(live_thread, (void *)1), 0);
}

static void dead_thread(void *unused)
{
	pthread_t thread;

	world_start(NULL);
	make_blocks();
	go_on = 1;
	pthread_create(&thread, NULL, live, NULL);
	pthread_join(thread, NULL);
	world->thread_count = 0;
	CHILD_CHECK(judge_here() == 0);
	CHILD_CHECK(!strcmp(kinds(), "dddddd"));
}

static void cached_stack_of_a_dead_thread_is_no_root(void **state)
{
	assert_int_equal(in_child(dead_thread, NULL), 0);
}

/* As in a worker that a program with threads has forked; `raw`: with glibc's lists of stacks as they were. */
static void judge_left_behind(void *unused)
{
	world->thread_count = 0;
	CHILD_CHECK(judge_here() == 0);
	CHILD_CHECK(!strcmp(kinds(), "dddddd"));
}

static void left_behind(void *raw)
{
	int status = -1;

	world_start(NULL);
	make_blocks();
	start(live, NULL);
	if (!raw) {
		CHILD_CHECK(in_child(judge_left_behind, NULL) == 0);
		return;
	}
	pid_t pid = (pid_t)syscall(SYS_fork);
	if (!pid) {
		judge_left_behind(NULL);
		_exit(0);
	}
	CHILD_CHECK(waitpid(pid, &status, 0) == pid && !status);
}

static void threads_of_the_parent_are_no_roots_after_fork(void **state)
{
	assert_int_equal(in_child(left_behind, NULL), 0);
	assert_int_equal(in_child(left_behind, (void *)1), 0);
}

static NOINLINE void *judge_without_main(void *main_thread)
{
	volatile uintptr_t here[2] = { at(OWN, 0) };
	char path[64], state[512] = "";

	/* until it is a zombie */
	snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)getpid());
	while (!strstr(state, ") Z")) {
		int fd = open(path, O_RDONLY);
		ssize_t n = fd < 0 ? 0 : read(fd, state, sizeof state - 1);
		state[n < 0 ? 0 : n] = 0;
		close(fd);
	}
	CHILD_CHECK(judge_here() == 0);
	CHILD_CHECK(kind(OWN) == 'r');
	CHILD_CHECK(kind(ABOVE) == 'd');
	CHILD_CHECK(here[0]);
	_exit(0);
}

static void main_gone(void *unused)
{
	volatile uintptr_t above[2];
	pthread_t thread;

	world_start(NULL);
	make_blocks();
	above[0] = at(ABOVE, 0);
	pthread_create(&thread, NULL, judge_without_main, (void *)pthread_self());
	pthread_exit((void *)(above[1] = 0));
}

static void scan_after_main_has_left_works_and_its_stack_is_no_root(void **state)
{
	assert_int_equal(in_child(main_gone, NULL), 0);
}

/* Forked by a thread that is not the main one. */
static void *fork_here(void *unused)
{
	CHILD_CHECK(in_child(judge_left_behind, NULL) == 0);
	_exit(0);
}

static void forked_by_a_thread(void *unused)
{
	volatile uintptr_t above[2];
	pthread_t thread;

	world_start(NULL);
	make_blocks();
	above[0] = at(ABOVE, 0);
	pthread_create(&thread, NULL, fork_here, NULL);
	for (;;)
		pause();
	above[1] = above[0];
}

static void stack_of_main_is_no_root_after_fork_by_a_thread(void **state)
{
	assert_int_equal(in_child(forked_by_a_thread, NULL), 0);
}

/* On an alternate stack all of the thread's stack may be in use. */
static void on_signal(int number)
{
	volatile uintptr_t here[2] = { at(OWN, 0) };

	park();
	(void)here[0];
}

static NOINLINE void *interrupted(void *argument)
{
	volatile uintptr_t above[4] = { 0, at(ABOVE, 0) };
	stack_t stack = { .ss_size = 1 << 16 };

	stack.ss_sp = mmap(NULL, stack.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	sigaltstack(&stack, NULL);
	raise(SIGUSR1);
	return (void *)above[0];
}

static void alternate_stack(void *unused)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_ONSTACK };

	world_start(NULL);
	make_blocks();
	sigaction(SIGUSR1, &action, NULL);
	start(interrupted, NULL);
	CHILD_CHECK(judge_here() == 0);
	CHILD_CHECK(!strcmp(kinds(), "rddddr"));
}

static void alternate_signal_stack_and_the_one_below_are_roots(void **state)
{
	assert_int_equal(in_child(alternate_stack, NULL), 0);
}

/* Its malloc has an arena of its own: neither its words nor freed chunks there are roots. */
static NOINLINE void *use_own_arena(void *argument)
{
	void *freed[200];

	for (unsigned i = 0; i < 200; i++) {
		freed[i] = malloc(200 + i * 40);
		((volatile uintptr_t *)freed[i])[8] = at(make(24 + i * 16), 0);
	}
	for (unsigned i = 0; i < 200; i++)
		free(freed[i * 7 % 200]);
	memset(freed, 0, sizeof freed);
	wipe();
	park();
	return NULL;
}

static void other_arena(void *unused)
{
	world_start(NULL);
	start(use_own_arena, NULL);
	CHILD_CHECK(at(10, 0) % (64 << 20) < 16 << 20); /* a heap of its own */
	CHILD_CHECK(judge_here() == 0);
	for (uint32_t i = 0; i < world->count; i++)
		CHILD_CHECK(kind(i) == 'd');
	CHILD_CHECK(!world->scan.note[0]);
}

static void arenas_of_threads_are_no_roots(void **state)
{
	assert_int_equal(in_child(other_arena, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(live_thread_counts_from_its_stack_pointer_up),
		cmocka_unit_test(neighbours_of_a_stack_the_program_made_are_roots),
		cmocka_unit_test(cached_stack_of_a_dead_thread_is_no_root),
		cmocka_unit_test(threads_of_the_parent_are_no_roots_after_fork),
		cmocka_unit_test(scan_after_main_has_left_works_and_its_stack_is_no_root),
		cmocka_unit_test(stack_of_main_is_no_root_after_fork_by_a_thread),
		cmocka_unit_test(alternate_signal_stack_and_the_one_below_are_roots),
		cmocka_unit_test(arenas_of_threads_are_no_roots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
