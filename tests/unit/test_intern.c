/* SPDX-License-Identifier: MIT
 *
 * Interning of stacks, strings and sites, and what of it stands in the file.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tracer.h"

/* Return addresses that lie in no module: their offsets are the addresses. */
#define PC(n) ((uintptr_t)0x1000 + 16 * (uintptr_t)(n))

static const struct lt_r_call outer = { .call = "outer" }, inner = { .call = "inner", .namespace = "pkg" };

static void same_stack_has_the_same_node(void **state)
{
	const uintptr_t pcs[] = { PC(1), PC(2), PC(3) };
	uint32_t node = lt_intern_native(pcs, 3);

	assert_int_not_equal(node, 0);
	assert_int_equal(lt_intern_native(pcs, 3), node);
}

static void stacks_that_differ_in_one_frame_have_different_nodes(void **state)
{
	uint32_t nodes[4];

	for (unsigned i = 0; i < 4; i++) { /* 3: none differs */
		uintptr_t pcs[] = { PC(1), PC(2), PC(3) };

		if (i < 3)
			pcs[i] = PC(9);
		nodes[i] = lt_intern_native(pcs, 3);
		assert_int_not_equal(nodes[i], 0);
		for (unsigned j = 0; j < i; j++)
			assert_int_not_equal(nodes[j], nodes[i]);
	}
}

static void empty_stack_is_the_root(void **state)
{
	assert_int_equal(lt_intern_native(NULL, 0), 0);
	assert_int_equal(lt_intern_r(NULL, 0), 0);
}

static void stacks_share_the_nodes_of_their_outer_frames(void **state)
{
	const uintptr_t one[] = { PC(1), PC(2), PC(3) }, other[] = { PC(4), PC(2), PC(3) };
	uint32_t a = lt_intern_native(one, 3), b = lt_intern_native(other, 3), shared = lt_intern_native(one + 1, 2);
	struct view view = view_of(*state);
	const struct leaktrace_frame *frame_a = view_record(&view, LEAKTRACE_CHUNK_FRAMES, a),
	                             *frame_b = view_record(&view, LEAKTRACE_CHUNK_FRAMES, b);

	assert_int_equal(frame_a->parent, shared);
	assert_int_equal(frame_b->parent, shared);
	assert_int_equal(view_count(&view, LEAKTRACE_CHUNK_FRAMES), 4);
	view_free(&view);
}

static void file_holds_the_stack_innermost_to_root(void **state)
{
	const uintptr_t pcs[] = { PC(1), PC(2), PC(3), PC(2) }; /* recursion is no loop */
	uint32_t node = lt_intern_native(pcs, 4);
	struct view view = view_of(*state);

	for (unsigned i = 0; i < 4; i++) {
		const struct leaktrace_frame *frame = view_record(&view, LEAKTRACE_CHUNK_FRAMES, node);

		assert_non_null(frame);
		assert_int_equal(frame->offset, pcs[i]);
		assert_int_equal(frame->module, 0);
		assert_true(frame->parent < node);
		node = frame->parent;
	}
	assert_int_equal(node, 0);
	view_free(&view);
}

static void frame_of_a_module_has_its_offset(void **state)
{
	uintptr_t pc = (uintptr_t)&frame_of_a_module_has_its_offset;
	uint64_t offset;
	uint32_t node = lt_intern_native(&pc, 1), module = lt_modules_find(pc, &offset);
	struct view view = view_of(*state);
	const struct leaktrace_frame *frame = view_record(&view, LEAKTRACE_CHUNK_FRAMES, node);

	assert_int_not_equal(module, 0);
	assert_int_equal(frame->module, module);
	assert_int_equal(frame->offset, offset);
	view_free(&view);
}

static void flush_keeps_the_numbers(void **state)
{
	const uintptr_t pcs[] = { PC(1), (uintptr_t)&flush_keeps_the_numbers };
	uint32_t node = lt_intern_native(pcs, 2);

	lt_intern_flush();
	assert_int_equal(lt_intern_native(pcs, 2), node);
}

static void equal_bytes_are_one_string(void **state)
{
	char copy[] = "some bytes";
	uint32_t reference = lt_intern_string("some bytes", 10);
	struct view view;

	assert_int_not_equal(reference, 0);
	assert_int_equal(lt_intern_string(copy, 10), reference);
	assert_int_not_equal(lt_intern_string("some bytez", 10), reference);
	assert_int_not_equal(lt_intern_string("some bytes", 9), reference);
	view = view_of(*state);
	const struct leaktrace_string *string = view_string(&view, reference);
	assert_non_null(string);
	assert_int_equal(string->length, 10);
	assert_memory_equal(string->bytes, "some bytes", 11);
	view_free(&view);
}

