/* SPDX-License-Identifier: MIT
 *
 * What of R's heap is garbage, on a heap made here: pages, lists of large vectors and roots as R has them.
 */
#include "r_world.h"

#include <errno.h>

#include "r/nodes.h"

enum { PAIRLIST_NUMBER = 14 };

/* R's data: what the collector finds R_GenHeap in, and roots. */
static struct {
	uintptr_t before[3];
	struct lt_r_class classes[LT_R_CLASSES];
	node roots[8];
} data;
static node protected_nodes[4];
static const struct lt_r_node *const *protect_stack = (void *)protected_nodes;
static int protect_top;
static const char *node_stack_top;
static struct contexts contexts;
static struct lt_r_collection collection;

static node peg(const char *at)
{
	return (node)(uintptr_t)at;
}

static void link_before(node n, node next)
{
	node previous = (node)next->gc_previous;

	n->gc_next = next;
	n->gc_previous = previous;
	previous->gc_next = n;
	next->gc_previous = n;
}

static void make_class(struct lt_r_class *class)
{
	memset(class, 0, sizeof(*class));
	class->old[0] = peg(class->old_pegs[0]);
	class->old[1] = peg(class->old_pegs[1]);
	class->new = class->free = peg(class->new_peg);
	class->old_to_new[0] = peg(class->old_to_new_pegs[0]);
	class->old_to_new[1] = peg(class->old_to_new_pegs[1]);
	node pegs[] = { (node)class->old[0], (node)class->old[1], (node)class->new, (node)class->old_to_new[0],
		        (node)class->old_to_new[1] };
	for (unsigned i = 0; i < 5; i++)
		pegs[i]->gc_next = pegs[i]->gc_previous = pegs[i];
}

static void add_page(unsigned number)
{
	struct lt_r_class *class = &data.classes[number];
	struct lt_r_page *page = calloc(1, LT_R_PAGE);

	page->next = class->pages;
	class->pages = page;
	class->page_count++;
	class->allocated += (int)((LT_R_PAGE - sizeof(*page)) / lt_r_node_size(number));
}

/* The i-th node of a class's first page. */
static node place(unsigned number, unsigned i)
{
	return (node)((char *)(uintptr_t)(data.classes[number].pages + 1) + i * lt_r_node_size(number));
}

static unsigned used[LT_R_SMALL_CLASSES];

static node new_small(unsigned class, enum lt_r_type type)
{
	node n = place(class, used[class]++);

	n->info = (uint64_t)type | (uint64_t)class << 29;
	n->attributes = n->list.car = n->list.cdr = n->list.tag = world.nil;
	return n;
}

static node small_cell(node car, node cdr)
{
	node n = new_small(0, LT_R_PAIRLIST);

	n->list.car = car;
	n->list.cdr = cdr;
	return n;
}

static node new_external(const void *address)
{
	node n = new_small(0, LT_R_EXTERNAL_POINTER);

	n->list.car = address;
	return n;
}

static node new_weak(node key, node value, node finalizer, node next)
{
	node n = new_small(3, LT_R_WEAK_REFERENCE);

	n->vector.length = 4;
	set_element(n, 0, key);
	set_element(n, 1, value);
	set_element(n, 2, finalizer);
	set_element(n, 3, next);
	return n;
}

static node new_large(enum lt_r_type type, int64_t length)
{
	node n = calloc(1, LT_R_VECTOR_DATA + (size_t)length * 8);

	n->info = (uint64_t)type | (uint64_t)LT_R_LARGE_CLASS << 29;
	n->attributes = world.nil;
	n->vector.length = length;
	for (int64_t i = 0; i < length; i++)
		set_element(n, i, world.nil);
	data.classes[LT_R_LARGE_CLASS].allocated++;
	link_before(n, (node)data.classes[LT_R_LARGE_CLASS].new);
	return n;
}

