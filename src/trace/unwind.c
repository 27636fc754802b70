/* SPDX-License-Identifier: MIT
 *
 * Two ways. The common one steps by rules that cfi.c reads out of the unwind tables, once per return address, kept in a
 * cache: two loads and a look-up a frame, no lock, no system call. It begins at the hook's own frame, whose frame pointer says all.
 * A stack with an unusual rule on it (an expression, another register) is done again from its start by libunwind's cursor
 * (libunwind.c), which knows all of that. In code without unwind data (a just-in-time compiler's) the stack is cut: libunwind's
 * guess there made up frames.
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
 * A saved rbp is compared only where a step outwards from there makes use of it (optimised code keeps anything in rbp).
 *
 * A stack that comes again and again is kept as a shape (shapes.h), with all words that its walk read and those of R's stack: if they
 * are as they were nothing is walked at all, which takes three instructions a word.
 *
 * After dlclose the rule cache (rules.c) is emptied with the gate closed; until then stacks are taken without it, nor from kept
 * ones (process/unload.c). Nothing here calls libc but the slow way, which keeps errno.
 */
#include "trace/unwind.h"
#include "base/log.h"
#include "base/sys.h"
#include "trace/libunwind.h"
#include "trace/shapes.h"
#include "trace/modules.h"
#include "trace/rules.h"
#include "trace/thread.h"
#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <ucontext.h>

#define PAGE 4096
#define RED_ZONE 128
#define FRAME_MAX (4u << 20) /* what is tried out, page by page, for one step */
#define LOCAL_MAX (1u << 18) /* likewise, of thread-local memory */

static uint64_t slow_stacks;
uint64_t lt_stack_generation = LT_STACK_GENERATION;

struct registers {
	uintptr_t pc, rsp, rbp;
};

