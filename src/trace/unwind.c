/* SPDX-License-Identifier: MIT
 *
 * Two ways. The common one steps by rules that cfi.c reads out of the unwind tables, once per return address, kept in a
 * cache: two loads and a look-up a frame, no lock, no system call. A stack with an unusual rule on it (an expression, another register) is
 * done again from its start by libunwind's cursor (libunwind.c), which knows all of that. In code without unwind data (a
 * just-in-time compiler's) the stack is cut: libunwind's guess there made up frames.
 *
 * Between two allocations of a thread almost all of the stack is the same. So the last stack is kept, with each frame's trie node:
 * the walk goes outwards until it comes to a frame in the same slot, with the same return address and the same rbp; from there
 * on it would read the same words again, and compares them, innermost first, with what they were. If all are as they were, the
 * rest of the stack is, and its nodes are known; at the first that differs the walk goes on from there. No word is read that
 * the plain walk would not read. Nothing in it depends on the thread: a stack is known by its slots. (Turned down: a mark on
 * the stack, or a patched return address, which exceptions and longjmp would trip over.)
 *
 * Words are read only where they are known to be mapped: rules say nothing true where a coroutine's stack made by hand ends. Of the
 * thread's own stack, lt_thread.stack_low to stack_high, that is known for good, once each page was tried out by a system call;
 * a walk tries out the pages of any other stack (coroutines, signal stacks) anew, for it may be unmapped, and does not reuse the
 * last stack. (Turned down: /proc/self/maps and pthread_getattr_np, slow or allocating, and neither knows coroutines.)
 *
 * The rule cache is a table.h table: return address -> index + 1 into an array of distinct rules (a program has some hundreds).
 * Threads: reads without lock; rules_lock (rank 2) to add. After dlclose it is emptied with the gate closed; until then stacks
 * are taken without it, nor from kept ones (process/unload.c).
 */
#include "trace/unwind.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/sys.h"
#include "base/text.h"
#include "trace/cfi.h"
#include "trace/libunwind.h"
#include "trace/modules.h"
#include "trace/table.h"
#include "trace/thread.h"
#include <string.h>
#include <sys/auxv.h>
#include <ucontext.h>

#define RULES 65536
#define PAGE 4096
#define RED_ZONE 128
#define FRAME_MAX (4u << 20) /* what is tried out, page by page, for one step */
#define SKIP_MAX 16 /* frames of our own above the hook's caller */

static struct lt_lock rules_lock;
static struct lt_table rule_of;
static struct lt_table no_rules; /* in its place while that is not to be trusted: always empty */
static struct lt_rule rules[RULES];
static uint32_t rule_count;
static uint64_t fast_stacks, slow_stacks;
static uint32_t generation = 1; /* of kept stacks */

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

static __attribute__((noinline)) struct lt_rule find_rule_slowly(const struct lt_table *cache, uintptr_t pc, bool interrupted)
{
	struct lt_rule rule = lt_cfi_rule(interrupted ? pc : pc - 1);
	if (cache != &rule_of)
		return rule;
	lt_lock(&rules_lock);
	if (!lt_table_find(&rule_of, pc, interrupted)) {
		uint32_t index = intern_rule(rule);
		if (index)
			lt_table_add(&rule_of, pc, interrupted, index);
	}
	lt_unlock(&rules_lock);
	return rule;
}

static inline struct lt_rule find_rule(const struct lt_table *cache, uintptr_t pc, bool interrupted)
{
	uint32_t index = lt_table_find(cache, pc, interrupted);
	return lt_likely(index) ? rules[index - 1] : find_rule_slowly(cache, pc, interrupted);
}

struct registers {
	uintptr_t pc, rsp, rbp;
};

/* [start, top) can be read; start is the page of rsp where the walk began or came to another stack. */
struct walk {
	const struct lt_table *cache;
	uintptr_t start, top;
};

static inline uintptr_t page_of(uintptr_t address)
{
	return address & ~(uintptr_t)(PAGE - 1);
}

static inline bool is_on_own_stack(uintptr_t rsp)
{
	return rsp - lt_thread.stack_low < lt_thread.stack_high - lt_thread.stack_low;
}

/* The thread's own stack ends below its thread-local memory, that of the first thread below what the kernel left there. */
static void find_own_stack(void)
{
	uintptr_t high = lt_sys_gettid() == lt_sys_getpid() ? getauxval(AT_RANDOM) : (uintptr_t)&lt_thread;
	lt_thread.stack_low = page_of(high);
	lt_thread.stack_high = high & ~(uintptr_t)7;
}