static void create(uint32_t version)
{
	world_create(version);
	memset(&data, 0, sizeof(data));
	memset(used, 0, sizeof(used));
	memset(protected_nodes, 0, sizeof(protected_nodes));
	memset(&contexts, 0, sizeof(contexts));
	memset(&collection, 0, sizeof(collection));
	protect_top = 0;
	for (unsigned i = 0; i < LT_R_CLASSES; i++)
		make_class(&data.classes[i]);
	for (unsigned i = 0; i < LT_R_SMALL_CLASSES; i++)
		add_page(i);
	world.nil = place(0, used[0]++);
	world.nil->info = LT_R_NIL;
	world.nil->attributes = world.nil->list.car = world.nil->list.cdr = world.nil->list.tag = world.nil;
	node_stack_top = world.node_stack_end - world.layout->node_stack;
	lt_r.present = true;
	lt_r.object.data[0].start = (uintptr_t)&data;
	lt_r.object.data[0].end = (uintptr_t)(&data + 1);
	lt_r.object.data_count = 1;
	lt_r.variables_object = lt_r.object;
	lt_r.protect_stack = &protect_stack;
	lt_r.protect_top = &protect_top;
	lt_r.node_stack_top = &node_stack_top;
}

static int set_up(void **state)
{
	create(40202);
	return 0;
}

static int tear_down(void **state)
{
	lt_r_collect_end(&collection);
	for (unsigned i = 0; i < LT_R_SMALL_CLASSES; i++)
		for (const struct lt_r_page *page = data.classes[i].pages, *next; page; page = next) {
			next = page->next;
			free((void *)(uintptr_t)page);
		}
	node head = (node)data.classes[LT_R_LARGE_CLASS].new;
	for (node n = (node)head->gc_next, next; n != head; n = next) {
		next = (node)n->gc_next;
		free(n);
	}
	lt_r_reset();
	return 0;
}

static void collect(void)
{
	assert_int_equal(lt_r_collect(&collection), 0);
	assert_null(collection.note);
}

static bool is_live(node n)
{
	return lt_r_heap_marked(lt_r_heap(), (uintptr_t)n);
}

static bool is_in(const struct lt_r_ranges *ranges, const void *word)
{
	for (size_t i = 0; i < ranges->count; i++)
		if ((uintptr_t)word >= ranges->all[i].low && (uintptr_t)word < ranges->all[i].high)
			return true;
	return false;
}

static void what_data_points_to_is_live(void **state)
{
	node inner = new_external("x"), lost = new_external("y"), list = small_cell(inner, world.nil);

	data.roots[0] = list;
	collect();
	assert_true(is_live(list) && is_live(inner) && is_live(world.nil) && !is_live(lost));
	assert_true(is_in(&collection.live, &inner->list.car));
	assert_false(is_in(&collection.live, &lost->list.car) || is_in(&collection.garbage, &lost->list.car));
	assert_int_equal(collection.strange, 0);
}

static void stacks_are_roots_up_to_their_tops(void **state)
{
	node below = small_cell(world.nil, world.nil), above = small_cell(world.nil, world.nil);
	node on_bytes = small_cell(world.nil, world.nil), off_bytes = small_cell(world.nil, world.nil);
	node *slots = (node *)(uintptr_t)node_stack_top;

	protected_nodes[0] = below;
	protected_nodes[1] = above;
	protect_top = 1;
	slots[1] = on_bytes;
	slots[3] = off_bytes;
	node_stack_top += 16;
	collect();
	assert_true(is_live(below) && is_live(on_bytes) && !is_live(above) && !is_live(off_bytes));
}

static void contexts_of_all_versions_are_roots(void **state)
{
	static const uint32_t versions[] = { 30603, 40005, 40103, 40202, 40303, 40402, 40500 };

	for (unsigned i = 0; i < sizeof(versions) / sizeof(*versions); i++) {
		tear_down(state);
		create(versions[i]);
		node call = new_small(0, LT_R_CALL), environment = new_small(0, LT_R_ENVIRONMENT);
		node function = new_small(0, LT_R_CLOSURE), inner = new_external("x");

		function->closure.environment = environment;
		environment->environment.frame = small_cell(inner, world.nil);
		push(&contexts, 12, call, function);
		collect();
		assert_true(is_live(call) && is_live(function) && is_live(environment) && is_live(inner));
	}
}

static void a_stopped_threads_stack_is_a_root_when_asked(void **state)
{
	node kept = new_external("x");
	node volatile local[2] = { kept, kept };

	collect();
	assert_false(is_live(kept));
	lt_r_collect_end(&collection);
	collection.stack = (uintptr_t)local;
	collect();
	assert_true(is_live(kept));
	assert_ptr_equal(local[0], local[1]);
}

