/* SPDX-License-Identifier: MIT
 *
 * The malloc family. Each hook: the real function under the thread's guard (what that calls itself is its own business, also
 * where a preloaded allocator calls back into the family), then the record. A block is taken out of the table before the real
 * free or realloc, for another thread may get its address at once; a realloc that fails puts it back.
 *
 * malloc, calloc, realloc and free are one jump through a pointer to what the image's state asks for: to the real function where
 * nothing is recorded. Whoever comes late to the old target finds that this one asks for the state itself.
 */
#include "base/sys.h"
#include "hooks/real.h"
#include "trace/recording.h"
#include "trace/shared.h"
#include "trace/sample.h"
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define HOOK __builtin_frame_address(0)

/* C23; not in glibc 2.36 */
void free_sized(void *block, size_t size);
void free_aligned_sized(void *block, size_t alignment, size_t size);
void cfree(void *block);

static inline bool ready(const void *function)
{
	if (lt_likely(function != NULL))
		return true;
	lt_real_init();
	return false;
}

/* The real function is known now, or we are inside dlsym. */
#define BOOTSTRAP(function, size, alignment)                            \
	do {                                                            \
		if (!ready((const void *)lt_real.function) && !lt_real.function) \
			return lt_bootstrap_alloc(size, alignment);     \
	} while (0)

/* A jump, not a call: the function jumped to has the hook's own caller above it. */
#define JUMP_ON __attribute__((optimize("optimize-sibling-calls", "omit-frame-pointer")))

/* Exact recording. What is not as expected is jumped to: then no register has to be saved here for the sake of a call. */
static __attribute__((noinline)) void *nested_malloc(size_t size)
{
	void *block;
	if (lt_likely(lt_thread.depth))
		return lt_real.malloc(size);
	lt_tracer_enter_first();
	block = lt_real.malloc(size);
	if (lt_likely(block != NULL))
		lt_record_alloc(block, size, HOOK);
	lt_thread.depth = 0;
	return block;
}

static __attribute__((noinline)) JUMP_ON void *exact_malloc(size_t size)
{
	const uintptr_t *hook = HOOK;
	if (lt_unlikely(lt_thread.inside_tracer))
		return nested_malloc(size);
	lt_tracer_enter_first();
	void *block = lt_real.malloc(size);
	struct lt_scratch *scratch = lt_recording_plainly();
	if (lt_unlikely(!block)) {
		lt_thread.depth = 0;
		return NULL;
	}
	if (lt_unlikely(!scratch))
		return lt_recording_alloc_with_care(size, block);
	lt_recording_enter();
	const struct lt_shape *shape = lt_recording_expected(scratch, hook, lt_shape_key(hook, true));
	if (lt_unlikely(!shape))
		return lt_recording_find_site(size, block);
	struct leaktrace_site *site = shape->site;
	if (lt_unlikely(!lt_recording_put_alone(block, size, site)))
		return lt_recording_insert(size, block, site);
	if (lt_unlikely(!count_alloc_alone(site, size, lt_task_current())))
		return lt_recording_count(size, block, site);
	return lt_recording_end(block);
}

static __attribute__((noinline)) void *exact_calloc(size_t n, size_t size)
{
	if (lt_unlikely(!lt_recording()))
		return lt_real.calloc(n, size);
	lt_tracer_enter();
	void *block = lt_real.calloc(n, size);
	if (lt_likely(block != NULL))
		lt_record_alloc(block, n * size, HOOK);
	lt_tracer_leave();
	return block;
}

static __attribute__((noinline)) void free_with_care(void *block)
{
	if (lt_unlikely(lt_bootstrap_owns(block)))
		return;
	if (lt_recording()) {
		lt_tracer_enter();
		lt_record_free(block);
		lt_tracer_leave();
	}
	lt_tracer_enter();
	lt_real.free(block);
	lt_tracer_leave();
}

