/* SPDX-License-Identifier: MIT
 *
 * The kept R stack of synthetic R images, compared with a full walk: whatever changed since it was taken.
 */
#include "tracer.h"

#include "r/stack.h"
#include "r_world.h"
#include "trace/shapes.h"

enum { LOOP = 3, RETURN = 12, BUILTIN = 64 };

static const uint32_t versions[] = { 30603, 40202, 40501 };

/* What look() saw; asserts wait until the stack is back to normal. */
static struct {
	unsigned stacks, kept, wrong;
	uint32_t node, lines;
	const char *call;
} seen;

static struct lt_stacks stacks;
static uintptr_t zeros[2];
/* In the place of a native stack. */
static struct lt_shape native = { .pairs = { { { &zeros[0], &zeros[1] }, { 0 } } }, .native_end = native.pairs + 1 };

/* The node as the recorder finds it, by shapes or by lt_r_stack(). */
static uint32_t find(const uintptr_t *hook, bool *cut)
{
	uint64_t key = lt_shape_key(hook, false);
	const struct lt_shape *shape = lt_shape_hinted(&stacks, hook), *like;
	bool due;
	uint32_t r = 0;

	*cut = false;
	if (lt_shape_is_here(shape, key) && (!shape->has_r || (lt_shape_calls_are_here(shape) && lt_r_stack_may_be_kept()))) {
		seen.kept++;
		return shape->r;
	}
	due = lt_r_stack_is_due();
	if (due)
		r = lt_r_stack(cut);
	shape = lt_shape_find(&stacks, hook, key, &like);
	if (shape && (!due || (shape->r == r && !*cut))) {
		seen.kept++;
		return shape->r;
	}
	if (!due)
		r = lt_r_stack(cut);
	if (!*cut)
		lt_shape_keep(hook, &stacks, key, &native, NULL, r, true);
	return r;
}

/* In the place of a hook. */
static __attribute__((noinline)) void look(void)
{
	struct lt_r_call calls[LT_R_DEPTH];
	bool cut, right_cut;
	unsigned n = lt_r_judge(calls, LT_R_DEPTH, &right_cut);
	uint32_t right = lt_intern_r(calls, n), found = find(__builtin_frame_address(0), &cut);

	seen.wrong += found != right || cut != right_cut;
	if (++seen.stacks % 3 == 0)
		seen.wrong += lt_r_stack(&cut) != right || cut != right_cut;
	seen.node = found;
	seen.call = n ? calls[0].call : "";
	seen.lines = 0;
	for (unsigned i = 0; i < n; i++)
		seen.lines += calls[i].line;
}

static void begin(uint32_t version)
{
	world_create(version);
	lt_r_stack_forget();
	memset(&stacks, 0, sizeof stacks);
	memset(&seen, 0, sizeof seen);
}

/* Past the first walks, which are under probation. */
static void trust(void)
{
	for (unsigned i = 0; i < 2 * LT_R_PROBATION; i++)
		look();
	assert_int_equal(lt_r.probation, 0);
	seen.stacks = seen.kept = 0;
}

static void pop(unsigned count)
{
	while (count-- && world.global_context != world.toplevel)
		world.global_context = lt_r_field(world.global_context, 0);
}

/* Code of 10 words: the first five stand on line 20, the others on 30. */
static node new_code(void)
{
	node constants = new_list(4), lines = new_integers(10, 1);

	set_attribute(lines, world.class, new_string("srcrefsIndex"));
	set_element(constants, 1, new_srcref(20, "code.R", 1));
	set_element(constants, 2, new_srcref(30, "code.R", 1));
	for (int i = 5; i < 10; i++)
		set_integer(lines, i, 2);
	set_element(constants, 3, lines);
	return new_cell(LT_R_BYTE_CODE, new_integers(20, 0), constants, world.nil);
}

static node new_code_without_lines(void)
{
	return new_cell(LT_R_BYTE_CODE, new_integers(20, 0), new_list(3), world.nil);
}

/* In an environment's hash table. */
static node first_binding(const struct lt_r_node *environment)
{
	int64_t i = 0;

	while (lt_r_element(environment->environment.hash_table, i) == world.nil)
		i++;
	return (node)lt_r_element(environment->environment.hash_table, i);
}

/* ---- One difference at a time: the context is at the same place, and all else is as it was. ---- */

struct change {
	node calls[2], functions[2], srcrefs[2], bodies[2];
};

