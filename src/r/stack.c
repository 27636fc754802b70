/* SPDX-License-Identifier: MIT
 *
 * R's call stack as a node of the trie, taken from the stack before as far as that still holds.
 *
 * Between two allocations R's chain of contexts is mostly the same, or differs in its innermost ones. So the last chain is kept,
 * outermost context first, each with the node of the calls from there outwards. The next walk goes outwards from
 * R_GlobalContext until it comes to a kept context of the same address; from there on the rest is compared, innermost first.
 * If nothing has changed, the node is known; else the walk goes on as far as the change. When functions return, the inner
 * contexts are kept all the same: the next call mostly makes the same ones.
 *
 * What is compared. Not whether it is the same call: that can't be told, for a context may lie where another one was, and R's
 * collector gives the addresses of a dead call, function or srcref to new ones. But whether all words that the call's node
 * was made from are what they were, so that the plain walk would find the same:
 *   - the next context, hence no word of a context is read before R itself leads to it, and no kept pointer into R's heap is
 *     followed before the live context holds it;
 *   - what was called: all contexts but functions' have R_NilValue there (R 3.6 to 4.5), all functions' something else; R
 *     changes the flags meanwhile, but not from one sort to the other. Of a closure not itself, it is its environment that
 *     counts: R_NilValue and primitive functions, which are never freed, have no environment there;
 *   - the call's head, not the call: R makes new calls for methods, and a symbol is never freed;
 *   - srcref and code object. begincontext() sets all of these; nothing in R changes them while the context lives, nor the
 *     variable that holds the position in the byte code of its caller, which has to wait;
 *   - of R's toplevel context, where the chain ends, nothing but that it is there: it is static, and no function's.
 * Whatever else was read on the way (a head that is no symbol, enclosures, the registry's cells, position, srcref, the bytes of
 * the file's name) is kept as a list of words with their addresses, "watched"; the list is mostly empty. It is compared
 * in the order in which it was read, so each address is good if the words before it are as they were. Where words don't tell
 * all, the context is "fickle": it is never taken for the same.
 *
 * Not compared: types of nodes. A node of another type at the same address, held by the same word of a live context, would have to
 * hold the same words, too. And code objects without sources: a line would go missing; see source.c. Both would be for 256
 * walks at the most: so often all is walked and checked (callstack.c), as it is under probation.
 *
 * longjmp, exceptions, handlers: a context that is gone is not in R's chain. One on an abandoned part of the C stack
 * gives no calls, as in callstack.c: the kept one nearest to the stack's end is compared with our own frame.
 * A signal handler that interrupts us is not recorded; if it never comes back, the kept stack is empty, as always while
 * it is being changed. A fork child has its parent's contexts and its kept stack; when its trie begins anew, it is emptied.
 *
 * Threads: the process's first. Failure: 0 and *cut if there is no room in the trie, as long as there is none; else as in
 * callstack.c. Turned down: cloenv to tell calls apart, which is new for each, for its address too comes again after a
 * collection, and R does not tell when it collects.
 */
#include "r/stack.h"
#include "trace/intern.h"

#include <string.h>

#define KEPT_MAX (4 * LT_R_DEPTH) /* contexts; with more there is no kept stack */
#define WORDS_MAX 4096
#define PLACES 64
#define FICKLE ((const char *)1)

static const char *const no_context;

int lt_r_stacks_left;

/* kept[0] is outside all kept contexts: its `context` is where the outermost one leads: R's toplevel context, NULL or what was cut.
 * `top` is the innermost one kept; R's own may be further out by now, and come back. */
static struct {
	const struct lt_r_kept *top;
	const struct lt_r_kept *last;  /* that lt_r_stack() has found last; kept[0]: none */
	const char *const *innermost;  /* R_GlobalContext */
	bool cut;
	unsigned srcref;               /* offset in a context */
	uint32_t at[PLACES];           /* where a context may be in `kept`, in bytes, by its address; 0: nowhere */
	struct lt_r_kept kept[KEPT_MAX];
	struct lt_r_word words[WORDS_MAX];
} chain = { .top = chain.kept, .last = chain.kept, .innermost = &no_context, .kept[0].words = chain.words };

static struct {
	const char *context;
	bool function;
} fresh[KEPT_MAX];

static inline const struct lt_r_node *node_at(const char *context, unsigned offset)
{
	return lt_r_field(context, offset);
}

/* The context of `k`, which is there, is as it was. */
static inline bool is_same(const struct lt_r_kept *k, const char *context, unsigned srcref)
{
	const struct lt_r_node *function = node_at(context, LT_R_CALLFUN), *head = k->head;

	if (lt_unlikely(lt_r_field(context, 0) != k[-1].context))
		return false;
	if (!head)
		return lt_likely(function == k->function);
	return lt_likely(node_at(context, LT_R_CONTEXT_CALL)->list.car == head) &&
	       lt_likely(function->closure.environment == k->function) &&
	       lt_likely(node_at(context, srcref) == k->srcref) &&
	       lt_likely(node_at(context, LT_R_BCBODY) == k->body);
}

