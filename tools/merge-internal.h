/* SPDX-License-Identifier: MIT
 *
 * Shared by the two passes of merging: merge.c and load.c.
 */
#ifndef LT_MERGE_INTERNAL_H
#define LT_MERGE_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

struct lt_source {
	char *path;
	uint32_t *processes; /* number in the merge of each process in the file; LT_NO_PROCESS: taken from another file */
	size_t process_count;
	uint32_t wanted; /* processes taken from here */
	uint32_t rank;   /* lowest of their numbers */
};

#endif
