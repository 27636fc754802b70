/* SPDX-License-Identifier: MIT
 *
 * Finds R's heap in a copy of the process, without R's private symbols.
 *
 * R_GenHeap is a static array of 8 elements, each of which points to artificial nodes (pegs) inside itself: 5 pointers whose
 * values their own places tell, so 40 words in R's data that only this array can hold. It is the truth about pages and large
 * vectors, also about those that were allocated before the tracer looked, or were left out by sampling.
 *
 * Pages are found by their list, large vectors by the circular lists they are in. Each list is checked by R's own counts of
 * nodes and pages: if they disagree, R was in the middle of an allocation or a collection, and the caller does without us.
 * Pages themselves are not read for that, but for their first word.
 *
 * Threads: one, in a copy in which nothing else runs. Failure: -errno, nothing is left behind.
 */
#include "r/nodes.h"

#include <errno.h>

#include "base/arena.h"

static bool is_class(const struct lt_r_class *class)
{
	return (const char *)class->old[0] == class->old_pegs[0] && (const char *)class->old[1] == class->old_pegs[1] &&
	       (const char *)class->new == class->new_peg && (const char *)class->old_to_new[0] == class->old_to_new_pegs[0] &&
	       (const char *)class->old_to_new[1] == class->old_to_new_pegs[1];
}

static const struct lt_r_class *find_in(uintptr_t low, uintptr_t high)
{
	const size_t size = LT_R_CLASSES * sizeof(struct lt_r_class);

	for (uintptr_t at = (low + 7) & ~(uintptr_t)7; high > at && high - at >= size; at += 8) {
		const struct lt_r_class *classes = (const struct lt_r_class *)at;
		unsigned n = 0;

		while (n < LT_R_CLASSES && is_class(&classes[n]))
			n++;
		if (n == LT_R_CLASSES)
			return classes;
	}
	return NULL;
}

static const struct lt_r_class *find_classes(const struct lt_r_object *object)
{
	const struct lt_r_class *classes = NULL;

	for (unsigned i = 0; i < object->data_count && !classes; i++)
		classes = find_in(object->data[i].start, object->data[i].end);
	return classes;
}

static int set_start(struct lt_r_heap *heap, uintptr_t address)
{
	if (!address || address >> 47 || address & 7)
		return -EBUSY;

	uint64_t **chunk = &heap->chunks[address >> LT_R_CHUNK_SHIFT];
	if (lt_unlikely(!*chunk) && !(*chunk = lt_map(LT_R_CHUNK_WORDS * sizeof(**chunk))))
		return -ENOMEM;
	*lt_r_bits(heap, address) |= lt_r_start_bit(address);
	return 0;
}

static int open_pages(struct lt_r_heap *heap, unsigned number)
{
	const struct lt_r_class *class = &heap->classes[number];
	unsigned size = lt_r_node_size(number), per_page = (LT_R_PAGE - sizeof(struct lt_r_page)) / size;
	int pages = 0;

	for (const struct lt_r_page *page = class->pages; page; page = page->next) {
		if (++pages > class->page_count)
			return -EBUSY;
		uintptr_t node = (uintptr_t)(page + 1);
		for (unsigned i = 0; i < per_page; i++, node += size) {
			int error = set_start(heap, node);
			if (error)
				return error;
		}
	}
	return pages == class->page_count && (int64_t)pages * per_page == class->allocated ? 0 : -EBUSY;
}

/* Nodes of the circular list at `peg`, at most *left, which is counted down. */
static int open_list(struct lt_r_heap *heap, const struct lt_r_node *peg, int *left)
{
	for (const struct lt_r_node *node = peg->gc_next; node != peg; node = node->gc_next) {
		int error = (*left)-- > 0 ? set_start(heap, (uintptr_t)node) : -EBUSY;
		if (error)
			return error;
	}
	return 0;
}

static int open_vectors(struct lt_r_heap *heap, unsigned number)
{
	const struct lt_r_class *class = &heap->classes[number];
	const struct lt_r_node *const pegs[] = { class->old[0], class->old[1], class->new, class->old_to_new[0],
		                                 class->old_to_new[1] };
	int left = class->allocated;

	for (unsigned i = 0; i < sizeof(pegs) / sizeof(*pegs); i++) {
		int error = open_list(heap, pegs[i], &left);
		if (error)
			return error;
	}
	return left ? -EBUSY : 0;
}

int lt_r_heap_open(struct lt_r_heap *heap)
{
	int error = 0;

	*heap = (struct lt_r_heap){ .classes = find_classes(&lt_r.object) };
	if (!heap->classes || !heap->classes[0].pages)
		return -ENOENT;
	heap->chunks = lt_map(LT_R_CHUNKS * sizeof(*heap->chunks));
	if (!heap->chunks)
		return -ENOMEM;
	for (unsigned i = 0; i < LT_R_CLASSES && !error; i++) {
		error = i < LT_R_SMALL_CLASSES ? open_pages(heap, i) : open_vectors(heap, i);
		heap->nodes += (uint64_t)(int64_t)heap->classes[i].allocated;
	}
	if (error)
		lt_r_heap_close(heap);
	return error;
}

void lt_r_heap_close(struct lt_r_heap *heap)
{
	for (size_t i = 0; heap->chunks && i < LT_R_CHUNKS; i++)
		if (heap->chunks[i])
			lt_unmap(heap->chunks[i], LT_R_CHUNK_WORDS * sizeof(**heap->chunks));
	lt_unmap(heap->chunks, LT_R_CHUNKS * sizeof(*heap->chunks));
	*heap = (struct lt_r_heap){ 0 };
}
