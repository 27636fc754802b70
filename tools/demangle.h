/* SPDX-License-Identifier: MIT
 *
 * C++ and Rust symbol names as people write them.
 */
#ifndef LT_DEMANGLE_H
#define LT_DEMANGLE_H

/* A new string for free(), or NULL if `name` is not a mangled name (or one that is absurdly long). */
char *lt_demangle(const char *name);

#endif
