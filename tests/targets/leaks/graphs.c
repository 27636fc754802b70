/* SPDX-License-Identifier: MIT
 *
 * Blocks that point to blocks: lists, trees, cycles and cliques, held, lost, or held only by interior pointers.
 */
#include "leaks.h"

struct node {
	struct node *next, *other;
	uintptr_t word[4];
};

static void *volatile slot, *volatile slot2;
static struct node sentinel;

#define NODES(name) \
	MALLOCS(name##_block) \
	static struct node *name(void) { return name##_block(sizeof(struct node)); }

/* A list of `count` nodes; the head. */
static struct node *list_of(struct node *(*make)(void), int count)
{
	struct node *head = NULL;
	while (count--) {
		struct node *node = make();
		node->next = head;
		head = node;
	}
	return head;
}

static struct node *tree_of(struct node *(*make)(void), int depth)
{
	struct node *node = make();
	if (depth) {
		node->next = tree_of(make, depth - 1);
		node->other = tree_of(make, depth - 1);
	}
	return node;
}

static struct node *cycle_of(struct node *(*make)(void), int count)
{
	struct node *head = list_of(make, count), *last = head;
	while (last->next)
		last = last->next;
	last->next = head;
	return head;
}

NODES(list_a)
static void list_held(void)
{
	slot = list_of(list_a, 5);
}

NODES(list_b)
static void list_lost(void)
{
	list_of(list_b, 5);
}

NODES(list_c)
static void list_middle_held(void)
{
	slot = list_of(list_c, 5)->next->next;
}

/* Deep: a marker that recurses would overflow its stack. */
NODES(list_d)
static void list_long_lost(void)
{
	list_of(list_d, 100000);
}

NODES(list_e)
static void list_long_held(void)
{
	slot = list_of(list_e, 100000);
}

/* Ascending addresses: each node's successor is the next block. */
NODES(list_f)
static void list_ascending_lost(void)
{
	struct node *head = list_f(), *last = head;
	for (int i = 0; i < 999; i++)
		last = last->next = list_f();
}

NODES(tree_a)
static void tree_held(void)
{
	slot = tree_of(tree_a, 4);
}

NODES(tree_b)
static void tree_lost(void)
{
	tree_of(tree_b, 4);
}

NODES(tree_c)
static void tree_interior(void)
{
	slot = &tree_of(tree_c, 4)->other;
}

/* As the kernel's lists: the links point to the links. */
MALLOCS(intrusive_node)
static void intrusive_list(void)
{
	struct node *at = &sentinel;
	for (int i = 0; i < 4; i++) {
		struct { uintptr_t payload[2]; struct node links; } *node = intrusive_node(sizeof *node);
		at->next = &node->links;
		at = &node->links;
	}
	at->next = &sentinel;
}

NODES(doubly_a)
static void doubly_linked_lost(void)
{
	struct node *head = list_of(doubly_a, 6);
	for (struct node *node = head; node->next; node = node->next)
		node->next->other = node;
}

NODES(doubly_b)
static void doubly_linked_held_in_middle(void)
{
	struct node *head = list_of(doubly_b, 6);
	for (struct node *node = head; node->next; node = node->next)
		node->next->other = node;
	slot = head->next->next->next;
}

NODES(self_a)
static void self(void)
{
	struct node *node = self_a();
	node->next = node;
}

NODES(self_b)
static void self_interior(void)
{
	struct node *node = self_b();
	node->next = (struct node *)&node->word;
}

NODES(cycle_a)
static void cycle_lost(void)
{
	cycle_of(cycle_a, 3);
}

NODES(cycle_b)
static void cycle_held(void)
{
	slot = cycle_of(cycle_b, 3);
}

NODES(cycle_c)
static void cycle_interior(void)
{
	slot = cycle_of(cycle_c, 3)->word;
}

NODES(cycle_d)
NODES(cycle_d_head)
static void cycle_with_head(void)
{
	cycle_d_head()->next = cycle_of(cycle_d, 4);
}

/* The head is allocated last: a clique is taken up before its head is seen. */
NODES(cycle_e)
NODES(cycle_e_head)
static void cycle_with_late_head(void)
{
	struct node *cycle = cycle_of(cycle_e, 4);
	cycle_e_head()->next = cycle;
}

NODES(clique_a)
NODES(clique_a_head)
static void clique_with_three_heads(void)
{
	struct node *cycle = cycle_of(clique_a, 4);
	for (int i = 0; i < 3; i++, cycle = cycle->next)
		clique_a_head()->next = cycle;
}

NODES(clique_b)
static void two_cliques(void)
{
	cycle_of(clique_b, 3);
	cycle_of(clique_b, 5);
}

NODES(clique_c)
static void clique_leads_to_clique(void)
{
	struct node *second = cycle_of(clique_c, 3), *first = cycle_of(clique_c, 3);
	first->other = second;
}

NODES(chain_a)
static void chain_of_cliques(void)
{
	struct node *before = NULL;
	for (int i = 0; i < 20; i++) {
		struct node *cycle = cycle_of(chain_a, 3);
		cycle->next->other = before;
		before = cycle;
	}
}

NODES(shared_head)
NODES(shared_tail)
static void shared_tail_lost(void)
{
	struct node *tail = list_of(shared_tail, 3);
	for (int i = 0; i < 2; i++)
		shared_head()->next = tail;
}

NODES(diamond_a)
static void diamond(void)
{
	struct node *top = diamond_a(), *left = diamond_a(), *right = diamond_a(), *bottom = diamond_a();
	top->next = left, top->other = right;
	left->next = right->next = bottom;
}

NODES(lost_parent)
NODES(held_child)
static void child_held_elsewhere(void)
{
	slot = lost_parent()->next = held_child();
}

NODES(lost_parent_b)
NODES(interior_child)
static void child_possible_elsewhere(void)
{
	struct node *child = interior_child();
	lost_parent_b()->next = child;
	slot = child->word;
}

NODES(lost_parent_c)
NODES(inside_lost)
NODES(beyond_inside_lost)
static void interior_in_lost(void)
{
	struct node *child = inside_lost();
	lost_parent_c()->next = (struct node *)&child->word;
	child->next = beyond_inside_lost();
}

NODES(reachable_parent)
NODES(interior_of_reachable)
NODES(beyond_interior)
NODES(interior_beyond_interior)
static void possible_spreads(void)
{
	struct node *parent = reachable_parent(), *child = interior_of_reachable(), *grandchild = beyond_interior();
	slot = parent;
	parent->next = (struct node *)&child->other;
	child->next = grandchild;
	grandchild->next = (struct node *)interior_beyond_interior()->word;
}

NODES(possible_parent)
NODES(child_of_both)
NODES(grandchild_of_both)
static void possible_and_held(void)
{
	struct node *parent = possible_parent(), *child = child_of_both();
	parent->next = child;
	child->next = grandchild_of_both();
	slot = parent->word;
	slot2 = child;
}

/* The other way round in memory: the start pointer is seen before the interior one, and after. */
NODES(late_start)
NODES(late_start_child)
static void possible_raised_later(void)
{
	static void *volatile cells[2];
	struct node *parent = late_start();
	parent->next = list_of(late_start_child, 10);
	cells[0] = parent->word;
	cells[1] = parent;
	slot = cells[0];
}

/* Raised by a block that itself is found only late. */
NODES(raised_root)
NODES(raised_path)
NODES(raised)
static void possible_raised_by_heap(void)
{
	static void *volatile cells[2];
	struct node *root = raised_root(), *path = list_of(raised_path, 50), *last = path;
	struct node *goal = list_of(raised, 5);
	cells[0] = goal->word;
	cells[1] = root;
	root->next = path;
	while (last->next)
		last = last->next;
	last->other = goal;
}

NODES(xor_head)
NODES(xor_rest)
static void xor_list(void)
{
	struct node *head = xor_head(), *before = NULL, *node = head;
	for (int i = 0; i < 4; i++) {
		struct node *next = i < 3 ? xor_rest() : NULL;
		node->word[0] = ((uintptr_t)before ^ (uintptr_t)next) ^ 0x7070707070707070;
		before = node;
		node = next;
	}
	slot = head;
}

MALLOCS(table_array)
NODES(table_entry)
static void hash_table(void)
{
	struct node **buckets = table_array(64 * sizeof *buckets);
	for (unsigned i = 0; i < 200; i++) {
		struct node *entry = table_entry();
		entry->next = buckets[i * 7 % 64];
		buckets[i * 7 % 64] = entry;
	}
	slot = buckets;
}

MALLOCS(table_array_lost)
NODES(table_entry_lost)
static void hash_table_lost(void)
{
	struct node **buckets = table_array_lost(64 * sizeof *buckets);
	for (unsigned i = 0; i < 200; i++) {
		struct node *entry = table_entry_lost();
		entry->next = buckets[i * 7 % 64];
		buckets[i * 7 % 64] = entry;
	}
}

NODES(parent_of_nothing)
SITE static void *no_bytes_child(void)
{
	void *block = malloc(0);
	KEEP_FRAME();
	return block;
}

static void no_bytes_in_lost(void)
{
	parent_of_nothing()->next = no_bytes_child();
}

/* The pointer to the child lies in the last bytes of a block whose size is no multiple of a word. */
MALLOCS(odd_parent)
MALLOCS(odd_last_word)
MALLOCS(odd_cut_word)
static void pointer_at_end_of_block(void)
{
	char *parent = odd_parent(44);
	void *child = odd_last_word(61);
	memcpy(parent + 32, &child, sizeof child);
	slot = parent;
	child = odd_cut_word(62); /* only half of it belongs to the block */
	memcpy(parent + 40, &child, 4);
}

/* The middle of a large, reachable block. */
MALLOCS(large_parent)
MALLOCS(in_large_parent)
static void pointer_in_large_block(void)
{
	void **parent = large_parent(8 << 20);
	parent[500000] = in_large_parent(63);
	slot = parent;
}

MALLOCS(aligned_pool)
MALLOCS(freed_node)
static void list_head_freed(void)
{
	struct node *second = aligned_pool(sizeof *second), *first = freed_node(sizeof *first);
	first->next = second;
	slot = first;
	free(first);
}

/* As memcheck has it: blocks are taken up in the order of addresses, so a cycle that is taken up before what leads to it is lost by
 * itself, unless that points to the member which was taken first. */
LEAK_CASES = {
	{ "list_held", list_held, { { "list_a_block", REACHABLE, 5, 240 } } },
	{ "list_lost", list_lost, { { "list_b_block", DEFINITE, 1, 48 }, { "list_b_block", INDIRECT, 4, 192 } } },
	{ "list_middle_held", list_middle_held, { { "list_c_block", DEFINITE, 1, 48 }, { "list_c_block", INDIRECT, 1, 48 },
		{ "list_c_block", REACHABLE, 3, 144 } } },
	{ "list_long_lost", list_long_lost, { { "list_d_block", DEFINITE, 1, 48 }, { "list_d_block", INDIRECT, 99999, 4799952 } } },
	{ "list_long_held", list_long_held, { { "list_e_block", REACHABLE, 100000, 4800000 } } },
	{ "list_ascending_lost", list_ascending_lost, { { "list_f_block", DEFINITE, 1, 48 },
		{ "list_f_block", INDIRECT, 999, 47952 } } },
	{ "tree_held", tree_held, { { "tree_a_block", REACHABLE, 31, 1488 } } },
	{ "tree_lost", tree_lost, { { "tree_b_block", DEFINITE, 1, 48 }, { "tree_b_block", INDIRECT, 30, 1440 } } },
	{ "tree_interior", tree_interior, { { "tree_c_block", POSSIBLE, 31, 1488 } } },
	{ "intrusive_list", intrusive_list, { { "intrusive_node", POSSIBLE, 4, 256 } } },
	{ "doubly_linked_lost", doubly_linked_lost, { { "doubly_a_block", DEFINITE, 1, 48 },
		{ "doubly_a_block", INDIRECT, 5, 240 } } },
	{ "doubly_linked_held_in_middle", doubly_linked_held_in_middle, { { "doubly_b_block", REACHABLE, 6, 288 } } },
	{ "self", self, { { "self_a_block", DEFINITE, 1, 48 } } },
	{ "self_interior", self_interior, { { "self_b_block", DEFINITE, 1, 48 } } },
	{ "cycle_lost", cycle_lost, { { "cycle_a_block", DEFINITE, 1, 48 }, { "cycle_a_block", INDIRECT, 2, 96 } } },
	{ "cycle_held", cycle_held, { { "cycle_b_block", REACHABLE, 3, 144 } } },
	{ "cycle_interior", cycle_interior, { { "cycle_c_block", POSSIBLE, 3, 144 } } },
	{ "cycle_with_head", cycle_with_head, { { "cycle_d_head_block", DEFINITE, 1, 48 },
		{ "cycle_d_block", INDIRECT, 4, 192 } } },
	{ "cycle_with_late_head", cycle_with_late_head, { { "cycle_e_head_block", DEFINITE, 1, 48 },
		{ "cycle_e_block", INDIRECT, 3, 144 }, { "cycle_e_block", DEFINITE, 1, 48 } } },
	{ "clique_with_three_heads", clique_with_three_heads, { { "clique_a_head_block", DEFINITE, 3, 144 },
		{ "clique_a_block", INDIRECT, 3, 144 }, { "clique_a_block", DEFINITE, 1, 48 } } },
	{ "two_cliques", two_cliques, { { "clique_b_block", DEFINITE, 2, 96 }, { "clique_b_block", INDIRECT, 6, 288 } } },
	{ "clique_leads_to_clique", clique_leads_to_clique, { { "clique_c_block", DEFINITE, 2, 96 },
		{ "clique_c_block", INDIRECT, 4, 192 } } },
	{ "chain_of_cliques", chain_of_cliques, { { "chain_a_block", DEFINITE, 20, 960 },
		{ "chain_a_block", INDIRECT, 40, 1920 } } },
	{ "shared_tail_lost", shared_tail_lost, { { "shared_head_block", DEFINITE, 2, 96 },
		{ "shared_tail_block", INDIRECT, 3, 144 } } },
	{ "diamond", diamond, { { "diamond_a_block", DEFINITE, 1, 48 }, { "diamond_a_block", INDIRECT, 3, 144 } } },
	{ "child_held_elsewhere", child_held_elsewhere, { { "lost_parent_block", DEFINITE, 1, 48 },
		{ "held_child_block", REACHABLE, 1, 48 } } },
	{ "child_possible_elsewhere", child_possible_elsewhere, { { "lost_parent_b_block", DEFINITE, 1, 48 },
		{ "interior_child_block", POSSIBLE, 1, 48 } } },
	{ "interior_in_lost", interior_in_lost, { { "lost_parent_c_block", DEFINITE, 1, 48 },
		{ "inside_lost_block", INDIRECT, 1, 48 },
		{ "beyond_inside_lost_block", INDIRECT, 1, 48 } } },
	{ "possible_spreads", possible_spreads, { { "reachable_parent_block", REACHABLE, 1, 48 },
		{ "interior_of_reachable_block", POSSIBLE, 1, 48 }, { "beyond_interior_block", POSSIBLE, 1, 48 },
		{ "interior_beyond_interior_block", POSSIBLE, 1, 48 } } },
	{ "possible_and_held", possible_and_held, { { "possible_parent_block", POSSIBLE, 1, 48 },
		{ "child_of_both_block", REACHABLE, 1, 48 },
		{ "grandchild_of_both_block", REACHABLE, 1, 48 } } },
	{ "possible_raised_later", possible_raised_later, { { "late_start_block", REACHABLE, 1, 48 },
		{ "late_start_child_block", REACHABLE, 10, 480 } } },
	{ "possible_raised_by_heap", possible_raised_by_heap, { { "raised_root_block", REACHABLE, 1, 48 },
		{ "raised_path_block", REACHABLE, 50, 2400 }, { "raised_block", REACHABLE, 5, 240 } } },
	{ "xor_list", xor_list, { { "xor_head_block", REACHABLE, 1, 48 }, { "xor_rest_block", DEFINITE, 3, 144 } } },
	{ "hash_table", hash_table, { { "table_array", REACHABLE, 1, 512 }, { "table_entry_block", REACHABLE, 200, 9600 } } },
	{ "hash_table_lost", hash_table_lost, { { "table_array_lost", DEFINITE, 1, 512 },
		{ "table_entry_lost_block", INDIRECT, 200, 9600 } } },
	{ "no_bytes_in_lost", no_bytes_in_lost, { { "parent_of_nothing_block", DEFINITE, 1, 48 },
		{ "no_bytes_child", INDIRECT, 1, 0 } } },
	{ "pointer_at_end_of_block", pointer_at_end_of_block, { { "odd_parent", REACHABLE, 1, 44 },
		{ "odd_last_word", REACHABLE, 1, 61 },
		{ "odd_cut_word", DEFINITE, 1, 62 } } },
	{ "pointer_in_large_block", pointer_in_large_block, { { "large_parent", REACHABLE, 1, 8388608 },
		{ "in_large_parent", REACHABLE, 1, 63 } } },
	{ "list_head_freed", list_head_freed, { { "aligned_pool", DEFINITE, 1, 48 }, { "freed_node", GONE, 0, 0 } } },
};
LEAK_CASE_COUNT;
