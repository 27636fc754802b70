/* SPDX-License-Identifier: MIT
 *
 * Every way to end, and what is freed or allocated late. In each case held() is held by a global, child() by its block, and
 * lost() by nothing.
 */
#include "leaks.h"
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>

static void *volatile slot, *volatile late_slot;

MALLOCS(held)
MALLOCS(child)
MALLOCS(lost)
static void three(void)
{
	void **block = held(101);
	block[1] = child(102);
	slot = block;
	lost(103);
}

#define THREE { "held", REACHABLE, 1, 101 }, { "child", REACHABLE, 1, 102 }, { "lost", DEFINITE, 1, 103 }

#define END(name, ...) \
	static void name(void) \
	{ \
		three(); \
		leaks_wipe(); \
		__VA_ARGS__; \
	}
END(by_return, )
END(by_exit, exit(21))
END(by__exit, _exit(22))
END(by__Exit, _Exit(23))
END(by_quick_exit, quick_exit(24))
END(by_abort, abort())
END(by_SIGSEGV, *(volatile int *)NULL = 1)
END(by_SIGTERM, raise(SIGTERM))
END(by_SIGKILL, raise(SIGKILL))
END(by_SIGALRM, alarm(1); for (;;) pause())
END(by_exec, execl("/bin/true", "true", (char *)NULL))
END(by_failed_exec, execl("/nowhere/true", "true", (char *)NULL); _exit(25))
END(by_no_instruction, ((void (*)(void))(uintptr_t)64)())

SITE static int overflow(int depth)
{
	if (depth < 0)
		return 0;
	volatile char room[4096];
	room[0] = (char)depth;
	int below = overflow(depth + 1);
	TOUCH(room);
	return below + room[0];
}
END(by_stack_overflow, signal(SIGSEGV, SIG_DFL); overflow(0))

/* main's own frames are still there: what they hold is held. */
MALLOCS(in_frame)
SITE static void abort_within(void)
{
	three();
	leaks_wipe();
	abort();
}

static void abort_with_frame(void)
{
	void *volatile local = in_frame(104);
	TOUCH(&local);
	abort_within();
}

SITE static void segv_within(void)
{
	three();
	leaks_wipe();
	*(volatile int *)NULL = 1;
}

static void segv_with_frame(void)
{
	void *volatile local = in_frame(104);
	TOUCH(&local);
	segv_within();
}

#if defined __x86_64__
MALLOCS(in_register)
void fault_with_r12(void *variable);
void fault_with_rdx(void *variable);
__asm__("fault_with_r12: " TAKE("r12") "mov %eax, (%rdi)\n\thlt\n"
	"fault_with_rdx: " TAKE("rdx") "mov %eax, (%rdi)\n\thlt\n");

static void segv_with_register(void)
{
	void *block = in_register(105);
	leaks_wipe();
	fault_with_r12(&block);
}

static void segv_with_caller_saved(void)
{
	void *block = in_register(105);
	leaks_wipe();
	fault_with_rdx(&block);
}
#endif

/* ------------------------------------------------------------------ from other threads */

SITE static void *exit_thread(void *unused)
{
	exit(31);
}

static void wait_for_end(void *(*function)(void *))
{
	pthread_t thread;
	void *volatile local = in_frame(104);
	TOUCH(&local);
	REQUIRE(!pthread_create(&thread, NULL, function, NULL));
	for (;;)
		pause();
}
END(by_exit_of_thread, wait_for_end(exit_thread))

SITE static void *segv_thread(void *unused)
{
	*(volatile int *)NULL = 1;
	return unused;
}
END(by_SIGSEGV_of_thread, wait_for_end(segv_thread))

SITE static void *_exit_thread(void *unused)
{
	_exit(32);
}
END(by__exit_of_thread, wait_for_end(_exit_thread))

/* main's thread is gone, the last of the others ends the process. */
MALLOCS(in_thread_frame)
SITE static void *last_thread(void *unused)
{
	void *volatile local = in_thread_frame(106);
	TOUCH(&local);
	leaks_nap();
	leaks_nap();
	leaks_end(33);
}

static void by_pthread_exit(void)
{
	pthread_t thread;
	three();
	leaks_wipe();
	REQUIRE(!pthread_create(&thread, NULL, last_thread, NULL));
	pthread_exit(NULL);
}

/* The only thread: libc calls exit(0). */
END(by_pthread_exit_alone, pthread_exit(NULL))

SITE static void *ending_thread(void *unused)
{
	leaks_nap();
	return unused;
}

/* The last thread only returns. */
static void by_last_return(void)
{
	pthread_t thread;
	three();
	leaks_wipe();
	REQUIRE(!pthread_create(&thread, NULL, ending_thread, NULL));
	pthread_exit(NULL);
}

static void exit_in_handler(int signal)
{
	exit(34);
}
END(by_exit_in_handler, signal(SIGUSR1, exit_in_handler); raise(SIGUSR1))

static void _exit_in_handler(int signal)
{
	_exit(35);
}
END(by__exit_in_handler, signal(SIGUSR1, _exit_in_handler); raise(SIGUSR1))

/* ------------------------------------------------------------------ late */

MALLOCS(freed_late)
MALLOCS(allocated_late)
MALLOCS(held_until_late)
SITE static void free_late(void)
{
	free(late_slot);
	late_slot = NULL;
	TOUCH(allocated_late(111));
}

static void late_atexit(void)
{
	REQUIRE(!atexit(free_late));
	late_slot = freed_late(112);
}

