/* SPDX-License-Identifier: MIT
 *
 * Open addressing, linear probing, at most half full. Threads: reads without lock; rules_lock (rank 2) to add. Growing copies into a
 * new array; the old one stays mapped, for readers may be in it. With no memory for the first array every rule is read anew.
 *
 * Code has only so many call instructions; but a just-in-time compiler makes more and more of them. So there is a most, and rules
 * beyond are read anew each time.
 *
 * A rule that is kept needs no check of its own numbers: the walk (unwind.c) only looks whether what it reads is on the stack.
 */
#include "trace/rules.h"
#include "base/arena.h"
#include "base/lock.h"
#include "base/sys.h"
#include <string.h>

#define FIRST_ENTRIES 2048
#define MOST_ENTRIES (UINT64_C(1) << 20)
#define RED_ZONE 128

static struct {
	struct lt_rule_array array;
	struct lt_rule_entry entry;
} no_rules[2];
struct lt_rule_array *lt_rule_array = &no_rules[1].array;
static struct lt_lock rules_lock;
static uint64_t used;

const struct lt_rule_array *lt_rules_none(void)
{
	return &no_rules[0].array;
}

/* A frame's words lie in it, or in the red zone below, where an epilogue leaves the saved rbp; all are aligned. */
static struct lt_rule checked(struct lt_rule rule)
{
	bool wrong = false;
	if (rule.kind == LT_RULE_RSP)
		wrong = rule.offset < 8 || rule.offset & 7 ||
		        (rule.rbp == LT_RBP_AT_CFA && (rule.rbp_offset & 7 || rule.rbp_offset > -16 || -rule.rbp_offset > rule.offset + RED_ZONE));
	if (wrong)
		rule = (struct lt_rule){ .kind = LT_RULE_UNUSUAL };
	return rule;
}

static void place(struct lt_rule_array *array, uintptr_t key, struct lt_rule rule)
{
	uint64_t i = key * 0x9e3779b97f4a7c15ULL >> 40;
	while (array->entries[i & array->mask].key)
		i++;
	array->entries[i & array->mask].rule = rule;
	lt_store_release(&array->entries[i & array->mask].key, key); /* pairs with lt_rules_find */
}

static bool grow(void)
{
	struct lt_rule_array *old = lt_rule_array;
	bool first = old == &no_rules[1].array;
	uint64_t n = first ? FIRST_ENTRIES : 2 * (old->mask + 1);
	struct lt_rule_array *array = n > MOST_ENTRIES ? NULL : lt_map(sizeof *array + n * sizeof array->entries[0]);
	if (!array)
		return !first && used * 8 < (old->mask + 1) * 5;
	array->mask = n - 1;
	array->old = first ? NULL : old;
	for (uint64_t i = 0; !first && i <= old->mask; i++)
		if (old->entries[i].key)
			place(array, old->entries[i].key, old->entries[i].rule);
	lt_store_release(&lt_rule_array, array); /* pairs with the walk's load */
	return true;
}

__attribute__((noinline, cold)) struct lt_rule lt_rules_read(const struct lt_rule_array *array, uintptr_t key)
{
	bool interrupted = key >> 63;
	uintptr_t pc = key & ~((uintptr_t)1 << 63);
	struct lt_rule rule = checked(lt_cfi_rule(interrupted ? pc : pc - 1));
	if (array == &no_rules[0].array || !key)
		return rule;
	lt_lock(&rules_lock);
	array = lt_rule_array;
	for (uint64_t i = key * 0x9e3779b97f4a7c15ULL >> 40;; i++) {
		uintptr_t found = array->entries[i & array->mask].key;
		if (found == key)
			break;
		if (!found) {
			if (2 * used < array->mask || grow()) {
				place(lt_rule_array, key, rule);
				used++;
			}
			break;
		}
	}
	lt_unlock(&rules_lock);
	return rule;
}

void lt_rules_flush(void)
{
	struct lt_rule_array *array = lt_rule_array, *old;
	if (array == &no_rules[1].array)
		return;
	while ((old = array->old)) {
		array->old = old->old;
		lt_unmap(old, sizeof *old + (old->mask + 1) * sizeof old->entries[0]);
	}
	memset(array->entries, 0, (array->mask + 1) * sizeof array->entries[0]);
	used = 0;
}

/* Of a fork in the middle of an addition the key is missing, and nothing is wrong. */
void lt_rules_fork_child(void)
{
	rules_lock.held = 0;
}
