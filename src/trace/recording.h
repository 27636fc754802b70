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
#include "trace/counters.h"
#include "trace/lockstep.h"
#include "trace/modules.h"
#include "trace/record.h"

#define LT_SCRATCHES 16
#define LT_KNOWN_SITES_LOG2 10

/* Room for the stacks of one recording: too much for a small thread stack or a signal stack. */
struct lt_scratch {
	int busy; /* taken; not by the only thread there is */
	struct lt_stacks stacks; /* taken here: mostly this thread's, for it comes back to the same scratch */
	struct lt_r_call calls[LT_R_DEPTH];
	/* Sites by their stacks, each at its place or at the neighbouring one. It has no need to know all. */
	struct known_site {
		uint64_t hash; /* of the native stack, the R stack and the stripe, at this generation */
		struct leaktrace_site *site;
	} known[1 << LT_KNOWN_SITES_LOG2];
};

extern LT_HIDDEN struct lt_scratch *lt_scratches; /* the first is the only thread's */

/* The slow parts; they keep errno. */
bool lt_record_enter_slowly(void);
uint32_t lt_record_checked_r_stack(struct lt_scratch *scratch, bool *cut);
struct leaktrace_site *lt_record_new_site(struct lt_stack *stack, bool unsure, uint32_t r, uint32_t stripe, uint32_t flags,
                                          size_t size, const uintptr_t *hook);
void lt_record_insert(struct leaktrace_site *site, void *address, size_t size);

/* A scratch that no other thread is in, for one of several. */
struct lt_scratch *lt_take_scratch_slowly(void);

static inline struct lt_scratch *lt_take_scratch(void)
{
	struct lt_scratch *s = &lt_scratches[(lt_thread.stripe - 1) % LT_SCRATCHES];
	if (lt_likely(!lt_exchange_acquire(&s->busy, 1))) /* pairs with the store in lt_give_scratch */
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

/* The site of a stack from the scratch, which is `unsure` or not. NULL: no room. */
static inline __attribute__((always_inline)) struct leaktrace_site *lt_find_site(struct lt_scratch *scratch, struct lt_stack *stack,
                                                                                 bool unsure, bool check, const uintptr_t *hook,
                                                                                 size_t size, uint32_t stripe)
{
	uint32_t r = 0, flags = 0;
	uint64_t hash = stack->hash + lt_load_relaxed(&lt_stack_generation) + stripe;
	if (lt_thread.r_stacks) {
		bool cut;
		r = lt_likely(!check) ? lt_r_stack(&cut) : lt_record_checked_r_stack(scratch, &cut);
		if (lt_unlikely(cut)) /* or no room for it */
			flags = LEAKTRACE_SITE_R_CUT;
		hash += __builtin_bswap64(r * 0x9e3779b97f4a7c15ULL);
	}
	uint64_t i = hash >> (64 - LT_KNOWN_SITES_LOG2);
	struct known_site *known = &scratch->known[i], *other = &scratch->known[i ^ 1];
	if (lt_likely(known->hash == hash && !unsure))
		return known->site;
	if (other->hash == hash && !unsure)
		return other->site;
	struct leaktrace_site *site = lt_record_new_site(stack, unsure, r, stripe, flags, size, hook);
	if (site && !unsure) {
		*other = *known;
		*known = (struct known_site){ hash, site };
	}
	return site;
}

/* An allocation and a free where nothing asks for special care. False: nothing was done, and lt_record_alloc() or lt_record_free()
 * must do it. */
static inline __attribute__((always_inline)) void lt_recording_do_alloc(struct lt_scratch *scratch, void *address, size_t size,
                                                                        const uintptr_t *hook, bool alone)
{
	uint32_t task = lt_task_current(), stripe = alone ? 0 : (lt_thread.stripe - 1) % LT_SITE_STRIPES;
	struct lt_stack *stack = lt_stack_take(hook, &scratch->stacks, lt_options.depth);
	struct leaktrace_site *site = lt_find_site(scratch, stack, false, false, hook, size, stripe);
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
	lt_recording_do_alloc(lt_scratches, address, size, hook, true);
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
