/* SPDX-License-Identifier: MIT
 *
 * The rule cache: address of code -> how to step out of its frame. See cfi.h for the rules themselves.
 */
#ifndef LT_RULES_H
#define LT_RULES_H

#include "base/atomic.h"
#include "trace/cfi.h"
#include <assert.h>

/* An entry is published by the release store of its key, which is never 0; a reader that finds 0 has it read slowly. */
struct lt_rule_entry {
	uintptr_t key;
	struct lt_rule rule;
};
static_assert(sizeof(struct lt_rule) == 8, "an entry is two words");

struct lt_rule_array {
	uint64_t mask;
	struct lt_rule_array *old; /* that this one grew out of; readers may be in it */
	struct lt_rule_entry entries[];
};
extern LT_HIDDEN struct lt_rule_array *lt_rule_array;

/* In its place while it is not to be trusted (process/unload.c): always empty. */
const struct lt_rule_array *lt_rules_none(void);

/* Of the instruction before a return address; of the address itself in code that a signal interrupted. */
static inline uintptr_t lt_rules_key(uintptr_t pc, bool interrupted)
{
	return interrupted ? pc | (uintptr_t)1 << 63 : pc;
}

/* Reads it out of the unwind tables, and keeps it if `array` is not lt_rules_none(). Rank 2. */
struct lt_rule lt_rules_read(const struct lt_rule_array *array, uintptr_t key);

/* Any thread, inside the gate, no lock held. */
static inline struct lt_rule lt_rules_find(const struct lt_rule_array *array, uintptr_t key)
{
	for (uint64_t i = key * 0x9e3779b97f4a7c15ULL >> 40;; i++) {
		const struct lt_rule_entry *e = &array->entries[i & array->mask];
		uintptr_t found = lt_load_acquire(&e->key); /* pairs with lt_rules_read */
		if (lt_likely(found == key))
			return e->rule;
		if (!found)
			return lt_rules_read(array, key);
	}
}

/* Forgets all rules. With the gate closed. */
void lt_rules_flush(void);

void lt_rules_fork_child(void);

#endif
