/* SPDX-License-Identifier: MIT
 *
 * Memory of a whole process tree over time: RSS and PSS, summed over processes.
 *
 * RSS counts a page that processes share once for each of them, PSS in equal parts: their difference is what fork shares.
 */
#ifndef LT_TREE_MEMORY_H
#define LT_TREE_MEMORY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct lt_tree_memory {
	pid_t root;
	char *dir; /* session directory: processes with a dump there belong to the tree, whoever their parent is */
	int64_t start_ns; /* CLOCK_MONOTONIC */
	uint64_t peak_rss, peak_pss;
	unsigned peak_processes; /* most at a time */
	uint64_t samples;
	int fd; /* of memory.csv; -1: not open yet */
	bool failed;
	struct lt_dump_pid *dumps; /* by name: PID and start time, so that each dump is opened once */
};

void lt_tree_memory_start(struct lt_tree_memory *memory, pid_t root, const char *dir);

/* Takes one sample, adds it to DIR/memory.csv as soon as the directory is there. */
void lt_tree_memory_sample(struct lt_tree_memory *memory);

/* Some process of the session lives still. */
bool lt_tree_memory_alive(struct lt_tree_memory *memory);

void lt_tree_memory_clear(struct lt_tree_memory *memory);

#endif