/* From `k`, which has its context's address, outwards: the innermost one that is not as it was; kept[0]: none. */
static inline const struct lt_r_kept *find_change(const struct lt_r_kept *k)
{
	const struct lt_r_kept *one = chain.kept + 1;
	const unsigned srcref = chain.srcref;
	const char *context = k->context;

	for (; k > one; k -= 2) {
		if (lt_unlikely(!is_same(k, context, srcref)))
			return k;
		context = k[-1].context;
		if (lt_unlikely(!is_same(k - 1, context, srcref)))
			return k - 1;
		context = k[-2].context;
	}
	if (lt_likely(k == one) && lt_likely(is_same(k, context, srcref)))
		k--;
	return k;
}

/* The outermost of the contexts out from `k` whose words are not as they were; kept[0]: none. */
static inline const struct lt_r_kept *find_changed_word(const struct lt_r_kept *k)
{
	const struct lt_r_word *word = chain.words, *end = k->words;

	for (; word != end; word++)
		if (lt_unlikely(*word->at != word->value))
			break;
	if (lt_likely(word == end))
		return chain.kept;
	for (k = chain.kept + 1; k->words <= word;)
		k++;
	return k;
}

/* R's contexts are `top` and those outside it, as they were. `frame`: what is below is no stack any more. */
static inline bool is_kept(const struct lt_r_kept *top, uintptr_t frame)
{
	return lt_likely(top->context == *chain.innermost) && lt_likely(top <= chain.top) && lt_likely(top->lowest > frame) &&
	       lt_likely(find_change(top) == chain.kept) && lt_likely(find_changed_word(top) == chain.kept) &&
	       lt_likely(--lt_r_stacks_left >= 0);
}

static inline uint32_t *place_in_kept(const char *context)
{
	return &chain.at[((uintptr_t)context >> 4) % PLACES];
}

/* The kept context at `context`, no further in than `from`; kept[0]: none. */
static const struct lt_r_kept *find_kept(const struct lt_r_walk *walk, const struct lt_r_kept *from, const char *context)
{
	bool on_stack = walk->stack == (uintptr_t)context; /* all memory there is above R's data and the interpreter's stack */

	for (; from != chain.kept && from->context != context; from--)
		if (on_stack && from->context > context)
			return chain.kept;
	return from;
}

/* Makes the next kept context. False: no room for it in the trie. */
static bool keep(const struct lt_r_walk *walk, struct lt_r_kept *k, const char *context, bool is_function)
{
	const struct lt_r_layout *layout = walk->layout;
	const struct lt_r_node *function = node_at(context, layout->callfun), *call = node_at(context, layout->call);
	bool on_stack = (uintptr_t)context > walk->frame && (uintptr_t)context < lt_r.stack_top;

	*k = (struct lt_r_kept){
		.context = context,
		.function = function,
		.srcref = node_at(context, layout->srcref),
		.body = node_at(context, layout->bcbody),
		.lowest = on_stack ? (uintptr_t)context : k[-1].lowest ? k[-1].lowest : UINTPTR_MAX,
		.node = k[-1].node,
		.words = k[-1].words,
		.functions = k[-1].functions,
	};
	if (!is_function) {
		if (function != *lt_r.nil)
			k->context = FICKLE;
		return true;
	}

	struct lt_r_watch watch = {
		.next = chain.words + (k->words - chain.words), .end = chain.words + WORDS_MAX, .kept = k, .outermost = chain.kept,
	};
	struct lt_r_call named;
	lt_r_call_of(walk, context, &named, &watch);
	if (lt_r_is_node(function) && lt_r_is_node(call)) {
		k->head = call->list.car;
		k->function = function->closure.environment;
		if (!lt_r_is(function, LT_R_CLOSURE))
			lt_r_watch(&watch, context + layout->callfun);
	}
	if (watch.fickle || !k->head) {
		k->context = FICKLE;
		k->space = k->file = NULL;
	}
	k->words = watch.next;
	k->functions++;
	k->node = lt_intern_r_call(k->node, &named);
	return k->node;
}

static __attribute__((noinline)) uint32_t take_in_full(bool *cut)
{
	static struct lt_r_call calls[LT_R_DEPTH];
	unsigned n = lt_r_calls(calls, LT_R_DEPTH, cut);
	uint32_t node = lt_intern_r(calls, n);

	if (n && !node)
		*cut = true;
	return node;
}

