/* SPDX-License-Identifier: MIT
 *
 * An allocation: gate, native stack, R stack, site, live table, counters. A free: live table, counters. Both stacks are taken
 * before any lock; the locks are those of the modules called.
 *
 * What malloc and free need is in recording.h, to be inlined into these two; here it is for the other hooks.
 */
#include "trace/recording.h"
#include "base/arena.h"
#include "base/log.h"
#include "trace/modules.h"
#include "trace/sample.h"
#include "trace/shared.h"
#include <errno.h>

int lt_state;
__thread struct lt_thread lt_thread __attribute__((tls_model("initial-exec"))) = { .slot = lt_slots };
static uint64_t alive_dummy[3] = { 1 };
uint64_t *lt_alive = alive_dummy;

struct lt_scratch *lt_scratch_alone;
static uint64_t checked; /* option check */

int lt_record_init(void)
{
	lt_switch_init();
	lt_scratch_alone = lt_slots[1].scratch = lt_map(sizeof *lt_scratch_alone);
	lt_count_begin();
	return lt_scratch_alone ? lt_live_init() : -ENOMEM;
}

void lt_record_forget_stacks(void)
{
	for (unsigned i = 1; i < LT_SLOTS; i++)
		if (lt_load_acquire(&lt_slots[i].scratch))
			lt_shapes_empty(&lt_slots[i].scratch->stacks);
}

void lt_record_fork_child(void)
{
	for (unsigned i = LT_SLOTS_OWN; i < LT_SLOTS; i++)
		if (lt_slots[i].scratch)
			lt_slots[i].scratch->busy = 0;
	lt_count_begin();
	for (unsigned i = 1; i < LT_SLOTS_OWN; i++)
		lt_slots[i].scratch_is_old = true; /* emptied when it is used, so that the child does not copy what it has no need of */
	lt_shapes_empty(&lt_scratch_alone->stacks);
	if (lt_thread.slot->scratch)
		lt_shapes_empty(&lt_thread.slot->scratch->stacks);
	lt_sample_fork_child();
}

/* NULL where there is no memory. */
static struct lt_scratch *map_scratch(struct lt_slot *slot)
{
	int saved = errno;
	struct lt_scratch *none = NULL, *s = lt_map(sizeof *s);
	errno = saved;
	if (!s || __atomic_compare_exchange_n(&slot->scratch, &none, s, false, __ATOMIC_RELEASE, __ATOMIC_ACQUIRE)) /* pairs with take_scratch */
		return s;
	lt_unmap(s, sizeof *s);
	return none;
}

/* A slot of the calling thread's own has a scratch, and what is there is not of another thread. */
static bool scratch_is_ready(struct lt_slot *slot)
{
	if (lt_unlikely(!lt_slot_is_own(slot)) || (lt_unlikely(!slot->scratch) && !map_scratch(slot)))
		return false;
	if (lt_unlikely(slot->scratch_is_old))
		lt_shapes_empty(&slot->scratch->stacks);
	slot->scratch_is_old = false;
	return true;
}

__attribute__((noinline)) bool lt_record_enter_slowly(void)
{
	if (lt_likely(!lt_gate_is_inside()) && lt_likely(lt_gate_enter_own() != NULL))
		return true;
	if (lt_unlikely(!*lt_alive)) {
		int saved = errno;
		lt_fork_child_unseen(false);
		errno = saved;
	}
	lt_gate_enter();
	if (lt_likely(lt_load_relaxed(&lt_state) == LT_ON)) {
		if (!lt_gate_is_alone() && scratch_is_ready(lt_thread.slot))
			lt_gate_open_own();
		return true;
	}
	return false;
}

bool lt_record_is_plain(void)
{
	return lt_alive[LT_OPEN] && !lt_load_relaxed(&lt_code_unsure) && !lt_load_relaxed(&lt_live_odd_count) && !lt_options.check &&
	       !lt_options.sample;
}

void lt_record_settle(void)
{
	bool plain = lt_record_is_plain();
	lt_alive[LT_PLAIN] = plain ? (uintptr_t)lt_scratch_alone : 0;
	if (!plain)
		lt_gate_shut_all();
}

void lt_record_end(void)
{
	lt_store_relaxed(&lt_state, LT_OFF);
	lt_alive[LT_OPEN] = 0;
	lt_record_settle();
	lt_count_settle();
}

