/* SPDX-License-Identifier: MIT
 *
 * R's call stack, read from the chain of execution contexts that starts in R_GlobalContext.
 *
 * A context lies in a frame of the C stack, in the byte-code interpreter's own stack (loops; from R 4.4 also calls from byte
 * code to byte code), or, the outermost one, in R's data. Outwards the first sort has rising addresses, the second falling
 * ones, and the last has no successor: that is what makes the walk end, and what tells a wrong layout from a right one.
 * R links a context only when it is complete, so a walk may start at any instruction.
 *
 * What R says is checked before it is believed: flags, types of call, function and environment, pointers into the
 * interpreter's stack. One walk that fails switches R stacks off for good; a wrong name would be worse than none. All of this
 * in the first LT_R_PROBATION walks, which also ask the kernel about each address before it is read, and in every 256th
 * thereafter; the others rest on a layout that has proved right, and check only the types that they need.
 * One exception: innermost context below the stack pointer. R's stack was abandoned by a longjmp or a C++ exception of the
 * embedding program, and R will mend it at its next return: no R calls meanwhile.
 *
 * Threads: only the process's first thread has R calls; a thread-local flag tells it. The others get 0.
 */
#include "r/r.h"

#include <string.h>

#include "base/sys.h"
#include "r/watch.h"

enum {
	HEADS_MAX = 32,       /* f()()()… */
	STALE_MAX = 1000,     /* walks in a row that found R's contexts below the stack */
	THREAD_SPAN = 64 << 20, /* first thread's stack and other threads' are further apart: the kernel leaves a gap of 128 MiB */
};

static const char anonymous[] = "<anonymous>";

__thread signed char lt_r_first_thread __attribute__((tls_model("initial-exec")));

bool lt_r_ask_first_thread(void)
{
	lt_r_first_thread = lt_sys_gettid() == lt_sys_getpid() ? 1 : -1;
	return lt_r_first_thread > 0;
}

static bool is_operator(const char *name)
{
	static const char *const operators[] = { "::", ":::", "$", "@" };

	for (unsigned i = 0; i < sizeof(operators) / sizeof(*operators); i++)
		if (!strcmp(name, operators[i]))
			return true;
	return false;
}

/* `(function(x) x)(1)` or `list[[1]](x)`: the innermost symbol is syntax and names no function that was called. */
static bool is_syntax(const char *name)
{
	static const char *const syntax[] = { "(", "{", "[", "[[", "if", "function", "switch" };

	for (unsigned i = 0; i < sizeof(syntax) / sizeof(*syntax); i++)
		if (!strcmp(name, syntax[i]))
			return true;
	return false;
}

static const char *name_inner(const struct lt_r_node *head, struct lt_r_watch *watch)
{
	for (unsigned i = 0; i < HEADS_MAX && lt_r_is(head, LT_R_CALL); i++, head = head->list.car) {
		const char *name = lt_r_symbol_name(head->list.car);

		lt_r_watch(watch, &head->list.car);
		if (!name)
			continue;
		if (!is_operator(name))
			return is_syntax(name) ? anonymous : name;

		/* pkg::f, x$f: the second argument */
		const struct lt_r_node *arguments = head->list.cdr;
		lt_r_watch(watch, &head->list.cdr);
		if (!lt_r_is(arguments, LT_R_PAIRLIST))
			return anonymous;
		lt_r_watch(watch, &arguments->list.cdr);
		arguments = arguments->list.cdr;
		if (!lt_r_is(arguments, LT_R_PAIRLIST))
			return anonymous;
		lt_r_watch(watch, &arguments->list.car);
		name = lt_r_symbol_name(arguments->list.car);
		return name ? name : anonymous;
	}
	if (lt_r_is_node(head))
		lt_r_watch(watch, &head->list.car);
	return anonymous;
}

static const char *name_of(const struct lt_r_node *call, struct lt_r_watch *watch)
{
	if (!lt_r_is(call, LT_R_CALL))
		return anonymous;

	const struct lt_r_node *head = call->list.car;
	const char *name = lt_r_symbol_name(head);
	return lt_likely(name) ? name : name_inner(head, watch);
}

enum place { ON_STACK, ON_NODE_STACK, IN_DATA, NOWHERE };

static enum place place_of(struct lt_r_walk *walk, const char *context)
{
	uintptr_t at = (uintptr_t)context;

	if (at & 7)
		return NOWHERE;
	if (at >= walk->node_low && at < walk->node_high) {
		if (at + walk->layout->size > walk->node)
			return NOWHERE;
		walk->node = at;
		return ON_NODE_STACK;
	}
	if (at >= lt_r.object.start && at < lt_r.object.end)
		return IN_DATA;
	if (at > walk->stack && at < lt_r.stack_top) {
		walk->stack = at;
		return ON_STACK;
	}
	return NOWHERE;
}

static bool is_in_node_stack(const struct lt_r_walk *walk, const void *pointer)
{
	return (uintptr_t)pointer >= walk->node_low && (uintptr_t)pointer <= walk->node_high && !((uintptr_t)pointer & 7);
}

