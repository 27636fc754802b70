/* SPDX-License-Identifier: MIT
 *
 * Native stacks, compared with those that glibc's backtrace() (libgcc's unwinder) and libunwind find at the same place. All
 * take up one set of kept stacks (struct lt_stacks), so each is also the stack after another. Arguments: two shared objects made of
 * unwind_module.c. x86_64 only.
 */
#include <alloca.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <link.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cmocka.h>

#include "trace/libunwind.h"
#include "trace/shapes.h"
#include "trace/unwind.h"
#include "tracer.h"

#define noinline __attribute__((noinline))
/* No tail calls: their frames would be missing, in all unwinders alike. */
#define KEEP_FRAME() __asm__ volatile("")

#define ALL (4 * LT_DEPTH_MAX)

static const char *module_paths[2];
static unsigned most = LT_DEPTH_MAX; /* option depth */
/* Whether frames are missing: as the depth says; code without unwind data is on the stack; not to be said. */
static enum { BY_DEPTH, BROKEN_OFF, ANY } cut_by;

/* What look() saw; asserts wait until the stack is back to normal. */
static struct {
	unsigned stacks, wrong;
	unsigned shapes; /* so many of the stacks had one */
	unsigned frames; /* of the last one */
	bool cut;
} seen;

static __thread struct lt_stacks kept;
static __thread unsigned kept_most;

static bool agree(const uintptr_t *pcs, unsigned n, bool cut, void *const *right, unsigned right_n)
{
	bool same = n == (right_n < most ? right_n : most) &&
	            (cut_by == ANY || cut == (cut_by == BROKEN_OFF || right_n > most));

	for (unsigned i = 0; same && i < n; i++)
		same = pcs[i] == (uintptr_t)right[i];
	if (!same && !__atomic_load_n(&seen.wrong, __ATOMIC_RELAXED)) {
		fprintf(stderr, "%u frames%s, not %u:\n", n, cut ? " (cut)" : "", right_n);
		for (unsigned i = 0; i < n || i < right_n; i++)
			fprintf(stderr, "\t%#lx\t%#lx\n", i < n ? (long)pcs[i] : 0, i < right_n ? (long)right[i] : 0);
	}
	return same;
}

/* NULL: the stack has no shape. */
static const struct lt_shape *here(const uintptr_t *hook)
{
	const struct lt_shape *shape = lt_shape_hinted(&kept, hook), *native;
	uint64_t key = lt_shape_key(hook, false);

	return lt_shape_is_here(shape, key) ? shape : lt_shape_find(&kept, hook, key, &native);
}

static bool shape_agrees(const struct lt_shape *shape, void *const *right, unsigned right_n)
{
	static __thread uintptr_t pcs[LT_DEPTH_MAX];

	for (unsigned i = 0; i < shape->frames; i++)
		pcs[i] = shape->pairs[i / 2].value[i % 2];
	return agree(pcs, shape->frames, shape->cut, right, right_n);
}

/* In the place of a hook: the stack from its caller on. */
static noinline void look(void)
{
	static __thread void *all[ALL];
	static __thread uintptr_t pcs[LT_DEPTH_MAX];
	const uintptr_t *hook = __builtin_frame_address(0);
	uintptr_t from = hook[1];
	unsigned n, i, total = (unsigned)backtrace(all, ALL), wrong = 0;
	bool cut;

	for (i = 0; i < total && (uintptr_t)all[i] != from; i++)
		;
	void *const *right = all + i;
	unsigned right_n = total - i;

	n = lt_unwind(hook, pcs, most, &cut);
	wrong += !agree(pcs, n, cut, right, right_n);
	seen.frames = n;
	seen.cut = cut;

	if (kept_most != most) /* a kept stack is one of a certain depth */
		memset(&kept, 0, sizeof kept);
	kept_most = most;
	const struct lt_shape *shape = here(hook);
	if (shape)
		wrong += !shape_agrees(shape, right, right_n);
	const struct lt_stack *stack = lt_stack_take(hook, &kept, most, false);
	bool reusable = stack->key;
	cut = stack->cut;
	n = lt_stack_count(stack) - stack->first;
	for (i = 0; i < n; i++)
		pcs[i] = stack->top[-(int)i].pc;
	wrong += !agree(pcs, n, cut, right, right_n);
	if (!shape) {
		lt_shape_keep(hook, &kept, lt_shape_key(hook, false), NULL, NULL, 0, false);
		shape = here(hook); /* or there was no place for it */
		wrong += shape && (!reusable || !shape_agrees(shape, right, right_n));
	} else {
		__atomic_fetch_add(&seen.shapes, 1, __ATOMIC_RELAXED);
	}
	kept.before = stack->hash;

	cut = false;
	n = lt_libunwind_walk(from, pcs, most, &cut);
	wrong += !agree(pcs, n, cut, right, right_n);
	__atomic_fetch_add(&seen.wrong, wrong, __ATOMIC_RELAXED);
	__atomic_fetch_add(&seen.stacks, 1, __ATOMIC_RELAXED);
}

