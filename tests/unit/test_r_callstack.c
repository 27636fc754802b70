/* SPDX-License-Identifier: MIT
 *
 * R call stacks of synthetic R images, one per layout.
 */
#include "r_world.h"

#include <pthread.h>

enum { TOPLEVEL = 0, LOOP = 3, CCODE = 8, RETURN = 12, GENERIC = 20, BUILTIN = 64 };

static const uint32_t versions[] = { 30600, 30603, 40005, 40202, 40303, 40400, 40501 };
#define for_each_version(v)                                                                                                  \
	for (size_t index_ = 0, v; index_ < sizeof(versions) / sizeof(*versions) && (v = versions[index_], true); index_++)

static unsigned walk(struct lt_r_call *calls, unsigned max)
{
	bool cut;
	unsigned n = lt_r_calls(calls, max, &cut);

	assert_false(cut);
	return n;
}

static void calls_are_named_innermost_first(void **state)
{
	for_each_version (version) {
		struct contexts c = { .pushed = 0 };
		struct lt_r_call calls[8];

		world_create(version);
		node function = new_closure(world.global);
		push(&c, RETURN, new_call("outer"), function);
		push(&c, BUILTIN, new_call("sum"), function);
		push(&c, GENERIC, new_operator_call("::", "stats", "lm"), function);
		push(&c, CCODE, world.nil, world.nil);
		push(&c, RETURN, new_operator_call("$", "self", "run"), function);
		push(&c, RETURN, new_cell(LT_R_CALL, function, world.nil, world.nil), function);
		push(&c, RETURN, new_cell(LT_R_CALL, new_call("factory"), world.nil, world.nil), function);
		push(&c, RETURN, new_operator_call("[[", "list", "i"), function);

		assert_int_equal(walk(calls, 8), 6);
		assert_string_equal(calls[0].call, "<anonymous>");
		assert_string_equal(calls[1].call, "factory");
		assert_string_equal(calls[2].call, "<anonymous>");
		assert_string_equal(calls[3].call, "run");
		assert_string_equal(calls[4].call, "lm");
		assert_string_equal(calls[5].call, "outer");
		for (int i = 0; i < 6; i++) {
			assert_null(calls[i].namespace);
			assert_null(calls[i].file);
			assert_int_equal(calls[i].line, 0);
		}
		assert_null(lt_r_note());
	}
}

static void namespaces_come_from_the_registry(void **state)
{
	for_each_version (version) {
		struct contexts c = { .pushed = 0 };
		struct lt_r_call calls[8];

		world_create(version);
		node stats = new_package("stats", 3), utils = new_package("utils", 3);
		node inner = new_environment(new_environment(stats, 0), 0);
		push(&c, RETURN, new_call("a"), new_closure(stats));
		push(&c, RETURN, new_call("b"), new_closure(inner));
		push(&c, RETURN, new_call("c"), new_closure(utils));
		push(&c, RETURN, new_call("d"), new_closure(world.base));
		push(&c, RETURN, new_call("e"), new_closure(new_environment(new_environment(world.base, 0), 0)));
		push(&c, RETURN, new_call("eval"), new_bytes(LT_R_BUILTIN, 56));
		push(&c, RETURN, new_call("g"), new_closure(new_environment(world.global, 5)));

		for (int again = 0; again < 2; again++) { /* the second time from the cache */
			assert_int_equal(walk(calls, 8), 7);
			assert_null(calls[0].namespace);
			assert_string_equal(calls[1].namespace, "base");
			assert_string_equal(calls[2].namespace, "base");
			assert_string_equal(calls[3].namespace, "base");
			assert_string_equal(calls[4].namespace, "utils");
			assert_string_equal(calls[5].namespace, "stats");
			assert_string_equal(calls[6].namespace, "stats");
		}
		/* Unloaded, and the address serves another package. */
		set_element((node)world.registry->environment.hash_table, 3, world.nil);
		bind_in(world.registry, 3, new_symbol("other"), stats);
		assert_int_equal(walk(calls, 8), 7);
		assert_string_equal(calls[6].namespace, "other");
	}
}

