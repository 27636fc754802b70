/* SPDX-License-Identifier: MIT
 *
 * What DWARF says about an address: the function, what was inlined there, files and lines.
 */
#ifndef LT_SCOPES_H
#define LT_SCOPES_H

#include <elfutils/libdw.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "symtab.h"

/* Deeper inlining than this is cut: the outermost frames of it are missing then, never the function itself. */
#define LT_SCOPE_FRAMES 64

struct lt_scope_frame {
	const char *name; /* linkage name if `linkage`, else as in the source; NULL: unknown. In the Dwarf's memory */
	const char *file;
	const char *dir; /* absolute, `file` is relative to it: where the unit was compiled; NULL: none */
	unsigned line;
	bool linkage;
};

struct lt_scopes;

/* `symtab` tells what is code: debug information of functions that the linker left out is at addresses near 0. */
struct lt_scopes *lt_scopes_new(Dwarf *dwarf, Dwarf_Addr bias, const struct lt_symtab *symtab);
void lt_scopes_free(struct lt_scopes *scopes);

/* Fills `frames`, innermost first, and returns their number. The last is the function that holds the others; *entry is its
 * first address, 0 if there is none. 0: DWARF knows nothing. One frame without a name but with a file: only the line is known. */
size_t lt_scopes_find(struct lt_scopes *scopes, uint64_t address, struct lt_scope_frame frames[LT_SCOPE_FRAMES],
		      uint64_t *entry);

#endif