static void bytes_behind_a_nul_count(void **state)
{
	assert_int_not_equal(lt_intern_string("a\0b", 3), lt_intern_string("a\0c", 3));
	assert_int_not_equal(lt_intern_string("a\0b", 3), lt_intern_string("a", 1));
	assert_int_not_equal(lt_intern_string("\0", 1), lt_intern_string("\0", 2));
}

static void empty_string_is_none(void **state)
{
	assert_int_equal(lt_intern_string("", 0), 0);
	assert_int_equal(lt_intern_string(NULL, 0), 0);
}

static void same_r_calls_have_the_same_node(void **state)
{
	const struct lt_r_call calls[] = { inner, outer };
	uint32_t node = lt_intern_r(calls, 2);

	assert_int_not_equal(node, 0);
	assert_int_equal(lt_intern_r(calls, 2), node);
	assert_int_not_equal(lt_intern_r(calls, 1), node);
}

static void r_calls_differ_by_name_namespace_file_and_line(void **state)
{
	const struct lt_r_call calls[] = {
		{ .call = "f" },
		{ .call = "g" },
		{ .call = "f", .namespace = "pkg" },
		{ .call = "f", .file = "a.R", .line = 1 },
		{ .call = "f", .file = "a.R", .line = 2 },
		{ .call = "f", .file = "b.R", .line = 1 },
		{ .call = "f", .line = 1 },
	};
	enum { N = sizeof calls / sizeof *calls };
	uint32_t nodes[N];

	for (unsigned i = 0; i < N; i++) {
		nodes[i] = lt_intern_r(&calls[i], 1);
		assert_int_not_equal(nodes[i], 0);
		for (unsigned j = 0; j < i; j++)
			assert_int_not_equal(nodes[j], nodes[i]);
	}
}

static void file_of_an_r_call_counts_by_its_bytes(void **state)
{
	char one[] = "job.R", other[] = "job.R";
	struct lt_r_call a = { .call = "f", .file = one, .line = 3 }, b = a;

	b.file = other;
	assert_int_equal(lt_intern_r(&a, 1), lt_intern_r(&b, 1));
}

/* A reader would take it for damage. */
static void long_name_of_an_r_call_is_cut(void **state)
{
	char name[LEAKTRACE_NAME_MAX + 10];
	struct lt_r_call call = { .call = name, .namespace = name, .file = name };

	memset(name, 'x', sizeof name - 1);
	name[sizeof name - 1] = '\0';
	uint32_t node = lt_intern_r(&call, 1);
	struct view view = view_of(*state);
	const struct leaktrace_rframe *frame = view_record(&view, LEAKTRACE_CHUNK_RFRAMES, node);

	assert_int_equal(view_string(&view, frame->call)->length, LEAKTRACE_NAME_MAX);
	assert_int_equal(view_string(&view, frame->namespace)->length, LEAKTRACE_NAME_MAX);
	assert_int_equal(view_string(&view, frame->file)->length, LEAKTRACE_NAME_MAX);
}

static void file_holds_the_r_stack(void **state)
{
	const struct lt_r_call calls[] = { { .call = "f", .namespace = "pkg", .file = "f.R", .line = 7 }, outer };
	uint32_t node = lt_intern_r(calls, 2);
	struct view view = view_of(*state);
	const struct leaktrace_rframe *frame = view_record(&view, LEAKTRACE_CHUNK_RFRAMES, node), *parent;

	assert_non_null(frame);
	assert_string_equal(view_string(&view, frame->call)->bytes, "f");
	assert_string_equal(view_string(&view, frame->namespace)->bytes, "pkg");
	assert_string_equal(view_string(&view, frame->file)->bytes, "f.R");
	assert_int_equal(frame->line, 7);
	parent = view_record(&view, LEAKTRACE_CHUNK_RFRAMES, frame->parent);
	assert_string_equal(view_string(&view, parent->call)->bytes, "outer");
	assert_int_equal(parent->namespace, 0);
	assert_int_equal(parent->parent, 0);
	view_free(&view);
}

