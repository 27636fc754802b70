/* SPDX-License-Identifier: MIT
 *
 * An allocation: gate, native stack, R stack, site, live table, counters. A free: live table, counters. Both stacks are taken
 * before any lock; the locks are those of the modules called.
 *
 * Counters live in the mapped dump and are changed by relaxed atomic additions: each is right at any moment, two of them may
 * be one operation apart.
 *
 * Live at the peak: process.peak_seq grows whenever live_bytes passes its highest value. A site that is about to change and
 * last changed under an older peak_seq was, at that peak, as it is now: so it notes its present figures first. If this very
 * change makes the new peak, it notes the figures after it. The reader takes the noted ones where peak_seen is the process's
 * peak_seq, the present ones elsewhere: no site is visited at a peak.
 *
 * Live by birth: 8 epochs of 2^epoch_shift tasks; when a task falls behind the last epoch, the site's pairs of epochs are added
 * up and the width doubles. Only the thread that records changes a site's epochs: under a spin bit in `flags`.
 */
#include "trace/record.h"
#include "base/arena.h"
#include "base/options.h"
#include "base/sys.h"
#include "dump/dump.h"
#include "process/process.h"
#include "r/r.h"
#include "trace/gate.h"
#include "trace/intern.h"
#include "trace/live.h"
#include "trace/modules.h"
#include "trace/unwind.h"
#include <errno.h>
#include <string.h>

#define R_DEPTH 128
#define SCRATCHES 32

int lt_state;
bool lt_active = true;
__thread struct lt_thread lt_thread __attribute__((tls_model("initial-exec")));
static uint64_t alive_dummy = 1;
uint64_t *lt_alive = &alive_dummy;

/* Room for the stacks of one recording: too much for a small thread stack or a signal stack. */
struct scratch {
	int busy;
	struct lt_stack stack; /* the last one taken here: mostly this thread's, for it comes back to the same scratch */
	struct lt_r_call calls[R_DEPTH];
};
static struct scratch *scratches;
static uint64_t checked; /* option check */

int lt_record_init(void)
{
	lt_active = lt_options.active;
	scratches = lt_map(SCRATCHES * sizeof *scratches);
	return scratches ? lt_live_init() : -ENOMEM;
}

void lt_record_fork_child(void)
{
	for (unsigned i = 0; i < SCRATCHES; i++)
		scratches[i].busy = 0;
}

static struct scratch *take_scratch(void)
{
	for (unsigned i = lt_thread.stripe;; i++) {
		struct scratch *s = &scratches[i % SCRATCHES];
		if (lt_likely(!lt_exchange_acquire(&s->busy, 1))) /* pairs with the store in find_site */
			return s;
		if (i % SCRATCHES == 0)
			lt_sys_wait(64 + i / SCRATCHES);
	}
}

/* False at the end of the image: its dump belongs to the classifier then. leave() must follow all the same. */
static inline bool enter(void)
{
	lt_thread.depth++;
	if (lt_unlikely(!*lt_alive))
		lt_fork_child_unseen(false);
	lt_gate_enter();
	return lt_likely(lt_load_relaxed(&lt_state) == LT_ON);
}

static inline void leave(void)
{
	lt_gate_leave();
	lt_thread.depth--;
}

static void lock_epochs(struct leaktrace_site *site)
{
	for (unsigned round = 0; __atomic_fetch_or(&site->flags, LEAKTRACE_SITE_BUSY, __ATOMIC_ACQUIRE) & LEAKTRACE_SITE_BUSY;) /* pairs with unlock */
		lt_sys_wait(round++);
}

static void unlock_epochs(struct leaktrace_site *site)
{
	__atomic_fetch_and(&site->flags, ~LEAKTRACE_SITE_BUSY, __ATOMIC_RELEASE); /* pairs with lock_epochs */
}

static void count_epoch(struct leaktrace_site *site, uint32_t task, int64_t blocks, int64_t bytes)
{
	if (!task) {
		lt_add_relaxed(&site->startup_blocks, (uint64_t)blocks);
		lt_add_relaxed(&site->startup_bytes, (uint64_t)bytes);
		return;
	}
	lock_epochs(site);
	while ((task - 1) >> site->epoch_shift >= LEAKTRACE_EPOCHS) {
		for (unsigned i = 0; i < LEAKTRACE_EPOCHS; i++) {
			uint64_t b = 0, s = 0;
			if (2 * i < LEAKTRACE_EPOCHS) {
				b = site->epoch[2 * i].blocks + site->epoch[2 * i + 1].blocks;
				s = site->epoch[2 * i].bytes + site->epoch[2 * i + 1].bytes;
			}
			site->epoch[i].blocks = b;
			site->epoch[i].bytes = s;
		}
		site->epoch_shift++;
	}
	unsigned epoch = (task - 1) >> site->epoch_shift;
	site->epoch[epoch].blocks += (uint64_t)blocks;
	site->epoch[epoch].bytes += (uint64_t)bytes;
	unlock_epochs(site);
}

/* The site is about to change. */
static inline void note_peak_before(struct leaktrace_site *site)
{
	uint64_t seq = lt_load_relaxed(&lt_process->peak_seq);
	if (lt_load_relaxed(&site->peak_seen) != seq) {
		lt_store_relaxed(&site->peak_blocks, site->allocations - site->frees);
		lt_store_relaxed(&site->peak_bytes, site->allocated_bytes - site->freed_bytes);
		lt_store_relaxed(&site->peak_seen, seq);
	}
}

