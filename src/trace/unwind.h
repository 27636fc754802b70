/* SPDX-License-Identifier: MIT
 *
 * The native stack of the calling thread, with what the last one in the same memory had in common with it.
 */
#ifndef LT_UNWIND_H
#define LT_UNWIND_H

#include "base/atomic.h"
#include "base/options.h"
#include "base/pair.h"
#include "trace/thread.h"
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct leaktrace_site;
struct lt_r_kept_call;
struct lt_r_word;

/* A return address of a kept stack. */
struct lt_frame {
	uintptr_t slot, pc; /* where it stood, and what stood there */
	uintptr_t rbp;      /* in the function returned to, if `need` */
	uint32_t node;      /* in the trie of stacks */
	uint16_t extras;    /* of struct lt_stack, up to and including this frame's */
	uint16_t need;      /* some step outwards from here depends on rbp */
};
static_assert(sizeof(struct lt_frame) == 32, "two to a cache line");

/* One that the present walk has come by. */
struct lt_fresh_frame {
	uintptr_t slot, pc, rbp;
	uintptr_t rbp_at; /* the new rbp was read from here; 0: it is that of the frame before */
	uintptr_t cfa_at; /* the frame's address, slot + 8, was read from here; 0: it was not */
	uint32_t use;
};

/* A word on the stack, and what it was. */
struct lt_word {
	const uintptr_t *at;
	uintptr_t value;
};

/* A stack, outermost frame first. It may be used by several threads one after another. */
struct lt_stack {
	uint64_t key;         /* lt_stack_key() when it was taken; 0: not reusable */
	struct lt_frame *top; /* the innermost frame */
	struct lt_word *extras, *extras_end; /* what else than the slots must be as it was, outermost first */
	uint64_t hash;        /* of all frames: their slots and return addresses */
	uint32_t first;       /* frames before it are beyond option depth */
	uint32_t known;       /* so many of the first frames have their node */
	bool cut;             /* frames towards main are missing */
	struct lt_frame outside; /* ends the search for a frame further out than any */
	struct lt_frame frames[];
};

/* A pair of stacks, native and R's, that comes again and again; for shapes.h. In `room`, pairs of words (the native stack's,
 * innermost frame first, then R's), words in R's heap; and at its end R's calls. */
#define LT_SHAPE_SINGLY 3 /* pairs whose words are compared singly, before all others */
#define LT_SHAPE_STEPS 16 /* pairs compared in one turn */
#define LT_SHAPE_ROOM 6144
enum { LT_SHAPE_NO_R, LT_SHAPE_R, LT_SHAPE_R_OTHERS };
struct lt_shape {
	uint64_t key;              /* lt_shape_key() when it was taken; 0: none */
	uint8_t rest;              /* pairs behind the last full turn */
	uint8_t has_r;             /* R was there: lt_r_stack_may_be_kept() must be asked, too; there are words in R's heap */
	bool cut;
	uint32_t r;                /* the node of R's stack */
	uint64_t mark;             /* of both stacks */
	struct leaktrace_site *site;
	const struct lt_word_pair *turns_end, *native_end, *pairs_end;
	ptrdiff_t calls;           /* where they begin, in bytes from the room's end */
	const struct lt_r_word *words, *words_end;
	uint64_t hash;             /* struct lt_stack.hash */
	uint32_t frames;           /* the first words are return addresses; so many of them are within option depth */
	union {
		struct lt_word_pair pairs[LT_SHAPE_ROOM / sizeof(struct lt_word_pair)];
		char room[LT_SHAPE_ROOM];
	};
};

#define LT_PLACES_LOG2 4
#define LT_WAYS 8
#define LT_HINTS_LOG2 8

/* The stacks that a thread has taken: the last one that took a walk; and shapes, some for each position of the hook (its frame's
 * place and the return address), modulo their number. Which of them it will be, the stack before it says, for code in loops takes
 * the same stacks in the same order. Zeroed at first. */
struct lt_stacks {
	uint64_t no_shape; /* its key, 0: where a hint of 0 leads */
	uint64_t before; /* lt_shape.mark of the one before; 0: it had none */
	uint32_t hints[1 << LT_HINTS_LOG2]; /* place of a shape, in bytes */
	uint32_t turn; /* of the ways, to get the next new shape */
	uint64_t used[(LT_WAYS << LT_PLACES_LOG2) / 64]; /* a bit for each shape that may have a key */
	struct lt_stack last;
	struct lt_frame frames[LT_DEPTH_MAX]; /* last.frames */
	struct lt_fresh_frame fresh[LT_DEPTH_MAX];
	struct lt_word extras[2 * LT_DEPTH_MAX];
	struct lt_shape shapes[LT_WAYS << LT_PLACES_LOG2];
};

/* What a frame adds to a stack's hash; a sum, so that a change takes no look at the others. The two halves of the product are
 * each linear in the slot, but not what is made of both: a recursion's frames are evenly spaced, and of 4096 ways through it of
 * 12 frames with two return addresses some hundred had the hash of another, when this was the return address times a
 * number made from the slot by a multiplication and bswap. */
