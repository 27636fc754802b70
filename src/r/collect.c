/* SPDX-License-Identifier: MIT
 *
 * What of R's heap is garbage: R's collector done over again, as far as it marks. Its roots are RunGenCollect()'s (memory.c), its
 * way through the nodes is DO_CHILDREN's, the same in R 3.6 to 4.5.
 *
 *   R's data            its static variables: builtin constants, environments, handler and restart stacks, R_PreciousList,
 *                       R_ReturnedValue, R_VStack (R_alloc), … . Most have no symbols, so all words of the data that point
 *                       to nodes are roots, but two that R takes for weak: R_StringHash, a list of CHARSXPs, which no other
 *                       list is, and R_weak_refs, a weak reference; and yylval, which the parser leaves behind.
 *   symbols             are never collected; all SYMSXPs in pages
 *   contexts, R_PPStack, the byte-code interpreter's stack: up to their tops
 *   graphics devices    in blocks of malloc that R's data points to, or those do: small ones are searched for nodes
 *
 * Then weak references, as R does: while a key is marked, its value and finalizer are. What is left are keys whose finalizers
 * would run now. R marks all that they hold, once more, before it runs them; we do it too, as the second class, `garbage`. A
 * reference without a finalizer keeps nothing: nobody would free what its key holds.
 *
 * Turned down: to call R_gc() in the copy, and read its mark bits. It writes into every node, so the copy takes as much memory
 * as R's heap has (865 MB of heap: 1001 MB and 4.6 s, against 33 MB and 0.5 s); it runs finalizers (R_RunPendingFinalizers)
 * unless all weak references are made harmless before, and frees large vectors, by custom allocators that may do anything;
 * it reports through R's console, may raise an R error, which is a longjmp to R's top level, does nothing under
 * R_GCEnabled = FALSE, and must not be called in the middle of an allocation or in a signal handler. None of that matters
 * here: nothing is called, so any moment will do at which the lists are whole.
 *
 * Invariants: R's memory is never written to. Threads: one, in a copy. Failure: -errno and a note.
 */
#include "r/r.h"

#include <errno.h>

#include "base/arena.h"
#include "r/marking.h"

enum {
	DEVICE_MAX = 16384,   /* bytes of a block in which R keeps nodes: GEDevDesc, DevDesc, and their drivers' structures */
	CONTEXTS_MAX = 10000000,
	STRANGE = 64,         /* one strange pointer per so many nodes at the most: no layout that is wrong has so few */
	BETWEEN = 16,         /* bytes of a context between its jump buffer and callfun */
};

static struct lt_r_heap heap;
static uintptr_t protected, node_stack; /* inside the blocks of R_PPStack and R's node stack */

/* R_StringHash, of at least 65536 elements: marked without these, of which R would have taken away those that are garbage. */
static bool is_string_table(struct lt_r_marking *m, const struct lt_r_node *node)
{
	if (lt_r_type_of(node) != LT_R_LIST || (node->info >> 29 & 7) != LT_R_LARGE_CLASS)
		return false;
	int64_t length = lt_r_mark_length(m, node, 8);
	for (int64_t i = 0; i < length; i++) {
		const struct lt_r_node *element = lt_r_element(node, i);

		if (element != m->nil)
			return lt_r_mark_is_of(m, element, LT_R_CHARS);
	}
	return false;
}

/* A word that may be a node. */
static void mark_root(struct lt_r_marking *m, const struct lt_r_node *node)
{
	if (!lt_r_mark_node(m, node))
		return;
	if (lt_r_type_of(node) == LT_R_WEAK_REFERENCE && m->head_count < LT_R_HEADS && !lt_r_mark_done(m, node))
		m->heads[m->head_count++] = node;
	if (is_string_table(m, node))
		lt_r_mark_alone(m, node);
	else
		lt_r_mark(m, node);
}

static void mark_words(struct lt_r_marking *m, uintptr_t low, uintptr_t high)
{
	for (const struct lt_r_node *const *word = (const void *)((low + 7) & ~(uintptr_t)7); (uintptr_t)(word + 1) <= high; word++)
		if (word != lt_r.parsed)
			mark_root(m, *word);
}