/* The top of what can be read, from `walk.top` on, so that the word at `address` is below it; 0: there is none. */
static __attribute__((noinline, cold)) uintptr_t extend(struct walk walk, uintptr_t address)
{
	if (address >= UINTPTR_MAX - PAGE || address - walk.top > FRAME_MAX)
		return 0;
	if (!lt_thread.stack_high)
		find_own_stack();
	while (walk.top < address + 8) {
		if (walk.top == lt_thread.stack_low) {
			lt_thread.stack_low = walk.start;
			walk.top = lt_thread.stack_high;
		} else if (walk.top & (PAGE - 1)) {
			walk.top = page_of(walk.top) + PAGE;
		} else if (lt_sys_can_read(walk.top)) {
			walk.top += PAGE;
		} else {
			return 0;
		}
	}
	return walk.top;
}

/* A word of a frame; it may lie in the red zone below rsp, where an epilogue leaves the saved rbp. */
static inline bool can_read(struct walk *walk, uintptr_t rsp, uintptr_t address)
{
	if (lt_unlikely(address < rsp - RED_ZONE || address & 7))
		return false;
	if (lt_likely(address < walk->top - 7))
		return true;
	uintptr_t top = extend(*walk, address);
	if (top)
		walk->top = top;
	return top;
}

enum step { STEP_DONE, STEP_OUTERMOST, STEP_SIGNAL, STEP_UNKNOWN, STEP_UNUSUAL };

/* Out of a frame. *rbp_at, *cfa_at: where the new rbp and the frame's address were read; 0: nowhere. */
static inline enum step step_out(struct walk *walk, struct registers *r, bool interrupted, uintptr_t *rbp_at, uintptr_t *cfa_at)
{
	struct lt_rule rule = find_rule(walk->cache, r->pc, interrupted);
	uintptr_t cfa;
	*rbp_at = *cfa_at = 0;
	switch (rule.kind) {
	case LT_RULE_RSP: cfa = r->rsp + (uintptr_t)(intptr_t)rule.offset; break;
	case LT_RULE_RBP: cfa = r->rbp + (uintptr_t)(intptr_t)rule.offset; break;
	case LT_RULE_RBP_DEREF:
		*cfa_at = r->rbp + (uintptr_t)(intptr_t)rule.offset;
		if (!can_read(walk, r->rsp, *cfa_at))
			return STEP_UNUSUAL;
		cfa = *(uintptr_t *)*cfa_at;
		break;
	case LT_RULE_END: return STEP_OUTERMOST;
	case LT_RULE_SIGNAL: return STEP_SIGNAL;
	case LT_RULE_UNKNOWN: return STEP_UNKNOWN;
	default: return STEP_UNUSUAL;
	}
	if (cfa <= r->rsp || !can_read(walk, r->rsp, cfa - 8)) /* not a stack that grows down: a coroutine's bottom made by hand */
		return STEP_UNUSUAL;
	if (rule.rbp == LT_RBP_AT_CFA)
		*rbp_at = cfa + (uintptr_t)(intptr_t)rule.rbp_offset;
	else if (rule.rbp == LT_RBP_AT_RBP)
		*rbp_at = r->rbp + (uintptr_t)(intptr_t)rule.rbp_offset;
	if (*rbp_at) {
		if (!can_read(walk, r->rsp, *rbp_at))
			return STEP_UNUSUAL;
		r->rbp = *(uintptr_t *)*rbp_at;
	}
	r->pc = *(uintptr_t *)(cfa - 8);
	r->rsp = cfa;
	return STEP_DONE;
}

/* From the return address of a signal handler, code that calls rt_sigreturn, to what the signal interrupted: the kernel has
 * left its registers in a ucontext at rsp (Linux, arch/x86/include/asm/sigframe.h). */
static inline bool step_out_of_handler(struct walk *walk, struct registers *r)
{
#if defined __x86_64__
	const ucontext_t *context = (const void *)r->rsp;
	if (!can_read(walk, r->rsp, r->rsp) || !can_read(walk, r->rsp, (uintptr_t)(&context->uc_mcontext.gregs[REG_RIP])))
		return false;
	*r = (struct registers){
		(uintptr_t)context->uc_mcontext.gregs[REG_RIP],
		(uintptr_t)context->uc_mcontext.gregs[REG_RSP],
		(uintptr_t)context->uc_mcontext.gregs[REG_RBP],
	};
	/* On another stack, nothing is known of it yet. */
	walk->start = page_of(r->rsp);
	walk->top = is_on_own_stack(r->rsp) ? lt_thread.stack_high : walk->start;
#endif
	return true;
}