static void differ_in(struct contexts *c, const struct change *change, const char *what)
{
	const char *pc;
	uint32_t before = 0;

	trust();
	for (unsigned i = 0; i < 8; i++) {
		unsigned which = i / 2 & 1;
		char *at = push(c, RETURN, change->calls[which], change->functions[which]);

		put_pointer(at, world.layout->srcref, change->srcrefs[which]);
		put_pointer(at, world.layout->bcbody, change->bodies[which]);
		put_pointer(at, world.layout->bcpc, &pc);
		pc = (const char *)change->bodies[which]->list.car + LT_R_VECTOR_DATA;
		look();
		if (i && (before == seen.node) != (i & 1))
			fail_msg("%s: not another stack, or another", what);
		before = seen.node;
		pop(1);
		c->pushed--;
	}
	if (seen.wrong)
		fail_msg("%s: %u stacks are wrong", what, seen.wrong);
	assert_true(seen.kept > 2);
}

static void calls_that_differ_in_one_thing_are_told_apart(void **state)
{
	for (unsigned v = 0; v < 3; v++) {
		struct contexts c = { .pushed = 0 };

		begin(versions[v]);
		node call = new_call("f"), function = new_closure(world.global), body = new_code(), bare = new_code_without_lines();
		const struct change same = { { call, call }, { function, function }, { world.nil, world.nil }, { body, body } };
		struct change change;

		push(&c, RETURN, new_call("outer"), function);
		change = same;
		change.calls[1] = new_call("g");
		differ_in(&c, &change, "head");
		change = same;
		change.functions[1] = new_closure(new_package("stats", 1));
		differ_in(&c, &change, "environment");
		change = same;
		change.srcrefs[0] = new_srcref(1, "a.R", 1);
		change.srcrefs[1] = new_srcref(2, "a.R", 1);
		differ_in(&c, &change, "srcref");
		change = same;
		change.srcrefs[0] = change.srcrefs[1] = world.marker;
		change.bodies[1] = bare;
		differ_in(&c, &change, "code");
		change.bodies[0] = bare;
		change.bodies[1] = body;
		differ_in(&c, &change, "code");
	}
}

static void lines_in_the_same_code_are_told_apart(void **state)
{
	struct contexts c = { .pushed = 0 };

	begin(40202);
	node call = new_call("f"), function = new_closure(world.global), body = new_code();
	const char *words = (const char *)body->list.car + LT_R_VECTOR_DATA, *pc = words;
	push(&c, RETURN, new_call("outer"), function);
	trust();
	for (unsigned i = 0; i < 20; i++) {
		char *at = push(&c, RETURN, call, function);

		put_pointer(at, world.layout->srcref, world.marker);
		put_pointer(at, world.layout->bcbody, body);
		put_pointer(at, world.layout->bcpc, &pc);
		pc = words + 8 * (i % 10);
		look();
		assert_int_equal(seen.lines, i % 10 < 5 ? 20 : 30);
		pop(1);
		c.pushed--;
	}
	assert_int_equal(seen.wrong, 0);
}

static void context_further_out_that_goes_or_comes_is_noticed(void **state)
{
	struct contexts c = { .pushed = 0 };

	begin(40202);
	node function = new_closure(world.global);
	push(&c, RETURN, new_call("a"), function);
	const char *a = world.global_context;
	char *b = push(&c, RETURN, new_call("b"), function), *inner = push(&c, RETURN, new_call("c"), function);
	trust();
	for (unsigned i = 0; i < 20; i++) {
		put_pointer(inner, 0, i & 1 ? a : b); /* b's is still there, as it was */
		look();
	}
	assert_int_equal(seen.wrong, 0);
}

static void context_of_another_sort_at_the_same_place_is_noticed(void **state)
{
	static const unsigned flags[] = { RETURN, LOOP, RETURN, BUILTIN };
	struct contexts c = { .pushed = 0 };

	begin(40202);
	node function = new_closure(world.global), call = new_call("b");
	push(&c, RETURN, new_call("a"), function);
	trust();
	for (unsigned i = 0; i < 20; i++) {
		bool is_function = flags[i % 4] == RETURN;

		push(&c, flags[i % 4], call, is_function ? function : world.nil);
		push(&c, RETURN, call, function);
		look();
		look();
		assert_string_equal(seen.call, "b");
		pop(2);
		c.pushed -= 2;
	}
	assert_int_equal(seen.wrong, 0);
}

