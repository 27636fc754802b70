/* SPDX-License-Identifier: MIT
 *
 * From a node to those that it holds, as DO_CHILDREN of R's memory.c does it, the same in R 3.6 to 4.5 but for bindings of numbers.
 *
 * The work that is left is a stack of nodes that are marked and not yet expanded. Invariants: a node is read only if one begins
 * there (nodes.h), for stale words may lead to a node that is free, and that to what is no node any more; each is put on the
 * stack once.
 * Threads: one.
 * Failure: `failed`, no memory for the stack or the ranges.
 */
#include "r/marking.h"

#include <string.h>

#include "base/arena.h"

#define LENGTH_MAX (INT64_C(1) << 44)

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

static void push(struct lt_r_marking *m, const struct lt_r_node *node)
{
	struct lt_r_work *work = &m->work;

	if (lt_unlikely(work->count == work->room) && !grow((void **)&work->all, &work->room, work->count, sizeof(*work->all))) {
		m->failed = true;
		return;
	}
	work->all[work->count++] = node;
}

static void note_range(struct lt_r_marking *m, uintptr_t low, uintptr_t high)
{
	struct lt_r_ranges *ranges = m->ranges;

	if (low >= high)
		return;
	if (ranges->count == ranges->room && !grow((void **)&ranges->all, &ranges->room, ranges->count, sizeof(*ranges->all))) {
		m->failed = true;
		return;
	}
	ranges->all[ranges->count++] = (struct lt_range){ low, high };
}

/* Marks. Returns true if it was not marked before. */
static inline bool take(struct lt_r_marking *m, const struct lt_r_node *node)
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

static inline void mark(struct lt_r_marking *m, const struct lt_r_node *node)
{
	if (node != m->nil && take(m, node)) {
		__builtin_prefetch(node);
		push(m, node);
	}
}

int64_t lt_r_mark_length(struct lt_r_marking *m, const struct lt_r_node *vector, unsigned size)
{
	unsigned class = vector->info >> 29 & 7;
	int64_t length = vector->vector.length;
	int64_t room = class < LT_R_SMALL_CLASSES ? (lt_r_node_size(class) - LT_R_VECTOR_DATA) / size : LENGTH_MAX;

	if (lt_likely(length >= 0 && length <= room))
		return length;
	m->strange++;
	return 0;
}

static void mark_elements(struct lt_r_marking *m, const struct lt_r_node *vector)
{
	int64_t length = lt_r_mark_length(m, vector, 8);

	for (int64_t i = 0; i < length; i++)
		mark(m, lt_r_element(vector, i));
}

/* A CHARSXP holds nothing: it is not even read. */
static void mark_strings(struct lt_r_marking *m, const struct lt_r_node *vector)
{
	int64_t length = lt_r_mark_length(m, vector, 8);

	for (int64_t i = 0; i < length; i++)
		take(m, lt_r_element(vector, i));
}

static void mark_three(struct lt_r_marking *m, const struct lt_r_node *node)
{
	mark(m, node->list.tag);
	mark(m, node->list.cdr);
	mark(m, node->list.car);
}

static void expand(struct lt_r_marking *m, const struct lt_r_node *node)
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
		note_range(m, (uintptr_t)lt_r_chars(node), (uintptr_t)lt_r_chars(node) + ((uintptr_t)lt_r_mark_length(m, node, 1) & ~7ul));
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

void lt_r_mark_run(struct lt_r_marking *m)
{
	while (m->work.count && !m->failed)
		expand(m, m->work.all[--m->work.count]);
}

void lt_r_mark(struct lt_r_marking *m, const struct lt_r_node *node)
{
	mark(m, node);
}

void lt_r_mark_alone(struct lt_r_marking *m, const struct lt_r_node *node)
{
	take(m, node);
}

void lt_r_mark_again(struct lt_r_marking *m, const struct lt_r_node *node)
{
	push(m, node);
}
