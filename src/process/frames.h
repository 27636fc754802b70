/* SPDX-License-Identifier: MIT
 *
 * The parts of R's stack that hold none but R's objects.
 */
#ifndef LT_FRAMES_H
#define LT_FRAMES_H

#include "scan/scan.h"
#include <stddef.h>

/* Calls `add` for each: start and bytes. `thread` is R's, stopped or by its own capture; its stack ends below `stack_high`. In a copy
 * of the process. */
void lt_frames_of_r(const struct lt_scan_thread *thread, uintptr_t stack_high, void (*add)(const void *, size_t, void *), void *arg);

#endif
