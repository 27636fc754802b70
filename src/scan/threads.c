/* SPDX-License-Identifier: MIT
 *
 * Stacks. Of a live thread's what lies below its stack pointer is stale; all of the stack of a thread that is dead, or was left
 * behind by fork, is. glibc keeps stacks of dead threads for new ones, mapped and full of old words.
 *
 * A stack of glibc's is known by the struct pthread at its upper end: on x86_64 its first and third word point to itself, and it
 * holds the stack's address and size as two neighbouring words, wherever that is in this version (0x690 in 2.36). So each such
 * struct in nameless memory that is no live thread's means a dead stack. Turned down: the lists of stacks in ld.so's data
 * (private, moved in 2.34; after fork all others' stacks are in another one, after a raw clone not); "preceded by a guard page"
 * (the program's own mappings may be, and a stack's mapping may merge with its neighbour's).
 *
 * The main thread's stack is [stack]. If no live thread can be the main one (pthread_exit of main; fork by another thread) it is
 * stale too. A thread whose stack pointer is not in its stack (it is on an alternate signal stack, or a coroutine) keeps all of
 * it; such other stacks are memory like any. So does one of which nothing is known but its number.
 *
 * What lies above the stack pointer is static TLS and struct pthread too, with the slots of pthread_setspecific, and is
 * scanned with it. Of a thread that has ended and is not joined yet, struct pthread holds the result: the one word of its stack that
 * still counts.
 */
#include "scan/work.h"
#include "trace/allocator.h"

#define PTHREAD_WORDS (0xa00 / LT_WORD) /* no version's is larger */
#define PTHREAD_ALIGN 64
#define DTV LT_WORD /* where struct pthread has the list of TLS blocks */
#define DTV_BEFORE (2 * LT_WORD) /* what lies before the word that it points to: glibc's elf/dl-tls.c */
/* x86_64, glibc's nptl/descr.h (2.36): the number, 0 when the thread has ended and -1 when it has been joined (pthread_join_common.c);
 * the others in words before the stack's address. */
#define NUMBER (0x2d0 / LT_WORD)
#define JOINER 14 /* NULL; the thread itself if it is detached */
#define RESULT 13
#define START 11
#define STACK_MAX (UINT64_C(1) << 40)

/* Where words [from, to), if they are the beginning of the struct pthread at `self`, tell of its stack; NULL: they are not. */
static const uintptr_t *stack_of(const struct lt_scan_work *w, const uintptr_t *from, const uintptr_t *to, uintptr_t self,
                                 struct lt_range *stack)
{
	if (to - from < 4 || from[0] != self || from[2] != self)
		return NULL;
	for (const uintptr_t *at = from + 3; at + 1 < to && at < from + PTHREAD_WORDS; at++)
		if (at[0] && at[0] % w->page == 0 && at[0] < self && at[1] % w->page == 0 && at[1] < STACK_MAX &&
		    at[1] > self - at[0]) {
			*stack = (struct lt_range){ at[0], at[0] + at[1] };
			return at;
		}
	return NULL;
}

/* It has ended, and somebody may still ask for its result. `told`: by stack_of(). */
static bool is_to_be_joined(const uintptr_t *from, const uintptr_t *told)
{
	return told - from > (ptrdiff_t)NUMBER + JOINER && (uint32_t)from[NUMBER] == 0 && !told[-JOINER] && told[-START];
}

/* Of a thread that could not be stopped only its number is known. glibc keeps that in struct pthread, and the kernel clears it there
 * when the thread ends; the place depends on the version. */
static bool has_number(const uintptr_t *from, const uintptr_t *to, uint32_t tid)
{
	for (const uintptr_t *at = from + 3; tid && at < to && at < from + PTHREAD_WORDS; at++)
		if ((uint32_t)*at == tid || *at >> 32 == tid)
			return true;
	return false;
}

static bool is_live(const struct lt_scan *scan, const uintptr_t *from, const uintptr_t *to, uintptr_t self,
                    const struct lt_range *stack)
{
	for (unsigned t = 0; t < scan->thread_count; t++) {
		const struct lt_scan_thread *thread = &scan->threads[t];
		if (thread->tp ? thread->tp == self
		    : thread->sp ? thread->sp >= stack->low && thread->sp < stack->high
		                 : has_number(from, to, thread->tid))
			return true;
	}
	return false;
}

