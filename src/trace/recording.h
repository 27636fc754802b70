/* SPDX-License-Identifier: MIT
 *
 * The hot path: what an allocation and a free of the exact mode do, as functions to be inlined. See record.c.
 */
#ifndef LT_RECORDING_H
#define LT_RECORDING_H

#include "base/atomic.h"
#include "base/options.h"
#include "process/process.h"
#include "r/r.h"
#include "r/stack.h"
#include "trace/counters.h"
#include "trace/modules.h"
#include "trace/record.h"
#include "trace/shapes.h"

#define LT_KNOWN_SITES_LOG2 10
#define LT_KEEP_FROM 2 /* times: from then on the stack is worth a shape */

/* Room for the stacks of one recording: too much for a small thread stack or a signal stack. */
struct lt_scratch {
	int busy; /* taken: of a slot that is several threads' */
	/* Sites by their stacks, each at its place or at the neighbouring one. It has no need to know all. */
	struct known_site {
		uint64_t hash; /* of the native stack, the R stack and the stripe, at this generation */
		struct leaktrace_site *site;
		uint32_t times; /* found here */
	} known[1 << LT_KNOWN_SITES_LOG2];
	struct lt_r_call calls[LT_R_DEPTH];
	struct lt_stacks stacks; /* taken here: mostly this thread's, for it comes back to the same scratch */
};

/* The only thread's, as long as it is the only one; and the first slot's. Others are mapped when they are needed. */
extern LT_HIDDEN struct lt_scratch *lt_scratch_alone;

/* The slow parts; they keep errno. */
bool lt_record_enter_slowly(void);
struct leaktrace_site *lt_record_find_site(struct lt_scratch *scratch, size_t size, const uintptr_t *hook, uint32_t stripe, uint64_t key);
void lt_record_insert(struct leaktrace_site *site, void *address, size_t size);

/* False at the end of the image: its dump belongs to the classifier then. lt_gate_leave() must follow all the same. */
static inline bool enter(void)
{
	if (lt_unlikely(!lt_alive[LT_OPEN] || !lt_single_threaded()))
		return lt_record_enter_slowly();
	lt_thread.gate++;
	lt_signal_fence();
	return true;
}

/* The shape of the stack at the hook and R's, if it is the one that the stack before says; else NULL. */
static lt_always_inline const struct lt_shape *lt_recording_expected(struct lt_scratch *scratch, const uintptr_t *hook, uint64_t key)
{
	const struct lt_shape *shape = lt_shape_hinted(&scratch->stacks, hook);
	if (lt_unlikely(!lt_shape_is_here(shape, key)))
		return NULL;
	if (shape->has_r && (lt_unlikely(!lt_shape_calls_are_here(shape)) || lt_unlikely(!lt_r_stack_may_be_kept())))
		return NULL;
	scratch->stacks.before = shape->mark;
	return shape;
}

/* The site of any. NULL: no room. */
static inline struct leaktrace_site *lt_recording_site(struct lt_scratch *scratch, size_t size, const uintptr_t *hook, uint32_t stripe,
                                                       uint64_t key)
{
	const struct lt_shape *shape = lt_recording_expected(scratch, hook, key);
	return lt_likely(shape != NULL) ? shape->site : lt_record_find_site(scratch, size, hook, stripe, key);
}

/* The site of one that is not the expected one, of the only thread that uses the scratch. NULL: no room. */
static lt_always_inline struct leaktrace_site *lt_recording_other_site(struct lt_scratch *scratch, size_t size, const uintptr_t *hook,
                                                                       uint32_t stripe)
{
	const struct lt_shape *native, *shape = lt_shape_find(&scratch->stacks, hook, lt_shape_key(hook, true), &native);
	if (lt_unlikely(!shape) || (shape->has_r && lt_unlikely(!lt_r_stack_may_be_kept())))
		return lt_record_find_site(scratch, size, hook, stripe, lt_shape_key(hook, true));
	scratch->stacks.before = shape->mark;
	return shape->site;
}

/* The rest of an allocation and a free of the exact mode, to be jumped to from the hook (whose caller is their own) with
 * lt_thread.depth 1. They set it to 0. */
void *lt_recording_alloc_with_care(size_t size, void *block);
/* Likewise, from inside the gate, as the only thread there is: the site must be found; there is one, and the block has no place
 * yet in the table; it has one and is to be counted. */
void *lt_recording_find_site(size_t size, void *block);
void *lt_recording_insert(size_t size, void *block, struct leaktrace_site *site);
void *lt_recording_count(size_t size, void *block, struct leaktrace_site *site);

/* The scratch of the only thread there is, and nothing asks for special care; else NULL. */
static lt_always_inline struct lt_scratch *lt_recording_plainly(void)
{
	struct lt_scratch *scratch = (struct lt_scratch *)lt_alive[LT_PLAIN];
	return lt_likely(lt_single_threaded()) ? scratch : NULL;
}

/* Into the gate, where lt_tracer_enter_first() was called. */
static lt_always_inline void lt_recording_enter(void)
{
	lt_store_relaxed(&lt_thread.inside_tracer, LT_INSIDE_TRACER);
	lt_signal_fence();
}

static lt_always_inline void lt_recording_leave(void)
{
	lt_signal_fence();
	lt_store_relaxed(&lt_thread.inside_tracer, 0);
}

static lt_always_inline bool lt_recording_put_alone(void *block, size_t size, const struct leaktrace_site *site)
{
	return lt_live_put((uintptr_t)block, size, site->id, lt_task.in_key, lt_task.in_value, LT_LIVE_ALONE);
}

/* Behind a block that was taken out of the table. */
static lt_always_inline void lt_recording_count_free(void *block, struct leaktrace_site *site, uint64_t key, uint64_t value)
{
	if (lt_unlikely(lt_thread.last_block == lt_veiled(block))) {
		lt_thread.last_block = 0;
		site->temporary++;
	}
	count_free_alone(site, key, value);
}

/* The last part, of the only thread there is. */
static lt_always_inline void *lt_recording_end(void *block)
{
	lt_thread.last_block = lt_veiled(block);
	lt_recording_leave();
	return block;
}

#endif