/* A function's context under this layout? NULL: yes, else what is wrong. */
static const char *check_function(const struct lt_r_walk *walk, const char *context)
{
	const struct lt_r_layout *layout = walk->layout;
	const struct lt_r_node *call = lt_r_field(context, layout->call), *function = lt_r_field(context, layout->callfun);

	if (!lt_r_is_node(call) || (lt_r_type_of(call) != LT_R_CALL && lt_r_type_of(call) != LT_R_NIL &&
	                            lt_r_type_of(call) != LT_R_SYMBOL && lt_r_type_of(call) != LT_R_PROMISE))
		return "call";
	if (!lt_r_is_node(function) || (lt_r_type_of(function) != LT_R_CLOSURE && lt_r_type_of(function) != LT_R_BUILTIN &&
	                                lt_r_type_of(function) != LT_R_SPECIAL))
		return "function";
	if (!lt_r_is(lt_r_field(context, layout->cloenv), LT_R_ENVIRONMENT))
		return "environment";
	/* These tell the versions' layouts apart. */
	if (!is_in_node_stack(walk, lt_r_field(context, layout->nodestack)))
		return "node stack";
	const void *protected = layout->bcprottop ? lt_r_field(context, layout->bcprottop) : NULL;
	if (protected && !is_in_node_stack(walk, protected)) /* NULL until byte code has run */
		return "protected node stack";
	if (is_in_node_stack(walk, lt_r_field(context, layout->srcref)))
		return "srcref";
	return NULL;
}

static enum lt_r_visit switch_off(const char *wrong)
{
	lt_r_switch_off("R's contexts are not laid out as expected: ", wrong, NULL);
	return LT_R_VISIT_WRONG;
}

enum lt_r_visit lt_r_walk_visit(struct lt_r_walk *walk, const char *context)
{
	const struct lt_r_layout *layout = walk->layout;
	enum place place = place_of(walk, context);

	if (lt_unlikely(place == NOWHERE && walk->innermost)) {
		if (++lt_r.stale >= STALE_MAX)
			lt_r_switch_off("R's contexts are not on the stack of the process's first thread", NULL, NULL);
		return LT_R_VISIT_STALE;
	}
	walk->innermost = false;
	if (lt_unlikely(place == NOWHERE || (lt_r.probation && !lt_r_mapped(context, layout->size)) ||
	                (place == IN_DATA && lt_r_field(context, 0))))
		return switch_off("address");

	unsigned flags = *(const unsigned *)(context + layout->callflag);
	if (lt_unlikely(flags & ~(unsigned)LT_R_CONTEXT_FLAGS))
		return switch_off("type");
	if (!(flags & LT_R_CONTEXT_FUNCTION))
		return LT_R_VISIT_OTHER;
	if (lt_unlikely(walk->careful)) {
		const char *wrong = check_function(walk, context);
		if (wrong)
			return switch_off(wrong);
	}
	return LT_R_VISIT_FUNCTION;
}

const char *lt_r_walk_begin(struct lt_r_walk *walk, uintptr_t frame)
{
	const struct lt_r_layout *layout = lt_load_acquire(&lt_r.layout); /* pairs with lt_r_locate() */
	if (!layout)
		return NULL;

	const char *context = *lt_r.global_context;
	uintptr_t node_end = (uintptr_t)*lt_r.node_stack_end;
	if (!context || !node_end || !lt_r_field((const char *)lt_r.nil, 0))
		return NULL; /* R has not started */

	*walk = (struct lt_r_walk){
		.layout = layout,
		.frame = frame,
		.stack = frame,
		.node = node_end,
		.node_low = node_end - layout->node_stack,
		.node_high = node_end,
		.innermost = true,
	};
	if (!lt_r_is_first_thread()) {
		/* Only the address counts here: the first thread may be changing the chain. */
		if (place_of(walk, context) == ON_STACK && walk->stack - walk->frame < THREAD_SPAN)
			lt_r_switch_off("R runs on a thread other than the process's first", NULL, NULL);
		return NULL;
	}
	walk->careful = lt_r.probation || lt_r.judging || !(++lt_r.walks & (LT_R_CAREFUL - 1));
	return context;
}

void lt_r_walk_end(bool functions)
{
	if (lt_r.stale)
		lt_r.stale = 0;
	if (lt_unlikely(lt_r.probation && functions && !lt_r.judging) && !--lt_r.probation)
		lt_r.node_limit = LT_R_NODE_LIMIT;
}

void lt_r_call_of(const struct lt_r_walk *walk, const char *context, struct lt_r_call *call, struct lt_r_watch *watch)
{
	const struct lt_r_layout *layout = walk->layout;

	call->call = name_of(lt_r_field(context, layout->call), watch);
	call->namespace = lt_r_namespace_of(lt_r_field(context, layout->callfun), watch);
	lt_r_source_of(context, layout, walk->frame, lt_r.stack_top, &call->file, &call->line, watch);
}

unsigned lt_r_calls(struct lt_r_call *calls, unsigned max, bool *cut)
{
	struct lt_r_walk walk;
	unsigned n = 0;

	*cut = false;
	const char *context = lt_r_walk_begin(&walk, (uintptr_t)__builtin_frame_address(0));
	if (!context || !max)
		return 0;
	for (; context; context = lt_r_field(context, 0)) {
		enum lt_r_visit visit = lt_r_walk_visit(&walk, context);

		if (visit == LT_R_VISIT_OTHER)
			continue;
		if (lt_unlikely(visit != LT_R_VISIT_FUNCTION))
			return 0;
		if (n == max) {
			*cut = true;
			break;
		}
		lt_r_call_of(&walk, context, &calls[n++], NULL);
	}
	lt_r_walk_end(n);
	return n;
}

unsigned lt_r_judge(struct lt_r_call *calls, unsigned max, bool *cut)
{
	lt_r.judging = true;
	unsigned n = lt_r_calls(calls, max, cut);
	lt_r.judging = false;
	return n;
}