static void lines_come_from_srcrefs(void **state)
{
	for_each_version (version) {
		struct contexts c = { .pushed = 0 };
		struct lt_r_call calls[4];

		world_create(version);
		node function = new_closure(world.global);
		put_pointer(push(&c, RETURN, new_call("a"), function), world.layout->srcref, new_srcref(12, "job.R", 1));
		put_pointer(push(&c, RETURN, new_call("b"), function), world.layout->srcref, new_srcref(7, "list.R", 0));
		put_pointer(push(&c, RETURN, new_call("c"), function), world.layout->srcref, new_srcref(9, NULL, 0));
		put_pointer(push(&c, RETURN, new_call("d"), function), world.layout->srcref, NULL);

		assert_int_equal(walk(calls, 4), 4);
		assert_int_equal(calls[0].line, 0);
		assert_int_equal(calls[1].line, 9);
		assert_null(calls[1].file);
		assert_int_equal(calls[2].line, 7);
		assert_string_equal(calls[2].file, "list.R");
		assert_int_equal(calls[3].line, 12);
		assert_string_equal(calls[3].file, "job.R");
	}
}

/* Code of 10 words, of which positions 4 to 7 stand on line 33; tables as the byte compiler adds them. */
static node new_code(bool with_srcrefs)
{
	node constants = new_list(with_srcrefs ? 5 : 4), expressions = new_integers(10, 0), srcrefs = new_integers(10, 1);

	set_attribute(expressions, world.class, new_string("expressionsIndex"));
	set_attribute(srcrefs, world.class, new_string("srcrefsIndex"));
	set_element(constants, 1, new_srcref(11, "code.R", 1));
	set_element(constants, 2, new_srcref(33, "code.R", 1));
	for (int i = 4; i < 8; i++)
		set_integer(srcrefs, i, 2);
	set_integer(srcrefs, 9, 1000);
	set_element(constants, 3, expressions);
	if (with_srcrefs)
		set_element(constants, 4, srcrefs);
	return new_cell(LT_R_BYTE_CODE, new_integers(20, 0), constants, world.nil);
}

static void position_in(char *context, node code, const char *const *pc)
{
	put_pointer(context, world.layout->srcref, world.marker);
	put_pointer(context, world.layout->bcbody, code);
	put_pointer(context, world.layout->bcpc, pc);
}

static void lines_come_from_byte_code(void **state)
{
	for_each_version (version) {
		struct contexts c = { .pushed = 0 };
		struct lt_r_call calls[8];

		world_create(version);
		node function = new_closure(world.global), code = new_code(true), bare = new_code(false);
		const char *words = (const char *)code->list.car + LT_R_VECTOR_DATA;
		/* the interpreter's variables, on its stack */
		const char *fifth = words + 8 * 5, *ninth = words + 8 * 9, *outside = words + 8 * 10;

		position_in(push(&c, RETURN, new_call("a"), function), code, &fifth);
		position_in(push(&c, RETURN, new_call("b"), function), code, &words);
		position_in(push(&c, RETURN, new_call("c"), function), code, &ninth);
		position_in(push(&c, RETURN, new_call("d"), function), code, &outside);
		position_in(push(&c, RETURN, new_call("e"), function), bare, &fifth);
		position_in(push(&c, RETURN, new_call("f"), function), NULL, NULL);
		position_in(push(&c, RETURN, new_call("g"), function), code, (const char *const *)words); /* not on the stack */

		for (int again = 0; again < 2; again++) {
			assert_int_equal(walk(calls, 8), 7);
			for (int i = 0; i < 5; i++) {
				assert_int_equal(calls[i].line, 0);
				assert_null(calls[i].file);
			}
			assert_int_equal(calls[5].line, 11);
			assert_int_equal(calls[6].line, 33);
			assert_string_equal(calls[6].file, "code.R");
		}
	}
}

static void position_kept_in_the_context_wins(void **state)
{
	struct contexts c = { .pushed = 0 };
	struct lt_r_call calls[2];

	world_create(40501);
	node code = new_code(true);
	const char *start = (const char *)code->list.car + LT_R_VECTOR_DATA;
	char *context = push(&c, RETURN, new_call("a"), new_closure(world.global));
	position_in(context, code, &start);
	put_pointer(context, world.layout->relpc, (void *)6);

	assert_int_equal(walk(calls, 2), 1);
	assert_int_equal(calls[0].line, 33);
}