static void symbols_are_live(void **state)
{
	node symbol = new_small(0, LT_R_SYMBOL), value = new_external("x");

	symbol->list.cdr = value;
	collect();
	assert_true(is_live(symbol) && is_live(value));
}

static void children_by_type(void **state)
{
	node vector = new_large(LT_R_LIST, 100), strings = new_large(LT_R_STRINGS, 100), numbers = new_large(LT_R_DOUBLE, 100);
	node inner = new_external("x"), text = new_small(1, LT_R_CHARS), other_text = new_small(1, LT_R_CHARS);
	node lost = new_external("y"), attribute = small_cell(world.nil, world.nil), code = new_small(0, LT_R_BYTE_CODE);

	set_element(vector, 99, inner);
	set_element(strings, 0, text);
	text->attributes = other_text; /* a chain of R_StringHash */
	set_element(numbers, 0, lost);
	numbers->attributes = attribute;
	code->list.cdr = vector;
	data.roots[0] = code;
	data.roots[1] = strings;
	data.roots[2] = numbers;
	collect();
	assert_true(is_live(vector) && is_live(inner) && is_live(text) && is_live(attribute));
	assert_false(is_live(other_text) || is_live(lost));
}

static void a_bindings_number_is_no_pointer(void **state)
{
	node inner = new_external("x"), binding = small_cell(inner, world.nil), alternative = new_small(0, LT_R_INTEGER);
	node held = new_external("y");

	binding->info |= (uint64_t)PAIRLIST_NUMBER << 48;
	alternative->info |= 1 << 7;
	alternative->list.cdr = held;
	data.roots[0] = binding;
	data.roots[1] = alternative;
	collect();
	assert_true(is_live(binding) && !is_live(inner) && is_live(held));
}

static void raw_bytes_may_point(void **state)
{
	node raw = new_large(LT_R_RAW, 100);

	data.roots[0] = raw;
	collect();
	assert_int_equal(collection.live.count, 1);
	assert_int_equal(collection.live.all[0].low, (uintptr_t)raw + LT_R_VECTOR_DATA);
	assert_int_equal(collection.live.all[0].high, (uintptr_t)raw + LT_R_VECTOR_DATA + 96);
}

static void the_table_of_strings_keeps_none(void **state)
{
	node table = new_large(LT_R_LIST, 100), text = new_small(1, LT_R_CHARS);

	set_element(table, 40, text);
	data.roots[0] = table;
	collect();
	assert_true(is_live(table) && !is_live(text));
}

static void weak_references_of_live_keys_keep_what_they_hold(void **state)
{
	node key = new_external("k"), value = new_external("v"), finalizer = new_small(0, LT_R_CLOSURE);
	node inner = new_external("i"), second_value = new_external("w");
	/* the first's value is the second's key; listed before it */
	node second = new_weak(value, second_value, finalizer, world.nil);

	finalizer->closure.environment = inner;
	data.roots[0] = key;
	data.roots[1] = new_weak(key, value, world.nil, second);
	set_element(data.roots[1], 3, second);
	collect();
	assert_true(is_live(value) && is_live(second_value) && is_live(finalizer) && is_live(inner));
	assert_int_equal(collection.pending, 0);
	assert_int_equal(collection.garbage.count, 0);
}

static void dead_keys_with_finalizers_are_the_second_class(void **state)
{
	node key = new_external("k"), inner = new_external("i"), plain = new_external("p"), finalizer = new_small(0, LT_R_CLOSURE);
	node live = new_external("l");
	node without = new_weak(plain, world.nil, world.nil, world.nil);

	key->list.cdr = inner; /* protected by it */
	inner->list.cdr = live;
	data.roots[0] = live;
	data.roots[1] = new_weak(key, world.nil, finalizer, without);
	collect();
	assert_int_equal(collection.pending, 1);
	assert_int_equal(collection.live.count, 1);
	assert_int_equal(collection.garbage.count, 2);
	assert_true(is_in(&collection.live, &live->list.car) && is_in(&collection.garbage, &key->list.car));
	assert_true(is_in(&collection.garbage, &inner->list.car));
}