static void freed(const struct lt_block *block, bool temporary)
{
	if (lt_unlikely(lt_options.sample))
		lt_count_sampled_free(block->site, block->size, block->task, temporary, lt_gate_is_alone());
	else
		count_free(block->site, block->size, block->task, temporary, lt_gate_is_alone());
}

/* An entry whose block is no more: its free was not seen, or a failure leaves it out. */
static __attribute__((noinline, cold)) void missed(const struct lt_block *block)
{
	if (lt_options.sample)
		lt_sample_unmark(block->address);
	freed(block, false);
}

static bool is_still_unsure(void)
{
	int saved = errno;
	bool unsure = !lt_unload_retry();
	errno = saved;
	return unsure;
}

/* Option check: the site must be that of the stack as libunwind finds it and of the R stack as a full walk finds it. Counted are
 * stacks of which there is something to compare: libunwind can say, R has calls. */
static __attribute__((noinline, cold)) void check_site(struct lt_scratch *scratch, const struct leaktrace_site *site, const uintptr_t *hook)
{
	uintptr_t *pcs = (uintptr_t *)scratch->stacks.fresh; /* not in use now, and too much for a small stack */
	bool cut = false, r_cut = false;
	unsigned n = lt_stack_judge(hook, pcs, lt_options.depth, &cut);
	lt_add_relaxed(&lt_process->checked_stacks, !!n);
	if (n && (lt_intern_anew(pcs, n) != site->native || cut != !!(site->flags & LEAKTRACE_SITE_CUT))) {
		lt_add_relaxed(&lt_process->wrong_stacks, 1);
		lt_warn("check: a stack is not as libunwind finds it", NULL, NULL);
	}
	unsigned calls = lt_thread.r_stacks ? lt_r_judge(scratch->calls, LT_R_DEPTH, &r_cut) : 0;
	uint32_t r = lt_intern_r(scratch->calls, calls);
	lt_add_relaxed(&lt_process->checked_r_stacks, calls || site->r);
	if (r != site->r || (r_cut || (calls && !r)) != !!(site->flags & LEAKTRACE_SITE_R_CUT)) {
		lt_add_relaxed(&lt_process->wrong_r_stacks, 1);
		lt_warn("check: an R stack is not as a full walk finds it", NULL, NULL);
	}
}

static struct leaktrace_site *new_site(struct lt_stack *stack, bool unsure, uint32_t r, uint32_t stripe, uint32_t flags, size_t size,
                                       const uintptr_t *hook)
{
	uint32_t native = lt_unlikely(unsure) ? lt_intern_unsure(stack) : lt_intern_stack(stack);
	if (stack->cut)
		flags |= LEAKTRACE_SITE_CUT;
	if (lt_r_present() && lt_r_heap_block(lt_unwind_caller(hook), size))
		flags |= LEAKTRACE_SITE_R_HEAP;
	uint32_t id = native ? lt_intern_site(native, r, stripe, flags) : 0;
	if (lt_unlikely(native && !id)) /* no room: another thread's will do */
		id = lt_intern_site_of_any(native, r);
	return lt_site(id);
}

static uint64_t sites_hash(uint64_t native, uint32_t r, uint32_t stripe)
{
	return native + lt_load_relaxed(&lt_stack_generation) + stripe + __builtin_bswap64(r * 0x9e3779b97f4a7c15ULL);
}

static struct known_site *find_known(struct lt_scratch *scratch, uint64_t hash)
{
	struct known_site *known = &scratch->known[hash >> (64 - LT_KNOWN_SITES_LOG2)];
	if (known->hash == hash)
		return known;
	known = &scratch->known[hash >> (64 - LT_KNOWN_SITES_LOG2) ^ 1];
	return known->hash == hash ? known : NULL;
}

static void make_known(struct lt_scratch *scratch, uint64_t hash, struct leaktrace_site *site)
{
	uint64_t i = hash >> (64 - LT_KNOWN_SITES_LOG2);
	scratch->known[i ^ 1] = scratch->known[i];
	scratch->known[i] = (struct known_site){ hash, site, 0 };
}

