/* SPDX-License-Identifier: MIT
 *
 * Each of several threads has a slot of its own, where it says that it is inside: a plain store. Whoever closes the gate pays for it.
 *
 *   enter   inside = 1; is the slot open? if not: inside = 0, then slowly
 *   close   closed = 1; all slots shut; membarrier(); wait until inside is 0 in each
 *
 * membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED, Linux 4.14) makes a full barrier in each thread of the process that runs at that moment,
 * so either the entering thread sees its slot shut or the closer sees it inside. Slowly: inside = 1 by an exchange, then a look at
 * `closed` (sequentially consistent, both): good without membarrier. Where it is not to be had (an old kernel, seccomp) no slot is
 * ever opened; where it is refused later (a filter that came since) the gate can't be closed for sure this once, and no slot is
 * opened after that.
 *
 * A slot is opened by its thread only, from inside, when nothing asks for special care. It is shut by anybody, by a new number. To open
 * it is a compare-and-swap from the number that was there before the look at what might ask for care; so once it was shut for such a
 * reason, it stays shut until that is gone. Slots' openings are wiped in a fork child, whoever made it: there each thread comes slowly
 * first, and finds out where it is.
 *
 * A slot's owner is the thread's number. When a new thread needs a slot and none is free, some owners are asked for by
 * tgkill(…, 0): of one that is gone the slot is taken over. Nothing need be done when a thread ends, which no hook of ours could tell
 * for sure (a destructor of pthread_key_create() may run before others that allocate, and takes one of the program's keys). A new
 * thread may have a number that was another's: it looks for its own first. `owner` has a count of the takings, too, lest a taking that
 * was slow takes away what a new thread of the same number took meanwhile. A child made by vfork() or clone(CLONE_VM), which shares its
 * parent's slot with the rest of its memory but has a number of its own, takes none.
 *
 * Threads for which there is no slot share some, and count themselves in and out by locked instructions. So do they in what is in a slot.
 *
 * A thread that ended inside the gate (cancelled, or by pthread_exit in a signal handler) may have left a lock for ever: its slot is
 * never used again, and the gate never closed for sure. (Of a thread that shares a slot nobody knows; the closer waits each time.)
 *
 * The only thread there is counts in lt_thread.gate, and has no need of its slot, which is the first.
 *
 * A signal handler that closes the gate (it forks) must not wait for the thread that it interrupted, so the closer does not look at
 * its own slot. In one that is shared it leaves its own entries out of the sum: lt_thread.crowd_inside, those that are certainly
 * counted. Interrupted between the two counts, its sum is one too high, or not; crowd_about, raised before the slot and lowered after
 * it, tells that this may be so. Then the closer waits for a short while only, less than the period of any timer whose handler
 * this may be, or the program would not get on. (To take crowd_about for its own share let it pass while another thread was inside.)
 */
#include "trace/gate.h"
#include "base/atomic.h"
#include "base/sys.h"
#include "trace/record.h"
#include "trace/thread.h"
#include <linux/membarrier.h>

extern char __libc_single_threaded __attribute__((weak));
static const char never = 0;
const char *lt_gate_alone = &never;

#define CLOSE_TIMEOUT_NS 50000000
#define DOUBTFUL_TIMEOUT_NS 200000
#define LOOK_FOR_DEAD 64  /* rounds of waiting until owners are asked for */
#define LOOKS 8           /* owners asked for at the start of a thread */
#define TRY_EVERY 1024    /* entries of a thread that has found no slot */
#define ENDED_INSIDE UINT32_MAX /* an owner; no thread's number */

struct lt_slot_memory lt_slot_memory;
int lt_gate_closed;
bool lt_gate_has_barrier;
static uint32_t used = 1; /* slots from here on were never owned */
static int process;       /* its number; 0: threads get no slots */

static uint32_t thread_of(uint64_t owner)
{
	return (uint32_t)owner;
}