static void contexts_on_the_interpreters_stack_are_walked(void **state)
{
	for_each_version (version) {
		struct contexts c = { .pushed = 0 };
		struct lt_r_call calls[8];
		char *at;

		world_create(version);
		node function = new_closure(world.global);
		at = (char *)world.node_stack_end - 3200000 + 16 * 50;
		push(&c, RETURN, new_call("a"), function);
		push_at(at, LOOP, world.nil, world.nil);
		push_at(at + 2048, RETURN, new_call("inlined"), function);
		push(&c, RETURN, new_call("b"), function);
		push_at(at + 4096, LOOP, world.nil, world.nil);

		assert_int_equal(walk(calls, 8), 3);
		assert_string_equal(calls[1].call, "inlined");
		assert_null(lt_r_note());
	}
}

static void deep_stacks_are_cut_and_say_so(void **state)
{
	struct contexts c = { .pushed = 0 };
	struct lt_r_call calls[5];
	bool cut = false;

	world_create(40202);
	for (int i = 0; i < 60; i++)
		push(&c, RETURN, new_call("deep"), new_closure(world.global));
	assert_int_equal(lt_r_calls(calls, 5, &cut), 5);
	assert_true(cut);
}

static void nothing_is_read_before_r_has_started(void **state)
{
	struct lt_r_call calls[2];

	world_create(40202);
	world.global_context = NULL;
	assert_int_equal(walk(calls, 2), 0);
	world_create(40202);
	world.node_stack_end = NULL;
	assert_int_equal(walk(calls, 2), 0);
	world_create(40202);
	world.nil = NULL;
	assert_int_equal(walk(calls, 2), 0);
	world_create(40202);
	assert_int_equal(walk(calls, 2), 0); /* only the outermost context */
	assert_null(lt_r_note());
}

/* An image of one version read by the layout of another: never believed. */
static void wrong_layouts_switch_r_stacks_off(void **state)
{
	static const uint32_t pairs[][2] = { { 30600, 40202 }, { 30600, 40501 }, { 40202, 30600 },
		                             { 40202, 40501 }, { 40501, 30600 }, { 40501, 40202 } };

	for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
		struct contexts c = { .pushed = 0 };
		struct lt_r_call calls[4];

		world_create(pairs[i][0]);
		node function = new_closure(world.global);
		push(&c, RETURN, new_call("a"), function);
		push(&c, RETURN, new_call("b"), function);
		lt_r.layout = lt_r_layout_of(pairs[i][1]);
		assert_int_equal(walk(calls, 4), 0);
		assert_non_null(lt_r_note());
		assert_null(lt_r.layout);
		assert_int_equal(walk(calls, 4), 0);
	}
}

/* Damages one field of the innermost of two contexts and expects the end of R stacks. */
static void expect_off(unsigned offset, const void *value)
{
	struct contexts c = { .pushed = 0 };
	struct lt_r_call calls[4];

	push(&c, RETURN, new_call("a"), new_closure(world.global));
	char *inner = push(&c, RETURN, new_call("b"), new_closure(world.global));
	put_pointer(inner, offset, value);
	assert_int_equal(walk(calls, 4), 0);
	assert_non_null(lt_r_note());
}

static void damaged_contexts_switch_r_stacks_off(void **state)
{
	for_each_version (version) {
		const struct lt_r_layout *l = lt_r_layout_of(version);

		world_create(version);
		expect_off(l->call, (void *)0x10000); /* not mapped */
		world_create(version);
		expect_off(l->call, (void *)0x7f0000000001); /* not aligned */
		world_create(version);
		expect_off(l->call, new_string("x"));
		world_create(version);
		expect_off(l->callfun, new_symbol("x"));
		world_create(version);
		expect_off(l->callfun, NULL);
		world_create(version);
		expect_off(l->cloenv, world.nil);
		world_create(version);
		expect_off(l->callflag, (void *)0x12340000);
		world_create(version);
		expect_off(l->nodestack, world.nil);
		world_create(version);
		expect_off(0, (void *)0x10000);
		world_create(version);
		expect_off(0, &calls_are_named_innermost_first);
	}
}

static void a_loop_of_contexts_ends(void **state)
{
	struct contexts c = { .pushed = 0 };
	struct lt_r_call calls[100];

	world_create(40202);
	char *outer = push(&c, RETURN, new_call("a"), new_closure(world.global));
	put_pointer(outer, 0, push(&c, RETURN, new_call("b"), new_closure(world.global)));
	assert_int_equal(walk(calls, 100), 0);
	assert_non_null(lt_r_note());
}

