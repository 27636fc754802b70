/* SPDX-License-Identifier: MIT
 *
 * Inside this room: what the walk through R's contexts and the kept stack (stack.c) share.
 */
#ifndef LT_R_WATCH_H
#define LT_R_WATCH_H

#include "r/runtime.h"

/* A word of R's memory that a name, a name space or a line was found by, and what it was. */
struct lt_r_word {
	const uint64_t *at;
	uint64_t value;
};

/* A context of the kept stack. */
struct lt_r_kept {
	const char *context;
	const struct lt_r_node *head;     /* CAR of the call; NULL: no function's context */
	const struct lt_r_node *function; /* what was called, if `head` is NULL; else the word that is a closure's environment */
	const struct lt_r_node *srcref, *body;
	const struct lt_r_word *words;    /* the end of the words of this one and those outside it */
	uintptr_t lowest;                 /* of these, the lowest on the C stack */
	uint32_t node;                    /* of the R stack from here outwards; 0: no function */
	uint32_t functions;               /* in it */
	const struct lt_r_node *space, *file; /* whose name is among the words of this one: a name space, a srcfile; or NULL */
};

/* Collects words, if the caller wants to know them: not NULL. */
struct lt_r_watch {
	struct lt_r_word *next, *end;
	bool fickle;                       /* the words don't tell all */
	struct lt_r_kept *kept;            /* the context that they are of; the outermost one's is behind `outermost` */
	const struct lt_r_kept *outermost;
};

/* The aligned word that `at` is in. In the order in which they were found: an address was read from the words before it. */
static inline void lt_r_watch(struct lt_r_watch *watch, const void *at)
{
	const uint64_t *word = (const uint64_t *)((uintptr_t)at & ~(uintptr_t)7);

	if (!watch)
		return;
	if (watch->next == watch->end)
		watch->fickle = true;
	else
		*watch->next++ = (struct lt_r_word){ word, *word };
}

/* No words tell when this changes. */
static inline void lt_r_watch_in_vain(struct lt_r_watch *watch)
{
	if (watch)
		watch->fickle = true;
}

/* Whether the words of a context further out tell all of a name space or a srcfile. */
static inline bool lt_r_is_watched(const struct lt_r_watch *watch, const struct lt_r_node *node)
{
	for (const struct lt_r_kept *k = watch->kept - 1; k > watch->outermost; k--)
		if (k->space == node || k->file == node)
			return true;
	return false;
}

/* callstack.c: one walk, from the innermost context outwards. */
struct lt_r_walk {
	const struct lt_r_layout *layout;
	uintptr_t frame;         /* the walker's own: below all contexts on the stack */
	uintptr_t stack;         /* the last context on the stack */
	uintptr_t node;          /* the last context on the interpreter's stack; at first its upper end */
	uintptr_t node_low, node_high;
	bool careful;            /* everything is checked */
	bool innermost;          /* no context was visited yet */
};

enum lt_r_visit {
	LT_R_VISIT_FUNCTION,
	LT_R_VISIT_OTHER,
	LT_R_VISIT_STALE, /* the innermost is on an abandoned stack */
	LT_R_VISIT_WRONG, /* no context; R stacks are off now */
};

/* The innermost context; NULL: R has not started, or does not run on this thread. */
const char *lt_r_walk_begin(struct lt_r_walk *walk, uintptr_t frame);
enum lt_r_visit lt_r_walk_visit(struct lt_r_walk *walk, const char *context);
/* It came to its end; `functions`: it saw some. */
void lt_r_walk_end(bool functions);

/* 1: the calling thread is the process's first, -1: it is not, 0: not known yet; a fork child's only thread keeps what its
 * parent's was. */
extern __thread signed char lt_r_first_thread __attribute__((tls_model("initial-exec"), visibility("hidden")));
bool lt_r_ask_first_thread(void);

static inline bool lt_r_is_first_thread(void)
{
	return lt_likely(lt_r_first_thread) ? lt_r_first_thread > 0 : lt_r_ask_first_thread();
}

/* callstack.c, namespace.c, source.c: the call of `context`, a function's. */
void lt_r_call_of(const struct lt_r_walk *walk, const char *context, struct lt_r_call *call, struct lt_r_watch *watch);

/* namespace.c: of the function called; NULL: none. */
const char *lt_r_namespace_of(const struct lt_r_node *function, struct lt_r_watch *watch);

/* source.c: where the call of `context` stands; sets *line to 0 and *file to NULL where R kept no source. Variables on the
 * stack are only believed between `low` and `high`. */
void lt_r_source_of(const char *context, const struct lt_r_layout *layout, uintptr_t low, uintptr_t high, const char **file,
                    uint32_t *line, struct lt_r_watch *watch);

#endif