static void file_that_changes_its_name_is_noticed(void **state)
{
	struct contexts c = { .pushed = 0 };

	begin(40202);
	node srcref = new_srcref(7, "first.R", 1), cell = first_binding(srcref->attributes->list.car);
	node names[] = { new_string("first.R"), new_string("second.R") };
	put_pointer(push(&c, RETURN, new_call("a"), new_closure(world.global)), world.layout->srcref, srcref);
	trust();
	for (unsigned i = 0; i < 20; i++) {
		uint32_t before = seen.node;

		cell->list.car = names[i / 2 & 1];
		look();
		assert_true(i < 2 || (seen.node == before) == (i & 1));
	}
	assert_int_equal(seen.wrong, 0);
}

static void name_space_that_goes_or_comes_is_noticed(void **state)
{
	struct contexts c = { .pushed = 0 };

	begin(40202);
	node function = new_closure(new_package("stats", 1)), cell = first_binding(world.registry), space = (node)cell->list.car;
	push(&c, RETURN, new_call("a"), function);
	trust();
	for (unsigned i = 0; i < 20; i++) {
		uint32_t before = seen.node;

		cell->list.car = i & 2 ? world.nil : space;
		look();
		assert_true(i < 2 || (seen.node == before) == (i & 1));
	}
	assert_int_equal(seen.wrong, 0);
}

static void stacks_that_are_cut_are_told_apart(void **state)
{
	char memory[LT_R_DEPTH + 20][WORLD_CONTEXT] __attribute__((aligned(16)));
	unsigned depth = 0;

	begin(40202);
	node function = new_closure(world.global), calls[] = { new_call("a"), new_call("b") };
	for (unsigned i = 0; i < 1000; i++) {
		unsigned wanted = i < 200 ? 2 : LT_R_DEPTH - 10 + i * 7 % 30;

		for (; depth < wanted; depth++)
			push_at(memory[LT_R_DEPTH + 19 - depth], RETURN, calls[depth * i % 5 & 1], function);
		for (; depth > wanted; depth--)
			pop(1);
		look();
		look();
	}
	assert_int_equal(seen.wrong, 0);
	assert_true(seen.kept > 100);
}

static void kept_stack_is_walked_and_checked_in_full_every_256_times(void **state)
{
	struct contexts c = { .pushed = 0 };

	begin(40202);
	push(&c, RETURN, new_call("a"), new_closure(world.global));
	trust();
	unsigned walks = lt_r.walks / LT_R_CAREFUL;
	for (unsigned i = 0; i < 8 * LT_R_CAREFUL; i++)
		look();
	assert_true(lt_r.walks / LT_R_CAREFUL - walks >= 4);
	assert_int_equal(seen.wrong, 0);
}

/* Contexts in a frame that is gone. */
static __attribute__((noinline)) void leave_contexts_behind(node function)
{
	char memory[64 << 10] __attribute__((aligned(16)));

	push_at(memory, RETURN, new_call("gone"), function);
	look();
	look();
	__asm__ volatile("" ::"r"(memory) : "memory");
}

static void kept_stack_that_was_left_behind_has_no_calls(void **state)
{
	struct contexts c = { .pushed = 0 };

	begin(40202);
	node function = new_closure(world.global);
	push(&c, RETURN, new_call("a"), function);
	trust();
	leave_contexts_behind(function);
	assert_string_equal(seen.call, "gone");
	for (unsigned i = 0; i < 10; i++)
		look();
	assert_int_equal(seen.node, 0);
	pop(1);
	look();
	assert_string_equal(seen.call, "a");
	assert_int_equal(seen.wrong, 0);
}

/* ---- At random ---- */

#define SOME 6

static struct {
	node calls[SOME], functions[SOME], srcrefs[SOME], bodies[SOME], heads[SOME], spaces[SOME], names[2];
	uint64_t random;
} some;

static unsigned any(unsigned count)
{
	some.random = some.random * 6364136223846793005ULL + 1442695040888963407ULL;
	return (unsigned)(some.random >> 40) % count;
}

static void make_some(void)
{
	node stats = new_package("stats", 1);
	const node spaces[SOME] = { world.global, stats, new_package("utils", 1), world.base, new_environment(stats, 0), world.base_env };

	for (unsigned i = 0; i < SOME; i++) {
		char name[] = { (char)('a' + i), 0 };

		some.heads[i] = i < 4 ? new_symbol(name) : (node)new_operator_call("$", "x", name)->list.car;
		some.spaces[i] = spaces[i];
		some.calls[i] = new_cell(LT_R_CALL, some.heads[i], world.nil, world.nil);
		some.functions[i] = new_closure(spaces[i]);
		some.srcrefs[i] = i < 2 ? world.marker : i < 5 ? new_srcref((int)i, "x.R", 1) : world.nil;
		some.bodies[i] = i < 3 ? new_code() : new_code_without_lines();
	}
	((node)some.srcrefs[4]->attributes)->list.car = some.srcrefs[3]->attributes->list.car;
	some.names[0] = new_string("x.R");
	some.names[1] = new_string("y.R");
}

