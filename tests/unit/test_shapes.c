/* SPDX-License-Identifier: MIT
 *
 * A shape is there as long as all words are as they were, and not any more when one of them is not: of a synthetic R's contexts
 * each one. (Of native stacks see test_unwind.c.)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "trace/shapes.h"
#include "tracer.h"
#include "r_world.h" /* its `node` is a name of others' variables */

#define noinline __attribute__((noinline, noclone))

enum { LOOP = 3, RETURN = 12, BUILTIN = 64, VERSION = 40202, MOST = 64 };

static struct lt_stacks stacks;
static struct leaktrace_site site;

enum what { KEEP, EXPECTED, ANY };

/* In the place of a hook. KEEP: makes a shape, if it can; else: the node of R's stack of the shape that is here, -1: none is. */
int64_t hook(enum what what);
noinline int64_t hook(enum what what)
{
	const uintptr_t *frame = __builtin_frame_address(0);
	uint64_t key = lt_shape_key(frame, true);
	const struct lt_shape *shape = lt_shape_hinted(&stacks, frame), *native;
	bool cut;

	if (what == KEEP) {
		lt_stack_take(frame, &stacks, MOST, false);
		uint32_t r = lt_r_stack(&cut);
		lt_shape_keep(frame, &stacks, key, NULL, &site, r, true);
	} else if (what == EXPECTED) {
		return lt_shape_is_here(shape, key) && lt_shape_calls_are_here(shape) ? (int64_t)shape->r : -1;
	}
	shape = lt_shape_find(&stacks, frame, key, &native);
	return shape ? (int64_t)shape->r : -1;
}

/* Calls the hook with its frame at one place whoever calls, and as from the outermost function of the thread: the native stack is
 * always the same. */
int64_t look_at(enum what what, char *stack);
__asm__(".text\n"
        "look_at:\n"
        "	.cfi_startproc\n"
        "	.cfi_undefined rip\n"
        "	push %rbp\n"
        "	mov %rsp, %rbp\n"
        "	mov %rsi, %rsp\n"
        "	call hook\n"
        "	mov %rbp, %rsp\n"
        "	pop %rbp\n"
        "	ret\n"
        "	.cfi_endproc\n"
        "	.type look_at, @function\n"
        "	.size look_at, . - look_at\n");

static noinline int64_t look(enum what what)
{
	static char *place; /* far below all callers */

	if (!place)
		place = (char *)(((uintptr_t)__builtin_frame_address(0) - 65536) & ~(uintptr_t)15);
	return look_at(what, place);
}

static int64_t here(void)
{
	int64_t found[2];

	for (enum what what = EXPECTED; what <= ANY; what++)
		found[what - EXPECTED] = look(what);
	assert_int_equal(found[0], found[1]);
	return found[0];
}

static int set_up(void **state)
{
	static struct tracer tracer;

	tracer_start(&tracer, MAX_SIZE);
	*state = &tracer;
	lt_unwind_flush();
	memset(&stacks, 0, sizeof stacks);
	world_create(VERSION);
	lt_r.probation = 0;
	lt_r.node_limit = LT_R_NODE_LIMIT;
	lt_r_stack_forget();
	lt_r_stacks_left = 1000;
	return 0;
}

static int tear_down(void **state)
{
	lt_r_reset();
	tracer_end(*state);
	return 0;
}

/* The word at `at` is another one for a moment: the shape is not here. */
static void changes(void *at, const void *other)
{
	const void *was = *(const void **)at;
	int64_t before = here();

	assert_int_not_equal(before, -1);
	*(const void **)at = other;
	assert_int_equal(look(EXPECTED), -1);
	assert_int_equal(look(ANY), -1);
	*(const void **)at = was;
	assert_int_equal(here(), before);
}

static void each_word_of_rs_contexts_counts(void **state)
{
	struct contexts c = { .pushed = 0 };
	node function = new_closure(world.global), other = new_closure(new_package("other", 2)), call = new_call("f");
	char *outer = push(&c, RETURN, new_call("outer"), function), *builtin = push(&c, BUILTIN, new_call("sum"), world.nil),
	     *inner = push(&c, RETURN, call, function), *loop = push(&c, LOOP, new_call("g"), world.nil);
	const struct lt_r_layout *l = world.layout;

	assert_int_not_equal(look(KEEP), -1);
	assert_int_not_equal(here(), -1);
	changes(&world.global_context, inner);
	changes(loop, outer);
	changes(inner, outer);
	changes(builtin, world.toplevel);
	changes(outer, inner);
	for (int i = 0; i < 2; i++) {
		char *context = i ? outer : inner;

		changes(context + l->callfun, other);
		changes(context + l->call, new_call("other"));
		changes(context + l->srcref, new_srcref(3, "job.R", 1));
		changes(context + l->bcbody, world.marker);
	}
	changes(loop + l->callfun, function);
	changes(builtin + l->callfun, function);
	changes(&function->closure.environment, world.base);
	changes(&call->list.car, new_symbol("h"));

	/* What tells nothing. */
	int64_t before = here();
	put_pointer(inner, l->call, new_cell(LT_R_CALL, (node)call->list.car, world.marker, world.nil));
	put_pointer(inner, l->callfun, new_closure(world.global));
	put_pointer(loop, l->call, world.nil);
	put_pointer(inner, l->cloenv, new_environment(world.global, 0));
	assert_int_equal(here(), before);
}

