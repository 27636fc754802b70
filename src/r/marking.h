/* SPDX-License-Identifier: MIT
 *
 * The way through R's nodes: DO_CHILDREN of R's memory.c.
 */
#ifndef LT_R_MARKING_H
#define LT_R_MARKING_H

#include "r/nodes.h"
#include "r/r.h"

#define LT_R_HEADS 16 /* R has one list of weak references */

struct lt_r_work {
	const struct lt_r_node **all;
	size_t count, room;
};

struct lt_r_marking {
	struct lt_r_heap *heap;
	struct lt_r_collection *collection;
	const struct lt_r_node *nil;
	struct lt_r_work work;
	struct lt_r_ranges *ranges; /* where to note what may point to others' blocks */
	bool second_class, failed;
	uint64_t marked, strange;
	const struct lt_r_node *heads[LT_R_HEADS]; /* lists of weak references */
	unsigned head_count;
};

/* Queues a node that is not marked yet. A pointer to no node is counted as strange; NULL is none. */
void lt_r_mark(struct lt_r_marking *m, const struct lt_r_node *node);

/* Marks a node, but nothing that it holds. */
void lt_r_mark_alone(struct lt_r_marking *m, const struct lt_r_node *node);

/* Queues a node once more, to have what it holds marked. */
void lt_r_mark_again(struct lt_r_marking *m, const struct lt_r_node *node);

/* Marks all that the queued ones hold. */
void lt_r_mark_run(struct lt_r_marking *m);

/* Elements of `size` bytes; a small vector can't have more than its class has room for. */
int64_t lt_r_mark_length(struct lt_r_marking *m, const struct lt_r_node *vector, unsigned size);

static inline bool lt_r_mark_node(const struct lt_r_marking *m, const struct lt_r_node *node)
{
	return lt_r_heap_node(m->heap, (uintptr_t)node);
}

static inline bool lt_r_mark_is_of(const struct lt_r_marking *m, const struct lt_r_node *node, enum lt_r_type type)
{
	return lt_r_mark_node(m, node) && lt_r_type_of(node) == type;
}

static inline bool lt_r_mark_done(const struct lt_r_marking *m, const struct lt_r_node *node)
{
	return lt_r_heap_marked(m->heap, (uintptr_t)node);
}

#endif