static bool is_in_use(node n)
{
	for (const char *c = world.global_context; c; c = lt_r_field(c, 0))
		if (lt_r_field(c, world.layout->call) == n || lt_r_field(c, world.layout->callfun) == n ||
		    lt_r_field(c, world.layout->srcref) == n)
			return true;
	return false;
}

/* A dead node serves for another one of its type. An environment has another enclosure, a file another name, a name space is
 * not registered any more. */
static void change_something(void)
{
	unsigned i = any(SOME);

	if (!is_in_use(some.calls[i]))
		some.calls[i]->list.car = some.heads[any(SOME)];
	if (!is_in_use(some.functions[i]))
		some.functions[i]->closure.environment = some.spaces[any(SOME)];
	if (i >= 2 && i < 5 && !is_in_use(some.srcrefs[i]))
		set_integer(some.srcrefs[i], 0, 1 + (int)any(3));
	if (!any(4))
		some.spaces[4]->environment.enclosure = some.spaces[any(2)];
	if (i >= 2 && i < 5)
		first_binding(some.srcrefs[i]->attributes->list.car)->list.car = some.names[any(2)];
	if (!any(4))
		first_binding(world.registry)->list.car = any(3) ? some.spaces[1] : world.nil;
}

static void wander(unsigned version)
{
	struct contexts c = { .pushed = 0 };
	const char *pcs[64];

	begin(version);
	make_some();
	some.random = version;
	while (seen.stacks < 30000) {
		unsigned choice = any(16);

		if (choice < 6) {
			look();
		} else if (choice < 10 && c.pushed < 40) {
			c.pushed += any(3); /* what is there stays */
			unsigned depth = c.pushed, body = any(SOME);
			bool is_function = any(4);
			node function = is_function ? some.functions[any(SOME)] : world.nil;
			char *at = push(&c, is_function ? RETURN : LOOP, some.calls[any(SOME)], function);

			pcs[depth] = (const char *)some.bodies[body]->list.car + LT_R_VECTOR_DATA + 8 * any(10);
			put_pointer(at, world.layout->srcref, some.srcrefs[any(SOME)]);
			put_pointer(at, world.layout->bcbody, some.bodies[body]);
			put_pointer(at, world.layout->bcpc, &pcs[depth]);
			if (world.layout->relpc)
				put_pointer(at, world.layout->relpc, (const void *)(uintptr_t)any(10));
		} else if (choice < 14) {
			pop(1 + any(3));
			c.pushed = 0;
			if (world.global_context != world.toplevel)
				c.pushed = 64 - (unsigned)((world.global_context - c.memory[0]) / WORLD_CONTEXT);
		} else {
			change_something();
		}
	}
}

static void stacks_that_differ_at_random_agree(void **state)
{
	for (unsigned v = 0; v < 3; v++) {
		wander(versions[v]);
		assert_int_equal(seen.wrong, 0);
		assert_true(seen.kept > seen.stacks / 20);
		assert_null(lt_r_note());
	}
}

static int set_up(void **state)
{
	struct tracer *tracer = calloc(1, sizeof *tracer);

	tracer_start(tracer, UINT64_C(256) << 20);
	*state = tracer;
	return 0;
}

int main(void)
{
	if (!lt_r_layout_of(40202))
		return 77; /* not a CPU that has layouts */

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tracer_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(calls_that_differ_in_one_thing_are_told_apart),
		TEST(lines_in_the_same_code_are_told_apart),
		TEST(context_further_out_that_goes_or_comes_is_noticed),
		TEST(context_of_another_sort_at_the_same_place_is_noticed),
		TEST(file_that_changes_its_name_is_noticed),
		TEST(name_space_that_goes_or_comes_is_noticed),
		TEST(stacks_that_are_cut_are_told_apart),
		TEST(kept_stack_is_walked_and_checked_in_full_every_256_times),
		TEST(kept_stack_that_was_left_behind_has_no_calls),
		TEST(stacks_that_differ_at_random_agree),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	free(world.node_stack);
	return failed;
}