/* Words of small blocks that begin at a word in [low, high); to `depth` such blocks. */
static void mark_blocks(struct lt_r_marking *m, uintptr_t low, uintptr_t high, unsigned depth)
{
	struct lt_r_collection *c = m->collection;

	for (uintptr_t at = (low + 7) & ~(uintptr_t)7; c->block && at + 8 <= high; at += 8) {
		uintptr_t block = *(const uintptr_t *)at;
		size_t size = block && !(block & 7) ? c->block(block, c->arg) : 0;

		if (!size || size > DEVICE_MAX || lt_r_mark_node(m, (const void *)block) || lt_r_mark_node(m, (const void *)(block + 8)))
			continue;
		mark_words(m, block, block + size);
		if (depth > 1)
			mark_blocks(m, block, block + size, depth - 1);
	}
}

/* R_GenHeap's own pointers to nodes are none. */
static void mark_segment(struct lt_r_marking *m, uintptr_t start, uintptr_t end)
{
	uintptr_t low = (uintptr_t)m->heap->classes, high = low + LT_R_CLASSES * sizeof(*m->heap->classes);

	if (low < start || high > end)
		low = high = end;
	mark_words(m, start, low);
	mark_words(m, high, end);
	mark_blocks(m, start, low, 2);
	mark_blocks(m, high, end, 2);
}

static void mark_data(struct lt_r_marking *m, const struct lt_r_object *object)
{
	for (unsigned i = 0; i < object->data_count; i++)
		mark_segment(m, object->data[i].start, object->data[i].end);
}

static void mark_symbols(struct lt_r_marking *m)
{
	unsigned size = lt_r_node_size(0), count = (LT_R_PAGE - sizeof(struct lt_r_page)) / size;

	for (const struct lt_r_page *page = m->heap->classes[0].pages; page; page = page->next) {
		const char *node = (const char *)(page + 1);

		for (unsigned i = 0; i < count; i++, node += size)
			if (lt_r_type_of((const struct lt_r_node *)node) == LT_R_SYMBOL)
				lt_r_mark(m, (const struct lt_r_node *)node);
	}
}

static int mark_stacks(struct lt_r_marking *m, const struct lt_r_layout *layout)
{
	unsigned contexts = 0;

	for (const char *context = *lt_r.global_context; context; context = lt_r_field(context, 0)) {
		if ((uintptr_t)context & 7 || ++contexts > CONTEXTS_MAX)
			return -EUCLEAN;
		mark_words(m, (uintptr_t)context + layout->callfun - BETWEEN, (uintptr_t)context + layout->size);
	}

	const struct lt_r_node *const *stack = *lt_r.protect_stack;
	for (int i = 0; i < *lt_r.protect_top; i++)
		mark_root(m, stack[i]);
	protected = (uintptr_t)stack;

	uintptr_t top = (uintptr_t)*lt_r.node_stack_top, end = (uintptr_t)*lt_r.node_stack_end;
	if (top > end || end - top > layout->node_stack)
		return -EUCLEAN;
	mark_words(m, end - layout->node_stack, top);
	node_stack = end - sizeof(uintptr_t);
	if (m->collection->stack && m->collection->stack < lt_r.stack_top)
		mark_words(m, m->collection->stack, lt_r.stack_top);
	for (unsigned i = 0; i < m->collection->register_count; i++)
		mark_root(m, (const struct lt_r_node *)m->collection->registers[i]);
	return 0;
}

/* Calls `visit` for each registered weak reference. */
static void each_weak(struct lt_r_marking *m, void (*visit)(struct lt_r_marking *m, const struct lt_r_node *reference))
{
	for (unsigned i = 0; i < m->head_count; i++) {
		const struct lt_r_node *reference = m->heads[i];

		for (uint64_t n = 0; n < m->heap->nodes && lt_r_mark_is_of(m, reference, LT_R_WEAK_REFERENCE); n++) {
			visit(m, reference);
			reference = lt_r_element(reference, 3);
		}
	}
}

/* R's data may point into the middle of the list, too: a reference that R just returned. */
static void drop_inner_heads(struct lt_r_marking *m)
{
	for (unsigned i = 0; i < m->head_count; i++) {
		const struct lt_r_node *reference = m->heads[i];

		for (uint64_t n = 0; m->head_count > 1 && n < m->heap->nodes && lt_r_mark_is_of(m, reference, LT_R_WEAK_REFERENCE); n++) {
			reference = lt_r_element(reference, 3);
			for (unsigned other = 0; other < m->head_count; other++)
				if (other != i && m->heads[other] == reference)
					m->heads[other] = m->nil;
		}
	}
}