static void look_for_dead(struct lt_scan_work *w, const uintptr_t *from, const uintptr_t *to, uintptr_t address)
{
	size_t first = (-address & (PTHREAD_ALIGN - 1)) / LT_WORD;
	for (const uintptr_t *at = from + first; to - at >= 4; at += PTHREAD_ALIGN / LT_WORD) {
		uintptr_t self = address + (uintptr_t)((const char *)at - (const char *)from);
		struct lt_range stack;
		const uintptr_t *told = lt_unlikely(at[0] == self) ? stack_of(w, at, to, self, &stack) : NULL;
		if (told && !is_live(w->scan, at, to, self, &stack)) {
			uintptr_t end = self + DTV + LT_WORD, result = self + (uintptr_t)(told - RESULT - at) * LT_WORD;
			/* Its list of TLS blocks is glibc's for as long as the stack is, and used again with it. */
			lt_ranges_add(&w->not_roots, stack.low, self + DTV);
			if (is_to_be_joined(at, told)) {
				lt_ranges_add(&w->not_roots, end, result);
				end = result + LT_WORD;
			}
			lt_ranges_add(&w->not_roots, end, stack.high);
		}
	}
}

/* Returns false if it may be the main thread. */
static bool exclude_below(struct lt_scan_work *w, const struct lt_scan_thread *thread)
{
	uintptr_t words[PTHREAD_WORDS];
	struct lt_range stack = { thread->stack_low, thread->stack_high };
	const struct lt_map_line *line = lt_maps_find(w, thread->sp);
	bool main = false;

	if (!stack.low && thread->tp) {
		size_t n = PTHREAD_WORDS; /* it may lie at the very end of its mapping */
		while (n >= 64 && !lt_pages_copy((const void *)thread->tp, words, n * LT_WORD))
			n -= 32;
		if (n < 64 || !stack_of(w, words, words + n, thread->tp, &stack))
			main = true;
	} else if (!stack.low) {
		main = true; /* or unknown, on some memory or other: nothing of that is left out */
	}
	if (main && line && (line->flags & LT_MAP_STACK))
		stack = (struct lt_range){ line->low, line->high };
	if (thread->sp > stack.low && thread->sp < stack.high)
		lt_ranges_add(&w->not_roots, stack.low, thread->sp & -LT_WORD);
	return !main && !(line && (line->flags & LT_MAP_STACK));
}

uintptr_t lt_threads_tls_blocks(const struct lt_scan_thread *thread)
{
	uintptr_t dtv = 0;
#if defined __x86_64__
	if (!thread->tp || !lt_pages_copy((const void *)(thread->tp + DTV), &dtv, sizeof dtv) || dtv < DTV_BEFORE)
		return 0;
	dtv -= DTV_BEFORE;
#endif
	return dtv;
}

void lt_threads_exclude(struct lt_scan_work *w)
{
	bool main = w->scan->threads_missing; /* then none is known to be dead */
#if defined __x86_64__
	if (!main && w->scan->thread_count) /* else nothing is known of threads */
		lt_roots_read(w, 0, LT_MAP_FILE | LT_MAP_SHARED | LT_MAP_STACK | LT_MAP_HEAP, look_for_dead);
#endif
	for (unsigned t = 0; t < w->scan->thread_count; t++) {
		const uintptr_t tp = w->scan->threads[t].tp;
		if (!exclude_below(w, &w->scan->threads[t]))
			main = true;
		if (!tp)
			continue;
		lt_ranges_add(&w->not_roots, tp + (uintptr_t)w->scan->own_tls_low, tp + (uintptr_t)w->scan->own_tls_high);
		if (lt_allocator.tls_high != lt_allocator.tls_low)
			lt_ranges_add(&w->not_roots, tp + (uintptr_t)lt_allocator.tls_low, tp + (uintptr_t)lt_allocator.tls_high);
	}
	for (size_t i = 0; i < w->line_count; i++)
		if (!main && (w->lines[i].flags & LT_MAP_STACK))
			lt_ranges_add(&w->not_roots, w->lines[i].low, w->lines[i].high);
}
