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

#define LT_SCRATCHES 16
#define LT_KNOWN_SITES_LOG2 10

/* Room for the stacks of one recording: too much for a small thread stack or a signal stack. */
struct lt_scratch {
	int busy; /* taken; not by the only thread there is */
	/* Sites by their stacks, each at its place or at the neighbouring one. It has no need to know all. */
	struct known_site {
		uint64_t hash; /* of the native stack, the R stack and the stripe, at this generation */
		struct leaktrace_site *site;
	} known[1 << LT_KNOWN_SITES_LOG2];
	struct lt_r_call calls[LT_R_DEPTH];
	struct lt_stacks stacks; /* taken here: mostly this thread's, for it comes back to the same scratch */
};

/* The first is the only thread's; the others are mapped when they are needed, and NULL until then. */
extern LT_HIDDEN struct lt_scratch *lt_scratches[LT_SCRATCHES];

/* The slow parts; they keep errno. */
bool lt_record_enter_slowly(void);
/* `shape`: the stack's, whose site is that of another R stack; NULL: it has none here. */
struct leaktrace_site *lt_record_find_site(struct lt_scratch *scratch, struct lt_shape *shape, size_t size, const uintptr_t *hook,
                                           uint32_t stripe);
void lt_record_insert(struct leaktrace_site *site, void *address, size_t size);

/* A scratch that no other thread is in, for one of several. */
struct lt_scratch *lt_take_scratch_slowly(void);

static inline struct lt_scratch *lt_take_scratch(void)
{
	struct lt_scratch *s = lt_load_acquire(&lt_scratches[(lt_thread.stripe - 1) % LT_SCRATCHES]); /* pairs with map_scratch */
	if (lt_likely(s) && lt_likely(!lt_exchange_acquire(&s->busy, 1))) /* pairs with the store in lt_give_scratch */
		return s;
	return lt_take_scratch_slowly();
}

static inline void lt_give_scratch(struct lt_scratch *scratch)
{
	lt_store_release(&scratch->busy, 0); /* pairs with lt_take_scratch */
}

/* False at the end of the image: its dump belongs to the classifier then. lt_gate_leave() must follow all the same. */
static inline bool enter(void)
{
	if (lt_unlikely(!lt_alive[LT_OPEN] || !lt_single_threaded()))
		return lt_record_enter_slowly();
	lt_thread.gate++;
	lt_signal_fence();
	return true;
}

/* The site of the stack at the hook and R's. NULL: no room. */
static inline __attribute__((always_inline)) struct leaktrace_site *lt_recording_site(struct lt_scratch *scratch, size_t size,
                                                                                      const uintptr_t *hook, uint32_t stripe)
{
	struct lt_shape *shape = lt_shape_hinted(&scratch->stacks, hook);
	if (lt_unlikely(!lt_shape_is_here(shape, hook)))
		shape = lt_shape_find(&scratch->stacks, hook);
	if (lt_unlikely(!shape) || (lt_thread.r_stacks && lt_unlikely(!lt_r_stack_is(shape->r_kept, shape->r, (uintptr_t)hook))))
		return lt_record_find_site(scratch, shape, size, hook, stripe);
	scratch->stacks.before = shape->hash;
	return shape->site;
}

/* An allocation and a free where nothing asks for special care. False: nothing was done, and lt_record_alloc() or lt_record_free()
 * must do it. */
static inline __attribute__((always_inline)) void lt_recording_do_alloc(struct lt_scratch *scratch, void *address, size_t size,
                                                                        const uintptr_t *hook, bool alone)
{
	uint32_t task = lt_task_current(), stripe = alone ? 0 : (lt_thread.stripe - 1) % LT_SITE_STRIPES;
	struct leaktrace_site *site = lt_recording_site(scratch, size, hook, stripe);
	if (!alone)
		lt_give_scratch(scratch);
	if (lt_likely(site && lt_live_put((uintptr_t)address, size, site->id, task, alone)))
		count_alloc(site, size, task, alone);
	else
		lt_record_insert(site, address, size);
	lt_thread.last_block = lt_veiled(address); /* last_ahead and `ahead` are the same for good */
}

static inline __attribute__((always_inline)) bool lt_recording_do_free(void *address, bool alone)
{
	uint64_t key, value;
	bool found = lt_live_take((uintptr_t)address, &key, &value, alone);
	if (lt_likely(found)) {
		bool temporary = lt_thread.last_block == lt_veiled(address);
		if (temporary)
			lt_thread.last_block = 0;
		count_free(lt_live_site(value), lt_live_size(value), lt_live_task(key, value), temporary, alone);
	}
	return found;
}

bool lt_recording_shared_alloc(void *address, size_t size, const uintptr_t *hook);
bool lt_recording_shared_free(void *address);

static inline __attribute__((always_inline)) bool lt_recording_alloc(void *address, size_t size, const uintptr_t *hook)
{
	if (lt_unlikely(!lt_alive[LT_PLAIN]))
		return false;
	if (lt_unlikely(!lt_single_threaded()))
		return lt_recording_shared_alloc(address, size, hook);
	lt_thread.gate++;
	lt_signal_fence();
	lt_recording_do_alloc(lt_scratches[0], address, size, hook, true);
	lt_signal_fence();
	lt_thread.gate--;
	return true;
}

static inline __attribute__((always_inline)) bool lt_recording_free(void *address)
{
	if (lt_unlikely(!lt_alive[LT_PLAIN]))
		return false;
	if (lt_unlikely(!lt_single_threaded()))
		return lt_recording_shared_free(address);
	lt_thread.gate++;
	lt_signal_fence();
	bool found = lt_recording_do_free(address, true);
	lt_signal_fence();
	lt_thread.gate--;
	return found;
}

#endif
