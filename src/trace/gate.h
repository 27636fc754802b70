/* SPDX-License-Identifier: MIT
 *
 * The gate: a thread is inside it while it records (unwinds, takes our locks, changes our tables). fork closes the gate and
 * waits until all are outside, so that a child never inherits a lock of ours, of libunwind or of the loader that one of our
 * own calls took, nor a table in the middle of a change.
 */
#ifndef LT_GATE_H
#define LT_GATE_H

#include "base/atomic.h"
#include "trace/thread.h"
#include <assert.h>
#include <stddef.h>

/* What one of several threads has for its own while it lives. No two of them share a pair of cache lines. */
struct lt_slot {
	_Alignas(128) uint32_t inside; /* its entries of the gate */
	uint32_t sites;             /* leaktrace_site.process of the records of sites that nobody else changes; 0: there are none */
	uint64_t owner;             /* gate.c's */
	struct lt_scratch *scratch; /* record.c's; NULL: none yet */
	bool scratch_is_old;        /* it was another thread's */
	uint32_t stripe;            /* of sites, see lt_intern_site() */
	/* shared.c's */
	int64_t allocations, frees; /* room for so much more of each, see lt_count_weight(); below 0: lt_count_come_in() must be called */
	int64_t allocations_room, frees_room; /* what it was; and what was counted before, and of that in the process's counters */
	int64_t counted, settled;
	uint32_t version; /* odd: the last ones are being changed */
};

/* The first is nobody's: threads that have none (yet) write there. The last are not a single thread's. */
#define LT_SLOTS 96
#define LT_CROWDS 16
#define LT_SLOTS_OWN (LT_SLOTS - LT_CROWDS)
extern LT_HIDDEN struct lt_slot_memory {
	_Alignas(4096) struct lt_slot slots[LT_SLOTS];
	/* On pages that the kernel wipes in a fork child. Bit 0: the thread may enter by lt_gate_enter_own(); the rest is a number that
	 * grows each time that it is shut. */
	struct {
		_Alignas(128) uint32_t word;
	} open[LT_SLOTS];
} lt_slot_memory;
#define lt_slots lt_slot_memory.slots
static_assert(sizeof(lt_slot_memory.slots) % 4096 == 0 && sizeof *lt_slot_memory.slots == sizeof *lt_slot_memory.open, "lt_slot_open()");

static lt_always_inline uint32_t *lt_slot_open(struct lt_slot *slot)
{
	return (uint32_t *)(void *)((char *)slot + sizeof lt_slot_memory.slots);
}

static inline bool lt_slot_is_own(const struct lt_slot *slot)
{
	return slot != lt_slots;
}

/* The calling thread's own, or the one that it shares. When it has been inside. */
static inline struct lt_slot *lt_slot_of_thread(void)
{
	return lt_likely(lt_slot_is_own(lt_thread.slot)) ? lt_thread.slot : &lt_slots[lt_thread.crowd];
}

extern LT_HIDDEN int lt_gate_closed;

/* The process has one thread, as far as libc knows (glibc 2.32: __libc_single_threaded); never true with an older one, nor ever again
 * when it has had two, not even in a fork child (2.36). Another can't come while this one is inside the gate, but from a signal handler
 * that calls pthread_create, which POSIX forbids. */
extern LT_HIDDEN const char *lt_gate_alone;
static lt_always_inline bool lt_single_threaded(void)
{
	return lt_likely(*lt_gate_alone);
}

/* This thread is inside the gate, and came in as the only one: no lock is needed, nor a locked instruction. */
static inline bool lt_gate_is_alone(void)
{
	return lt_thread.gate;
}

/* This thread is inside, or about to be. */
static inline bool lt_gate_is_inside(void)
{
	return lt_thread.gate || lt_thread.crowd_about || (lt_slot_is_own(lt_thread.slot) && lt_thread.slot->inside);
}

void lt_gate_enter_slowly(void);
void lt_gate_leave_slowly(void);

/* Enters, waiting while the gate is closed; may nest in one thread. With lt_thread.depth raised where signal handlers may record. No
 * lock held. Any context. */
static inline void lt_gate_enter(void)
{
	if (lt_single_threaded() && !lt_load_relaxed(&lt_gate_closed)) {
		lt_thread.gate++;
		lt_signal_fence();
	} else {
		lt_gate_enter_slowly();
	}
}

static inline void lt_gate_leave(void)
{
	lt_signal_fence();
	if (lt_likely(lt_thread.gate))
		lt_thread.gate--;
	else
		lt_gate_leave_slowly();
}

/* The same of a thread with a slot of its own that is open, and that is not inside. NULL: it is not so, and nothing was done. */
static lt_always_inline struct lt_slot *lt_gate_enter_own(void)
{
	struct lt_slot *slot = lt_thread.slot;
	lt_store_relaxed(&slot->inside, 1);
	lt_signal_fence(); /* for other threads lt_gate_close() has membarrier() */
	if (lt_likely(*lt_slot_open(slot) & 1)) /* (volatile, it would take two instructions) */
		return slot;
	lt_store_release(&slot->inside, 0);
	return NULL;
}

static lt_always_inline void lt_gate_leave_own(struct lt_slot *slot)
{
	lt_signal_fence();
	lt_store_release(&slot->inside, 0); /* pairs with the loads in lt_gate_close */
	lt_signal_fence();
}

/* lt_gate_enter_own() is good for this thread from now on, if lt_record_is_plain(). Inside. */
void lt_gate_open_own(void);
/* And for none any more; for those who are inside it was. Whatever made lt_record_is_plain() false was before this. Any context. */
void lt_gate_shut_all(void);

/* Start only: asks libc for the number of threads from now on, and the kernel for barriers. This thread gets the first slot. */
void lt_gate_init(void);

/* Closes the gate and waits until every other thread is outside, at most some 50 ms. Returns false when that time was too
 * short (a thread hangs in the loader), or when a thread ended inside. One closer at a time. */
bool lt_gate_close(void);
/* Likewise, with a time of the caller's. */
bool lt_gate_close_within(int64_t ns);
void lt_gate_open(void);
/* This thread has left the gate by a jump, with whatever it was about to do half done. */
void lt_gate_abandon(void);

/* In a fork child: open, with only this thread's entries inside. */
void lt_gate_fork_child(void);

/* For tests: entering takes a barrier of its own, as where the kernel gives no other. */
extern LT_HIDDEN bool lt_gate_has_barrier;

#endif