__attribute__((noinline)) struct leaktrace_site *lt_record_find_site(struct lt_scratch *scratch, size_t size, const uintptr_t *hook,
                                                                     uint32_t stripe, uint64_t key)
{
	struct lt_stacks *stacks = &scratch->stacks;
	bool cut = false, due = lt_thread.r_stacks && lt_r_stack_is_due();
	uint32_t r = due ? lt_r_stack(&cut) : 0; /* cut: or no room for it */
	const struct lt_shape *native, *shape = lt_shape_find(stacks, hook, key, &native);
	if (lt_likely(shape != NULL) && (!due || (shape->r == r && !cut))) {
		stacks->before = shape->mark;
		return shape->site;
	}
	struct lt_stack *stack = native ? NULL : lt_stack_take(hook, stacks, lt_options.depth, false);
	if (!due && lt_thread.r_stacks)
		r = lt_r_stack(&cut);
	uint64_t native_hash = native ? native->hash : stack->hash, hash = sites_hash(native_hash, r, stripe);
	struct known_site *known = find_known(scratch, hash);
	struct leaktrace_site *site;
	stacks->before = lt_shape_mark(native_hash, r);
	if (known) {
		site = known->site;
		if (!cut && !shape && ++known->times >= LT_KEEP_FROM)
			lt_shape_keep(hook, stacks, key, native, site, r, lt_thread.r_stacks);
	} else {
		if (native) /* its nodes are not known there */
			stack = lt_stack_take(hook, stacks, lt_options.depth, false);
		site = new_site(stack, false, r, stripe, cut ? LEAKTRACE_SITE_R_CUT : 0, size, hook);
		if (site)
			make_known(scratch, hash, site);
	}
	return site;
}

/* One that no other thread is in, until its `busy` is 0. */
static __attribute__((noinline, cold)) struct lt_scratch *take_scratch(void)
{
	for (unsigned i = lt_thread.crowd;; i++) {
		/* The thread's own first, and then those that are there: threads take turns where there is no memory. */
		struct lt_slot *slot = &lt_slots[i < LT_SLOTS ? i : LT_SLOTS_OWN + i % LT_CROWDS];
		struct lt_scratch *s = lt_load_acquire(&slot->scratch); /* pairs with map_scratch */
		if (!s && i == lt_thread.crowd)
			s = map_scratch(slot);
		if (s && !lt_exchange_acquire(&s->busy, 1)) /* pairs with the store in alloc_with_care */
			return s;
		if (i % LT_CROWDS == 0)
			lt_sys_wait(64 + i / LT_CROWDS);
	}
}

static void insert(struct leaktrace_site *site, void *address, size_t size, bool alone)
{
	struct lt_block old = { 0 }, block = { (uintptr_t)address, size, site ? site->id : 0, lt_task_current() };
	if (lt_unlikely(!site)) {
		lt_add_relaxed(&lt_process->dropped_allocations, 1);
		lt_live_remove(block.address, &old); /* its free was missed, and the entry would be wrong now */
	} else if (lt_unlikely(lt_live_insert(&block, &old))) {
		lt_add_relaxed(&lt_process->dropped_allocations, 1);
	} else if (lt_unlikely(lt_options.sample)) {
		lt_sample_mark(block.address);
		lt_count_sampled_alloc(site, size, block.task, alone);
	} else {
		count_alloc(site, size, block.task, alone);
	}
	if (lt_unlikely(old.address))
		missed(&old);
}

void lt_record_insert(struct leaktrace_site *site, void *address, size_t size)
{
	insert(site, address, size, lt_gate_is_alone());
}

__attribute__((noinline)) void *lt_recording_alloc_with_care(size_t size, void *block)
{
	lt_record_alloc(block, size, __builtin_frame_address(0));
	if (!lt_single_threaded())
		lt_hooks_share();
	lt_thread.depth = 0;
	return block;
}

__attribute__((noinline)) void *lt_recording_find_site(size_t size, void *block)
{
	const uintptr_t *hook = __builtin_frame_address(0);
	uintptr_t veiled = lt_veiled(block); /* what is called saves registers on the stack, where a later frame may leave them as they are */
	struct leaktrace_site *site = lt_recording_other_site(lt_scratch_alone, size, hook, 0);
	__asm__ volatile("" : "+r"(veiled) : : "memory"); /* not unveiled before */
	block = (void *)~veiled;
	if (lt_likely(site && lt_recording_put_alone(block, size, site)))
		count_alloc(site, size, lt_task_current(), true);
	else
		lt_record_insert(site, block, size);
	return lt_recording_end(block);
}

__attribute__((noinline)) void *lt_recording_insert(size_t size, void *block, struct leaktrace_site *site)
{
	lt_record_insert(site, block, size);
	return lt_recording_end(block);
}

