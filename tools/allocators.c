/* SPDX-License-Identifier: MIT
 *
 * The table of allocators and their wrappers. C names are looked up whole, in a sorted table; C++ names by how they begin,
 * for their template arguments vary. R's internal helpers have no names in a stripped libR: frames.c passes over hidden
 * functions that an allocator of the same module called.
 */
#include "allocators.h"

#include <stdlib.h>
#include <string.h>

/* Sorted by strcmp(): a test checks. */
static const char *const names[] = {
	"CRYPTO_malloc",
	"CRYPTO_realloc",
	"CRYPTO_strdup",
	"CRYPTO_zalloc",
	"PyMem_Malloc",
	"PyMem_RawMalloc",
	"PyObject_Malloc",
	"R_MakeExternalPtr",
	"R_MakeWeakRef",
	"R_MakeWeakRefC",
	"R_NewPreciousMSet",
	"R_alloc",
	"R_allocLD",
	"R_alloc_S4_object",
	"R_allocateStringBuffer",
	"R_chk_calloc",
	"R_chk_realloc",
	"Rf_ScalarComplex",
	"Rf_ScalarInteger",
	"Rf_ScalarLogical",
	"Rf_ScalarRaw",
	"Rf_ScalarReal",
	"Rf_ScalarString",
	"Rf_alloc3DArray",
	"Rf_allocArray",
	"Rf_allocCharsxp",
	"Rf_allocLang",
	"Rf_allocList",
	"Rf_allocMatrix",
	"Rf_allocS4Object",
	"Rf_allocSExp",
	"Rf_allocVector",
	"Rf_allocVector3",
	"Rf_cons",
	"Rf_install",
	"Rf_installChar",
	"Rf_installTrChar",
	"Rf_lcons",
	"Rf_mkChar",
	"Rf_mkCharCE",
	"Rf_mkCharLen",
	"Rf_mkCharLenCE",
	"Rf_mkNamed",
	"Rf_mkPROMISE",
	"Rf_mkString",
	"S_alloc",
	"S_realloc",
	"XML_MemMalloc",
	"__asprintf_chk",
	"__getdelim",
	"__libc_calloc",
	"__libc_malloc",
	"__libc_memalign",
	"__libc_realloc",
	"__strdup",
	"__strndup",
	"__vasprintf_chk",
	"aligned_alloc",
	"asprintf",
	"calloc",
	"g_malloc",
	"g_malloc0",
	"g_malloc0_n",
	"g_malloc_n",
	"g_memdup",
	"g_memdup2",
	"g_realloc",
	"g_realloc_n",
	"g_slice_alloc",
	"g_slice_alloc0",
	"g_strconcat",
	"g_strdup",
	"g_strdup_printf",
	"g_strdup_vprintf",
	"g_strndup",
	"g_try_malloc",
	"g_try_malloc0",
	"g_try_realloc",
	"getdelim",
	"getline",
	"malloc",
	"mem_alloc",
	"mem_calloc",
	"mem_realloc",
	"memalign",
	"open_memstream",
	"posix_memalign",
	"pvalloc",
	"realloc",
	"reallocarray",
	"reallocf",
	"safe_malloc",
	"sqlite3Malloc",
	"sqlite3MallocZero",
	"sqlite3_malloc",
	"sqlite3_malloc64",
	"sqlite3_realloc",
	"sqlite3_realloc64",
	"strdup",
	"strndup",
	"valloc",
	"vasprintf",
	"wcsdup",
	"xasprintf",
	"xcalloc",
	"xmalloc",
	"xmemdup",
	"xmemdupz",
	"xrealloc",
	"xreallocarray",
	"xstrdup",
	"xstrndup",
	"xzalloc",
	"zmalloc",
};

static const char *const prefixes[] = {
	"operator new(",
	"operator new[](",
	"std::allocator<",
	"std::allocator_traits<",
	"std::__new_allocator<",
	"std::__allocate_guarded<",
	"std::__detail::_Hashtable_alloc<",
	"__gnu_cxx::new_allocator<",
	"__gnu_cxx::__alloc_traits<",
};

/* Members of the standard containers that get raw memory, whatever the container. */
static const char *const members[] = {"::_M_allocate(", "::_M_create(", "::_M_get_node(", "::_M_allocate_node<"};

static int compare(const void *name, const void *entry)
{
	return strcmp(name, *(const char *const *)entry);
}

bool lt_allocator(const char *function)
{
	size_t length = strlen(function);

	if (bsearch(function, names, sizeof names / sizeof *names, sizeof *names, compare))
		return true;
	if (strcmp(function, "operator new") == 0 || strcmp(function, "operator new[]") == 0)
		return true;
	for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
		if (length > strlen(prefixes[i]) && strncmp(function, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	if (strncmp(function, "std::", 5) == 0)
		for (size_t i = 0; i < sizeof members / sizeof *members; i++)
			if (strstr(function, members[i]))
				return true;
	return false;
}
