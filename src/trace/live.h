/* SPDX-License-Identifier: MIT
 *
 * The table of live blocks: address to size, site and task. Private memory: a fork copies it for free.
 */
#ifndef LT_LIVE_H
#define LT_LIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lt_block {
	uintptr_t address; /* 0: empty entry */
	uint64_t size;
	uint32_t site;
	uint32_t task;
};

/* 0 when there is no memory for the table. Start only. */
int lt_live_init(void);

/* Adds a block. An entry of the same address that is still there (its free was missed) is replaced and put in *old, whose
 * address is else 0. Returns 0, -ENOMEM (not added). Inside the gate; takes a lock of rank 3. */
int lt_live_insert(const struct lt_block *block, struct lt_block *old);

/* Takes the block out. Returns false if it was not there. Inside the gate; takes a lock of rank 3. */
bool lt_live_remove(uintptr_t address, struct lt_block *block);

/* Calls visit for each entry, shard by shard, under the shard's lock, until it returns false. For the locks of all
 * it waits 200 ms, 5 ms with `patient` false, for it may have interrupted a holder, or a holder may never go on; a shard whose
 * lock can't be had is skipped. Returns the number of entries in those. */
unsigned lt_live_visit(bool patient, bool (*visit)(const struct lt_block *block, void *arg), void *arg);

uint64_t lt_live_count(void);

/* In a fork child: all locks free. A shard whose lock was held (only after a raw fork) is emptied; returns their number. */
unsigned lt_live_fork_child(void);

#endif
