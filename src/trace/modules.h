/* SPDX-License-Identifier: MIT
 *
 * The loaded objects: which module an address belongs to, at any time of the image's life.
 */
#ifndef LT_MODULES_H
#define LT_MODULES_H

#include "base/atomic.h"
#include <stdbool.h>
#include <stdint.h>

/* Compares the loader's list with ours; writes new modules into the dump. Returns true if any was unloaded since: then
 * whatever is cached by code address is stale. Calls dl_iterate_phdr: no lock held. Any thread. */
bool lt_modules_scan(void);

/* The module of an address: its index in the dump (from 1) and the offset; 0 and the address itself if there is none, also
 * after a look at the loader's list. No lock held. */
uint32_t lt_modules_find(uintptr_t address, uint64_t *offset);

/* > 0: code is being unloaded, or was and the caches could not be emptied since; see process/unload.c. Meanwhile whatever is
 * cached by code address is neither read nor filled. Read once per stack, inside the gate. */
extern LT_HIDDEN uint32_t lt_code_unsure;

/* The loader's count of objects that it has unloaded. No lock held. */
uint64_t lt_modules_unloads(void);

/* For lt_modules_find() while lt_code_unsure: looks at the loader's list if it changed. No lock held. */
void lt_modules_refresh(void);

/* Notes that the module with this address holds the R runtime. */
void lt_modules_mark_r(uintptr_t address);

/* In a fork child, after its dump is there: writes all loaded modules into it. */
void lt_modules_fork_child(void);

#endif
