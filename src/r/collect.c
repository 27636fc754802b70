/* SPDX-License-Identifier: MIT
 *
 * What of R's heap is garbage: R's collector done over again, as far as it marks. Its roots are RunGenCollect()'s (memory.c), its
 * way through the nodes is DO_CHILDREN's, the same in R 3.6 to 4.5.
 *
 *   R's data            its static variables: builtin constants, environments, handler and restart stacks, R_PreciousList,
 *                       R_ReturnedValue, R_VStack (R_alloc), … . Most have no symbols, so all words of the data that point to nodes
 *                       are roots, but two that R takes for weak: R_StringHash, a list of CHARSXPs, which no other list is, and
 *                       R_weak_refs, a weak reference; and yylval, which the parser leaves behind.
 *   symbols             are never collected; all SYMSXPs in pages
 *   contexts, R_PPStack, the byte-code interpreter's stack: up to their tops
 *   graphics devices    in blocks of malloc that R's data points to, or those do: small ones are searched for nodes
 *
 * Then weak references, as R does: while a key is marked, its value and finalizer are. What is left are keys whose finalizers would
 * run now. R marks all that they hold, once more, before it runs them; we do it too, as the second class, `garbage`. A reference
 * without a finalizer keeps nothing: nobody would free what its key holds.
 *
 * Turned down: to call R_gc() in the copy, and read its mark bits. It writes into every node, so the copy takes as much memory
 * as R's heap has; it runs finalizers (R_RunPendingFinalizers) unless all weak references are made harmless before, and
 * frees large vectors, by custom allocators that may do anything; it reports through R's console, may raise an R error, which is a
 * longjmp to R's top level, does nothing under R_GCEnabled = FALSE, and must not be called in the middle of an allocation or in a
 * signal handler. None of that matters here: nothing is called, so any moment will do at which the lists are whole.
 *
 * Invariants: a node is read only if one begins there (nodes.h), for stale words may lead to a node that is free, and that to what
 * is no node any more; each is put on the list of work once.
 * Threads: one, in a copy. Failure: -errno and a note.
 */
#include "r/r.h"

#include <errno.h>
#include <string.h>

#include "base/arena.h"
#include "r/nodes.h"

enum {
	HEADS = 16,           /* lists of weak references; R has one */
	DEVICE_MAX = 16384,   /* bytes of a block in which R keeps nodes: GEDevDesc, DevDesc, and their drivers' structures */
	CONTEXTS_MAX = 10000000,
	STRANGE = 64,         /* one strange pointer per so many nodes at the most: no layout that is wrong has so few */
	BETWEEN = 16,         /* bytes of a context between its jump buffer and callfun */
};

#define LENGTH_MAX (INT64_C(1) << 44)

struct list {
	const struct lt_r_node **all;
	size_t count, room;
};

struct marking {
	struct lt_r_heap *heap;
	struct lt_r_collection *collection;
	const struct lt_r_node *nil;
	struct list work;
	struct lt_r_ranges *ranges; /* where to note what may point to others' blocks */
	bool second_class, failed;
	uint64_t marked, strange;
	const struct lt_r_node *heads[HEADS];
	unsigned head_count;
};

static struct lt_r_heap heap;

/* Doubles *room; the new memory is the tracer's, and so no root of the scan's. */
static bool grow(void **all, size_t *room, size_t count, size_t size)
{
	size_t more = *room ? 2 * *room : 4096;
	void *memory = lt_map(more * size);

	if (!memory)
		return false;
	if (count)
		memcpy(memory, *all, count * size);
	lt_unmap(*all, *room * size);
	*all = memory;
	*room = more;
	return true;
}

static void push(struct marking *m, const struct lt_r_node *node)
{
	struct list *work = &m->work;

	if (lt_unlikely(work->count == work->room) && !grow((void **)&work->all, &work->room, work->count, sizeof(*work->all))) {
		m->failed = true;
		return;
	}
	work->all[work->count++] = node;
}

