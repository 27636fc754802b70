/* SPDX-License-Identifier: MIT
 *
 * Two ways. The common one steps by rules that cfi.c reads out of the unwind tables, once per return address, kept in a
 * cache: two loads and a look-up a frame, no lock, no system call. A stack with anything unusual on it (a signal frame, an
 * expression, code without unwind data) is done again from its start by libunwind's cursor, which knows all of that.
 *
 * libunwind's own fast way (unw_backtrace) was turned down: its per-thread cache is not emptied by dlclose, so code loaded at
 * a reused address is unwound by the rules of what was there before, and it takes ten times as long.
 *
 * The rule cache is a table.h table: return address -> index + 1 into an array of distinct rules (a program has some hundreds).
 * Threads: reads without lock; rules_lock (rank 2) to add. After dlclose it is emptied with the gate closed.
 */
#define UNW_LOCAL_ONLY
#include "trace/unwind.h"
#include "base/lock.h"
#include "trace/cfi.h"
#include "trace/table.h"
#include "trace/thread.h"
#include <dlfcn.h>
#include <libunwind.h>
#include <string.h>

#define RULES 65536
#define SKIP_MAX 16 /* frames of our own above the hook's caller */

#define NAME2(symbol) #symbol
#define NAME(symbol) NAME2(symbol)

static struct {
	bool on;
	int (*getcontext)(unw_tdep_context_t *);
	int (*init_local)(unw_cursor_t *, unw_context_t *);
	int (*step)(unw_cursor_t *);
	int (*get_reg)(unw_cursor_t *, int, unw_word_t *);
	void (*flush_cache)(unw_addr_space_t, unw_word_t, unw_word_t);
	unw_addr_space_t *local;
} libunwind;

static struct lt_lock rules_lock;
static struct lt_table rule_of;
static struct lt_rule rules[RULES];
static uint32_t rule_count;
static uint64_t fast_stacks, slow_stacks;

int lt_unwind_init(void)
{
	void *handle = dlopen("libunwind.so.8", RTLD_NOW | RTLD_LOCAL);
	if (!handle)
		return -ENOENT;
	*(void **)&libunwind.getcontext = dlsym(handle, NAME(unw_tdep_getcontext));
	*(void **)&libunwind.init_local = dlsym(handle, NAME(unw_init_local));
	*(void **)&libunwind.step = dlsym(handle, NAME(unw_step));
	*(void **)&libunwind.get_reg = dlsym(handle, NAME(unw_get_reg));
	*(void **)&libunwind.flush_cache = dlsym(handle, NAME(unw_flush_cache));
	libunwind.local = dlsym(handle, NAME(unw_local_addr_space));
	libunwind.on = libunwind.getcontext && libunwind.init_local && libunwind.step && libunwind.get_reg;
	return libunwind.on ? 0 : -ENOENT;
}

static uint32_t intern_rule(struct lt_rule rule)
{
	for (uint32_t i = 0; i < rule_count; i++)
		if (!memcmp(&rules[i], &rule, sizeof rule))
			return i + 1;
	if (rule_count == RULES)
		return 0;
	rules[rule_count] = rule;
	return ++rule_count;
}

static __attribute__((noinline)) struct lt_rule find_rule_slowly(uintptr_t pc)
{
	struct lt_rule rule = lt_cfi_rule(pc - 1);
	lt_lock(&rules_lock);
	if (!lt_table_find(&rule_of, pc, 0)) {
		uint32_t index = intern_rule(rule);
		if (index)
			lt_table_add(&rule_of, pc, 0, index);
	}
	lt_unlock(&rules_lock);
	return rule;
}

static inline struct lt_rule find_rule(uintptr_t pc)
{
	uint32_t index = lt_table_find(&rule_of, pc, 0);
	return lt_likely(index) ? rules[index - 1] : find_rule_slowly(pc);
}

