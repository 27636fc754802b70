/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: what .eh_frame says of a place. The header, its table and the entries' lengths are sound, as the loader's are; all
 * between is the input: first byte how far into the function, second how much of the rest is the CIE.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

/* The reader asks this file which object holds an address. */
#if __GLIBC_PREREQ(2, 35)
int fuzz_find_object(void *pc, struct dl_find_object *object) __attribute__((weak)); /* as libc's is to cfi.c */
#define _dl_find_object fuzz_find_object
#endif
#include "trace/cfi.c"

#define FUNCTION 0x10000 /* behind the header */

struct table {
	uint8_t version, encodings[3];
	int32_t eh_frame;
	uint32_t count;
	int32_t start, fde;
};

static uint8_t *object;

#if __GLIBC_PREREQ(2, 35)
int fuzz_find_object(void *pc, struct dl_find_object *found)
{
	found->dlfo_eh_frame = object;
	return 0;
}
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct table table = {.version = 1, .encodings = {0x1b, 0x03, 0x3b}, .count = 1, .start = FUNCTION};
	uint32_t cie_length, fde_length, back;
	size_t fde_at;
	struct lt_rule rule;

	if (size < 10 || size > 4096)
		return 0;
	cie_length = data[1] < size - 10 ? data[1] : (uint32_t)(size - 10);
	fde_length = (uint32_t)(size - 2 - cie_length);
	fde_at = sizeof table + 4 + cie_length;
	object = malloc(fde_at + 4 + fde_length);
	if (!object)
		return 0;
	table.fde = (int32_t)fde_at;
	table.eh_frame = (int32_t)(sizeof table - 4);
	memcpy(object, &table, sizeof table);
	memcpy(object + sizeof table, &cie_length, 4);
	memcpy(object + sizeof table + 4, data + 2, cie_length);
	memcpy(object + fde_at, &fde_length, 4);
	memcpy(object + fde_at + 4, data + 2 + cie_length, fde_length);
	/* Its CIE is the one before it, and its function the one in the table, if the place is written as linkers do. */
	back = 4 + cie_length + 4;
	memcpy(object + fde_at + 4, &back, 4);
	memcpy(object + fde_at + 8, &(int32_t){(int32_t)(FUNCTION - (fde_at + 8))}, 4);
#if __GLIBC_PREREQ(2, 35)
	rule = lt_cfi_rule((uintptr_t)object + FUNCTION + data[0]);
	lt_cfi_function((uintptr_t)object + FUNCTION + data[0]);
#else
	rule = from_fde(object + fde_at, (uintptr_t)object + FUNCTION + data[0]);
#endif
	if (rule.kind == LT_RULE_NONE || rule.kind > LT_RULE_UNKNOWN || rule.rbp > LT_RBP_AT_RBP)
		fuzz_fault("no rule: kind %u, rbp %u", rule.kind, rule.rbp);
	free(object);
	return 0;
}