static void r_frames_distinguish_sites(void **state)
{
	uintptr_t pc = PC(1);
	uint32_t native = lt_intern_native(&pc, 1), r = lt_intern_r(&inner, 1);
	uint32_t without = lt_intern_site(native, 0, 0, 0), with = lt_intern_site(native, r, 0, 0);

	assert_int_not_equal(without, 0);
	assert_int_not_equal(with, 0);
	assert_int_not_equal(with, without);
	assert_int_equal(lt_intern_site(native, r, 0, 0), with);
	assert_int_equal(lt_intern_site(native, 0, 0, 0), without);
}

static void site_keeps_its_stacks_and_its_first_flags(void **state)
{
	uint32_t id = lt_intern_site(5, 6, 0, LEAKTRACE_SITE_CUT);
	struct leaktrace_site *site = lt_site(id);

	assert_non_null(site);
	assert_int_equal(site->id, id);
	assert_int_equal(site->native, 5);
	assert_int_equal(site->r, 6);
	assert_int_equal(site->flags, LEAKTRACE_SITE_CUT);
	assert_int_equal(lt_intern_site(5, 6, 0, LEAKTRACE_SITE_R_HEAP), id);
	assert_int_equal(site->flags, LEAKTRACE_SITE_CUT);
}

static void sites_number_on_and_stand_in_the_file(void **state)
{
	uint32_t first = lt_site_next();

	for (uint32_t i = 0; i < 2000; i++)
		assert_int_equal(lt_intern_site(i + 1, 0, 0, 0), first + i);
	assert_int_equal(lt_site_next(), first + 2000);
	for (uint32_t i = 0; i < 2000; i++)
		assert_int_equal(lt_site(first + i)->native, i + 1);
	lt_site(first + 1234)->allocations = 99;
	struct view view = view_of(*state);
	const struct leaktrace_site *site = view_record(&view, LEAKTRACE_CHUNK_SITES, first + 1234);
	assert_int_equal(view_count(&view, LEAKTRACE_CHUNK_SITES), 2000);
	assert_int_equal(site->id, first + 1234);
	assert_int_equal(site->allocations, 99);
	view_free(&view);
}

static void what_is_no_site_of_this_image_has_no_record(void **state)
{
	uint32_t id = lt_intern_site(5, 6, 0, 0);

	assert_null(lt_site(0));
	assert_null(lt_site(id + 1));
	assert_null(lt_site(id + 1000000));
	assert_null(lt_site(UINT32_MAX));
	lt_intern_fork_child(false);
	assert_null(lt_site(id));
}

static void fork_child_numbers_sites_on_and_nodes_anew(void **state)
{
	struct tracer *tracer = *state;
	const uintptr_t pcs[] = { PC(1), PC(2) };
	uint32_t id = lt_intern_site(lt_intern_native(pcs, 2), 0, 0, 0);

	tracer_end(tracer);
	tracer_start(tracer, MAX_SIZE);
	assert_int_equal(lt_site_first(), id + 1);
	assert_int_equal(lt_intern_native(pcs, 2), 2);
	assert_int_equal(lt_intern_site(2, 0, 0, 0), id + 1);
	struct view view = view_of(tracer);
	assert_int_equal(view_count(&view, LEAKTRACE_CHUNK_FRAMES), 2);
	assert_int_equal(view_count(&view, LEAKTRACE_CHUNK_SITES), 1);
	view_free(&view);
}

