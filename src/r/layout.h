/* SPDX-License-Identifier: MIT
 *
 * Where R keeps what we read, per version of R: data, not code.
 */
#ifndef LT_R_LAYOUT_H
#define LT_R_LAYOUT_H

#include <stdint.h>

/* These are the same in all layouts; nextcontext is at 0. */
enum { LT_R_CALLFUN = 232, LT_R_CONTEXT_CALL = 248, LT_R_BCBODY = 312 };

/* Offsets in an execution context (RCNTXT), in bytes. */
struct lt_r_layout {
	uint32_t first, last; /* versions without the patch level: 402 is R 4.2.x; both included */
	uint16_t size;
	uint16_t callflag, callfun, call, cloenv, bcbody, bcpc, nodestack, srcref;
	uint16_t relpc;     /* 0: this version has none */
	uint16_t bcprottop; /* 0: likewise */
	uint32_t node_stack; /* bytes of the byte-code interpreter's stack, below R_BCNodeStackEnd */
};

/* `version` is 40202 for R 4.2.2. NULL: not known, or not known on this CPU. */
const struct lt_r_layout *lt_r_layout_of(uint32_t version);

/* All entries, for tests. */
const struct lt_r_layout *lt_r_layouts(unsigned *count);

#endif
