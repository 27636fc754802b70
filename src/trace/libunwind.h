/* SPDX-License-Identifier: MIT
 *
 * The slow, all-knowing way to unwind a stack: libunwind's cursor.
 */
#ifndef LT_LIBUNWIND_H
#define LT_LIBUNWIND_H

#include <stdbool.h>
#include <stdint.h>

/* Loads libunwind, privately: RTLD_LOCAL, symbols by name, so that no symbol of the program resolves to it. Returns 0 or
 * -ENOENT (the tables still do nearly every stack). At start: allocates, takes the loader's lock. */
int lt_libunwind_init(void);

/* As lt_unwind(), but 0 where libunwind is missing or does not come to `from`. Inside the gate, no lock held. */
unsigned lt_libunwind_walk(uintptr_t from, uintptr_t *pcs, unsigned max, bool *cut);

/* The same for option check: what libunwind knows of code is kept until lt_libunwind_flush(), which is several times as fast. */
unsigned lt_libunwind_judge(uintptr_t from, uintptr_t *pcs, unsigned max, bool *cut);

/* Code was unloaded. With the gate closed. */
void lt_libunwind_flush(void);

/* In a fork child that may have inherited libunwind's locks held: never again. */
void lt_libunwind_off(void);

#endif
