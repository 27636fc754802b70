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
#include "r/runtime.h"

enum {
	HEADS_MAX = 32,       /* f()()()… */
	STALE_MAX = 1000,     /* walks in a row that found R's contexts below the stack */
	THREAD_SPAN = 64 << 20, /* first thread's stack and other threads' are further apart: the kernel leaves a gap of 128 MiB */
};

static const char anonymous[] = "<anonymous>";

/* Reads the first thread's identity once per thread; a fork child's only thread keeps what its parent's was. */
static bool is_first_thread(void)
{
	static __thread signed char first __attribute__((tls_model("initial-exec")));

	if (lt_unlikely(!first))
		first = lt_sys_gettid() == lt_sys_getpid() ? 1 : -1;
	return first > 0;
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

static const char *name_inner(const struct lt_r_node *head)
{
	for (unsigned i = 0; i < HEADS_MAX && lt_r_is(head, LT_R_CALL); i++, head = head->list.car) {
		const char *name = lt_r_symbol_name(head->list.car);

		if (!name)
			continue;
		if (!is_operator(name))
			return is_syntax(name) ? anonymous : name;

		/* pkg::f, x$f: the second argument */
		const struct lt_r_node *arguments = head->list.cdr;
		arguments = lt_r_is(arguments, LT_R_PAIRLIST) ? arguments->list.cdr : NULL;
		name = lt_r_is(arguments, LT_R_PAIRLIST) ? lt_r_symbol_name(arguments->list.car) : NULL;
		return name ? name : anonymous;
	}
	return anonymous;
}

static const char *name_of(const struct lt_r_node *call)
{
	if (!lt_r_is(call, LT_R_CALL))
		return anonymous;

	const struct lt_r_node *head = call->list.car;
	const char *name = lt_r_symbol_name(head);
	return lt_likely(name) ? name : name_inner(head);
}

enum place { ON_STACK, ON_NODE_STACK, IN_DATA, NOWHERE };

struct walk {
	const struct lt_r_layout *layout;
	uintptr_t frame;         /* our own: below all contexts on the stack */
	uintptr_t stack;         /* the last context on the stack */
	uintptr_t node;          /* the last context on the interpreter's stack; at first its upper end */
	uintptr_t node_low, node_high;
};

static enum place place_of(struct walk *walk, const char *context)
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

static bool is_in_node_stack(const struct walk *walk, const void *pointer)
{
	return (uintptr_t)pointer >= walk->node_low && (uintptr_t)pointer <= walk->node_high && !((uintptr_t)pointer & 7);
}

/* A function's context under this layout? NULL: yes, else what is wrong. */
static const char *check_function(const struct walk *walk, const char *context)
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

static unsigned walk_contexts(struct walk *walk, const char *context, struct lt_r_call *calls, unsigned max, bool *cut)
{
	const struct lt_r_layout *layout = walk->layout;
	const char *wrong = NULL;
	bool careful = lt_r.probation || !(++lt_r.walks & 255);
	unsigned n = 0;

	for (bool innermost = true; context; innermost = false, context = lt_r_field(context, 0)) {
		enum place place = place_of(walk, context);

		if (place == NOWHERE && innermost) {
			if (++lt_r.stale >= STALE_MAX)
				lt_r_switch_off("R's contexts are not on the stack of the process's first thread", NULL, NULL);
			return 0;
		}
		if (place == NOWHERE || (lt_r.probation && !lt_r_mapped(context, layout->size)) ||
		    (place == IN_DATA && lt_r_field(context, 0))) {
			wrong = "address";
			break;
		}

		unsigned flags = *(const unsigned *)(context + layout->callflag);
		if (flags & ~(unsigned)LT_R_CONTEXT_FLAGS) {
			wrong = "type";
			break;
		}
		if (!(flags & LT_R_CONTEXT_FUNCTION))
			continue;
		if (n == max) {
			*cut = true;
			break;
		}
		if (lt_unlikely(careful)) {
			wrong = check_function(walk, context);
			if (wrong)
				break;
		}
		calls[n].call = name_of(lt_r_field(context, layout->call));
		calls[n].namespace = lt_r_namespace_of(lt_r_field(context, layout->callfun));
		lt_r_source_of(context, layout, walk->frame, lt_r.stack_top, &calls[n].file, &calls[n].line);
		n++;
	}
	if (lt_unlikely(wrong != NULL)) {
		lt_r_switch_off("R's contexts are not laid out as expected: ", wrong, NULL);
		return 0;
	}
	if (lt_r.stale)
		lt_r.stale = 0;
	if (lt_unlikely(lt_r.probation && n) && !--lt_r.probation)
		lt_r.node_limit = LT_R_NODE_LIMIT;
	return n;
}

unsigned lt_r_calls(struct lt_r_call *calls, unsigned max, bool *cut)
{
	const struct lt_r_layout *layout = lt_load_acquire(&lt_r.layout); /* pairs with lt_r_locate() */

	*cut = false;
	if (!layout || !max)
		return 0;

	const char *context = *lt_r.global_context;
	uintptr_t node_end = (uintptr_t)*lt_r.node_stack_end;
	if (!context || !node_end || !lt_r_field((const char *)lt_r.nil, 0))
		return 0; /* R has not started */

	struct walk walk = {
		.layout = layout,
		.frame = (uintptr_t)__builtin_frame_address(0),
		.stack = (uintptr_t)__builtin_frame_address(0),
		.node = node_end,
		.node_low = node_end - layout->node_stack,
		.node_high = node_end,
	};
	if (!is_first_thread()) {
		/* Only the address counts here: the first thread may be changing the chain. */
		if (place_of(&walk, context) == ON_STACK && walk.stack - walk.frame < THREAD_SPAN)
			lt_r_switch_off("R runs on a thread other than the process's first", NULL, NULL);
		return 0;
	}
	return walk_contexts(&walk, context, calls, max, cut);
}