static void strange_objects_are_left_unnamed(void **state)
{
	struct contexts c = { .pushed = 0 };
	struct lt_r_call calls[4];

	world_create(40202);
	node function = new_closure(world.global);
	/* ALTREP srcref; filename bound to an unboxed number; an endless chain of heads */
	node alternative = new_srcref(5, "a.R", 1), unboxed = new_srcref(6, "b.R", 0), head = new_call("x");
	alternative->info |= 1 << 7;
	((node)((node)((node)unboxed->attributes)->list.car)->environment.frame)->info |= (uint64_t)14 << 48;
	head->list.car = head;
	put_pointer(push(&c, RETURN, new_call("a"), function), world.layout->srcref, alternative);
	put_pointer(push(&c, RETURN, new_call("b"), function), world.layout->srcref, unboxed);
	push(&c, RETURN, head, function);
	push(&c, RETURN, world.nil, function);

	assert_int_equal(walk(calls, 4), 4);
	assert_string_equal(calls[0].call, "<anonymous>");
	assert_string_equal(calls[1].call, "<anonymous>");
	assert_int_equal(calls[2].line, 6);
	assert_null(calls[2].file);
	assert_int_equal(calls[3].line, 0);
	assert_null(lt_r_note());
}

static void trusted_walks_find_the_same(void **state)
{
	for_each_version (version) {
		struct contexts c = { .pushed = 0 };
		struct lt_r_call calls[4];

		world_create(version);
		put_pointer(push(&c, RETURN, new_call("a"), new_closure(new_package("stats", 1))), world.layout->srcref,
		            new_srcref(3, "t.R", 1));
		for (int i = 0; i < 1000; i++) {
			assert_int_equal(walk(calls, 4), 1);
			assert_string_equal(calls[0].call, "a");
			assert_string_equal(calls[0].namespace, "stats");
			assert_string_equal(calls[0].file, "t.R");
		}
		assert_int_equal(lt_r.probation, 0);
	}
}

static void *walk_in_thread(void *argument)
{
	struct lt_r_call calls[4];
	bool cut;

	*(unsigned *)argument = lt_r_calls(calls, 4, &cut);
	return NULL;
}

static void other_threads_have_no_r_calls(void **state)
{
	struct contexts c = { .pushed = 0 };
	struct lt_r_call calls[4];
	unsigned found = 99;
	pthread_t thread;

	world_create(40202);
	push(&c, RETURN, new_call("a"), new_closure(world.global));
	assert_int_equal(pthread_create(&thread, NULL, walk_in_thread, &found), 0);
	pthread_join(thread, NULL);
	assert_int_equal(found, 0);
	assert_null(lt_r_note());
	assert_int_equal(walk(calls, 4), 1);
}

static __attribute__((noinline)) void leave_a_context_behind(void)
{
	char memory[WORLD_CONTEXT] __attribute__((aligned(16)));

	push_at(memory, RETURN, new_call("gone"), new_closure(world.global));
	__asm__ volatile("" ::"r"(memory) : "memory");
}

static void a_context_below_the_stack_is_not_read(void **state)
{
	struct lt_r_call calls[4];

	world_create(40202);
	leave_a_context_behind();
	world.global_context -= 4096; /* surely below the walk's own frame */
	assert_int_equal(walk(calls, 4), 0);
	assert_null(lt_r_note());
	for (int i = 0; i < 1000; i++)
		walk(calls, 4);
	assert_non_null(lt_r_note());
}

int main(void)
{
	if (!lt_r_layout_of(40202))
		return 77; /* not a CPU that has layouts */

	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_are_named_innermost_first),
		cmocka_unit_test(namespaces_come_from_the_registry),
		cmocka_unit_test(lines_come_from_srcrefs),
		cmocka_unit_test(lines_come_from_byte_code),
		cmocka_unit_test(position_kept_in_the_context_wins),
		cmocka_unit_test(contexts_on_the_interpreters_stack_are_walked),
		cmocka_unit_test(deep_stacks_are_cut_and_say_so),
		cmocka_unit_test(nothing_is_read_before_r_has_started),
		cmocka_unit_test(wrong_layouts_switch_r_stacks_off),
		cmocka_unit_test(damaged_contexts_switch_r_stacks_off),
		cmocka_unit_test(a_loop_of_contexts_ends),
		cmocka_unit_test(strange_objects_are_left_unnamed),
		cmocka_unit_test(trusted_walks_find_the_same),
		cmocka_unit_test(other_threads_have_no_r_calls),
		cmocka_unit_test(a_context_below_the_stack_is_not_read),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	free(world.node_stack);
	return failed;
}
