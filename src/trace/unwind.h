/* SPDX-License-Identifier: MIT
 *
 * The native stack of the calling thread.
 */
#ifndef LT_UNWIND_H
#define LT_UNWIND_H

#include <stdbool.h>
#include <stdint.h>

/* Loads libunwind, privately: RTLD_LOCAL, symbols by name, so that no symbol of the program resolves to it. Returns 0 or
 * -ENOENT (the tables still do nearly every stack). In the constructor: allocates, takes the loader's lock. */
int lt_unwind_init(void);

/* Return addresses from the frame whose return address is `from` (the hook's caller) outwards, at most `max`; the number, at
 * least 1 (`from` itself); *cut if frames towards main are missing. Inside the gate, no lock held. */
unsigned lt_unwind(uintptr_t from, uintptr_t *pcs, unsigned max, bool *cut);

/* Code was unloaded: forget the rules of all addresses. With the gate closed. */
void lt_unwind_flush(void);

/* In a fork child; `safe` is what lt_gate_close() said: without it libunwind, whose locks may be held for ever, stays off. */
void lt_unwind_fork_child(bool safe);

/* Stacks done by the tables, and by libunwind, so far. For tests. */
void lt_unwind_counts(uint64_t *fast, uint64_t *slow);

#endif