static inline struct walk begin_walk(const struct lt_table *cache, uintptr_t rsp)
{
	uintptr_t start = page_of(rsp);
	return (struct walk){ cache, start, lt_likely(is_on_own_stack(rsp)) ? lt_thread.stack_high : start + PAGE };
}

#if defined __x86_64__
#define REGISTERS(r) \
	__asm__ volatile("leaq 1f(%%rip), %0\n1:\tmovq %%rsp, %1\n\tmovq %%rbp, %2" : "=r"((r).pc), "=r"((r).rsp), "=r"((r).rbp))
#else
#define REGISTERS(r) (void)((r) = (struct registers){ 0, 0, 0 })
#endif

/* To the frame whose return address is `from`, past our own. A macro's work: it must not have a frame of its own. */
static inline __attribute__((always_inline)) bool skip_own(struct walk *walk, struct registers *r, uintptr_t from,
                                                          uintptr_t *rbp_at, uintptr_t *cfa_at)
{
	for (unsigned skipped = 0; skipped <= SKIP_MAX; skipped++) {
		if (step_out(walk, r, false, rbp_at, cfa_at) != STEP_DONE)
			return false;
		if (r->pc == from)
			return true;
	}
	return false;
}

/* Returns the number of frames, 0 if the stack is not for this way. */
static unsigned by_rules(const struct lt_table *cache, uintptr_t from, uintptr_t *pcs, unsigned max, bool *cut)
{
	struct registers r;
	uintptr_t rbp_at, cfa_at;
	unsigned n = 0;
	REGISTERS(r);
	struct walk walk = begin_walk(cache, r.rsp);
	if (!skip_own(&walk, &r, from, &rbp_at, &cfa_at))
		return 0;
	for (bool interrupted = false;;) {
		if (!r.pc)
			return n;
		if (n == max) {
			*cut = true;
			return n;
		}
		pcs[n++] = r.pc;
		enum step step = step_out(&walk, &r, interrupted, &rbp_at, &cfa_at);
		interrupted = step == STEP_SIGNAL;
		if (interrupted && !step_out_of_handler(&walk, &r))
			return 0;
		else if (step == STEP_UNKNOWN)
			*cut = true;
		if (step == STEP_UNUSUAL)
			return 0;
		if (step == STEP_UNKNOWN || step == STEP_OUTERMOST)
			return n;
	}
}

/* The words from which the step into `f` followed are what they were. First the one that says where the others are. */
static inline bool is_unchanged(const struct lt_frame *f)
{
	return (!f->cfa_at || *(uintptr_t *)f->cfa_at == f->slot + 8) && *(uintptr_t *)f->slot == f->pc &&
	       (!f->rbp_at || *(uintptr_t *)f->rbp_at == f->rbp);
}

/* Puts the `n` fresh frames on top of the first `kept` ones. */
static bool finish_stack(struct lt_stack *s, unsigned kept, unsigned n, unsigned max, bool reusable)
{
	for (unsigned i = 0; i < n; i++)
		s->frames[kept + i] = s->fresh[n - 1 - i];
	s->count = kept + n;
	s->first = s->count > max ? s->count - max : 0;
	if (s->known > kept)
		s->known = kept;
	s->reusable = reusable;
	return s->first;
}