/* Of an ancestor: a realloc that failed has put it back. Inside the gate. */
static __attribute__((noinline)) void free_inherited(void *block, uint64_t value)
{
	lt_count_inherited_free(lt_live_site(value), 1, lt_live_size(value));
	lt_recording_leave();
	lt_tracer_enter_first();
	lt_real.free(block);
	lt_thread.depth = 0;
}

static __attribute__((noinline)) void free_unknown(void *block)
{
	lt_recording_leave();
	free_with_care(block);
}

/* `quiet`: the real free calls no hooks. Else they must find us inside the tracer. */
static lt_always_inline void free_exactly(void *block, bool quiet)
{
	uint64_t key, value;
	if (lt_unlikely(!block))
		return;
	if (lt_unlikely(lt_thread.inside_tracer) || lt_unlikely(!lt_recording_plainly())) {
		free_with_care(block);
		return;
	}
	lt_tracer_enter_first();
	lt_recording_enter();
	if (lt_unlikely(!lt_live_take((uintptr_t)block, &key, &value, LT_LIVE_ALONE))) {
		free_unknown(block);
		return;
	}
	if (lt_unlikely(!lt_site_is_of_image(lt_live_site(value)))) {
		free_inherited(block, value);
		return;
	}
	lt_recording_count_free(block, lt_site_of_image(lt_live_site(value)), key, value);
	lt_recording_leave();
	if (quiet) {
		lt_real.free(block);
		return;
	}
	lt_tracer_enter_first();
	lt_real.free(block);
	lt_thread.depth = 0;
}

static __attribute__((noinline)) JUMP_ON void exact_free(void *block)
{
	free_exactly(block, true);
}

static __attribute__((noinline)) JUMP_ON void exact_free_of_others(void *block)
{
	free_exactly(block, false);
}

/* Exact recording, of one of several threads. */
static __attribute__((noinline)) JUMP_ON void *shared_malloc(size_t size)
{
	const uintptr_t *hook = HOOK;
	if (lt_unlikely(lt_thread.inside_tracer))
		return nested_malloc(size);
	lt_tracer_enter_first();
	void *block = lt_real.malloc(size);
	if (lt_unlikely(!block)) {
		lt_thread.depth = 0;
		return NULL;
	}
	struct lt_slot *slot = lt_gate_enter_own();
	if (lt_unlikely(!slot))
		return lt_recording_alloc_with_care(size, block);
	const struct lt_shape *shape = lt_shared_expected(slot, hook);
	if (lt_unlikely(!shape))
		return lt_shared_find_site(size, block);
	struct leaktrace_site *site = shape->site;
	if (lt_unlikely(!lt_shared_put(block, size, site)))
		return lt_shared_insert(size, block, site);
	if (lt_unlikely(!count_alloc_own(slot, site, size, lt_task_current())))
		return lt_shared_count(size, block, site);
	if (lt_unlikely(slot->allocations < 0))
		return lt_shared_come_in(size, block, site);
	return lt_shared_end(slot, block);
}

/* It is not counted in a record of this thread's. */
static __attribute__((noinline)) void free_elsewhere(void *block, uint64_t key, uint64_t value)
{
	lt_shared_count_free(block, key, value);
	lt_gate_leave_own(lt_thread.slot);
	lt_real.free(block);
	lt_thread.depth = 0;
}

static __attribute__((noinline)) void free_and_come_in(void *block)
{
	lt_count_come_in(lt_thread.slot);
	lt_gate_leave_own(lt_thread.slot);
	lt_real.free(block);
	lt_thread.depth = 0;
}

/* It has no entry, or the lock is another thread's just now; and: the slot is shut. */
static __attribute__((noinline)) void free_from_inside(void *block)
{
	lt_gate_leave_own(lt_thread.slot);
	lt_thread.depth = 0;
	free_with_care(block);
}

static __attribute__((noinline)) void free_from_outside(void *block)
{
	lt_thread.depth = 0;
	free_with_care(block);
}

