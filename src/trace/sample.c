/* SPDX-License-Identifier: MIT
 *
 * A Poisson process over the bytes that a thread allocates, one point in T bytes on average; a block that a point falls into is
 * in the sample, but for the thinning that makes its weight an integer (leaktrace/dump-format.h). A thread counts down to
 * the end of its present stretch, which is the next point if that is not more than T bytes away, else it is T bytes without a
 * point: so any block of T and more ends a stretch and comes here. What remains of a block behind a stretch's end is looked at
 * anew, for the process has no memory. (lt_thread.ahead, one byte less than what is left, lets the hooks send blocks of 0 bytes here, too.)
 *
 * A free must tell a sampled block from the others in a few instructions: one byte for each 16 bytes of address, modulo 4 MiB,
 * counts the sampled blocks there (255: for good). Turned down: a bit in the block's header, which is the allocator's own.
 *
 * Threads: all of a thread's own but the bytes, which are changed by atomic operations: a block may be freed by another thread.
 */
#include "trace/sample.h"
#include "base/sys.h"
#include "leaktrace/dump-format.h"

#define FOR_GOOD 255
#define TERMS 24 /* of the series, at most 0.2136^n / (2n + 1) each: the last is below 2^-54 */

uint8_t lt_sample_slots[LT_SAMPLE_SLOTS];

/* 64 random bits: splitmix64 (Steele, Lea and Flood, 2014). */
static uint64_t draw(void)
{
	if (lt_unlikely(!lt_thread.random))
		lt_thread.random = (uint64_t)lt_sys_clock(CLOCK_MONOTONIC) * 0x9fb21c651e98df25ULL + ((uint64_t)lt_sys_gettid() << 32);
	uint64_t z = lt_thread.random += 0x9e3779b97f4a7c15ULL;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

/* -ln(u / 2^64) in units of 2^-62, for u above 2^64 / e: 2 artanh(z), z = (1 - u) / (1 + u) < 0.47. */
static uint64_t minus_log(uint64_t u)
{
	unsigned __int128 one = (unsigned __int128)1 << 64;
	uint64_t z = (uint64_t)(((one - u) << 62) / (one + u)), power = z, sum = 0;
	uint64_t square = (uint64_t)((unsigned __int128)z * z >> 62);
	for (unsigned n = 0; n < TERMS && power; n++) {
		sum += power / (2 * n + 1);
		power = (uint64_t)((unsigned __int128)power * square >> 62);
	}
	return 2 * sum;
}

static void begin_stretch(uint64_t mean)
{
	uint64_t u = draw();
	lt_thread.ahead = mean - 1;
	lt_thread.point = u >= UINT64_C(0x5e2d58d8b3bcdf1b); /* 2^64 / e, rounded up */
	if (!lt_thread.point)
		return;
	/* The point is in the byte that holds the distance, so rounded down; the distance is below `mean`. */
	lt_thread.ahead = (uint64_t)((unsigned __int128)minus_log(u) * mean >> 62);
}

bool lt_sample_take(size_t size)
{
	uint64_t mean = lt_options.sample, left = size + !size;
	if (left >= mean)
		return true;
	if (lt_unlikely(!lt_thread.random))
		begin_stretch(mean);
	while (left > lt_thread.ahead) {
		bool point = lt_thread.point;
		left -= lt_thread.ahead + 1;
		begin_stretch(mean);
		if (point)
			return draw() >> 32 < leaktrace_sample_thinning(size, mean);
	}
	lt_thread.ahead -= left;
	return false;
}

void lt_sample_mark(uintptr_t address)
{
	uint8_t *slot = lt_sample_slot(address), old = lt_load_relaxed(slot);
	while (old != FOR_GOOD && !__atomic_compare_exchange_n(slot, &old, old + 1, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

void lt_sample_unmark(uintptr_t address)
{
	uint8_t *slot = lt_sample_slot(address), old = lt_load_relaxed(slot);
	while (old && old != FOR_GOOD && !__atomic_compare_exchange_n(slot, &old, old - 1, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

void lt_sample_fork_child(void)
{
	lt_thread.ahead = 0;
	lt_thread.random = 0;
}