/* Returns 0, 1 if the stack is cut, -1 if it is not for this way. */
static int by_rules_again(const struct lt_table *cache, uintptr_t from, struct lt_stack *s, unsigned max)
{
	struct registers r;
	uintptr_t rbp_at, cfa_at;
	unsigned n = 0, kept = 0;
	REGISTERS(r);
	struct walk walk = begin_walk(cache, r.rsp);
	if (s->reusable && s->top == walk.top && cache == &rule_of && s->generation == lt_load_relaxed(&generation))
		kept = s->count;
	s->reusable = false;
	if (!skip_own(&walk, &r, from, &rbp_at, &cfa_at))
		return -1;
	for (;;) {
		uintptr_t slot = r.rsp - 8;
		if (!r.pc)
			return finish_stack(s, 0, n, max, false);
		while (kept && s->frames[kept - 1].slot < slot)
			kept--;
		const struct lt_frame *same = kept ? &s->frames[kept - 1] : NULL;
		if (same && same->slot == slot && same->pc == r.pc && same->rbp == r.rbp) {
			unsigned i = kept - 1;
			while (i && is_unchanged(&s->frames[i - 1]))
				i--;
			if (!i && kept + n <= LT_DEPTH_MAX)
				return finish_stack(s, kept, n, max, walk.top == s->top);
			/* Go on from the last one that is as it was. */
			for (; kept > i && n <= max && n < LT_DEPTH_MAX; kept--)
				s->fresh[n++] = s->frames[kept - 1];
			r = (struct registers){ s->fresh[n - 1].pc, s->fresh[n - 1].slot + 8, s->fresh[n - 1].rbp };
		} else if (n < LT_DEPTH_MAX) {
			s->fresh[n++] = (struct lt_frame){ slot, r.pc, r.rbp, rbp_at, cfa_at, 0 };
		}
		enum step step = n > max || n == LT_DEPTH_MAX ? STEP_OUTERMOST : step_out(&walk, &r, false, &rbp_at, &cfa_at);
		if (step == STEP_OUTERMOST)
			break;
		if (step != STEP_DONE) /* nor does a stack with a signal on it: its slots need not rise */
			return -1;
	}
	if (n <= max && n < LT_DEPTH_MAX) {
		s->top = walk.top;
		return finish_stack(s, 0, n, max, cache == &rule_of && walk.top == lt_thread.stack_high);
	}
	/* Too deep: only the innermost frames were looked at. */
	finish_stack(s, 0, n > max ? max : n, max, false);
	return 1;
}

unsigned lt_unwind(uintptr_t from, uintptr_t *pcs, unsigned max, bool *cut)
{
	*cut = false;
	unsigned n = by_rules(lt_unlikely(lt_load_relaxed(&lt_code_unsure)) ? &no_rules : &rule_of, from, pcs, max, cut);
	if (lt_likely(n)) {
		lt_add_relaxed(&fast_stacks, 1);
		return n;
	}
	lt_add_relaxed(&slow_stacks, 1);
	*cut = false;
	n = lt_libunwind_walk(from, pcs, max, cut);
	if (!n) {
		pcs[0] = from;
		*cut = true;
		n = 1;
	}
	return n;
}

bool lt_stack_take(uintptr_t from, struct lt_stack *stack, unsigned max)
{
	int done = by_rules_again(lt_unlikely(stack->unsure) ? &no_rules : &rule_of, from, stack, max);
	stack->generation = lt_load_relaxed(&generation);
	if (lt_likely(done >= 0)) {
		lt_add_relaxed(&fast_stacks, 1);
		return done;
	}
	/* The addresses have room where the fresh frames were. */
	uintptr_t *pcs = (uintptr_t *)stack->fresh;
	bool cut;
	unsigned n = lt_unwind(from, pcs, max, &cut);
	for (unsigned i = 0; i < n; i++)
		stack->frames[n - 1 - i].pc = pcs[i];
	stack->count = n;
	stack->first = stack->known = 0;
	return cut;
}

void lt_stack_check(uintptr_t from, const struct lt_stack *stack, unsigned max, bool cut)
{
	uintptr_t pcs[LT_DEPTH_MAX];
	bool right_cut = false, same;
	unsigned n = lt_libunwind_walk(from, pcs, max, &right_cut);
	if (!n)
		return;
	same = n == stack->count - stack->first && cut == right_cut;
	for (unsigned i = 0; same && i < n; i++)
		same = pcs[i] == stack->frames[stack->count - 1 - i].pc;
	if (!same) {
		char digits[24];
		struct lt_text text = LT_TEXT(digits);
		lt_text_add_decimal(&text, lt_load_relaxed(&fast_stacks));
		lt_warn("check: a stack is not as libunwind finds it, stack number ", digits, NULL);
	}
}

void lt_unwind_flush(void)
{
	lt_store_relaxed(&generation, generation + 1);
	lt_table_empty(&rule_of);
}

void lt_unwind_fork_child(bool safe)
{
	generation++; /* the trie begins anew */
	if (rules_lock.held) { /* a raw fork in the middle of an addition */
		rules_lock.held = 0;
		lt_table_clear(&rule_of);
	}
	if (!safe)
		lt_libunwind_off();
}

void lt_unwind_counts(uint64_t *fast, uint64_t *slow)
{
	*fast = lt_load_relaxed(&fast_stacks);
	*slow = lt_load_relaxed(&slow_stacks);
}