/* Likewise. */
static lt_always_inline void free_shared(void *block, bool quiet)
{
	uint64_t key, value;
	if (lt_unlikely(!block))
		return;
	if (lt_unlikely(lt_thread.inside_tracer)) {
		free_with_care(block);
		return;
	}
	lt_tracer_enter_first();
	struct lt_slot *slot = lt_gate_enter_own();
	if (lt_unlikely(!slot)) {
		free_from_outside(block);
		return;
	}
	if (lt_unlikely(!lt_live_take((uintptr_t)block, &key, &value, LT_LIVE_TRY))) {
		free_from_inside(block);
		return;
	}
	if (lt_unlikely(!lt_shared_count_own_free(slot, block, key, value))) {
		free_elsewhere(block, key, value);
		return;
	}
	if (lt_unlikely(slot->frees < 0)) {
		free_and_come_in(block);
		return;
	}
	lt_gate_leave_own(slot);
	if (quiet) {
		lt_thread.depth = 0;
		lt_real.free(block);
		return;
	}
	lt_real.free(block);
	lt_thread.depth = 0;
}

static __attribute__((noinline)) JUMP_ON void shared_free(void *block)
{
	free_shared(block, true);
}

static __attribute__((noinline)) JUMP_ON void shared_free_of_others(void *block)
{
	free_shared(block, false);
}

/* A block of the bootstrap arena moves to the real heap. */
static void *leave_bootstrap(void *old, size_t size, const void *hook)
{
	size_t old_size = lt_bootstrap_size(old);
	void *block;
	BOOTSTRAP(malloc, size, 16);
	bool recording = lt_recording();
	lt_tracer_enter();
	block = lt_real.malloc(size);
	if (block) {
		memcpy(block, old, size < old_size ? size : old_size);
		if (recording)
			lt_record_alloc(block, size, hook);
	}
	lt_tracer_leave();
	return block;
}

static void *do_realloc(void *old, size_t size, const void *hook)
{
	void *block;
	struct lt_taken taken = { 0 };
	lt_tracer_enter();
	if (old)
		lt_record_take(old, &taken);
	block = lt_real.realloc(old, size);
	if (!block && size) {
		lt_record_put_back(&taken);
	} else {
		lt_record_taken_freed(&taken); /* glibc: realloc(p, 0) frees and returns NULL */
		if (block)
			lt_record_alloc(block, size, hook);
	}
	lt_tracer_leave();
	return block;
}

static __attribute__((noinline)) void *exact_realloc(void *old, size_t size)
{
	if (lt_unlikely(lt_bootstrap_owns(old)))
		return leave_bootstrap(old, size, HOOK);
	if (lt_unlikely(!lt_recording()))
		return lt_real.realloc(old, size);
	return do_realloc(old, size, HOOK);
}

/* Sampling. Most calls only count; the hook's caller is the caller of what they jump to. */
static __attribute__((noinline)) void *sampled_malloc_slowly(size_t size)
{
	if (lt_unlikely(!lt_recording()))
		return lt_real.malloc(size);
	lt_tracer_enter();
	void *block = lt_real.malloc(size);
	if (lt_likely(block != NULL))
		lt_record_alloc(block, size, HOOK);
	lt_tracer_leave();
	return block;
}

static JUMP_ON void *sampled_malloc(size_t size)
{
	return lt_likely(lt_sample_passes(size)) ? lt_real.malloc(size) : sampled_malloc_slowly(size);
}

static JUMP_ON void *sampled_calloc(size_t n, size_t size)
{
	size_t bytes;
	if (lt_unlikely(__builtin_mul_overflow(n, size, &bytes)))
		return lt_real.calloc(n, size);
	return lt_likely(lt_sample_passes(bytes)) ? lt_real.calloc(n, size) : exact_calloc(n, size);
}

static JUMP_ON void *sampled_realloc(void *old, size_t size)
{
	if (lt_unlikely(lt_sample_may_have(old) || !lt_sample_passes(size)))
		return exact_realloc(old, size);
	return lt_real.realloc(old, size);
}

static JUMP_ON void sampled_free(void *block)
{
	if (lt_unlikely(*lt_sample_slot((uintptr_t)block)))
		exact_free(block);
	else
		lt_real.free(block);
}

