/* SPDX-License-Identifier: MIT
 *
 * Frames that move while what they call stays where it is: between two stacks all return addresses inside the moved frame are in the
 * same places, those outside leave stale copies of themselves where they were, and only a saved register, or the address that a
 * realigned frame keeps, tells one stack from the other. leak_moved(): 1200 blocks of 10 bytes, 30 from each of 40 stacks.
 */
#include "target.h"
#include <alloca.h>

#define PLACES 8
#define ROUNDS 30
#define WITHOUT_POINTER __attribute__((optimize("omit-frame-pointer")))

static void *keep[5 * PLACES * ROUNDS];
static int kept;

/* No frame pointer: rbp is the caller's. */
SITE WITHOUT_POINTER static void leak_moved(void)
{
	keep[kept++] = malloc(10);
	KEEP_FRAME();
}

/* Saves the caller's rbp. */
SITE static void between(void)
{
	leak_moved();
	KEEP_FRAME();
}

#if defined __x86_64__
/* Saves it elsewhere, and leaves what between() saved as it is. */
void between_too(void);
void leak_from_between_too(void);
__asm__("	.text\n"
        "between_too: .cfi_startproc\n"
        "	sub $16, %rsp\n	.cfi_def_cfa_offset 24\n"
        "	push %rbp\n	.cfi_def_cfa_offset 32\n	.cfi_offset %rbp, -32\n"
        "	xor %ebp, %ebp\n"
        "	call leak_from_between_too\n"
        "	pop %rbp\n	.cfi_def_cfa_offset 24\n	.cfi_restore %rbp\n"
        "	add $16, %rsp\n	.cfi_def_cfa_offset 8\n"
        "	ret\n"
        "	.cfi_endproc\n");
SITE WITHOUT_POINTER void leak_from_between_too(void)
{
	leak_moved();
	KEEP_FRAME();
}
#else
#define between_too between
#endif
static void (*middle)(void) = between;

/* Their frames are as large as asked for, and nothing is written into them. */
SITE WITHOUT_POINTER static void direct(size_t size)
{
	volatile char *room = alloca(size);
	leak_moved();
	__asm__ volatile("" : : "r"(room));
}

SITE WITHOUT_POINTER static void through(size_t size)
{
	volatile char *room = alloca(size);
	middle();
	__asm__ volatile("" : : "r"(room));
}

SITE WITHOUT_POINTER static void realigned(size_t size)
{
	_Alignas(128) volatile char vector[128];
	volatile char *room = alloca(size); /* with both gcc keeps the frame's address in the frame */
	leak_moved();
	__asm__ volatile("" : : "r"(vector), "r"(room));
}

/* One return address for each place. */
SITE WITHOUT_POINTER static void call(int place, size_t pad, void (*function)(size_t), size_t size)
{
	volatile char *room = alloca(pad);
	switch (place) {
#define PLACE(n)                                    \
	case n:                                     \
		function(size);                     \
		__asm__ volatile("# place " #n);    \
		break
		PLACE(0);
		PLACE(1);
		PLACE(2);
		PLACE(3);
		PLACE(4);
		PLACE(5);
		PLACE(6);
		PLACE(7);
	}
	__asm__ volatile("" : : "r"(room));
}

int main(void)
{
	static void (*const ways[])(size_t) = { direct, through, realigned };
	for (int way = 0; way < 3; way++)
		for (int i = 0; i < ROUNDS * PLACES; i++) {
			int place = i * 5 % PLACES;
			size_t pad = (way == 2 ? 16 : 128) * (size_t)place;
			call(place, pad, ways[way], way == 2 ? 64 : 128 * PLACES - pad);
		}
	/* From each place two ways, and the same one from two places in a row. */
	for (int i = 0; i < 2 * ROUNDS * PLACES; i++) {
		int place = i / 2 * 5 % PLACES;
		size_t pad = 128 * (size_t)place;
		middle = (i + 1) & 2 ? between_too : between;
		call(place, pad, through, 128 * PLACES - pad);
	}
	return 0;
}