/* A new taking, by `thread` (0: free). */
static bool change_owner(struct lt_slot *slot, uint64_t *owner, uint32_t thread)
{
	return __atomic_compare_exchange_n(&slot->owner, owner, ((*owner >> 32) + 1) << 32 | thread, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static bool is_gone(uint32_t thread)
{
	return lt_syscall6(SYS_tgkill, process, (long)thread, 0, 0, 0, 0) == -ESRCH;
}

static void take(struct lt_slot *slot)
{
	slot->scratch_is_old = true;
	lt_signal_fence();
	lt_thread.slot = slot;
}

/* The slot's owner is gone. */
static bool take_over(struct lt_slot *slot, uint64_t owner, uint32_t thread)
{
	if (lt_load_acquire(&slot->inside)) {
		change_owner(slot, &owner, ENDED_INSIDE);
		return false;
	}
	if (!change_owner(slot, &owner, thread))
		return false;
	take(slot);
	return true;
}

static bool find_slot(uint32_t thread)
{
	static uint32_t next;
	uint32_t n = lt_load_seq(&used);
	for (uint32_t i = 1; i < n; i++) {
		uint64_t owner = lt_load_acquire(&lt_slots[i].owner);
		if (thread_of(owner) == thread && take_over(&lt_slots[i], owner, thread))
			return true;
	}
	for (uint32_t i = 1; i < n; i++) {
		uint64_t owner = lt_load_acquire(&lt_slots[i].owner);
		if (!thread_of(owner) && take_over(&lt_slots[i], owner, thread))
			return true;
	}
	for (uint32_t i = 1; i < n && i <= LOOKS; i++) {
		struct lt_slot *slot = &lt_slots[1 + lt_add_relaxed(&next, 1) % (n - 1)];
		uint64_t owner = lt_load_acquire(&slot->owner);
		if (thread_of(owner) && thread_of(owner) != ENDED_INSIDE && is_gone(thread_of(owner)) && take_over(slot, owner, thread))
			return true;
	}
	while (n < LT_SLOTS_OWN) {
		if (!__atomic_compare_exchange_n(&used, &n, n + 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			continue;
		uint64_t owner = 0; /* it was never taken, unless by somebody who has seen it just now */
		if (take_over(&lt_slots[n], owner, thread))
			return true;
	}
	return false;
}

/* For a thread that has none: at first, and now and then. */
static void choose_slot(void)
{
	static uint32_t chosen;
	if (!process || lt_sys_getpid() != process || !find_slot((uint32_t)lt_sys_gettid()))
		lt_thread.crowd = LT_SLOTS_OWN + lt_add_relaxed(&chosen, 1) % LT_CROWDS;
}

static void enter_own(struct lt_slot *slot)
{
	if (slot->inside) {
		lt_store_relaxed(&slot->inside, slot->inside + 1);
		return;
	}
	for (unsigned round = 0;; round++) {
		__atomic_exchange_n(&slot->inside, 1, __ATOMIC_SEQ_CST); /* pairs with lt_gate_close */
		if (lt_likely(!lt_load_seq(&lt_gate_closed)))
			break;
		lt_store_release(&slot->inside, 0);
		lt_sys_wait(64 + round);
	}
}

static void enter_crowd(struct lt_slot *slot)
{
	bool nested = lt_thread.crowd_about++;
	lt_signal_fence();
	for (unsigned round = 0;; round++) {
		lt_add_seq(&slot->inside, 1); /* pairs with lt_gate_close */
		if (lt_likely(!lt_load_seq(&lt_gate_closed)) || nested)
			break;
		lt_sub_release(&slot->inside, 1);
		lt_sys_wait(64 + round);
	}
	lt_signal_fence();
	lt_thread.crowd_inside++;
}

void lt_gate_enter_slowly(void)
{
	if (lt_unlikely(!lt_slot_is_own(lt_thread.slot)) && !lt_thread.crowd_about && lt_thread.crowd_entries++ % TRY_EVERY == 0)
		choose_slot();
	if (lt_likely(lt_slot_is_own(lt_thread.slot)))
		enter_own(lt_thread.slot);
	else
		enter_crowd(&lt_slots[lt_thread.crowd]);
	lt_signal_fence();
}

void lt_gate_leave_slowly(void)
{
	struct lt_slot *slot = lt_thread.slot;
	if (lt_likely(!lt_thread.crowd_inside)) {
		lt_store_release(&slot->inside, slot->inside - 1); /* pairs with the loads in lt_gate_close */
		return;
	}
	lt_thread.crowd_inside--;
	lt_signal_fence();
	lt_sub_release(&lt_slots[lt_thread.crowd].inside, 1); /* likewise */
	lt_signal_fence();
	lt_thread.crowd_about--;
}

void lt_gate_open_own(void)
{
	struct lt_slot *slot = lt_thread.slot;
	uint32_t word = lt_load_acquire(lt_slot_open(slot)); /* pairs with lt_gate_shut_all */
	if (!(word & 1) && lt_slot_is_own(slot) && lt_load_relaxed(&lt_gate_has_barrier) && lt_record_is_plain())
		__atomic_compare_exchange_n(lt_slot_open(slot), &word, word | 1, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}

void lt_gate_shut_all(void)
{
	uint32_t n = lt_load_seq(&used);
	for (uint32_t i = 1; i < n; i++) {
		uint32_t *word = lt_slot_open(&lt_slots[i]), old = lt_load_relaxed(word);
		while (!__atomic_compare_exchange_n(word, &old, (old + 2) & ~UINT32_C(1), true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
			; /* pairs with lt_gate_open_own */
	}
}

static bool membarrier(int command)
{
	return lt_syscall6(SYS_membarrier, command, 0, 0, 0, 0, 0) == 0;
}

void lt_gate_init(void)
{
	struct lt_slot_memory *m = &lt_slot_memory;
	if (&__libc_single_threaded)
		lt_gate_alone = &__libc_single_threaded;
	lt_gate_has_barrier = lt_sys_madvise(m->open, sizeof m->open, MADV_WIPEONFORK) == 0 &&
	                      membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
	process = lt_sys_getpid();
	choose_slot();
}

/* A full barrier in all threads that may be between the two steps of lt_gate_enter_own(). False: not for sure. */
static bool make_barrier(void)
{
	if (!lt_load_relaxed(&lt_gate_has_barrier) || membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED))
		return true;
	if (membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) && membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED))
		return true; /* a fork child that had to do it again */
	lt_store_relaxed(&lt_gate_has_barrier, false);
	return false;
}

bool lt_gate_close(void)
{
	return lt_gate_close_within(CLOSE_TIMEOUT_NS);
}

/* *sure: set to false if a thread ended inside. */
static bool are_outside(unsigned round, bool *sure)
{
	uint32_t n = lt_load_seq(&used), inside = 0;
	for (uint32_t i = 1; i < n; i++) {
		struct lt_slot *slot = &lt_slots[i];
		if (slot == lt_thread.slot || !lt_load_seq(&slot->inside))
			continue;
		uint64_t owner = lt_load_acquire(&slot->owner);
		if (round == LOOK_FOR_DEAD && thread_of(owner) && thread_of(owner) != ENDED_INSIDE && is_gone(thread_of(owner)))
			change_owner(slot, &owner, ENDED_INSIDE);
		if (thread_of(lt_load_acquire(&slot->owner)) != ENDED_INSIDE)
			return false;
		*sure = false;
	}
	for (uint32_t i = LT_SLOTS_OWN; i < LT_SLOTS; i++)
		inside += lt_load_seq(&lt_slots[i].inside);
	return inside <= lt_thread.crowd_inside;
}

bool lt_gate_close_within(int64_t ns)
{
	lt_alive[LT_PLAIN] = lt_alive[LT_OPEN] = 0; /* for signal handlers: the only thread there is looks at nothing else */
	lt_store_seq(&lt_gate_closed, 1); /* pairs with lt_gate_enter */
	lt_gate_shut_all();
	if (lt_single_threaded())
		return true;
	bool sure = make_barrier(), doubtful = lt_thread.crowd_about != lt_thread.crowd_inside;
	int64_t deadline = lt_sys_clock(CLOCK_MONOTONIC) + (doubtful && ns > DOUBTFUL_TIMEOUT_NS ? DOUBTFUL_TIMEOUT_NS : ns);
	for (unsigned round = 0; !are_outside(round, &sure); round++) {
		if (lt_sys_clock(CLOCK_MONOTONIC) > deadline)
			return false;
		lt_sys_wait(64 + round);
	}
	return sure;
}

void lt_gate_open(void)
{
	lt_store_seq(&lt_gate_closed, 0);
	lt_alive[LT_OPEN] = *lt_alive && lt_load_relaxed(&lt_state) == LT_ON;
	lt_record_settle();
}

void lt_gate_abandon(void)
{
	uint32_t entries = lt_thread.crowd_inside;
	lt_thread.gate = 0;
	if (lt_slot_is_own(lt_thread.slot))
		lt_store_release(&lt_thread.slot->inside, 0);
	lt_thread.crowd_inside = lt_thread.crowd_about = 0;
	while (entries--)
		lt_sub_release(&lt_slots[lt_thread.crowd].inside, 1);
}

void lt_gate_fork_child(void)
{
	struct lt_slot *mine = lt_thread.slot;
	for (uint32_t i = 1; i < LT_SLOTS; i++) {
		if (&lt_slots[i] == mine)
			continue;
		lt_slots[i].inside = 0;
		lt_slots[i].owner = 0;
	}
	process = process ? lt_sys_getpid() : 0;
	lt_thread.crowd_inside = lt_thread.crowd_about;
	lt_slots[lt_thread.crowd].inside = lt_thread.crowd_about;
	/* What was born while this was the only thread is the first slot's. One that is inside comes out of its own. */
	if (lt_slot_is_own(mine) && !mine->inside && mine != &lt_slots[1]) {
		mine->owner = 0;
		take(mine = &lt_slots[1]);
	}
	if (lt_slot_is_own(mine))
		mine->owner = (uint32_t)lt_sys_gettid();
	used = (uint32_t)(mine - lt_slots) + 1;
	lt_gate_closed = 0;
}
