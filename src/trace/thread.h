/* SPDX-License-Identifier: MIT
 *
 * What the tracer keeps per thread, in initial-exec TLS: no allocation, nothing to free when a thread ends.
 */
#ifndef LT_THREAD_H
#define LT_THREAD_H

#include "base/atomic.h"
#include <stdbool.h>
#include <stdint.h>

struct lt_thread {
	union {
		struct {
			uint32_t depth; /* > 0: inside the tracer; hooks pass through */
			uint32_t gate;  /* entries of lt_gate as the only thread there is */
		};
		uint64_t inside_tracer; /* both at once */
	};
	uintptr_t entered;     /* the stack pointer when `depth` was raised from 0 last; the frame with it, or one in its place, lowers it */
	uintptr_t returns_to;  /* what a hook's caller is, where process/jump.c has put lt_jump_detour */
	struct lt_slot *slot;  /* this thread's own, see gate.h; lt_slots if it has none */
	/* Of a thread without: its entries of lt_gate, or that are about to be (a signal handler may add one), and those that the gate
	 * has counted: <= crowd_about, equal but in between the two steps. */
	uint32_t crowd, crowd_about, crowd_inside; /* `crowd`: of slots, the one that it shares; 0: not chosen yet */
	uint32_t crowd_entries; /* ever */
	bool r_main;      /* R runs on this thread */
	bool r_stacks;    /* and its call stacks are taken */
	bool forking;     /* between the handlers of a fork; `depth` was raised by one that has returned */
	uint8_t unloading; /* calls of dlclose that this thread is in */
	uintptr_t stack_low, stack_high; /* of the thread's own stack, what can be read for sure; see unwind.c */
	/* Veiled addresses, or the scan for pointers would find them here. 0: none. */
	uintptr_t last_block;   /* the last allocation that a hook has seen, for temporaries and for operator new above malloc;
	                           0 also: freed */
	uint64_t last_ahead;    /* `ahead` after it: no other allocation since */
	/* Of sampling; see sample.c. */
	uint64_t ahead;         /* bytes before the last one of the stretch; 0 without sampling */
	uint64_t random;        /* 0: no seed yet, nor a stretch */
	bool point;             /* the stretch ends with a point */
	uintptr_t last_deleted; /* what operator delete above free has taken out already */
};

#define LT_INSIDE_TRACER (UINT64_C(1) << 32 | 1) /* depth and gate 1, on little-endian machines as on others */

static lt_always_inline uintptr_t lt_veiled(const void *address)
{
	return ~(uintptr_t)address;
}

extern __thread struct lt_thread lt_thread __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* The frame of the caller is the tracer's outermost. (The stack pointer itself: the address of the frame would take two instructions
 * more.) */
static lt_always_inline void lt_tracer_here(void)
{
#if defined __x86_64__
	__asm__ volatile("mov %%rsp, %0" : "=m"(lt_thread.entered));
#else
	lt_store_relaxed(&lt_thread.entered, (uintptr_t)__builtin_frame_address(0));
#endif
	lt_signal_fence();
}

/* Raises `depth`, which is 0. */
static lt_always_inline void lt_tracer_enter_first(void)
{
	lt_tracer_here();
	lt_thread.depth = 1;
}

static lt_always_inline void lt_tracer_enter(void)
{
	if (!lt_thread.depth)
		lt_tracer_here();
	lt_thread.depth++;
}

static lt_always_inline void lt_tracer_leave(void)
{
	lt_thread.depth--;
}

#endif