static void note_range(struct marking *m, uintptr_t low, uintptr_t high)
{
	struct lt_r_ranges *ranges = m->ranges;

	if (low >= high)
		return;
	if (ranges->count == ranges->room && !grow((void **)&ranges->all, &ranges->room, ranges->count, sizeof(*ranges->all))) {
		m->failed = true;
		return;
	}
	ranges->all[ranges->count++] = (struct lt_r_range){ low, high };
}

/* Marks. Returns true if it was not marked before. */
static inline bool take(struct marking *m, const struct lt_r_node *node)
{
	uintptr_t address = (uintptr_t)node;
	uint64_t *bits = lt_r_bits(m->heap, address);

	if (lt_unlikely(!bits || address & 7 || !(*bits & lt_r_start_bit(address)))) {
		m->strange += node != NULL; /* R allows for NULL, too */
		return false;
	}
	if (*bits & lt_r_mark_bit(address))
		return false;
	*bits |= lt_r_mark_bit(address);
	m->marked++;
	return true;
}

static inline void mark(struct marking *m, const struct lt_r_node *node)
{
	if (node != m->nil && take(m, node)) {
		__builtin_prefetch(node);
		push(m, node);
	}
}

static bool is_marked(const struct marking *m, const struct lt_r_node *node)
{
	return lt_r_heap_marked(m->heap, (uintptr_t)node);
}

static bool is_node(const struct marking *m, const struct lt_r_node *node)
{
	return lt_r_heap_node(m->heap, (uintptr_t)node);
}

static bool is_of(const struct marking *m, const struct lt_r_node *node, enum lt_r_type type)
{
	return is_node(m, node) && lt_r_type_of(node) == type;
}

/* Elements of `size` bytes; a small vector can't have more than its class has room for. */
static int64_t length_of(struct marking *m, const struct lt_r_node *vector, unsigned size)
{
	unsigned class = vector->info >> 29 & 7;
	int64_t length = vector->vector.length;
	int64_t room = class < LT_R_SMALL_CLASSES ? (lt_r_node_size(class) - LT_R_VECTOR_DATA) / size : LENGTH_MAX;

	if (lt_likely(length >= 0 && length <= room))
		return length;
	m->strange++;
	return 0;
}

static void mark_elements(struct marking *m, const struct lt_r_node *vector)
{
	int64_t length = length_of(m, vector, 8);

	for (int64_t i = 0; i < length; i++)
		mark(m, lt_r_element(vector, i));
}

/* A CHARSXP holds nothing: it is not even read. */
static void mark_strings(struct marking *m, const struct lt_r_node *vector)
{
	int64_t length = length_of(m, vector, 8);

	for (int64_t i = 0; i < length; i++)
		take(m, lt_r_element(vector, i));
}

static void mark_three(struct marking *m, const struct lt_r_node *node)
{
	mark(m, node->list.tag);
	mark(m, node->list.cdr);
	mark(m, node->list.car);
}

static void expand(struct marking *m, const struct lt_r_node *node)
{
	enum lt_r_type type = lt_r_type_of(node);

	/* CHARSXPs of a chain of R_StringHash are linked by their attributes. */
	if (node->attributes != m->nil && type != LT_R_CHARS)
		mark(m, node->attributes);
	if (lt_r_is_alternative(node)) {
		mark_three(m, node);
		return;
	}
	switch (type) {
	case LT_R_PAIRLIST:
	case LT_R_PROMISE:
		/* A binding's value may be a number: R 4.0, in promises 4.4 */
		mark(m, node->list.tag);
		mark(m, node->list.cdr);
		if (!(node->info >> 48))
			mark(m, node->list.car);
		break;
	case LT_R_SYMBOL:
	case LT_R_CLOSURE:
	case LT_R_ENVIRONMENT:
	case LT_R_CALL:
	case LT_R_DOTS:
	case LT_R_BYTE_CODE:
		mark_three(m, node);
		break;
	case LT_R_STRINGS:
		mark_strings(m, node);
		break;
	case LT_R_LIST:
	case LT_R_EXPRESSIONS:
		mark_elements(m, node);
		break;
	case LT_R_EXTERNAL_POINTER:
		mark(m, node->list.cdr);
		mark(m, node->list.tag);
		if (node->list.car)
			note_range(m, (uintptr_t)&node->list.car, (uintptr_t)(&node->list.car + 1));
		break;
	case LT_R_RAW:
		note_range(m, (uintptr_t)lt_r_chars(node), (uintptr_t)lt_r_chars(node) + ((uintptr_t)length_of(m, node, 1) & ~7ul));
		break;
	case LT_R_WEAK_REFERENCE:
		for (unsigned i = 0; m->second_class && i < 3; i++)
			mark(m, lt_r_element(node, i));
		break;
	case LT_R_NIL:
	case LT_R_SPECIAL:
	case LT_R_BUILTIN:
	case LT_R_CHARS:
	case LT_R_LOGICAL:
	case LT_R_INTEGER:
	case LT_R_DOUBLE:
	case LT_R_COMPLEX:
	case LT_R_OBJECT:
		break;
	default:
		m->strange++;
	}
}