static void full_dump_refuses_the_new_and_knows_the_old(void **state)
{
	const uintptr_t known[] = { PC(1), PC(2) };
	uint32_t native = lt_intern_native(known, 2), r = lt_intern_r(&inner, 1), site = lt_intern_site(native, r, 0, 0);
	uint32_t string = lt_intern_string("known", 5), i;
	uintptr_t pc = PC(100);

	tracer_fill();
	for (i = 0; i < 1000000 && lt_intern_native(&pc, 1); i++) /* what is left of their chunks */
		pc += 16;
	assert_true(i < 1000000);
	for (i = 0; i < 1000000 && lt_intern_site(native, 1000 + i, 0, 0); i++)
		;
	assert_true(i < 1000000);
	char name[16];
	do
		snprintf(name, sizeof name, "%x", i++);
	while (i < 1000000 && lt_intern_string(name, strlen(name)));
	assert_true(i < 1000000);
	uint32_t line = 1;
	for (struct lt_r_call call = { .call = "known" }; line < 1000000; call.line = line++)
		if (!lt_intern_r(&call, 1))
			break;
	assert_true(line < 1000000);

	assert_true(lt_process->flags & LEAKTRACE_PROCESS_FULL);
	assert_int_equal(lt_intern_native(known, 2), native);
	assert_int_equal(lt_intern_r(&inner, 1), r);
	assert_int_equal(lt_intern_site(native, r, 0, 0), site);
	assert_int_equal(lt_intern_string("known", 5), string);

	/* Nor do the tables grow by what is refused. */
	uint64_t bytes = lt_arena_bytes();
	struct lt_r_call call = { .call = "new", .line = 2000000 };
	for (i = 0; i < 20000; i++) {
		const uintptr_t stack[] = { PC(200 + i), pc };
		snprintf(name, sizeof name, "%x", 2000000 + i);
		assert_int_equal(lt_intern_native(stack, 2), 0);
		assert_int_equal(lt_intern_site(native, 2000000 + i, 0, 0), 0);
		assert_int_equal(lt_intern_string(name, strlen(name)), 0);
		call.line++;
		assert_int_equal(lt_intern_r(&call, 1), 0);
	}
	assert_int_equal(lt_arena_bytes(), bytes);
}

enum { THREADS = 4, STACKS = 3000, DEPTH = 6 };

struct worker {
	pthread_t thread;
	unsigned start;
	uint32_t sites[STACKS];
};

static void *intern_all(void *argument)
{
	struct worker *worker = argument;

	for (unsigned k = 0; k < STACKS; k++) {
		unsigned i = (worker->start + k * 7) % STACKS;
		uintptr_t pcs[DEPTH];
		struct lt_r_call call = { .call = "f", .line = i % 10 };

		for (unsigned d = 0; d < DEPTH; d++)
			pcs[d] = PC(1000 * d + (i >> d));
		worker->sites[i] = lt_intern_site(lt_intern_native(pcs, DEPTH), lt_intern_r(&call, 1), 0, 0);
	}
	return NULL;
}

static void threads_agree_on_the_numbers(void **state)
{
	static struct worker workers[THREADS];
	uint32_t first = lt_site_next();

	for (unsigned t = 0; t < THREADS; t++) {
		workers[t].start = t * STACKS / THREADS;
		assert_int_equal(pthread_create(&workers[t].thread, NULL, intern_all, &workers[t]), 0);
	}
	for (unsigned t = 0; t < THREADS; t++)
		pthread_join(workers[t].thread, NULL);
	for (unsigned t = 0; t < THREADS; t++)
		for (unsigned i = 0; i < STACKS; i++) {
			assert_int_not_equal(workers[t].sites[i], 0);
			assert_int_equal(workers[t].sites[i], workers[0].sites[i]);
		}
	assert_int_equal(lt_site_next() - first, STACKS);
	struct view view = view_of(*state);
	assert_int_equal(view_count(&view, LEAKTRACE_CHUNK_SITES), STACKS);
	assert_int_equal(view_count(&view, LEAKTRACE_CHUNK_RFRAMES), 10);
	view_free(&view);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tracer_set_up, tracer_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(same_stack_has_the_same_node),
		TEST(stacks_that_differ_in_one_frame_have_different_nodes),
		TEST(empty_stack_is_the_root),
		TEST(stacks_share_the_nodes_of_their_outer_frames),
		TEST(file_holds_the_stack_innermost_to_root),
		TEST(frame_of_a_module_has_its_offset),
		TEST(flush_keeps_the_numbers),
		TEST(equal_bytes_are_one_string),
		TEST(bytes_behind_a_nul_count),
		TEST(empty_string_is_none),
		TEST(same_r_calls_have_the_same_node),
		TEST(r_calls_differ_by_name_namespace_file_and_line),
		TEST(file_of_an_r_call_counts_by_its_bytes),
		TEST(long_name_of_an_r_call_is_cut),
		TEST(file_holds_the_r_stack),
		TEST(r_frames_distinguish_sites),
		TEST(site_keeps_its_stacks_and_its_first_flags),
		TEST(sites_number_on_and_stand_in_the_file),
		TEST(what_is_no_site_of_this_image_has_no_record),
		TEST(fork_child_numbers_sites_on_and_nodes_anew),
		TEST(full_dump_refuses_the_new_and_knows_the_old),
		TEST(threads_agree_on_the_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
