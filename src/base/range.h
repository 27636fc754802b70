/* SPDX-License-Identifier: MIT
 *
 * A range of addresses.
 */
#ifndef LT_RANGE_H
#define LT_RANGE_H

#include <stdint.h>

struct lt_range {
	uintptr_t low, high; /* [low, high) */
};

#endif