static void drain(struct marking *m)
{
	while (m->work.count && !m->failed)
		expand(m, m->work.all[--m->work.count]);
}

/* R_StringHash, of at least 65536 elements: marked without these, of which R would have taken away those that are garbage. */
static bool is_string_table(struct marking *m, const struct lt_r_node *node)
{
	if (lt_r_type_of(node) != LT_R_LIST || (node->info >> 29 & 7) != LT_R_LARGE_CLASS)
		return false;
	int64_t length = length_of(m, node, 8);
	for (int64_t i = 0; i < length; i++) {
		const struct lt_r_node *element = lt_r_element(node, i);

		if (element != m->nil)
			return is_of(m, element, LT_R_CHARS);
	}
	return false;
}

/* A word that may be a node. */
static void mark_root(struct marking *m, const struct lt_r_node *node)
{
	if (!is_node(m, node))
		return;
	if (lt_r_type_of(node) == LT_R_WEAK_REFERENCE && m->head_count < HEADS && !is_marked(m, node))
		m->heads[m->head_count++] = node;
	if (is_string_table(m, node))
		take(m, node);
	else
		mark(m, node);
}

static void mark_words(struct marking *m, uintptr_t low, uintptr_t high)
{
	for (const struct lt_r_node *const *word = (const void *)((low + 7) & ~(uintptr_t)7); (uintptr_t)(word + 1) <= high; word++)
		if (word != lt_r.parsed)
			mark_root(m, *word);
}

/* Words of small blocks that begin at a word in [low, high); to `depth` such blocks. */
static void mark_blocks(struct marking *m, uintptr_t low, uintptr_t high, unsigned depth)
{
	struct lt_r_collection *c = m->collection;

	for (uintptr_t at = (low + 7) & ~(uintptr_t)7; c->block && at + 8 <= high; at += 8) {
		uintptr_t block = *(const uintptr_t *)at;
		size_t size = block && !(block & 7) ? c->block(block, c->arg) : 0;

		if (!size || size > DEVICE_MAX || is_node(m, (const void *)block) || is_node(m, (const void *)(block + 8)))
			continue;
		mark_words(m, block, block + size);
		if (depth > 1)
			mark_blocks(m, block, block + size, depth - 1);
	}
}

static void mark_data(struct marking *m, const struct lt_r_object *object)
{
	uintptr_t low = (uintptr_t)m->heap->classes, high = low + LT_R_CLASSES * sizeof(*m->heap->classes);

	if (low < object->data || high > object->data_end)
		low = high = object->data_end;
	mark_words(m, object->data, low);
	mark_words(m, high, object->data_end);
	mark_blocks(m, object->data, low, 2);
	mark_blocks(m, high, object->data_end, 2);
}

static void mark_symbols(struct marking *m)
{
	unsigned size = lt_r_node_size(0), count = (LT_R_PAGE - sizeof(struct lt_r_page)) / size;

	for (const struct lt_r_page *page = m->heap->classes[0].pages; page; page = page->next) {
		const char *node = (const char *)(page + 1);

		for (unsigned i = 0; i < count; i++, node += size)
			if (lt_r_type_of((const struct lt_r_node *)node) == LT_R_SYMBOL)
				mark(m, (const struct lt_r_node *)node);
	}
}