static void mark_reference(struct lt_r_marking *m, const struct lt_r_node *reference)
{
	lt_r_mark(m, reference);
	if (lt_r_mark_done(m, lt_r_element(reference, 0))) {
		lt_r_mark(m, lt_r_element(reference, 1));
		lt_r_mark(m, lt_r_element(reference, 2));
	}
}

/* All are looked at before the first is expanded: what one holds may hold another's key. */
static void queue_pending(struct lt_r_marking *m, const struct lt_r_node *reference)
{
	const struct lt_r_node *key = lt_r_element(reference, 0), *finalizer = lt_r_element(reference, 2);

	if (key == m->nil || lt_r_mark_done(m, key) || finalizer == m->nil)
		return;
	m->collection->pending++;
	lt_r_mark_again(m, reference);
}

static int run(struct lt_r_marking *m, const struct lt_r_layout *layout)
{
	lt_r_mark_alone(m, m->nil);
	mark_data(m, &lt_r.object);
	if (lt_r.variables_object.start != lt_r.object.start)
		mark_data(m, &lt_r.variables_object);
	mark_symbols(m);
	int error = mark_stacks(m, layout);
	if (error)
		return error;
	lt_r_mark_run(m);

	drop_inner_heads(m);
	for (uint64_t before = 0; before != m->marked;) {
		before = m->marked;
		each_weak(m, mark_reference);
		lt_r_mark_run(m);
	}

	m->ranges = &m->collection->garbage;
	m->second_class = true;
	each_weak(m, queue_pending);
	lt_r_mark_run(m);
	m->collection->strange = m->strange;
	return m->failed ? -ENOMEM : m->strange > m->marked / STRANGE ? -EUCLEAN : 0;
}

static const char *note_of(int error)
{
	switch (-error) {
	case 0: return NULL;
	case ENODATA: return "R had not started";
	case ENOTSUP: return "the layout of this R's heap is not known";
	case EBUSY: return "R was in the middle of an allocation";
	case ENOMEM: return "no memory for what is needed to find R's garbage";
	}
	return "R's heap is not laid out as expected";
}

int lt_r_collect(struct lt_r_collection *c)
{
	const struct lt_r_layout *layout = lt_load_acquire(&lt_r.layout); /* pairs with lt_r_locate() */
	struct lt_r_marking m = { .heap = &heap, .collection = c, .ranges = &c->live };
	int error = -ENODATA;

	c->live = c->garbage = (struct lt_r_ranges){ 0 };
	c->pending = c->strange = 0;
	if (lt_r_present() && !layout)
		error = -ENOTSUP;
	if (!lt_r_present() || !layout)
		goto out;
	if (!*lt_r.global_context || !*lt_r.node_stack_end || !(m.nil = *lt_r.nil))
		goto out;
	error = -ENOTSUP;
	if (!lt_r.protect_stack || !lt_r.protect_top || !lt_r.node_stack_top)
		goto out;
	error = lt_r_heap_open(&heap);
	if (error == -ENOENT)
		error = -ENOTSUP;
	if (!error && !lt_r_mark_is_of(&m, m.nil, LT_R_NIL))
		error = -EUCLEAN;
	if (!error)
		error = run(&m, layout);
	lt_unmap(m.work.all, m.work.room * sizeof(*m.work.all));
out:
	c->note = note_of(error);
	if (error)
		lt_r_collect_end(c);
	return error;
}

/* A page's first node begins behind its link; a vector whose allocator isn't R's lies behind that allocator's functions. Nodes
 * behind the block are a neighbour's. R's two stacks of nodes are R's as well: above their tops stand nodes of long ago, whose
 * memory may be others' now. */
bool lt_r_owns(uintptr_t block, uint64_t size)
{
	static const uint8_t heads[] = {0, sizeof(struct lt_r_page), LT_R_CUSTOM_HEAD};

	if (heap.chunks && (protected - block < size || node_stack - block < size))
		return true;
	for (unsigned i = 0; heap.chunks && i < sizeof(heads); i++)
		if (size >= heads[i] + sizeof(struct lt_r_node) && lt_r_heap_node(&heap, block + heads[i]))
			return true;
	return false;
}

void lt_r_collect_end(struct lt_r_collection *c)
{
	lt_unmap(c->live.all, c->live.room * sizeof(*c->live.all));
	lt_unmap(c->garbage.all, c->garbage.room * sizeof(*c->garbage.all));
	c->live = c->garbage = (struct lt_r_ranges){ 0 };
	if (heap.chunks)
		lt_r_heap_close(&heap);
}

const struct lt_r_heap *lt_r_heap(void)
{
	return &heap;
}