static __attribute__((noinline)) uint32_t take(bool *cut)
{
	struct lt_r_walk walk;
	unsigned n = 0, functions = 0;

	*cut = false;
	if (lt_unlikely(lt_r.probation)) {
		lt_r_stack_forget();
		return take_in_full(cut);
	}
	if (lt_r_stacks_left < 0)
		lt_r.walks |= LT_R_CAREFUL - 1; /* this one is checked in full */
	const char *context = lt_r_walk_begin(&walk, (uintptr_t)__builtin_frame_address(0));
	const uintptr_t outermost = chain.kept[0].lowest;
	chain.kept[0].lowest = 0;
	chain.last = chain.kept;
	if (!context) {
		chain.top = chain.kept;
		return 0; /* and if R stacks are off now, those that were kept elsewhere remain due */
	}
	if (lt_r_stacks_left < 0)
		lt_r_stacks_left = LT_R_CAREFUL - 1;
	chain.innermost = lt_r.global_context;
	chain.srcref = walk.layout->srcref;
	const struct lt_r_kept *same = walk.careful || chain.cut ? chain.kept : chain.top, *outside = NULL;
	bool toplevel = false;
	chain.top = chain.kept;
	lt_signal_fence();
	for (; context; context = lt_r_field(context, 0)) {
		enum lt_r_visit visit = lt_r_walk_visit(&walk, context);
		if (lt_unlikely(visit != LT_R_VISIT_FUNCTION && visit != LT_R_VISIT_OTHER))
			return 0;

		if (visit == LT_R_VISIT_OTHER && !lt_r_field(context, 0) && walk.stack != (uintptr_t)context) {
			toplevel = true;
			break;
		}
		const struct lt_r_kept *found = find_kept(&walk, same, context);
		if (found != chain.kept) {
			const struct lt_r_kept *change = find_change(found);
			if (change == chain.kept)
				change = find_changed_word(found);
			if (change != chain.kept) {
				same = change - 1;
			} else if (functions + found->functions <= LT_R_DEPTH && n + (unsigned)(found - chain.kept) < KEPT_MAX) {
				outside = found;
				break;
			} else {
				same = chain.kept;
			}
		}
		if (visit == LT_R_VISIT_FUNCTION && functions++ == LT_R_DEPTH) {
			*cut = true;
			break;
		}
		if (n == KEPT_MAX - 1)
			return take_in_full(cut);
		fresh[n].context = context;
		fresh[n++].function = visit == LT_R_VISIT_FUNCTION;
	}
	lt_r_walk_end(functions);

	struct lt_r_kept *k = chain.kept;
	chain.cut = *cut;
	if (outside)
		k += outside - chain.kept;
	else
		*k = (struct lt_r_kept){ .context = context, .words = chain.words };
	const uintptr_t lowest = toplevel ? UINTPTR_MAX : outside ? outermost : 0;
	while (n--) {
		*place_in_kept(fresh[n].context) = (uint32_t)((const char *)(k + 1) - (const char *)chain.kept);
		if (!keep(&walk, ++k, fresh[n].context, fresh[n].function) && k->functions) {
			chain.top = k - 1; /* which may be used again, but never as it is */
			*cut = true;
			return 0;
		}
	}
	if (lt_unlikely(*cut)) { /* the others' nodes are not those of their own stacks */
		memset(chain.at, 0, sizeof chain.at);
		*place_in_kept(k->context) = (uint32_t)((const char *)k - (const char *)chain.kept);
	}
	lt_signal_fence();
	chain.kept[0].lowest = lowest;
	chain.top = chain.last = k;
	return k->node;
}

uint32_t lt_r_stack(bool *cut)
{
	const struct lt_r_kept *top = (const void *)((const char *)chain.kept + *place_in_kept(*chain.innermost));

	*cut = chain.cut;
	if (lt_likely(lt_r_first_thread > 0) && lt_likely(is_kept(top, (uintptr_t)__builtin_frame_address(0))))
		return (chain.last = top)->node;
	return take(cut);
}

bool lt_r_stack_keep(struct lt_r_stack_words *to)
{
	const struct lt_r_layout *layout = lt_load_acquire(&lt_r.layout); /* pairs with lt_r_locate() */
	const struct lt_r_kept *last = chain.last;
	struct lt_words *words = &to->words;

	to->has_r = false;
	to->others = to->others_end = chain.words;
	if (!layout || !lt_r_is_first_thread())
		return true; /* none, for good */
	if (!*lt_r.global_context)
		return lt_words_put(words, lt_r.global_context, 0); /* R has not started */
	if (chain.cut || !last->lowest || !lt_words_put(words, lt_r.global_context, (uintptr_t)last->context))
		return false;
	for (const struct lt_r_kept *k = last; k > chain.kept; k--) {
		const char *context = k->context;

		if (context == FICKLE || !lt_words_put(words, context, (uintptr_t)k[-1].context))
			return false;
		if (!k->head) {
			if (!lt_words_put(words, context + LT_R_CALLFUN, (uintptr_t)k->function))
				return false;
			continue;
		}
		if (!lt_words_put(words, context + layout->srcref, (uintptr_t)k->srcref) ||
		    !lt_words_put(words, context + LT_R_BCBODY, (uintptr_t)k->body) || (const void *)to->calls == to->calls_low)
			return false;
		*--to->calls = (struct lt_r_kept_call){ context, 0, { (uintptr_t)k->function, (uintptr_t)k->head } };
	}
	to->others_end = last->words;
	return to->has_r = true;
}

void lt_r_stack_forget(void)
{
	chain.top = chain.last = chain.kept;
	chain.kept[0].lowest = 0;
}
