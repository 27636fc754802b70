/* SPDX-License-Identifier: MIT
 *
 * LEAKTRACE_OPTIONS: `key=value:key=value`, read once at the start of an image.
 */
#ifndef LT_OPTIONS_H
#define LT_OPTIONS_H

#include "base/atomic.h"
#include "leaktrace/dump-format.h"
#include <stdbool.h>
#include <stdint.h>

enum lt_scope { LT_SCOPE_AUTO, LT_SCOPE_ALL, LT_SCOPE_R };

struct lt_options {
	char dir[4000]; /* as given; empty: default */
	char log[4000]; /* as given; empty: none */
	enum lt_scope scope;
	uint64_t sample;   /* bytes, at most LEAKTRACE_SAMPLE_MAX; 0: every allocation */
	uint32_t depth;    /* native frames, 1 … LT_DEPTH_MAX */
	uint64_t max_size; /* bytes */
	bool verdict;
	bool active;
	uint32_t check; /* every so many stacks, compare with libunwind's; 0: never */
	bool r_stacks; /* take R's call stacks too, where there is R */
	bool signals; /* catch fatal signals whose disposition is the default */
};

#define LT_DEPTH_MAX LEAKTRACE_STACK_MAX

extern LT_HIDDEN struct lt_options lt_options;

/* Sets lt_options from `text` (NULL: defaults). An unknown key or a bad value is left at its default and calls
 * `complain(what, which)` once; `which` is cut out of the text. Only at start, one thread. */
void lt_options_parse(const char *text, void (*complain)(const char *what, const char *which));

#endif
