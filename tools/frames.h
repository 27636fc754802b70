/* SPDX-License-Identifier: MIT
 *
 * Stacks as people read them: names for frames, the function that a site belongs to, its depth.
 */
#ifndef LT_FRAMES_H
#define LT_FRAMES_H

#include "intern.h"
#include "symbols.h"

struct lt_shown_frame {
	const char *function; /* NULL: hidden */
	const char *file;     /* NULL: unknown */
	const char *path;     /* of the module; "" if the address lies in none */
	const char *module;   /* its last part */
	uint64_t offset;
	uint32_t line; /* 0: unknown */
	uint32_t level; /* number of the physical frame, from 0 */
	bool inlined;
	bool r; /* in the module that holds R */
	char label[96]; /* "module+0x…"; use lt_frame_name() */
};

struct lt_stack {
	struct lt_shown_frame *frames; /* innermost first */
	size_t count;
	size_t function; /* index of the frame that the site is named after */
	unsigned levels; /* physical frames */
	unsigned depth;  /* see lt_stack_make() */
};

/* Names all frames of a native stack. `depth` counts physical frames from the function outwards to the last before R's
 * runtime, that is the one that .Call entered; where the function itself is R's, or R is not there, out to main. */
void lt_stack_make(struct lt_symbols *symbols, const struct lt_intern *intern, uint32_t native, struct lt_stack *stack);
void lt_stack_clear(struct lt_stack *stack);

/* The function's name, or "module+0x…". */
const char *lt_frame_name(const struct lt_shown_frame *frame);

/* NULL if there are no frames at all. */
const struct lt_shown_frame *lt_stack_function(const struct lt_stack *stack);

#endif
