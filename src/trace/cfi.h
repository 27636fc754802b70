/* SPDX-License-Identifier: MIT
 *
 * Unwind rules out of the unwind tables (.eh_frame_hdr, .eh_frame) of loaded code, for x86_64.
 */
#ifndef LT_CFI_H
#define LT_CFI_H

#include <stdbool.h>
#include <stdint.h>

enum lt_rule_kind {
	LT_RULE_NONE = 0,  /* never in a finished rule */
	LT_RULE_RSP,       /* CFA = rsp + offset */
	LT_RULE_RBP,       /* CFA = rbp + offset */
	LT_RULE_RBP_DEREF, /* CFA = *(rbp + offset): functions that realign the stack */
	LT_RULE_END,       /* outermost frame */
	LT_RULE_SIGNAL,    /* the kernel's frame of a signal handler: what it interrupted is in a ucontext at rsp */
	LT_RULE_UNUSUAL,   /* other registers or expressions: libunwind's work */
	LT_RULE_UNKNOWN,   /* no unwind table covers it */
};

enum lt_rbp_kind {
	LT_RBP_SAME = 0, /* not saved, or not changed */
	LT_RBP_AT_CFA,   /* at CFA + rbp_offset */
	LT_RBP_AT_RBP,   /* at rbp + rbp_offset */
};

/* How to step out of a frame; the return address is always at CFA - 8. */
struct lt_rule {
	int32_t offset;
	int16_t rbp_offset;
	uint8_t kind; /* enum lt_rule_kind */
	uint8_t rbp;  /* enum lt_rbp_kind */
};

/* The rule for the code at `pc`; for a return address give pc - 1. Reads only mapped unwind tables, takes no lock where libc
 * has _dl_find_object (glibc 2.35), else the loader's by dl_iterate_phdr. */
struct lt_rule lt_cfi_rule(uintptr_t pc);

/* The .eh_frame_hdr of the object that holds `pc`, and in it the address and number of entries of its binary search table;
 * NULL: none, or in a form that linkers don't write. Likewise. */
const void *lt_cfi_header(uintptr_t pc, const void **table, uint64_t *count);

/* Where the unwind table's entry that covers `pc` begins: its function, as a rule; 0: none. Likewise. */
uintptr_t lt_cfi_function(uintptr_t pc);

#endif
