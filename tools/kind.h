/* SPDX-License-Identifier: MIT
 *
 * Leak kinds, Valgrind's, in the order in which a report ranks them.
 */
#ifndef LT_KIND_H
#define LT_KIND_H

#include <string.h>

enum lt_kind {
	LT_KIND_DEFINITE,
	LT_KIND_POSSIBLE,
	LT_KIND_INDIRECT,
	LT_KIND_UNKNOWN, /* not classified */
	LT_KIND_REACHABLE,
	LT_KIND_SUPPRESSED,
	LT_KIND_COUNT,
};

static const char *const lt_kind_names[LT_KIND_COUNT] = {"definite", "possible", "indirect", "unknown", "reachable", "suppressed"};

/* -1 if there is none of this name. */
static inline int lt_kind_parse(const char *name, size_t length)
{
	for (int kind = 0; kind < LT_KIND_COUNT; kind++)
		if (strlen(lt_kind_names[kind]) == length && memcmp(lt_kind_names[kind], name, length) == 0)
			return kind;
	return -1;
}

#endif