static int set_up(void **state)
{
	memset(&seen, 0, sizeof seen);
	most = LT_DEPTH_MAX;
	cut_by = BY_DEPTH;
	return 0;
}

static void expect_stacks(unsigned stacks)
{
	assert_int_equal(seen.stacks, stacks);
	assert_int_equal(seen.wrong, 0);
}

static void plain_stack_agrees(void **state)
{
	uint64_t slow_before = lt_unwind_slow_stacks();

	look();
	expect_stacks(1);
	assert_true(seen.frames >= 3); /* this, cmocka, main */
	assert_int_equal(lt_unwind_slow_stacks(), slow_before);
}

static noinline void recurse(unsigned depth)
{
	if (depth)
		recurse(depth - 1);
	else
		look();
	KEEP_FRAME();
}

static void deep_recursion_is_cut_at_the_depth_asked_for(void **state)
{
	static const unsigned limits[] = { 1, 2, 8, 256, LT_DEPTH_MAX - 1, LT_DEPTH_MAX };

	for (unsigned i = 0; i < 6; i++) {
		most = limits[i];
		recurse(3000);
		assert_int_equal(seen.frames, most);
		assert_true(seen.cut);
		recurse(3000);
	}
	expect_stacks(12);
}

static void stack_of_just_the_depth_asked_for_is_whole(void **state)
{
	recurse(10);
	most = seen.frames;
	recurse(10);
	assert_false(seen.cut);
	recurse(11);
	assert_true(seen.cut);
	most = LT_DEPTH_MAX;
	recurse(11);
	expect_stacks(4);
}

static noinline void with_alloca(unsigned depth, unsigned random)
{
	volatile char *room = alloca(1 + random % 5000);

	room[0] = 1;
	if (depth)
		with_alloca(depth - 1, random * 1103515245 + 12345);
	else
		look();
	KEEP_FRAME();
}

static void frames_of_variable_size_agree(void **state)
{
	for (unsigned i = 0; i < 50; i++)
		with_alloca(i, i);
	expect_stacks(50);
}

static noinline void realigned(unsigned depth)
{
	_Alignas(64) volatile char vector[64];
	volatile char *room = alloca(1 + depth * 16);

	room[0] = vector[0] = 1;
	if (depth)
		realigned(depth - 1);
	else
		look();
	KEEP_FRAME();
}

static void realigned_frames_agree(void **state)
{
	for (unsigned i = 0; i < 20; i++)
		realigned(i);
	expect_stacks(20);
}

static noinline __attribute__((optimize("no-omit-frame-pointer"))) void with_frame_pointer(unsigned depth);

static noinline __attribute__((optimize("omit-frame-pointer"))) void without_frame_pointer(unsigned depth)
{
	if (depth)
		with_frame_pointer(depth - 1);
	else
		look();
	KEEP_FRAME();
}

static void with_frame_pointer(unsigned depth)
{
	if (depth)
		without_frame_pointer(depth - 1);
	else
		look();
	KEEP_FRAME();
}

static void frames_with_and_without_frame_pointer_agree(void **state)
{
	for (unsigned i = 0; i < 50; i++)
		with_frame_pointer(i);
	expect_stacks(50);
}

static int look_and_compare(const void *a, const void *b)
{
	look();
	return *(const char *)a - *(const char *)b;
}

static void callback_from_libc_agrees(void **state)
{
	char letters[] = "leaktrace";

	qsort(letters, 9, 1, look_and_compare);
	assert_true(seen.stacks >= 8);
	assert_int_equal(seen.wrong, 0);
}

