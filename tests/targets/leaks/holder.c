/* SPDX-License-Identifier: MIT
 *
 * A library for the programs with known verdicts: data, thread-local data, and a destructor that frees late and leaks late.
 */
#include "../target.h"

#define EXPORT __attribute__((visibility("default")))

EXPORT void *holder_slot;
EXPORT void *holder_frees_late;
EXPORT int holder_leaks_late;
static __thread void *tls_slot[100];

EXPORT void holder_set_tls(void *pointer);
EXPORT void holder_set_tls(void *pointer)
{
	tls_slot[50] = pointer;
}

SITE static void destructor_lost(void)
{
	__asm__ volatile("" ::"r"(malloc(77)) : "memory");
}

__attribute__((destructor)) static void end(void)
{
	free(holder_frees_late);
	holder_frees_late = NULL;
	if (holder_leaks_late)
		destructor_lost();
}
