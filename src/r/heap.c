/* SPDX-License-Identifier: MIT
 *
 * Is this block R's own heap?
 *
 * R's allocator calls malloc() in two places. A vector too large for a page: in Rf_allocVector3(), an exported symbol whose
 * size the symbol table tells. A page for small nodes: in the static function GetNewPage(), which has no symbol in a stripped
 * R, but asks for one fixed size, and which compilers put into none of the exported functions but those that take nodes. Other
 * callers of malloc() in R are exported themselves (R_chk_*, R_AllocStringBuffer, …) or ask for other sizes.
 * Vectors of R_alloc() and of custom allocators that use malloc's family from inside Rf_allocVector3() count as R's heap; a
 * custom allocator elsewhere is its library's memory.
 *
 * A return address never changes its meaning, so verdicts on page-sized requests are kept, and asked for without a lock.
 */
#include "r/r.h"

#include <string.h>

#include "r/runtime.h"

enum {
	/* R_PAGE_SIZE is 8000 less a page header of 8 bytes in whole nodes of 56 bytes, and the header: 3.6 to 4.5 */
	PAGE_SIZE_OF_R = (8000 - 8) / 56 * 56 + 8,
	VERDICTS = 16,
};
static_assert(PAGE_SIZE_OF_R == 7960, "the size that every 64-bit R asks for");

/* Return address times two, plus the verdict; 0: free. */
static uintptr_t verdicts[VERDICTS];

/* Exported functions that take a node, into which GetNewPage() may be inlined. */
static bool takes_nodes(const char *function)
{
	static const char *const names[] = { "Rf_cons",          "CONS_NR",     "Rf_allocVector3",   "Rf_allocSExp",
		                             "Rf_NewEnvironment", "Rf_mkPROMISE", "R_mkEVPROMISE",     "R_mkEVPROMISE_NR",
		                             "Rf_allocList",     "Rf_allocS4Object", "R_MakeExternalPtr", "R_MakeWeakRef",
		                             "Rf_lcons",         "GetNewPage" };

	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!strcmp(function, names[i]))
			return true;
	return false;
}

static bool __attribute__((noinline)) is_page_site(uintptr_t return_address)
{
	uintptr_t *slot = &verdicts[(return_address >> 2) % VERDICTS], verdict = lt_load_relaxed(slot);

	if (verdict >> 1 == return_address)
		return verdict & 1;

	const char *function = lt_r_elf_enclosing(&lt_r.object, return_address - 1);
	bool page = !function || takes_nodes(function);
	lt_store_relaxed(slot, return_address << 1 | page);
	return page;
}

bool lt_r_heap_block(uintptr_t return_address, size_t size)
{
	/* A return address lies behind its call, which may be a function's last instruction. */
	if (return_address - 1 - lt_r.allocate_vector.address < lt_r.allocate_vector.size)
		return lt_r_present();
	if (lt_likely(size != PAGE_SIZE_OF_R) || return_address - lt_r.object.text >= lt_r.object.text_end - lt_r.object.text)
		return false;
	return lt_r_present() && is_page_site(return_address);
}