/* One of some frames of another kind, at random; the state decides what comes below, and how often it is looked at. */
static noinline void wander(unsigned depth, uint64_t *random)
{
	for (;;) {
		*random = *random * 6364136223846793005ULL + 1442695040888963407ULL;
		unsigned choice = *random >> 60;

		if (choice < 4)
			look();
		else if (choice < 7 || !depth)
			return;
		else if (choice < 9)
			wander(depth - 1, random);
		else if (choice < 11)
			recurse(choice);
		else if (choice < 13)
			with_alloca(choice - 10, choice);
		else if (choice < 15)
			realigned(choice - 10);
		else
			with_frame_pointer(choice - 10);
	}
}

static void stacks_that_differ_at_random_agree(void **state)
{
	uint64_t random = 1;

	while (seen.stacks < 20000)
		wander(40, &random);
	assert_int_equal(seen.wrong, 0);
	assert_true(seen.shapes > seen.stacks / 20);
}

static void stacks_that_differ_at_random_agree_when_cut(void **state)
{
	uint64_t random = 2;

	while (seen.stacks < 20000) {
		most = 1 + (random >> 40) % 30;
		wander(40, &random);
	}
	assert_int_equal(seen.wrong, 0);
}

static int compare_hashes(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* A recursion that calls itself at two places: what a kept stack is known by tells all ways through it apart. */
static void ways_through_a_recursion_differ_in_their_hashes(void **state)
{
	enum { FRAMES = 12 };
	static uint64_t hashes[1 << FRAMES];

	for (uintptr_t place = 0; place < 200; place++) {
		uintptr_t size = 16 + place % 8 * 16, slot = 0x7ffc12345678 - place * 7720, pc = 0x555512345678 + place * 4099;

		for (unsigned way = 0; way < 1 << FRAMES; way++) {
			hashes[way] = 0;
			for (unsigned i = 0; i < FRAMES; i++)
				hashes[way] += lt_frame_hash(slot + i * size, pc + (way >> i & 1) * 12);
		}
		qsort(hashes, 1 << FRAMES, sizeof *hashes, compare_hashes);
		for (unsigned i = 1; i < 1 << FRAMES; i++)
			assert_true(hashes[i] != hashes[i - 1]);
	}
}

static jmp_buf jump;

static noinline void look_and_jump(unsigned depth)
{
	if (depth)
		look_and_jump(depth - 1);
	look();
	if (!depth)
		longjmp(jump, 1);
}

static void stack_after_a_longjmp_agrees(void **state)
{
	volatile unsigned i;

	for (i = 0; i < 50; i++) {
		if (!setjmp(jump))
			look_and_jump(i);
		look();
		recurse(i / 2);
	}
	expect_stacks(150);
}

static void on_signal(int sig)
{
	look();
	recurse(5);
}

static void stack_of_a_signal_handler_agrees(void **state)
{
	signal(SIGUSR1, on_signal);
	for (unsigned i = 0; i < 3; i++)
		raise(SIGUSR1);
	signal(SIGUSR1, SIG_DFL);
	look();
	expect_stacks(7);
}

static void raise_another(int sig)
{
	look();
	if (sig == SIGUSR1)
		raise(SIGUSR2);
	look();
}

static void stack_of_two_signal_handlers_agrees(void **state)
{
	signal(SIGUSR1, raise_another);
	signal(SIGUSR2, raise_another);
	raise(SIGUSR1);
	signal(SIGUSR1, SIG_DFL);
	signal(SIGUSR2, SIG_DFL);
	expect_stacks(4);
}

static void stack_of_a_handler_on_a_stack_of_its_own_agrees(void **state)
{
	const size_t size = 1 << 18;
	stack_t stack = { .ss_sp = malloc(size), .ss_size = size }, before;
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_ONSTACK };

	sigaltstack(&stack, &before);
	sigaction(SIGUSR1, &action, NULL);
	raise(SIGUSR1);
	look();
	raise(SIGUSR1);
	signal(SIGUSR1, SIG_DFL);
	sigaltstack(&before, NULL);
	free(stack.ss_sp);
	expect_stacks(5);
}

/* A fault at the first instruction: the address belongs to this function, and the one before it to another, which has pushed. */
__asm__(".text\n"
        "before_faulty: .cfi_startproc\n"
        "pushq %rbx\n.cfi_def_cfa_offset 16\n"
        "pushq %rbx\n.cfi_def_cfa_offset 24\n"
        ".cfi_endproc\n"
        "faulty: .cfi_startproc\n"
        "ud2\nret\n"
        ".cfi_endproc\n");