static void late_quick_exit(void)
{
	REQUIRE(!at_quick_exit(free_late));
	late_slot = freed_late(112);
	quick_exit(0);
}

/* The pointer is dropped at the end, not the block freed. */
SITE static void drop_late(void)
{
	slot = NULL;
	leaks_wipe();
}

static void dropped_atexit(void)
{
	REQUIRE(!atexit(drop_late));
	slot = held_until_late(113);
}

static void exit_again(void)
{
	_exit(36);
}

static void _exit_in_atexit(void)
{
	REQUIRE(!atexit(exit_again));
	three();
}

__attribute__((destructor)) static void own_destructor(void)
{
	if (!slot || slot != late_slot)
		return;
	free(late_slot);
	slot = late_slot = NULL;
}

MALLOCS(freed_by_destructor)
static void late_destructor(void)
{
	slot = late_slot = freed_by_destructor(114);
}

MALLOCS(freed_by_library)
static void late_library(void)
{
	void *handle = dlopen(leaks_beside("leaks-holder.so"), RTLD_NOW);
	REQUIRE(handle);
	*(void **)dlsym(handle, "holder_frees_late") = freed_by_library(115);
	*(int *)dlsym(handle, "holder_leaks_late") = 1;
}

#define REGISTERS "Valgrind does not look at the registers of the thread that a signal ends; they are in the core dump, too"

LEAK_CASES = {
	{ "return", by_return, { THREE } },
	{ "exit", by_exit, { THREE }, .status = 21 },
	{ "_exit", by__exit, { THREE }, .status = 22 },
	{ "_Exit", by__Exit, { THREE }, .status = 23 },
	{ "quick_exit", by_quick_exit, { THREE }, .status = 24 },
	{ "abort", by_abort, { THREE }, .status = 134 },
	{ "SIGSEGV", by_SIGSEGV, { THREE }, .status = 139 },
	{ "SIGTERM", by_SIGTERM, { THREE }, .status = 143 },
	{ "SIGALRM", by_SIGALRM, { THREE }, .status = 142 },
	{ "SIGKILL", by_SIGKILL, { { "held", UNKNOWN, 1, 101 }, { "child", UNKNOWN, 1, 102 }, { "lost", UNKNOWN, 1, 103 } },
		.status = 137, .flags = LEAKS_NO_VALGRIND, .why = "nobody can look at a process after SIGKILL" },
	{ "exec", by_exec, { THREE }, .flags = LEAKS_NO_VALGRIND, .why = "Valgrind ends with the image and gives no verdict" },
	{ "failed_exec", by_failed_exec, { THREE }, .status = 25 },
	{ "no_instruction", by_no_instruction, { THREE }, .status = 139 },
	{ "stack_overflow", by_stack_overflow, { { "held", UNKNOWN, 1, 101, { REACHABLE, 1, 101 } },
		{ "child", UNKNOWN, 1, 102, { REACHABLE, 1, 102 } }, { "lost", UNKNOWN, 1, 103, { DEFINITE, 1, 103 } } },
		.status = 139, .why = "there is no stack left for a handler, and to set an alternate one is the program's" },
	{ "abort_with_frame", abort_with_frame, { THREE, { "in_frame", REACHABLE, 1, 104 } }, .status = 134 },
	{ "SIGSEGV_with_frame", segv_with_frame, { THREE, { "in_frame", REACHABLE, 1, 104 } }, .status = 139 },
#if defined __x86_64__
	{ "SIGSEGV_with_register", segv_with_register, { { "in_register", REACHABLE, 1, 105, { DEFINITE, 1, 105 } } },
		.status = 139, .why = REGISTERS },
	{ "SIGSEGV_with_caller_saved", segv_with_caller_saved, { { "in_register", REACHABLE, 1, 105, { DEFINITE, 1, 105 } } },
		.status = 139, .why = REGISTERS },
#endif
	{ "exit_of_thread", by_exit_of_thread, { THREE, { "in_frame", REACHABLE, 1, 104 } }, .status = 31 },
	{ "SIGSEGV_of_thread", by_SIGSEGV_of_thread, { THREE, { "in_frame", REACHABLE, 1, 104 } }, .status = 139 },
	{ "_exit_of_thread", by__exit_of_thread, { THREE, { "in_frame", REACHABLE, 1, 104 } }, .status = 32 },
	{ "pthread_exit", by_pthread_exit, { THREE, { "in_thread_frame", REACHABLE, 1, 106 } }, .status = 33 },
	{ "pthread_exit_alone", by_pthread_exit_alone, { THREE } },
	{ "last_return", by_last_return, { THREE } },
	{ "exit_in_handler", by_exit_in_handler, { THREE }, .status = 34 },
	{ "_exit_in_handler", by__exit_in_handler, { THREE }, .status = 35 },
	{ "late_atexit", late_atexit, { { "freed_late", GONE, 0, 0 }, { "allocated_late", DEFINITE, 1, 111 } } },
	{ "late_quick_exit", late_quick_exit, { { "freed_late", GONE, 0, 0 }, { "allocated_late", DEFINITE, 1, 111 } } },
	{ "dropped_atexit", dropped_atexit, { { "held_until_late", DEFINITE, 1, 113 } } },
	{ "_exit_in_atexit", _exit_in_atexit, { THREE }, .status = 36 },
	{ "late_destructor", late_destructor, { { "freed_by_destructor", GONE, 0, 0 } } },
	{ "late_library", late_library, { { "freed_by_library", GONE, 0, 0 }, { "destructor_lost", DEFINITE, 1, 77 } } },
};
LEAK_CASE_COUNT;