/* Dormant: an image that is traced, but not now. What was recorded before must be found by its free. */
static JUMP_ON void *dormant_realloc(void *old, size_t size)
{
	if (lt_unlikely(lt_was_on) || lt_bootstrap_owns(old))
		return exact_realloc(old, size);
	return lt_real.realloc(old, size);
}

static JUMP_ON void dormant_free(void *block)
{
	if (lt_unlikely(lt_was_on) || lt_bootstrap_owns(block))
		exact_free(block);
	else
		lt_real.free(block);
}

/* Before the constructor has run: the real functions may not be known yet, and nothing is recorded. */
static void *early_malloc(size_t size)
{
	BOOTSTRAP(malloc, size, 16);
	return lt_real.malloc(size);
}

static void *early_calloc(size_t n, size_t size)
{
	size_t bytes;
	if (lt_unlikely(__builtin_mul_overflow(n, size, &bytes)))
		bytes = SIZE_MAX; /* no allocator has that much, but each sets errno by itself */
	BOOTSTRAP(calloc, bytes, 16);
	return lt_real.calloc(n, size);
}

static void *early_realloc(void *old, size_t size)
{
	if (lt_unlikely(lt_bootstrap_owns(old)))
		return leave_bootstrap(old, size, HOOK);
	BOOTSTRAP(realloc, size, 16);
	return lt_real.realloc(old, size);
}

static void early_free(void *block)
{
	if (!block || lt_bootstrap_owns(block))
		return;
	ready((const void *)lt_real.free);
	lt_real.free(block);
}

/* In an image that is not traced, or not any more: blocks of the bootstrap arena may be left. */
static void real_free(void *block)
{
	if (lt_likely(!lt_bootstrap_owns(block)))
		lt_real.free(block);
}

static void *real_realloc(void *old, size_t size)
{
	return lt_unlikely(lt_bootstrap_owns(old)) ? leave_bootstrap(old, size, HOOK) : lt_real.realloc(old, size);
}

/* What the four hooks of the hot path jump to, as the state of the image asks for it; any of them does its work in any state. */
static struct {
	void *(*malloc)(size_t);
	void *(*calloc)(size_t, size_t);
	void *(*realloc)(void *, size_t);
	void (*free)(void *);
} hooks = { early_malloc, early_calloc, early_realloc, early_free };

void lt_hooks_switch(void)
{
	if (lt_load_relaxed(&lt_state) == LT_STARTING)
		return;
	bool on = lt_load_relaxed(&lt_state) == LT_ON, active = on && lt_active;
	lt_real_init();
	if (active && lt_options.sample) {
		lt_store_relaxed(&hooks.malloc, sampled_malloc);
		lt_store_relaxed(&hooks.calloc, sampled_calloc);
		lt_store_relaxed(&hooks.realloc, sampled_realloc);
		lt_store_relaxed(&hooks.free, sampled_free);
		return;
	}
	lt_store_relaxed(&hooks.malloc, active ? exact_malloc : lt_real.malloc);
	lt_store_relaxed(&hooks.calloc, active ? exact_calloc : lt_real.calloc);
	if (!active && !(on && lt_was_on) && !lt_bootstrap_is_used()) {
		lt_store_relaxed(&hooks.realloc, lt_real.realloc);
		lt_store_relaxed(&hooks.free, lt_real.free);
		return;
	}
	lt_store_relaxed(&hooks.realloc, active ? exact_realloc : on ? dormant_realloc : real_realloc);
	lt_store_relaxed(&hooks.free, active ? (lt_real_is_libc() ? exact_free : exact_free_of_others) : on ? dormant_free : real_free);
}

