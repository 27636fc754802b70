/* SPDX-License-Identifier: MIT
 *
 * Writes the list of live blocks (and of what is left of the inherited ones) into the dump.
 */
#ifndef LT_BLOCKS_H
#define LT_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes a new generation of BLOCKS and INHERITED and makes it the valid one when it is complete; the one before last is
 * overwritten. `final`: at the end of the process. `patient`: may wait for locks; false in a signal handler. `listed`: else no BLOCKS,
 * all count as dropped. No lock held; one caller at a time (others return at once). Any thread. */
void lt_blocks_write(bool final, bool patient, bool listed);

/* Bytes that a list of all blocks takes, and some more. */
uint64_t lt_blocks_room(void);

/* In a classifier: those of the blocks that were born in this image, with their kinds, as chunks of `generation`. It becomes
 * nobody's valid list but a verdict's. Returns the number of blocks for which there was no room. */
struct lt_scan_block;
uint64_t lt_blocks_write_verdict(const struct lt_scan_block *blocks, size_t n, uint32_t first_site, uint32_t generation);

/* No chunk of the file is known: another one, or another writer's. */
void lt_blocks_begin_file(void);

/* What a process holds of its ancestors' blocks is counted by site. Before a fork with the gate closed, after it in the parent, and
 * in the child; `prepared`: the first was called, and nothing has changed since. */
void lt_blocks_fork_prepare(void);
void lt_blocks_fork_parent(void);
void lt_blocks_fork_child(bool prepared);
/* So many of an ancestor's site are freed. Any context. */
void lt_blocks_inherited_free(uint32_t site, uint64_t blocks, uint64_t bytes);

#endif