/* A name that is no symbol's, a name space and a line are found by words in R's heap. */
static void words_in_rs_heap_count(void **state)
{
	struct contexts c = { .pushed = 0 };
	node space = new_package("stats", 3), call = new_operator_call("::", "stats", "lm"), srcref = new_srcref(12, "job.R", 1);
	node arguments = (node)call->list.car->list.cdr, last = (node)arguments->list.cdr;
	node bucket = (node)lt_r_element(world.registry->environment.hash_table, 3);

	put_pointer(push(&c, RETURN, call, new_closure(space)), world.layout->srcref, srcref);
	assert_int_not_equal(look(KEEP), -1);
	changes(&last->list.car, new_symbol("glm"));
	changes(&arguments->list.cdr, world.nil);
	changes(&bucket->list.car, world.nil);
	changes((char *)srcref + LT_R_VECTOR_DATA, (const void *)(uintptr_t)0x1200000013);
}

/* However many there are: turns of comparing, and what is left over. */
static void each_of_many_words_counts(void **state)
{
	for (unsigned n = 1; n <= 40; n++) {
		struct contexts c = { .pushed = 0 };
		char *context[40];

		lt_shapes_empty(&stacks);
		world.global_context = world.toplevel;
		for (unsigned i = 0; i < n; i++)
			context[i] = push(&c, LOOP, world.nil, world.nil);
		assert_int_equal(look(KEEP), 0);
		for (unsigned i = 0; i < n; i++) {
			changes(context[i], &world);
			changes(context[i] + world.layout->callfun, world.global);
		}
	}
}

/* Stacks that differ only in what R's contexts point to are told apart, and each is found again. */
static void same_native_stack_has_many_shapes(void **state)
{
	struct contexts c = { .pushed = 0 };
	node calls[LT_WAYS];
	int64_t nodes[LT_WAYS];
	char *context = push(&c, RETURN, new_call("f0"), new_closure(world.global));

	for (unsigned i = 0; i < LT_WAYS; i++) {
		char name[] = { 'f', (char)('a' + i), '\0' };

		calls[i] = new_call(name);
		put_pointer(context, world.layout->call, calls[i]);
		nodes[i] = look(KEEP);
		assert_int_not_equal(nodes[i], -1);
		for (unsigned j = 0; j < i; j++)
			assert_int_not_equal(nodes[i], nodes[j]);
	}
	for (unsigned round = 0; round < 3; round++)
		for (unsigned i = 0; i < LT_WAYS; i++) {
			put_pointer(context, world.layout->call, calls[i]);
			assert_int_equal(look(ANY), nodes[i]);
			assert_int_equal(look(EXPECTED), nodes[i]);
		}
}

/* Of the same native stack, one with R's words as they are, another with the function called that is there now. */
static void two_shapes_do_not_make_up_a_third(void **state)
{
	struct contexts c = { .pushed = 0 };
	node one = new_call("one"), two = new_call("two"), here_first = new_srcref(1, "job.R", 1), there = new_srcref(2, "job.R", 1);
	char *context = push(&c, RETURN, one, new_closure(world.global));

	put_pointer(context, world.layout->srcref, here_first);
	assert_int_not_equal(look(KEEP), -1);
	put_pointer(context, world.layout->srcref, there);
	put_pointer(context, world.layout->call, two);
	assert_int_not_equal(look(KEEP), -1);
	put_pointer(context, world.layout->srcref, here_first);
	assert_int_equal(look(ANY), -1);
}

static void before_r_has_started_there_is_a_shape_until_it_starts(void **state)
{
	world.global_context = NULL;
	assert_int_equal(look(KEEP), 0);
	assert_int_equal(here(), 0);
	world.global_context = world.toplevel;
	assert_int_equal(look(EXPECTED), -1);
	assert_int_equal(look(ANY), -1);
}

/* Under probation, of a context that is not whole, or where something else than words tells. */
static void what_can_not_be_kept_is_not(void **state)
{
	struct contexts c = { .pushed = 0 };
	char *context = push(&c, RETURN, new_call("f"), new_closure(world.global));

	lt_r.probation = LT_R_PROBATION;
	assert_int_equal(look(KEEP), -1);
	lt_r.probation = 0;
	put_pointer(context, world.layout->call, NULL); /* no head */
	assert_int_equal(look(KEEP), -1);
	put_pointer(context, world.layout->call, new_call("f"));
	assert_int_not_equal(look(KEEP), -1);
}

static void emptied_stacks_have_no_shape(void **state)
{
	struct contexts c = { .pushed = 0 };

	push(&c, RETURN, new_call("f"), new_closure(world.global));
	assert_int_not_equal(look(KEEP), -1);
	lt_shapes_empty(&stacks);
	assert_int_equal(look(EXPECTED), -1);
	assert_int_equal(look(ANY), -1);
}

static void now_and_then_a_walk_is_due(void **state)
{
	lt_r_stacks_left = 2;
	assert_true(lt_r_stack_may_be_kept());
	assert_true(lt_r_stack_may_be_kept());
	assert_false(lt_r_stack_is_due());
	assert_false(lt_r_stack_may_be_kept());
	assert_true(lt_r_stack_is_due());
	look(KEEP); /* it walks */
	assert_false(lt_r_stack_is_due());
	assert_in_range(lt_r_stacks_left, 1, LT_R_CAREFUL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(each_word_of_rs_contexts_counts),
		TEST(words_in_rs_heap_count),
		TEST(each_of_many_words_counts),
		TEST(two_shapes_do_not_make_up_a_third),
		TEST(same_native_stack_has_many_shapes),
		TEST(before_r_has_started_there_is_a_shape_until_it_starts),
		TEST(what_can_not_be_kept_is_not),
		TEST(emptied_stacks_have_no_shape),
		TEST(now_and_then_a_walk_is_due),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
