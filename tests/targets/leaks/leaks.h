/* SPDX-License-Identifier: MIT
 *
 * Small programs with known verdicts, grouped by theme: one program each, one case per run. Each case allocates in functions
 * with names of their own, so that a verdict can be compared function by function: kind, blocks, bytes.
 *
 *   PROGRAM --list   one line for each function and kind of each case, see main.c
 *   PROGRAM CASE     runs it
 *
 * A case either ends the process itself or returns; then main wipes what is below it on the stack and in registers, so that
 * nothing that the case left there is found by chance.
 */
#ifndef LEAKS_H
#define LEAKS_H

#include "../target.h"
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A verdict on blocks, in Valgrind's words.
 * SAME is for Valgrind: as ours. GONE: no block is left. ANY: of whatever kind. NONE: it gives no verdict. */
enum leak_kind { SAME, GONE, ANY, DEFINITE, INDIRECT, POSSIBLE, REACHABLE, UNKNOWN, NONE };

struct leak_site {
	const char *function;
	enum leak_kind kind;
	unsigned blocks;
	unsigned long bytes;
	struct {
		enum leak_kind kind;
		unsigned blocks;
		unsigned long bytes;
	} valgrind; /* where it differs; the case's `why` says why we are right */
};

enum { LEAKS_NO_VALGRIND = 1 };

struct leak_case {
	const char *name;
	void (*run)(void);
	struct leak_site sites[14];
	int status; /* of the process, as a shell sees it */
	int flags;
	const char *why;
};

extern const struct leak_case leak_cases[];
extern const unsigned leak_case_count;
#define LEAK_CASES const struct leak_case leak_cases[]
#define LEAK_CASE_COUNT const unsigned leak_case_count = sizeof leak_cases / sizeof *leak_cases

/* main.c */
void leaks_wipe(void);
void leaks_wipe_registers(void); /* those that a call may change */
__attribute__((noreturn)) void leaks_end(int status); /* wipes, then exit() */
uintptr_t leaks_hide(const void *pointer);            /* looks like no pointer; and back again */
const char *leaks_beside(const char *name);           /* path of a file beside the program */
void leaks_nap(void);                                 /* a moment: for a thread to get where it blocks */

/* An assembler function that ends with, or keeps, the pointer in a register takes it away from the variable that it is given. */
#define TAKE(reg) "mov (%rdi), %" reg "\n\tmovq $0, (%rdi)\n\txor %edi, %edi\n\t"

/* Memory that the tracer can't know stays alive, so that nothing is dropped or moved. */
#define TOUCH(pointer) __asm__ volatile("" ::"r"(pointer) : "memory")

/* A function that allocates: `void *name(size_t size)`, zeroed. */
#define MALLOCS(name) \
	SITE static void *name(size_t size) \
	{ \
		void *volatile block = malloc(size); \
		REQUIRE(block); \
		memset(block, 0, size); \
		void *result = block; \
		block = NULL; \
		return result; \
	}

#ifdef __cplusplus
}
#endif
#endif