void faulty(void);

static void on_fault(int sig, siginfo_t *info, void *context)
{
	look();
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
}

static void stack_interrupted_at_the_first_instruction_agrees(void **state)
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO }, before;

	sigaction(SIGILL, &action, &before);
	faulty();
	recurse(3);
	faulty();
	sigaction(SIGILL, &before, NULL);
	expect_stacks(3);
}

/* Its frame is told by rbx. */
__asm__(".text\n"
        "unusual: .cfi_startproc\n"
        "pushq %rbx\n.cfi_def_cfa_offset 16\n.cfi_offset rbx, -16\n"
        "movq %rsp, %rbx\n.cfi_def_cfa_register rbx\n"
        "subq $32, %rsp\n"
        "call *%rdi\n"
        "movq %rbx, %rsp\n.cfi_def_cfa_register rsp\n"
        "popq %rbx\n.cfi_def_cfa_offset 8\n"
        "ret\n"
        ".cfi_endproc\n");
void unusual(void (*function)(void));

static noinline void look_deeper(void)
{
	look();
	recurse(3);
}

static void stack_with_an_unusual_frame_agrees(void **state)
{
	uint64_t before = lt_unwind_slow_stacks(), slow;

	unusual(look_deeper);
	slow = lt_unwind_slow_stacks();
	look();
	unusual(look_deeper);
	expect_stacks(5);
	assert_true(slow > before);
}

static noinline void look_at_usual(void)
{
	const uintptr_t *hook = __builtin_frame_address(0);
	uintptr_t pcs[8], here = hook[1];
	bool cut = false;

	CHILD_CHECK(lt_libunwind_walk(here, pcs, 8, &cut) == 0);
	CHILD_CHECK(lt_unwind(hook, pcs, 8, &cut) > 1);
}

static void look_at_unusual(void)
{
	const uintptr_t *hook = __builtin_frame_address(0);
	uintptr_t pcs[8], here = hook[1];
	bool cut = false;
	unsigned n = lt_unwind(hook, pcs, 8, &cut);

	CHILD_CHECK(n == 1);
	CHILD_CHECK(pcs[0] == here);
	CHILD_CHECK(cut);
	const struct lt_stack *stack = lt_stack_take(hook, &kept, 8, false);
	CHILD_CHECK(stack->cut);
	CHILD_CHECK(lt_stack_count(stack) - stack->first == 1 && stack->top->pc == here);
}

static void unusual_without_libunwind(void *argument)
{
	lt_unwind_fork_child(false);
	look_at_usual();
	unusual(look_at_unusual);
}

static void fork_child_that_must_not_use_libunwind_cuts_unusual_stacks(void **state)
{
	assert_int_equal(in_child(unusual_without_libunwind, NULL), 0);
}

/* push %rbp; mov %rsp, %rbp; call *%rdi; pop %rbp; ret */
static const unsigned char code[] = { 0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3 };

static void stack_ends_at_code_without_unwind_data_and_says_so(void **state)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(page, MAP_FAILED);
	memcpy(page, code, sizeof code);
	assert_int_equal(mprotect(page, 4096, PROT_READ | PROT_EXEC), 0);
	cut_by = BROKEN_OFF;
	((void (*)(void (*)(void)))page)(look_deeper);
	unsigned frames = seen.frames;
	bool cut = seen.cut;
	cut_by = BY_DEPTH;
	look();
	munmap(page, 4096);
	assert_true(cut);
	assert_int_equal(frames, 6); /* recurse 4 times, look_deeper, the page */
	expect_stacks(3);
}

static void *look_in_a_thread(void *argument)
{
	uint64_t random = (uintptr_t)argument;

	look();
	for (int i = 0; i < 300; i++)
		wander(20, &random);
	return NULL;
}

static void stacks_of_threads_agree(void **state)
{
	pthread_t threads[4];

	for (uintptr_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, look_in_a_thread, (void *)(i + 7)), 0);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_true(seen.stacks > 100);
	assert_int_equal(seen.wrong, 0);
}

static ucontext_t home, coroutine;

static void look_in_a_coroutine(void)
{
	for (;;) {
		look();
		recurse(4);
		swapcontext(&coroutine, &home);
	}
}