static void count_alloc(struct leaktrace_site *site, size_t size, uint32_t task)
{
	note_peak_before(site);
	lt_add_relaxed(&site->allocated_bytes, size);
	lt_add_relaxed(&site->allocations, 1);
	count_epoch(site, task, 1, (int64_t)size);
	lt_add_relaxed(&lt_process->live_blocks, 1);
	uint64_t live = lt_add_relaxed(&lt_process->live_bytes, size);
	uint64_t peak = lt_load_relaxed(&lt_process->peak_live_bytes);
	while (live > peak && !__atomic_compare_exchange_n(&lt_process->peak_live_bytes, &peak, live, true, __ATOMIC_RELAXED,
	                                                   __ATOMIC_RELAXED))
		;
	if (lt_unlikely(live > peak)) {
		uint64_t seq = lt_add_relaxed(&lt_process->peak_seq, 1);
		lt_store_relaxed(&site->peak_blocks, site->allocations - site->frees);
		lt_store_relaxed(&site->peak_bytes, site->allocated_bytes - site->freed_bytes);
		lt_store_relaxed(&site->peak_seen, seq);
	}
}

static void count_free(const struct lt_block *block, bool temporary)
{
	struct leaktrace_site *site = lt_site(block->site);
	if (!site) {
		lt_add_relaxed(&lt_process->inherited_freed_blocks, 1);
		lt_add_relaxed(&lt_process->inherited_freed_bytes, block->size);
		return;
	}
	note_peak_before(site);
	lt_add_relaxed(&site->frees, 1);
	lt_add_relaxed(&site->freed_bytes, block->size);
	if (temporary)
		lt_add_relaxed(&site->temporary, 1);
	count_epoch(site, block->task, -1, -(int64_t)block->size);
	lt_sub_relaxed(&lt_process->live_blocks, 1);
	lt_sub_relaxed(&lt_process->live_bytes, block->size);
}

static uint32_t find_site(uintptr_t caller, size_t size)
{
	bool unsure = lt_unlikely(lt_load_relaxed(&lt_code_unsure)) && !lt_unload_retry();
	struct scratch *scratch = take_scratch();
	bool r_cut = false;
	uint32_t flags = 0, r = 0;
	scratch->stack.unsure = unsure;
	bool cut = lt_stack_take(caller, &scratch->stack, lt_options.depth);
	if (lt_unlikely(lt_options.check) && lt_add_relaxed(&checked, 1) % lt_options.check == 0)
		lt_stack_check(caller, &scratch->stack, lt_options.depth, cut);
	if (cut)
		flags |= LEAKTRACE_SITE_CUT;
	if (lt_r_present()) {
		if (lt_thread.r_main) {
			unsigned calls = lt_r_calls(scratch->calls, R_DEPTH, &r_cut);
			r = lt_intern_r(scratch->calls, calls);
			if (r_cut || (calls && !r)) /* cut, or no room for it */
				flags |= LEAKTRACE_SITE_R_CUT;
		}
		if (lt_r_heap_block(caller, size))
			flags |= LEAKTRACE_SITE_R_HEAP;
	}
	uint32_t native = lt_intern_stack(&scratch->stack);
	lt_store_release(&scratch->busy, 0); /* pairs with take_scratch */
	return native ? lt_intern_site(native, r, flags) : 0;
}

void lt_record_alloc(void *address, size_t size, void *caller)
{
	if (!lt_active)
		return;
	int saved = errno;
	if (lt_unlikely(!enter()))
		goto out;
	struct lt_block old, block = { .address = (uintptr_t)address, .size = size, .task = lt_task_current() };
	block.site = find_site((uintptr_t)caller, size);
	struct leaktrace_site *site = lt_site(block.site);
	if (lt_unlikely(!site)) {
		lt_add_relaxed(&lt_process->dropped_allocations, 1);
		if (lt_live_remove(block.address, &old)) /* its free was missed, and the entry would be wrong now */
			count_free(&old, false);
		block.site = 0;
	} else if (lt_unlikely(lt_live_insert(&block, &old))) {
		lt_add_relaxed(&lt_process->dropped_allocations, 1);
	} else {
		count_alloc(site, size, block.task);
		if (lt_unlikely(old.address))
			count_free(&old, false);
	}
	lt_thread.last_block = lt_thread.last_new = lt_veiled(address);
	lt_thread.last_site = block.site;
out:
	leave();
	errno = saved;
}

void lt_record_free(void *address)
{
	int saved = errno;
	struct lt_block block;
	if (lt_unlikely(!enter())) {
	} else if (lt_live_remove((uintptr_t)address, &block)) {
		count_free(&block, lt_thread.last_block == lt_veiled(address));
		if (lt_thread.last_block == lt_veiled(address))
			lt_thread.last_block = 0;
	} else if (lt_active && lt_thread.last_deleted != lt_veiled(address)) {
		lt_add_relaxed(&lt_process->unknown_frees, 1);
	}
	leave();
	errno = saved;
}

void lt_record_take(void *address, struct lt_taken *taken)
{
	int saved = errno;
	struct lt_block block;
	taken->address = 0;
	if (lt_likely(enter()) && lt_live_remove((uintptr_t)address, &block))
		*taken = (struct lt_taken){ block.address, block.size, block.site, block.task };
	leave();
	errno = saved;
}

void lt_record_put_back(const struct lt_taken *taken)
{
	int saved = errno;
	struct lt_block old, block = { taken->address, taken->size, taken->site, taken->task };
	if (!taken->address)
		return;
	if (lt_likely(enter()) && lt_live_insert(&block, &old))
		count_free(&block, false); /* no memory for the table: it is lost to us */
	leave();
	errno = saved;
}

void lt_record_taken_freed(const struct lt_taken *taken)
{
	int saved = errno;
	struct lt_block block = { taken->address, taken->size, taken->site, taken->task };
	if (!taken->address)
		return;
	if (lt_likely(enter()))
		count_free(&block, false);
	leave();
	errno = saved;
}