__attribute__((noinline)) void *lt_recording_count(size_t size, void *block, struct leaktrace_site *site)
{
	count_alloc(site, size, lt_task_current(), true);
	return lt_recording_end(block);
}

/* Code may be on its way out; and stacks may be checked. */
static struct leaktrace_site *find_with_care(struct lt_scratch *scratch, const uintptr_t *hook, size_t size, uint32_t stripe, bool alone)
{
	struct leaktrace_site *site;
	int saved = errno;
	if (lt_unlikely(lt_load_relaxed(&lt_code_unsure)) && is_still_unsure()) {
		bool cut = false;
		struct lt_stack *stack = lt_stack_take(hook, &scratch->stacks, lt_options.depth, true);
		uint32_t r = lt_thread.r_stacks ? lt_r_stack(&cut) : 0;
		site = new_site(stack, true, r, stripe, cut ? LEAKTRACE_SITE_R_CUT : 0, size, hook);
	} else {
		site = lt_recording_site(scratch, size, hook, stripe, lt_shape_key(hook, alone));
	}
	if (lt_unlikely(lt_options.check) && site && lt_add_relaxed(&checked, 1) % lt_options.check == 0)
		check_site(scratch, site, hook);
	errno = saved;
	return site;
}

static void alloc_with_care(void *address, size_t size, const uintptr_t *hook)
{
	if (lt_gate_is_alone()) {
		insert(find_with_care(lt_scratch_alone, hook, size, 0, true), address, size, true);
	} else if (lt_likely(scratch_is_ready(lt_thread.slot))) {
		insert(find_with_care(lt_thread.slot->scratch, hook, size, lt_thread.slot->stripe, true), address, size, false);
	} else {
		struct lt_scratch *scratch = take_scratch();
		struct leaktrace_site *site = find_with_care(scratch, hook, size, lt_slot_of_thread()->stripe, false);
		lt_store_release(&scratch->busy, 0); /* pairs with take_scratch */
		insert(site, address, size, false);
	}
}

void lt_record_alloc(void *address, size_t size, const void *hook)
{
	if (lt_unlikely(!lt_active))
		return;
	if (lt_likely(!lt_options.sample) || lt_sample_take(size)) {
		if (lt_likely(enter()))
			alloc_with_care(address, size, hook);
		lt_gate_leave();
	}
	lt_thread.last_block = lt_veiled(address);
	lt_thread.last_ahead = lt_thread.ahead;
}

void lt_record_free(void *address)
{
	struct lt_block block;
	if (!lt_sample_may_have(address))
		return;
	if (lt_unlikely(!enter())) {
	} else if (lt_likely(lt_live_remove((uintptr_t)address, &block))) {
		bool temporary = lt_thread.last_block == lt_veiled(address) && lt_thread.last_ahead == lt_thread.ahead;
		if (temporary)
			lt_thread.last_block = 0;
		if (lt_unlikely(lt_options.sample))
			lt_sample_unmark(block.address);
		freed(&block, temporary);
	} else if (!lt_was_off && !lt_options.sample && lt_thread.last_deleted != lt_veiled(address)) {
		lt_add_relaxed(&lt_process->unknown_frees, 1);
	}
	lt_gate_leave();
}

void lt_record_take(void *address, struct lt_taken *taken)
{
	struct lt_block block;
	taken->address = 0;
	if (!lt_sample_may_have(address))
		return;
	if (lt_likely(enter()) && lt_live_remove((uintptr_t)address, &block)) {
		*taken = (struct lt_taken){ block.address, block.size, block.site, block.task };
		if (lt_options.sample)
			lt_sample_unmark(block.address);
	}
	lt_gate_leave();
}

void lt_record_put_back(const struct lt_taken *taken)
{
	struct lt_block old, block = { taken->address, taken->size, taken->site, taken->task };
	if (!taken->address)
		return;
	if (lt_likely(enter())) {
		if (lt_options.sample)
			lt_sample_mark(block.address);
		if (lt_live_insert(&block, &old))
			missed(&block); /* no memory for the table: it is lost to us */
	}
	lt_gate_leave();
}

void lt_record_taken_freed(const struct lt_taken *taken)
{
	struct lt_block block = { taken->address, taken->size, taken->site, taken->task };
	if (!taken->address)
		return;
	if (lt_likely(enter()))
		freed(&block, false);
	lt_gate_leave();
}