static void stack_of_a_coroutine_agrees(void **state)
{
	const size_t size = 1 << 18;

	assert_int_equal(getcontext(&coroutine), 0);
	coroutine.uc_stack.ss_sp = malloc(size);
	coroutine.uc_stack.ss_size = size;
	coroutine.uc_link = &home;
	makecontext(&coroutine, look_in_a_coroutine, 0);
	for (unsigned i = 0; i < 3; i++) {
		/* At the bottom is the first byte of __start_context, and unwind data for it only from there on (glibc 2.36). */
		cut_by = ANY;
		swapcontext(&home, &coroutine);
		cut_by = BY_DEPTH;
		look();
	}
	free(coroutine.uc_stack.ss_sp);
	expect_stacks(9);
}

static void look_at_the_end(void *argument)
{
	look();
}

static void *end_by_pthread_exit(void *argument)
{
	pthread_cleanup_push(look_at_the_end, NULL);
	look();
	recurse(3);
	pthread_exit(NULL);
	pthread_cleanup_pop(0);
	return NULL;
}

static void stack_of_a_cleanup_handler_agrees(void **state)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, end_by_pthread_exit, NULL), 0);
	pthread_join(thread, NULL);
	expect_stacks(3);
}

#ifdef HAVE_CXX
void call_in_catch(void (*function)(void));
void call_in_destructor(void (*function)(void));

static void stack_of_an_exception_agrees(void **state)
{
	for (unsigned i = 0; i < 10; i++) {
		call_in_catch(look_deeper);
		call_in_destructor(look_deeper);
	}
	expect_stacks(80);
}
#endif

/* Where a module lay there lies another, whose frames are larger. */
static void stack_through_a_module_in_anothers_place_agrees(void **state)
{
	uintptr_t base[2], function[2];

	for (unsigned i = 0; i < 6; i++) {
		void *handle = dlopen(module_paths[i % 2], RTLD_NOW | RTLD_LOCAL);
		struct link_map *map;

		assert_non_null(handle);
		assert_int_equal(dlinfo(handle, RTLD_DI_LINKMAP, &map), 0);
		void (*call)(void (*)(void)) = (void (*)(void (*)(void)))dlsym(handle, "module_call");
		base[i % 2] = map->l_addr;
		function[i % 2] = (uintptr_t)call;
		call(look_deeper);
		call(look_deeper);
		dlclose(handle);
		lt_unwind_flush();
	}
	expect_stacks(24);
	assert_int_equal(base[0], base[1]); /* else this test shows nothing */
	assert_int_equal(function[0], function[1]);
}

static int start(void **state)
{
	void *room[4];

	backtrace(room, 4); /* loads libgcc */
	return lt_libunwind_init();
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	module_paths[0] = argv[1];
	module_paths[1] = argv[2];

	const struct CMUnitTest tests[] = {
		TEST(plain_stack_agrees),
		TEST(deep_recursion_is_cut_at_the_depth_asked_for),
		TEST(stack_of_just_the_depth_asked_for_is_whole),
		TEST(frames_of_variable_size_agree),
		TEST(realigned_frames_agree),
		TEST(frames_with_and_without_frame_pointer_agree),
		TEST(callback_from_libc_agrees),
		TEST(stacks_that_differ_at_random_agree),
		TEST(stacks_that_differ_at_random_agree_when_cut),
		TEST(ways_through_a_recursion_differ_in_their_hashes),
		TEST(stack_after_a_longjmp_agrees),
		TEST(stack_of_a_signal_handler_agrees),
		TEST(stack_of_two_signal_handlers_agrees),
		TEST(stack_of_a_handler_on_a_stack_of_its_own_agrees),
		TEST(stack_interrupted_at_the_first_instruction_agrees),
		TEST(stack_with_an_unusual_frame_agrees),
		TEST(fork_child_that_must_not_use_libunwind_cuts_unusual_stacks),
		TEST(stack_ends_at_code_without_unwind_data_and_says_so),
		TEST(stacks_of_threads_agree),
		TEST(stack_of_a_coroutine_agrees),
		TEST(stack_of_a_cleanup_handler_agrees),
#ifdef HAVE_CXX
		TEST(stack_of_an_exception_agrees),
#endif
		TEST(stack_through_a_module_in_anothers_place_agrees),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