/* [start, top) can be read; start is the page of rsp where the walk began or came to another stack. */
struct walk {
	const struct lt_rule_array *rules;
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

/* At the outermost frame of a thread: its thread-local memory may begin some pages above, and what is there can be read, too. */
static void extend_to_end(struct walk *walk)
{
	if (!lt_thread.stack_high)
		find_own_stack();
	if (lt_thread.stack_low - walk->top > LOCAL_MAX) /* not its own stack; or it knows already */
		return;
	uintptr_t top = extend(*walk, lt_thread.stack_low);
	if (top)
		walk->top = top;
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

/* What a step does with rbp: reads it anew and makes no use of what it was; makes use of it; leaves it as it is. */
enum use { USE_NONE, USE_RBP, USE_PASS }; /* need = use & 1 or (use & 2 and the need of the frame outside) */

enum step { STEP_DONE, STEP_OUTERMOST, STEP_SIGNAL, STEP_UNKNOWN, STEP_UNUSUAL };

struct step_result {
	uintptr_t rbp_at, cfa_at; /* where the new rbp and the frame's address were read; 0: nowhere */
	enum use use;
};

static __attribute__((noinline)) enum step step_otherwise(struct walk *walk, struct registers *r, struct lt_rule rule,
                                                          struct step_result *result)
{
	uintptr_t cfa;
	result->use = USE_RBP;
	switch (rule.kind) {
	case LT_RULE_RSP: cfa = r->rsp + (uintptr_t)(intptr_t)rule.offset; break; /* at the end of what is known to be mapped */
	case LT_RULE_RBP: cfa = r->rbp + (uintptr_t)(intptr_t)rule.offset; break;
	case LT_RULE_RBP_DEREF:
		result->cfa_at = r->rbp + (uintptr_t)(intptr_t)rule.offset;
		if (!can_read(walk, r->rsp, result->cfa_at))
			return STEP_UNUSUAL;
		cfa = *(uintptr_t *)result->cfa_at;
		break;
	case LT_RULE_END: result->use = USE_NONE; return STEP_OUTERMOST;
	case LT_RULE_SIGNAL: return STEP_SIGNAL;
	case LT_RULE_UNKNOWN: return STEP_UNKNOWN;
	default: return STEP_UNUSUAL;
	}
	if (cfa <= r->rsp || !can_read(walk, r->rsp, cfa - 8)) /* not a stack that grows down: a coroutine's bottom made by hand */
		return STEP_UNUSUAL;
	if (rule.rbp == LT_RBP_AT_CFA)
		result->rbp_at = cfa + (uintptr_t)(intptr_t)rule.rbp_offset;
	else if (rule.rbp == LT_RBP_AT_RBP)
		result->rbp_at = r->rbp + (uintptr_t)(intptr_t)rule.rbp_offset;
	if (result->rbp_at) {
		if (!can_read(walk, r->rsp, result->rbp_at))
			return STEP_UNUSUAL;
		r->rbp = *(uintptr_t *)result->rbp_at;
	}
	r->pc = *(uintptr_t *)(cfa - 8);
	r->rsp = cfa;
	return STEP_DONE;
}

/* Out of a frame. */
static inline __attribute__((always_inline)) enum step step_out(struct walk *walk, struct registers *r, bool interrupted,
                                                                struct step_result *result)
{
	struct lt_rule rule = lt_rules_find(walk->rules, lt_rules_key(r->pc, interrupted));
	uintptr_t cfa = r->rsp + (uintptr_t)(intptr_t)rule.offset;
	result->rbp_at = result->cfa_at = 0;
	if (lt_unlikely(rule.kind != LT_RULE_RSP || rule.rbp == LT_RBP_AT_RBP || cfa > walk->top))
		return step_otherwise(walk, r, rule, result);
	/* The numbers of such a rule were checked when it was read; see rules.c. */
	result->use = USE_PASS;
	if (rule.rbp) {
		result->rbp_at = cfa + (uintptr_t)(intptr_t)rule.rbp_offset;
		result->use = USE_NONE;
		r->rbp = *(uintptr_t *)result->rbp_at;
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

static inline struct walk begin_walk(const struct lt_rule_array *rules, uintptr_t rsp)
{
	uintptr_t start = page_of(rsp);
	return (struct walk){ rules, start, lt_likely(is_on_own_stack(rsp)) ? lt_thread.stack_high : start + PAGE };
}

static inline const struct lt_rule_array *rules_for(bool unsure)
{
	return lt_unlikely(unsure) ? lt_rules_none() : lt_load_acquire(&lt_rule_array); /* pairs with rules.c, grow() */
}

static inline struct registers at_return_of(const uintptr_t *hook)
{
	return (struct registers){ .pc = lt_unwind_caller(hook), .rsp = (uintptr_t)(hook + 2), .rbp = hook[0] };
}

/* Returns the number of frames, 0 if the stack is not for this way. */
static unsigned by_rules(const struct lt_rule_array *rules, const uintptr_t *hook, uintptr_t *pcs, unsigned max, bool *cut)
{
	struct registers r = at_return_of(hook);
	struct step_result result;
	unsigned n = 0;
	struct walk walk = begin_walk(rules, r.rsp);
	for (bool interrupted = false;;) {
		if (!r.pc)
			return n;
		if (n == max) {
			*cut = true;
			return n;
		}
		pcs[n++] = r.pc;
		enum step step = step_out(&walk, &r, interrupted, &result);
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

/* Behind the first `n` extras those of a frame. */
static inline uint16_t put_extras(struct lt_stack *s, const struct lt_frame *f, uint16_t n, uintptr_t rbp_at, uintptr_t cfa_at)
{
	if (lt_unlikely(f->need && rbp_at))
		s->extras[n++] = (struct lt_word){ (const uintptr_t *)rbp_at, f->rbp };
	if (lt_unlikely(cfa_at))
		s->extras[n++] = (struct lt_word){ (const uintptr_t *)cfa_at, f->slot + 8 };
	return n;
}

/* Puts the fresh frames, up to `end`, on top of the first `kept` ones of the last stack. */
static void finish_stack(struct lt_stacks *stacks, unsigned kept, const struct lt_fresh_frame *end, unsigned max, bool reusable)
{
	struct lt_stack *s = &stacks->last;
	struct lt_frame *to = &s->frames[kept];
	unsigned need = kept ? to[-1].need : 0, count = kept + (unsigned)(end - stacks->fresh);
	uint16_t extras = kept ? to[-1].extras : 0;
	uint64_t hash = kept ? s->hash : 0;
	for (const struct lt_frame *f = s->top; kept && f >= to; f--)
		hash -= lt_frame_hash(f->slot, f->pc);
	for (const struct lt_fresh_frame *from = end; from != stacks->fresh; to++) {
		from--;
		to->slot = from->slot;
		to->pc = from->pc;
		to->rbp = from->rbp;
		need = (from->use | (from->use >> 1 & need)) & 1;
		to->need = (uint16_t)need;
		to->extras = extras = put_extras(s, to, extras, from->rbp_at, from->cfa_at);
		hash += lt_frame_hash(to->slot, to->pc);
	}
	s->top = to - 1;
	s->hash = hash;
	s->extras_end = &s->extras[extras];
	s->first = count > max ? count - max : 0;
	s->cut = s->first;
	if (s->known > kept)
		s->known = kept;
	if (!reusable)
		s->key = 0;
}

/* Of the frames outside `f`, the innermost whose slot does not hold what it held; below s->frames: there is none. */
static inline struct lt_frame *find_change(struct lt_stack *s, struct lt_frame *f)
{
#define SAME(i) (lt_stack_word((const uintptr_t *)f[-(i)].slot) == f[-(i)].pc)
	struct lt_frame *three = s->frames + 3;
	for (; f > three; f -= 4) {
		if (lt_unlikely(!SAME(1)))
			return f - 1;
		if (lt_unlikely(!SAME(2)))
			return f - 2;
		if (lt_unlikely(!SAME(3)))
			return f - 3;
		if (lt_unlikely(!SAME(4)))
			return f - 4;
	}
	for (; f != s->frames; f--)
		if (lt_unlikely(!SAME(1)))
			return f - 1;
	return s->frames - 1;
#undef SAME
}

/* Likewise with the extras of the frames outside `f`, inside `change`: that one, or one inside it. */
static inline struct lt_frame *find_extra_change(struct lt_stack *s, struct lt_frame *f, struct lt_frame *change)
{
	const struct lt_word *first = s->extras + (change < s->frames ? 0 : change->extras), *word = s->extras + (f == s->frames ? 0 : f[-1].extras);
	while (lt_likely(word > first)) {
		word--;
		if (lt_likely(lt_stack_word(word->at) == word->value))
			continue;
		do
			f--;
		while (f > s->frames && f[-1].extras > word - s->extras);
		return f;
	}
	return change;
}

/* False: the stack is not for this way. */
static __attribute__((noinline)) bool by_rules_again(const struct lt_rule_array *rules, const uintptr_t *hook,
                                                     struct lt_stacks *stacks, unsigned max, bool reuse)
{
	struct lt_stack *s = &stacks->last;
	struct registers r = at_return_of(hook);
	struct step_result result = { 0, 0, USE_RBP };
	struct walk walk = begin_walk(rules, r.rsp);
	struct lt_fresh_frame *t = stacks->fresh, *limit = t + (max < LT_DEPTH_MAX ? max + 1 : LT_DEPTH_MAX);
	struct lt_frame *same = s->frames - 1, *change; /* &s->outside */
	s->outside.slot = UINTPTR_MAX;
	if (reuse)
		same = s->top;
	change = same + 1;
	for (;;) {
		uintptr_t slot = r.rsp - 8;
		if (lt_unlikely(!r.pc)) {
			finish_stack(stacks, 0, t, max, false);
			return true;
		}
		while (same->slot < slot)
			same--;
		if (same < change && same->slot == slot && same->pc == r.pc && (!same->need || same->rbp == r.rbp)) {
			change = find_change(s, same);
			if (same->extras)
				change = find_extra_change(s, same, change);
			if (change < s->frames && same - s->frames + 1 + (t - stacks->fresh) <= LT_DEPTH_MAX) {
				uint16_t before = same == s->frames ? 0 : same[-1].extras;
				same->rbp = r.rbp;
				same->extras = put_extras(s, same, before, result.rbp_at, result.cfa_at);
				finish_stack(stacks, (unsigned)(same - s->frames) + 1, t, max, walk.top == lt_thread.stack_high);
				return true;
			}
		}
		*t++ = (struct lt_fresh_frame){ slot, r.pc, r.rbp, result.rbp_at, result.cfa_at, USE_RBP };
		if (lt_unlikely(t == limit))
			break;
		enum step step = step_out(&walk, &r, false, &result);
		t[-1].use = result.use;
		if (lt_unlikely(step != STEP_DONE)) {
			if (step == STEP_OUTERMOST) {
				extend_to_end(&walk);
				break;
			}
			return false; /* also a stack with a signal on it: its slots need not rise */
		}
	}
	if (t < limit) {
		s->key = lt_stack_key(); /* the stack's end may just have been found */
		finish_stack(stacks, 0, t, max, walk.top == lt_thread.stack_high);
	} else {
		/* Too deep: only the innermost frames were looked at. */
		finish_stack(stacks, 0, max < LT_DEPTH_MAX ? t - 1 : t, max, false);
		s->cut = true;
	}
	return true;
}

unsigned lt_unwind(const uintptr_t *hook, uintptr_t *pcs, unsigned max, bool *cut)
{
	*cut = false;
	unsigned n = by_rules(rules_for(lt_load_relaxed(&lt_code_unsure)), hook, pcs, max, cut);
	if (lt_likely(n))
		return n;
	lt_add_relaxed(&slow_stacks, 1);
	*cut = false;
	n = lt_libunwind_walk(hook[1], pcs, max, cut);
	if (!n) {
		pcs[0] = hook[1];
		*cut = true;
		n = 1;
	}
	return n;
}

void lt_shapes_empty(struct lt_stacks *stacks)
{
	for (unsigned i = 0; i < sizeof stacks->used / sizeof *stacks->used; i++)
		for (uint64_t *used = &stacks->used[i]; *used; *used &= *used - 1) /* the others' memory was never touched */
			stacks->shapes[64 * i + (unsigned)__builtin_ctzll(*used)].key = 0;
	for (unsigned i = 0; i < sizeof stacks->hints / sizeof *stacks->hints; i++)
		if (stacks->hints[i])
			stacks->hints[i] = 0;
}

/* One of the ways of the hook. NULL: not this time, for if all are in use, more stacks come than there are ways, and to make shapes all
 * the time would cost more than it saves. */
static struct lt_shape *way_for(struct lt_stacks *stacks, const uintptr_t *hook, uint64_t key)
{
	struct lt_shape *ways = lt_shape_ways(stacks, hook);
	uint32_t turn = stacks->turn++;
	for (unsigned i = 0; i < LT_WAYS; i++)
		if (!ways[i].key)
			return &ways[i];
	for (unsigned i = 0; i < LT_WAYS; i++)
		if (ways[i].key != key)
			return turn % 2 ? NULL : &ways[(turn / 2 + i) % LT_WAYS];
	return turn % 8 ? NULL : &ways[turn / 8 % LT_WAYS];
}

static bool put_native(struct lt_words *words, const uintptr_t *hook, const struct lt_stack *s)
{
	bool room = true;
	for (const struct lt_frame *f = s->top; f >= s->frames && room; f--)
		room = lt_words_put(words, (const void *)f->slot, f->pc);
	if (s->top->need && room)
		room = lt_words_put(words, hook, s->top->rbp);
	for (const struct lt_word *extra = s->extras_end; extra != s->extras && room;) {
		extra--;
		room = lt_words_put(words, extra->at, extra->value);
	}
	return room;
}

void lt_shape_keep(const uintptr_t *hook, struct lt_stacks *stacks, uint64_t key, const struct lt_shape *native,
                   struct leaktrace_site *site, uint32_t r, bool with_r)
{
	const struct lt_stack *s = &stacks->last;
	struct lt_shape *shape = native || s->key ? way_for(stacks, hook, key) : NULL;
	if (!shape)
		return;
	struct lt_r_stack_words w = { .words = { shape->pairs, 0, sizeof shape->room / sizeof *w.others },
		                      .calls = (struct lt_r_kept_call *)(shape->room + sizeof shape->room) };
	shape->key = 0; /* for a signal handler, and if there is no room */
	lt_signal_fence();
	if (!native) {
		if (!put_native(&w.words, hook, s))
			return;
		lt_words_fill(&w.words, 2);
		shape->hash = s->hash;
		shape->frames = lt_stack_count(s) - s->first;
		shape->cut = s->cut;
	} else {
		size_t bytes = (size_t)((const char *)native->native_end - native->room);
		w.words.count = 2 * bytes / sizeof *native->pairs;
		if (shape != native)
			memcpy(shape->pairs, native->pairs, bytes);
		shape->hash = native->hash;
		shape->frames = native->frames;
		shape->cut = native->cut;
	}
	shape->native_end = shape->pairs + w.words.count / 2;
	w.calls_low = shape->room + sizeof shape->room / 2;
	if (with_r && !lt_r_stack_keep(&w))
		return;
	lt_words_fill(&w.words, 2 * LT_SHAPE_SINGLY);
	size_t pairs = w.words.count / 2, others = (size_t)((const char *)w.others_end - (const char *)w.others);
	if (pairs * sizeof *shape->pairs + others > (size_t)((char *)w.calls - shape->room))
		return;
	if (others)
		memcpy(shape->pairs + pairs, w.others, others);
	shape->pairs_end = shape->pairs + pairs;
	shape->rest = (uint8_t)((pairs - LT_SHAPE_SINGLY) % LT_SHAPE_STEPS);
	shape->turns_end = shape->pairs_end - shape->rest;
	shape->calls = (const char *)w.calls - (shape->room + sizeof shape->room);
	shape->words = (struct lt_r_word *)shape->pairs_end;
	shape->words_end = (struct lt_r_word *)((char *)shape->pairs_end + others);
	shape->mark = lt_shape_mark(shape->hash, r);
	shape->site = site;
	shape->r = r;
	shape->has_r = !w.has_r ? LT_SHAPE_NO_R : others ? LT_SHAPE_R_OTHERS : LT_SHAPE_R;
	lt_signal_fence();
	stacks->used[(shape - stacks->shapes) / 64] |= UINT64_C(1) << (shape - stacks->shapes) % 64;
	shape->key = key;
	*lt_shape_hint(stacks, hook) = (uint32_t)((const char *)shape - (const char *)stacks);
}

struct lt_stack *lt_stack_take(const uintptr_t *hook, struct lt_stacks *stacks, unsigned max, bool unsure)
{
	struct lt_stack *s = &stacks->last;
	int saved = errno;
	bool reuse = !unsure && s->key == lt_stack_key() && is_on_own_stack((uintptr_t)hook);
	s->key = lt_stack_key();
	s->extras = stacks->extras;
	if (lt_likely(by_rules_again(rules_for(unsure), hook, stacks, max, reuse))) {
		if (unsure)
			s->key = 0;
		return s;
	}
	/* The addresses have room where the fresh frames were. */
	uintptr_t *pcs = (uintptr_t *)stacks->fresh;
	unsigned n = lt_unwind(hook, pcs, max, &s->cut);
	s->hash = 0;
	for (unsigned i = 0; i < n; i++) {
		s->frames[n - 1 - i].pc = pcs[i];
		s->hash += lt_frame_hash(i + 1, pcs[i]);
	}
	s->top = &s->frames[n - 1];
	s->first = s->known = 0;
	s->key = 0;
	errno = saved;
	return s;
}

unsigned lt_stack_judge(const uintptr_t *hook, uintptr_t *pcs, unsigned max, bool *cut)
{
	*cut = false;
	return lt_libunwind_judge(hook[1], pcs, max, cut);
}

void lt_unwind_flush(void)
{
	lt_store_relaxed(&lt_stack_generation, lt_stack_generation + LT_STACK_GENERATION);
	lt_rules_flush();
	lt_libunwind_flush();
}

void lt_unwind_fork_child(bool safe)
{
	lt_stack_generation += LT_STACK_GENERATION; /* the trie begins anew */
	lt_rules_fork_child();
	if (!safe)
		lt_libunwind_off();
}

uint64_t lt_unwind_slow_stacks(void)
{
	return lt_load_relaxed(&slow_stacks);
}