void lt_hooks_share(void)
{
	void *(*alloc)(size_t) = exact_malloc;
	void (*release)(void *) = exact_free, (*release_of_others)(void *) = exact_free_of_others;
	__atomic_compare_exchange_n(&hooks.malloc, &alloc, shared_malloc, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	__atomic_compare_exchange_n(&hooks.free, &release, shared_free, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	__atomic_compare_exchange_n(&hooks.free, &release_of_others, shared_free_of_others, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

#define JUMP EXPORT JUMP_ON

JUMP void *malloc(size_t size)
{
	return lt_load_relaxed(&hooks.malloc)(size);
}

JUMP void *calloc(size_t n, size_t size)
{
	return lt_load_relaxed(&hooks.calloc)(n, size);
}

JUMP void *realloc(void *old, size_t size)
{
	return lt_load_relaxed(&hooks.realloc)(old, size);
}

JUMP void free(void *block)
{
	lt_load_relaxed(&hooks.free)(block);
}

EXPORT void free_sized(void *block, size_t size)
{
	free(block);
}

EXPORT void free_aligned_sized(void *block, size_t alignment, size_t size)
{
	free(block);
}

EXPORT void cfree(void *block)
{
	free(block);
}

EXPORT void *reallocarray(void *old, size_t n, size_t size)
{
	size_t bytes;
	if (__builtin_mul_overflow(n, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	if (lt_unlikely(lt_bootstrap_owns(old)))
		return leave_bootstrap(old, bytes, HOOK);
	BOOTSTRAP(realloc, bytes, 16);
	if (!lt_recording())
		return lt_real.realloc(old, bytes);
	return do_realloc(old, bytes, HOOK);
}

EXPORT int posix_memalign(void **block, size_t alignment, size_t size)
{
	int error;
	if (!ready((const void *)lt_real.posix_memalign) && !lt_real.posix_memalign) {
		void *early = lt_bootstrap_alloc(size, alignment);
		if (early)
			*block = early;
		return early ? 0 : ENOMEM;
	}
	if (!lt_recording())
		return lt_real.posix_memalign(block, alignment, size);
	lt_tracer_enter();
	error = lt_real.posix_memalign(block, alignment, size);
	if (!error && *block)
		lt_record_alloc(*block, size, HOOK);
	lt_tracer_leave();
	return error;
}

EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
	void *block;
	BOOTSTRAP(aligned_alloc, size, alignment);
	if (!lt_recording())
		return lt_real.aligned_alloc(alignment, size);
	lt_tracer_enter();
	block = lt_real.aligned_alloc(alignment, size);
	if (lt_likely(block != NULL))
		lt_record_alloc(block, size, HOOK);
	lt_tracer_leave();
	return block;
}

EXPORT void *memalign(size_t alignment, size_t size)
{
	void *block;
	BOOTSTRAP(memalign, size, alignment);
	if (!lt_recording())
		return lt_real.memalign(alignment, size);
	lt_tracer_enter();
	block = lt_real.memalign(alignment, size);
	if (lt_likely(block != NULL))
		lt_record_alloc(block, size, HOOK);
	lt_tracer_leave();
	return block;
}

EXPORT void *valloc(size_t size)
{
	void *block;
	BOOTSTRAP(valloc, size, 4096);
	if (!lt_recording())
		return lt_real.valloc(size);
	lt_tracer_enter();
	block = lt_real.valloc(size);
	if (lt_likely(block != NULL))
		lt_record_alloc(block, size, HOOK);
	lt_tracer_leave();
	return block;
}

EXPORT void *pvalloc(size_t size)
{
	void *block;
	BOOTSTRAP(pvalloc, size, 4096);
	if (!lt_recording())
		return lt_real.pvalloc(size);
	lt_tracer_enter();
	block = lt_real.pvalloc(size);
	if (lt_likely(block != NULL))
		lt_record_alloc(block, size, HOOK);
	lt_tracer_leave();
	return block;
}

EXPORT size_t malloc_usable_size(void *block)
{
	if (!block)
		return 0;
	if (lt_bootstrap_owns(block))
		return lt_bootstrap_size(block);
	ready((const void *)lt_real.malloc_usable_size);
	return lt_real.malloc_usable_size ? lt_real.malloc_usable_size(block) : 0;
}
