/* SPDX-License-Identifier: MIT
 *
 * What an ELF file says about functions without debug information: its symbol table and its unwind table.
 */
#ifndef LT_SYMTAB_H
#define LT_SYMTAB_H

#include <elfutils/libdwfl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ranges.h"

struct lt_symtab {
	struct lt_symtab_entry {
		uint64_t start;
		uint64_t size;    /* 0: unknown (assembler code) */
		const char *name; /* in the symbol table's memory: valid as long as the module */
		unsigned char binding;
		unsigned char underscores; /* leading ones, as far as they count */
	} *entries; /* by start, then the best name first */
	size_t count, room;
	struct lt_ranges covered;  /* of entries with a size; value: index of the entry */
	struct lt_ranges unwind;   /* FDEs of .eh_frame */
	struct lt_ranges code;     /* executable segments */
};

/* Reads all tables of the module; what is damaged stays empty. */
void lt_symtab_init(struct lt_symtab *symtab, Dwfl_Module *module);
void lt_symtab_clear(struct lt_symtab *symtab);

/* The address lies in an executable segment. */
bool lt_symtab_is_code(const struct lt_symtab *symtab, uint64_t address);

/* The mangled name of the function that certainly holds the address, or NULL. It may carry a version: "name@VERSION". */
const char *lt_symtab_name(const struct lt_symtab *symtab, uint64_t address);

/* The best name of a function that starts here, or NULL. */
const char *lt_symtab_name_at(const struct lt_symtab *symtab, uint64_t start);

/* Debug information calls malloc "__libc_malloc" or "__GI___libc_malloc". If the function at `start` also has a public name
 * that is the tail of this internal one, returns that, else NULL. */
const char *lt_symtab_public_name(const struct lt_symtab *symtab, uint64_t start, const char *internal);

/* Start of the unwind-table entry around the address; 0: none. */
uint64_t lt_symtab_unwind_start(const struct lt_symtab *symtab, uint64_t address);

#endif