static size_t block_at(uintptr_t address, void *arg)
{
	const uintptr_t *blocks = arg;

	for (unsigned i = 0; i < 2; i++)
		if (blocks[i] == address)
			return 64;
	return 0;
}

static void devices_are_found_through_blocks(void **state)
{
	node list[8] = { 0 }, event[8] = { 0 };
	uintptr_t blocks[2] = { (uintptr_t)list, (uintptr_t)event };

	list[0] = (node)event;
	list[2] = new_external("x");
	event[7] = new_external("y");
	data.roots[0] = (node)list;
	collection.block = block_at;
	collection.arg = blocks;
	collect();
	assert_true(is_live(list[2]) && is_live(event[7]));
}

static void pages_and_vectors_are_rs(void **state)
{
	node vector = new_large(LT_R_DOUBLE, 100);

	collect();
	assert_true(lt_r_owns((uintptr_t)vector, 848) && lt_r_owns((uintptr_t)data.classes[2].pages, LT_R_PAGE));
	assert_true(lt_r_owns((uintptr_t)vector - 32, 880));
	assert_false(lt_r_owns((uintptr_t)world.node_stack, 4096) || lt_r_owns((uintptr_t)place(2, 3) + 4, 64));
	assert_false(lt_r_owns((uintptr_t)vector - 32, 24)); /* its neighbour */
	lt_r_collect_end(&collection);
	assert_false(lt_r_owns((uintptr_t)vector, 848));
}

static void changing_lists_are_refused(void **state)
{
	data.classes[LT_R_LARGE_CLASS].allocated++;
	assert_int_equal(lt_r_collect(&collection), -EBUSY);
	assert_non_null(collection.note);
	data.classes[LT_R_LARGE_CLASS].allocated--;
	data.classes[2].allocated--;
	assert_int_equal(lt_r_collect(&collection), -EBUSY);
	data.classes[2].allocated++;
	data.classes[1].page_count++;
	assert_int_equal(lt_r_collect(&collection), -EBUSY);
	data.classes[1].page_count--;
	collect();
}

static void another_heap_is_refused(void **state)
{
	data.classes[4].new = data.classes[4].old[0];
	assert_int_equal(lt_r_collect(&collection), -ENOTSUP);
	data.classes[4].new = peg(data.classes[4].new_peg);
	lt_r.layout = NULL;
	assert_int_equal(lt_r_collect(&collection), -ENOTSUP);
	lt_r.present = false;
	assert_int_equal(lt_r_collect(&collection), -ENODATA);
}

static void pointers_to_no_nodes_are_refused_in_number(void **state)
{
	node vector = new_large(LT_R_LIST, 100), lying = new_small(2, LT_R_LIST);

	lying->vector.length = 1000;
	data.roots[0] = lying;
	for (unsigned i = 0; i < 130; i++)
		data.roots[1] = small_cell(world.nil, i ? data.roots[1] : world.nil);
	collect();
	assert_int_equal(collection.strange, 1);
	lt_r_collect_end(&collection);
	for (int64_t i = 0; i < 100; i++)
		set_element(vector, i, (node)(uintptr_t)((uintptr_t)vector + 16));
	data.roots[2] = vector;
	assert_int_equal(lt_r_collect(&collection), -EUCLEAN);
	assert_int_equal(collection.live.count, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_data_points_to_is_live),
		TEST(stacks_are_roots_up_to_their_tops),
		TEST(contexts_of_all_versions_are_roots),
		TEST(a_stopped_threads_stack_is_a_root_when_asked),
		TEST(symbols_are_live),
		TEST(children_by_type),
		TEST(a_bindings_number_is_no_pointer),
		TEST(raw_bytes_may_point),
		TEST(the_table_of_strings_keeps_none),
		TEST(weak_references_of_live_keys_keep_what_they_hold),
		TEST(dead_keys_with_finalizers_are_the_second_class),
		TEST(devices_are_found_through_blocks),
		TEST(pages_and_vectors_are_rs),
		TEST(changing_lists_are_refused),
		TEST(another_heap_is_refused),
		TEST(pointers_to_no_nodes_are_refused_in_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
