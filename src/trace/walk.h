/* SPDX-License-Identifier: MIT
 *
 * Steps outwards over frames by the unwind tables alone: no cache, no lock, no memory. On x86_64; elsewhere signal frames end it.
 */
#ifndef LT_WALK_H
#define LT_WALK_H

#include <stdbool.h>
#include <stdint.h>
#include <ucontext.h>

struct lt_walk {
	uintptr_t pc, sp, bp;
	uintptr_t high;            /* the end of the stack that sp is on */
	uintptr_t next_high;       /* of the one that a handler on another stack interrupted; 0: there is none */
	bool interrupted;          /* pc is not a return address */
	const ucontext_t *context; /* the last that was passed; NULL: none */
};

/* Out of a frame. False at the end, also where the tables don't suffice. Reads nothing but the stack below `high`. Any context. */
bool lt_walk_step(struct lt_walk *w);

#endif