/* Returns the number of frames, 0 if the stack is not for this way. */
static unsigned by_rules(uintptr_t from, uintptr_t *pcs, unsigned max, bool *cut)
{
#if defined __x86_64__
	uintptr_t pc, rsp, rbp;
	__asm__ volatile("leaq 1f(%%rip), %0\n1:\tmovq %%rsp, %1\n\tmovq %%rbp, %2" : "=r"(pc), "=r"(rsp), "=r"(rbp));
	unsigned n = 0, skipped = 0;
	bool on = false;
	for (;;) {
		struct lt_rule rule = find_rule(pc);
		uintptr_t cfa;
		switch (rule.kind) {
		case LT_RULE_RSP: cfa = rsp + (uintptr_t)(intptr_t)rule.offset; break;
		case LT_RULE_RBP: cfa = rbp + (uintptr_t)(intptr_t)rule.offset; break;
		case LT_RULE_RBP_DEREF: cfa = *(uintptr_t *)(rbp + (uintptr_t)(intptr_t)rule.offset); break;
		case LT_RULE_END: return n;
		default: return 0;
		}
		if (cfa <= rsp || cfa & 7) /* not a stack that grows down: a coroutine's bottom made by hand */
			return 0;
		if (rule.rbp == LT_RBP_AT_CFA)
			rbp = *(uintptr_t *)(cfa + (uintptr_t)(intptr_t)rule.rbp_offset);
		else if (rule.rbp == LT_RBP_AT_RBP)
			rbp = *(uintptr_t *)(rbp + (uintptr_t)(intptr_t)rule.rbp_offset);
		pc = *(uintptr_t *)(cfa - 8);
		rsp = cfa;
		if (!on) {
			on = pc == from;
			if (!on && ++skipped > SKIP_MAX)
				return 0;
		}
		if (on) {
			if (!pc)
				return n;
			if (n == max) {
				*cut = true;
				return n;
			}
			pcs[n++] = pc;
		}
	}
#else
	return 0;
#endif
}

static __attribute__((noinline)) unsigned by_libunwind(uintptr_t from, uintptr_t *pcs, unsigned max, bool *cut)
{
	unw_context_t context;
	unw_cursor_t cursor;
	unsigned n = 0, skipped = 0;
	libunwind.getcontext(&context);
	if (libunwind.init_local(&cursor, &context) < 0)
		return 0;
	int step;
	while ((step = libunwind.step(&cursor)) > 0) {
		unw_word_t pc;
		if (libunwind.get_reg(&cursor, UNW_REG_IP, &pc) < 0 || !pc)
			break;
		if (!n && pc != from) {
			if (++skipped > SKIP_MAX)
				return 0;
			continue;
		}
		if (n == max) {
			*cut = true;
			return n;
		}
		pcs[n++] = pc;
	}
	if (step < 0)
		*cut = true;
	return n;
}

unsigned lt_unwind(uintptr_t from, uintptr_t *pcs, unsigned max, bool *cut)
{
	*cut = false;
	unsigned n = by_rules(from, pcs, max, cut);
	if (lt_likely(n)) {
		lt_add_relaxed(&fast_stacks, 1);
		return n;
	}
	lt_add_relaxed(&slow_stacks, 1);
	*cut = false;
	if (libunwind.on)
		n = by_libunwind(from, pcs, max, cut);
	if (!n) {
		pcs[0] = from;
		*cut = true;
		n = 1;
	}
	return n;
}

void lt_unwind_flush(void)
{
	lt_table_reset(&rule_of);
	if (libunwind.on && libunwind.flush_cache && libunwind.local)
		libunwind.flush_cache(*libunwind.local, 0, 0);
}

void lt_unwind_fork_child(bool safe)
{
	if (rules_lock.held) { /* a raw fork in the middle of an addition */
		rules_lock.held = 0;
		lt_table_reset(&rule_of);
	}
	if (!safe)
		libunwind.on = false;
}

void lt_unwind_counts(uint64_t *fast, uint64_t *slow)
{
	*fast = lt_load_relaxed(&fast_stacks);
	*slow = lt_load_relaxed(&slow_stacks);
}