static inline uint64_t lt_frame_hash(uintptr_t slot, uintptr_t pc)
{
	__extension__ unsigned __int128 product = (unsigned __int128)(pc ^ 0xd6e8feb86659fd93ULL) * (slot * 0x9e3779b97f4a7c15ULL);
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint32_t lt_stack_count(const struct lt_stack *stack)
{
	return (uint32_t)(stack->top - stack->frames) + 1;
}

extern LT_HIDDEN const char lt_jump_detour[]; /* code; see process/jump.c */

/* The return address of the hook whose frame is `hook`, as it was when the hook was called. */
static inline uintptr_t lt_unwind_caller(const uintptr_t *hook)
{
#if defined __x86_64__
	if (lt_unlikely(hook[1] == (uintptr_t)lt_jump_detour))
		return lt_thread.returns_to;
#endif
	return hook[1];
}

/* Return addresses from the hook whose frame (__builtin_frame_address(0)) is `hook` outwards, at most `max`; the number, at
 * least 1 (the hook's own); *cut if frames towards main are missing. Inside the gate, no lock held. */
unsigned lt_unwind(const uintptr_t *hook, uintptr_t *pcs, unsigned max, bool *cut);

/* Goes up by LT_STACK_GENERATION when kept stacks, or nodes in them, are good no more. */
extern LT_HIDDEN uint64_t lt_stack_generation;
#define LT_STACK_GENERATION UINT64_C(0x9e3779b97f4a7c15) /* odd and large: no sum with an address comes twice */

/* Of the thread, by the end of its stack, and of the code and the trie. A stack is reusable where both are the same. */
static inline uint64_t lt_stack_key(void)
{
	return lt_thread.stack_high + lt_load_relaxed(&lt_stack_generation);
}

/* Likewise with the hook's frame. `alone`: of stacks that only the only thread there is uses, and that are emptied when the
 * generation changes. */
static lt_always_inline uint64_t lt_shape_key(const uintptr_t *hook, bool alone)
{
	return (alone ? 0 : lt_stack_key()) + (uintptr_t)hook;
}

/* Tells stacks apart, native and R's. */
static inline uint64_t lt_shape_mark(uint64_t hash, uint32_t r)
{
	return hash + r * 0x9e3779b97f4a7c15ULL;
}

/* A hash of the hook's position, whose high bits count. */
static inline uint64_t lt_shape_place(const uintptr_t *hook)
{
	return ((uintptr_t)hook ^ hook[1] << 16) * 0x9e3779b97f4a7c15ULL;
}

/* All that a position may have, LT_WAYS of them. */
static inline struct lt_shape *lt_shape_ways(struct lt_stacks *stacks, const uintptr_t *hook)
{
	return &stacks->shapes[(lt_shape_place(hook) >> (64 - LT_PLACES_LOG2)) * LT_WAYS];
}

/* It need not be more than a good guess, but quick. */
static lt_always_inline uint32_t *lt_shape_hint(struct lt_stacks *stacks, const uintptr_t *hook)
{
	return &stacks->hints[((((uintptr_t)hook + hook[1]) << 52) + stacks->before) >> (64 - LT_HINTS_LOG2)];
}

/* The stack as lt_unwind() finds it, of at most `max` frames, at least one: good until the next call. `max` is the same at all
 * calls with these stacks. `unsure`: lt_code_unsure when the recording began. Inside the gate, no lock held. */
struct lt_stack *lt_stack_take(const uintptr_t *hook, struct lt_stacks *stacks, unsigned max, bool unsure);

/* What the stack before says to be the one that comes now; key and words must be looked at. */
static lt_always_inline const struct lt_shape *lt_shape_hinted(struct lt_stacks *stacks, const uintptr_t *hook)
{
	return (const struct lt_shape *)((const char *)stacks + *lt_shape_hint(stacks, hook));
}

/* Makes a shape of the stack at the hook, which is that of `native` or else the one just taken, and the one that lt_r_stack() gave
 * after it, unless one of them is too deep or can't be kept; with what the recorder knows of it. `with_r`: R's stack counts.
 * Likewise. */
void lt_shape_keep(const uintptr_t *hook, struct lt_stacks *stacks, uint64_t key, const struct lt_shape *native,
                   struct leaktrace_site *site, uint32_t r, bool with_r);

/* All shapes are forgotten. */
void lt_shapes_empty(struct lt_stacks *stacks);

/* Option check: lt_unwind() by libunwind, the judge of the others; 0: it can't say. Inside the gate, no lock held. */
unsigned lt_stack_judge(const uintptr_t *hook, uintptr_t *pcs, unsigned max, bool *cut);

/* Code was unloaded: forget the rules of all addresses, and all stacks. With the gate closed. */
void lt_unwind_flush(void);

/* In a fork child; `safe` is what lt_gate_close() said: without it libunwind, whose locks may be held for ever, stays off. */
void lt_unwind_fork_child(bool safe);

/* Stacks that were done by libunwind so far. For tests. */
uint64_t lt_unwind_slow_stacks(void);

#endif
