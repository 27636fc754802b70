/* SPDX-License-Identifier: MIT
 *
 * Functions that allocate on behalf of their caller: a leak is never theirs.
 */
#ifndef LT_ALLOCATORS_H
#define LT_ALLOCATORS_H

#include <stdbool.h>

/* `function` is a demangled name, without or with its parameters. */
bool lt_allocator(const char *function);

#endif