static int mark_stacks(struct marking *m, const struct lt_r_layout *layout)
{
	unsigned contexts = 0;

	for (const char *context = *lt_r.global_context; context; context = lt_r_field(context, 0)) {
		if ((uintptr_t)context & 7 || ++contexts > CONTEXTS_MAX)
			return -EUCLEAN;
		mark_words(m, (uintptr_t)context + layout->callfun - BETWEEN, (uintptr_t)context + layout->size);
	}

	const struct lt_r_node *const *protected = *lt_r.protect_stack;
	for (int i = 0; i < *lt_r.protect_top; i++)
		mark_root(m, protected[i]);

	uintptr_t top = (uintptr_t)*lt_r.node_stack_top, end = (uintptr_t)*lt_r.node_stack_end;
	if (top > end || end - top > layout->node_stack)
		return -EUCLEAN;
	mark_words(m, end - layout->node_stack, top);
	if (m->collection->stack && m->collection->stack < lt_r.stack_top)
		mark_words(m, m->collection->stack, lt_r.stack_top);
	return 0;
}

/* Calls `visit` for each registered weak reference. */
static void each_weak(struct marking *m, void (*visit)(struct marking *m, const struct lt_r_node *reference))
{
	for (unsigned i = 0; i < m->head_count; i++) {
		const struct lt_r_node *reference = m->heads[i];

		for (uint64_t n = 0; n < m->heap->nodes && is_of(m, reference, LT_R_WEAK_REFERENCE); n++) {
			visit(m, reference);
			reference = lt_r_element(reference, 3);
		}
	}
}

/* R's data may point into the middle of the list, too: a reference that R just returned. */
static void drop_inner_heads(struct marking *m)
{
	for (unsigned i = 0; i < m->head_count; i++) {
		const struct lt_r_node *reference = m->heads[i];

		for (uint64_t n = 0; m->head_count > 1 && n < m->heap->nodes && is_of(m, reference, LT_R_WEAK_REFERENCE); n++) {
			reference = lt_r_element(reference, 3);
			for (unsigned other = 0; other < m->head_count; other++)
				if (other != i && m->heads[other] == reference)
					m->heads[other] = m->nil;
		}
	}
}

static void mark_reference(struct marking *m, const struct lt_r_node *reference)
{
	mark(m, reference);
	if (is_marked(m, lt_r_element(reference, 0))) {
		mark(m, lt_r_element(reference, 1));
		mark(m, lt_r_element(reference, 2));
	}
}

/* All are looked at before the first is expanded: what one holds may hold another's key. */
static void queue_pending(struct marking *m, const struct lt_r_node *reference)
{
	const struct lt_r_node *key = lt_r_element(reference, 0), *finalizer = lt_r_element(reference, 2);

	if (key == m->nil || is_marked(m, key) || finalizer == m->nil)
		return;
	m->collection->pending++;
	push(m, reference);
}

static int run(struct marking *m, const struct lt_r_layout *layout)
{
	take(m, m->nil);
	mark_data(m, &lt_r.object);
	if (lt_r.variables_object.start != lt_r.object.start)
		mark_data(m, &lt_r.variables_object);
	mark_symbols(m);
	int error = mark_stacks(m, layout);
	if (error)
		return error;
	drain(m);

	drop_inner_heads(m);
	for (uint64_t before = 0; before != m->marked;) {
		before = m->marked;
		each_weak(m, mark_reference);
		drain(m);
	}

	m->ranges = &m->collection->garbage;
	m->second_class = true;
	each_weak(m, queue_pending);
	drain(m);
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
	struct marking m = { .heap = &heap, .collection = c, .ranges = &c->live };
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
	if (!error && !is_of(&m, m.nil, LT_R_NIL))
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

/* A page's first node begins behind its link; a vector whose allocator isn't R's lies behind that allocator's functions. */
bool lt_r_owns(uintptr_t block)
{
	return heap.chunks && (lt_r_heap_node(&heap, block) || lt_r_heap_node(&heap, block + sizeof(struct lt_r_page)) ||
	                       lt_r_heap_node(&heap, block + LT_R_CUSTOM_HEAD));
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
