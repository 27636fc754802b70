/* SPDX-License-Identifier: MIT
 *
 * The gate: a thread is inside it while it records (unwinds, takes our locks, changes our tables). fork closes the gate and
 * waits until all are outside, so that a child never inherits a lock of ours, of libunwind or of the loader that one of our
 * own calls took, nor a table in the middle of a change.
 */
#ifndef LT_GATE_H
#define LT_GATE_H

#include <stdbool.h>
#include <stdint.h>

/* Enters, waiting while the gate is closed; may nest in one thread. No lock held. Any context. */
void lt_gate_enter(void);
void lt_gate_leave(void);

/* Closes the gate and waits until every other thread is outside, at most some 50 ms. Returns false when that time was too
 * short: a thread hangs in the loader, or was cancelled inside. One closer at a time. */
bool lt_gate_close(void);
/* Likewise, with a time of the caller's. */
bool lt_gate_close_within(int64_t ns);
void lt_gate_open(void);

/* In a fork child: open, with only this thread's entries inside. */
void lt_gate_fork_child(void);

#endif
