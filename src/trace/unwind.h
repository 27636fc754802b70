/* SPDX-License-Identifier: MIT
 *
 * The native stack of the calling thread, with what the last one in the same memory had in common with it.
 */
#ifndef LT_UNWIND_H
#define LT_UNWIND_H

#include "base/options.h"
#include <stdbool.h>
#include <stdint.h>

/* A return address, and all that the way outwards from it depends on. */
struct lt_frame {
	uintptr_t slot, pc; /* where it stood, and what stood there */
	uintptr_t rbp;      /* in the function returned to; read from rbp_at (0: as in the frame before) */
	uintptr_t rbp_at;
	uintptr_t cfa_at;   /* the frame's address, slot + 8, was read from here; 0: it was not */
	uint32_t node;      /* in the trie of stacks */
};

/* A stack, outermost frame first. Zeroed at first; lt_stack_take() replaces what differs from the stack before. It may be used
 * by several threads one after another. */
struct lt_stack {
	uint32_t count;
	uint32_t first;      /* frames before it are beyond option depth */
	uint32_t known;      /* so many of the first frames have their node */
	uint32_t generation; /* of the code and the trie; see lt_unwind_flush() */
	uintptr_t top;       /* while reusable: all its words are below, on the own stack of the thread that took it */
	bool reusable;
	bool unsure; /* by the caller: lt_code_unsure when the recording began */
	struct lt_frame frames[LT_DEPTH_MAX], fresh[LT_DEPTH_MAX];
};

/* Return addresses from the frame whose return address is `from` (the hook's caller) outwards, at most `max`; the number, at
 * least 1 (`from` itself); *cut if frames towards main are missing. Inside the gate, no lock held. */
unsigned lt_unwind(uintptr_t from, uintptr_t *pcs, unsigned max, bool *cut);

/* The stack as lt_unwind() finds it: frames[first] to frames[count - 1], at most `max` of them, at least one. Returns true if
 * frames towards main are missing. Inside the gate, no lock held. */
bool lt_stack_take(uintptr_t from, struct lt_stack *stack, unsigned max);

/* Option check: is the stack what libunwind finds? Complains on stderr otherwise. Inside the gate, no lock held. */
void lt_stack_check(uintptr_t from, const struct lt_stack *stack, unsigned max, bool cut);

/* Code was unloaded: forget the rules of all addresses, and all stacks. With the gate closed. */
void lt_unwind_flush(void);

/* In a fork child; `safe` is what lt_gate_close() said: without it libunwind, whose locks may be held for ever, stays off. */
void lt_unwind_fork_child(bool safe);

/* Stacks done by the tables, and by libunwind, so far. For tests. */
void lt_unwind_counts(uint64_t *fast, uint64_t *slow);

#endif
