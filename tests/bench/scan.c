/* SPDX-License-Identifier: MIT
 *
 * How long the scan takes for heaps of different contents. Prints times, and checks ratios only: memory without pointers to blocks
 * must be passed over faster than memory full of them. usage: scan [BLOCKS [BYTES]]
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/arena.h"
#include "base/sys.h"
#include "scan/work.h"

static volatile uintptr_t root;
static uint64_t seed = 1;

static uint64_t rnd(void)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return seed ^ seed >> 29;
}

struct heap {
	uint64_t count, size;
	struct lt_scan_block *blocks;
	uintptr_t *order; /* addresses in random order, in memory that is no root */
};

enum contents { RANDOM, DOUBLES, TEXT, LIST, POINTERS };

static void fill(struct heap *heap, enum contents contents)
{
	for (uint64_t i = 0; i < heap->count; i++) {
		uintptr_t *words = (uintptr_t *)heap->order[i];
		for (uint64_t w = 0; w < heap->size / 8; w++) {
			double number = (double)rnd() / 1e9;
			switch (contents) {
			case RANDOM:
				words[w] = rnd() << 32 ^ rnd();
				break;
			case DOUBLES:
				memcpy(&words[w], &number, 8);
				break;
			case TEXT:
				memset(&words[w], (int)(32 + rnd() % 90), 8);
				break;
			case LIST:
				words[w] = 0;
				break;
			case POINTERS:
				words[w] = heap->order[rnd() % heap->count];
				break;
			}
		}
		if (contents == LIST && i + 1 < heap->count)
			words[0] = heap->order[i + 1];
	}
	root = heap->order[0];
}

static double judge(struct heap *heap, const char *what, bool all_reachable)
{
	struct lt_scan_thread self = { .sp = (uintptr_t)__builtin_frame_address(0) };
	struct lt_scan scan = { .blocks = heap->blocks, .count = heap->count, .threads = &self, .thread_count = 1 };
	double best = 1e9;
	uint64_t scanned = 0;
	for (unsigned round = 0; round < 3; round++) {
		for (uint64_t i = 0; i < heap->count; i++)
			heap->blocks[i] = (struct lt_scan_block){ .address = heap->order[i], .size = heap->size, .site = 1 };
		int64_t start = lt_sys_clock(CLOCK_MONOTONIC);
		int error = lt_scan_run(&scan);
		double ms = (double)(lt_sys_clock(CLOCK_MONOTONIC) - start) / 1e6;
		if (error) {
			fprintf(stderr, "scan: %s\n", strerror(-error));
			exit(1);
		}
		best = ms < best ? ms : best;
		scanned = scan.scanned_bytes;
	}
	printf("%-10s %8.1f ms  %6.2f GB/s  reachable %lu  definite %lu\n", what, best, (double)scanned / 1e6 / best,
	       (unsigned long)scan.kinds[LEAKTRACE_KIND_REACHABLE].blocks,
	       (unsigned long)scan.kinds[LEAKTRACE_KIND_DEFINITE].blocks);
	if (all_reachable && scan.kinds[LEAKTRACE_KIND_REACHABLE].blocks != heap->count) {
		fprintf(stderr, "scan: not all blocks of the list are reachable\n");
		exit(1);
	}
	return best;
}

int main(int argc, char **argv)
{
	struct heap heap = { .count = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000,
		             .size = argc > 2 ? strtoul(argv[2], NULL, 10) : 1000 };
	heap.blocks = lt_map(heap.count * sizeof *heap.blocks);
	heap.order = lt_map(heap.count * sizeof *heap.order);
	if (!heap.blocks || !heap.order)
		return 77;
	for (uint64_t i = 0; i < heap.count; i++)
		if (!(heap.order[i] = (uintptr_t)malloc(heap.size)))
			return 77;
	for (uint64_t i = heap.count; i-- > 1;) {
		uint64_t j = rnd() % (i + 1);
		uintptr_t swap = heap.order[i];
		heap.order[i] = heap.order[j];
		heap.order[j] = swap;
	}
	printf("%lu blocks of %lu bytes\n", (unsigned long)heap.count, (unsigned long)heap.size);
	for (uint64_t i = 0; i < heap.count; i++)
		heap.blocks[i].address = heap.order[i];
	int64_t start = lt_sys_clock(CLOCK_MONOTONIC);
	lt_index_sort(heap.blocks, (uint32_t)heap.count);
	printf("%-10s %8.1f ms\n", "sort", (double)(lt_sys_clock(CLOCK_MONOTONIC) - start) / 1e6);
	fill(&heap, RANDOM);
	double random = judge(&heap, "random", false);
	fill(&heap, DOUBLES);
	judge(&heap, "doubles", false);
	fill(&heap, TEXT);
	judge(&heap, "text", false);
	fill(&heap, LIST);
	judge(&heap, "list", true);
	fill(&heap, POINTERS);
	double pointers = judge(&heap, "pointers", false);
	if (random > pointers) {
		fprintf(stderr, "scan: memory without pointers takes longer than pointers\n");
		return 1;
	}
	return 0;
}
