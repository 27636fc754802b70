/* SPDX-License-Identifier: MIT
 *
 * Verdicts: which of a process's classifications counts, whether it is still under way, and what it says of each site.
 */
#ifndef LT_VERDICTS_H
#define LT_VERDICTS_H

#include <leaktrace/dump-format.h>
#include <stdbool.h>
#include <stdint.h>

#include "estimate.h"
#include "kind.h"
#include "reader.h"

struct lt_merge;
struct lt_process;

/* A verdict as found in a file. */
struct lt_found_verdict {
	struct leaktrace_verdict record; /* state 0: none */
	bool own; /* in the process's dump, on its end; else in a snapshot file */
};

#define LT_SPLIT_GARBAGE LT_KIND_COUNT /* of all kinds, what is held only by R garbage */
#define LT_SPLIT_PARTS (LT_KIND_COUNT + 1)

/* What a process's site holds, by kind; what is not in it has no kind. Of a sampled process, `unknown` is what was listed without
 * one: so it is known what that rests on. */
struct lt_split {
	struct {
		uint64_t bytes, blocks;
	} sums[LT_SPLIT_PARTS];
	struct lt_spread *spreads; /* of each of these; NULL: exact */
};

static inline struct lt_estimate lt_split_part(const struct lt_split *split, unsigned part)
{
	struct lt_estimate estimate = {.bytes = split->sums[part].bytes, .blocks = split->sums[part].blocks};

	if (split->spreads)
		estimate.spread = split->spreads[part];
	return estimate;
}

/* All that has a kind but unknown. NULL: nothing. */
struct lt_estimate lt_split_whole(const struct lt_split *split);

/* The verdict of process `local` in the dump that counts most there; state 0 if there is none. */
struct leaktrace_verdict lt_verdict_of(const struct lt_dump *dump, uint32_t local);

/* Does `a` say more of its process than `b`? */
bool lt_verdict_better(const struct lt_found_verdict *a, const struct lt_found_verdict *b);

/* Waits until no classifier of the session is at work any more, at most `seconds`. Reads verdicts anew meanwhile. Before
 * lt_merge_select(). */
void lt_verdicts_wait(struct lt_merge *merge, unsigned seconds);

/* Before the dump of one image at `path` is loaded: if its process ended since lt_verdicts_wait() looked, so that the dump may have a
 * newer verdict, waits for that and takes it. */
void lt_verdict_catch_up(const struct lt_merge *merge, struct lt_process *process, const char *path);

/* From a block's flags. */
enum lt_kind lt_verdict_kind(uint32_t flags);

#endif
