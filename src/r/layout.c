/* SPDX-License-Identifier: MIT
 *
 * Layouts of R's execution context.
 *
 * The structure begins with a pointer, an int and a sigjmp_buf, whose size belongs to the CPU and the C library: 200 bytes on
 * x86_64, with glibc and with musl. Up to bcpc nothing has moved since before 3.6. R 4.0 put bcprottop before srcref; R 4.4
 * put relpc behind bcpc and bcframe before srcref, and made returnValue a tagged 16-byte value.
 *
 * Invariant: entries don't overlap, and a version outside of all of them has no layout: we never guess.
 */
#include "r/layout.h"

#include <assert.h>
#include <setjmp.h>
#include <stddef.h>

#define COMMON .callflag = 8, .callfun = LT_R_CALLFUN, .call = LT_R_CONTEXT_CALL, .cloenv = 256, .bcbody = LT_R_BCBODY, .bcpc = 320

static const struct lt_r_layout layouts[] = {
	{ .first = 306, .last = 306, .size = 400, COMMON, .nodestack = 352, .srcref = 360, .node_stack = 200000 * 16 },
	{ .first = 400, .last = 403, .size = 408, COMMON, .nodestack = 352, .bcprottop = 360, .srcref = 368,
	  .node_stack = 200000 * 16 },
	{ .first = 404, .last = 405, .size = 432, COMMON, .relpc = 328, .nodestack = 360, .bcprottop = 368, .srcref = 384,
	  .node_stack = 300000 * 16 },
};

#if defined __x86_64__ && defined __LP64__
static_assert(sizeof(sigjmp_buf) == 200, "the layouts above rest on it");
enum { cpu_known = 1 };
#else
enum { cpu_known = 0 };
#endif

const struct lt_r_layout *lt_r_layout_of(uint32_t version)
{
	for (size_t i = 0; cpu_known && i < sizeof(layouts) / sizeof(*layouts); i++)
		if (version / 100 >= layouts[i].first && version / 100 <= layouts[i].last)
			return &layouts[i];
	return NULL;
}

const struct lt_r_layout *lt_r_layouts(unsigned *count)
{
	*count = sizeof(layouts) / sizeof(*layouts);
	return layouts;
}
