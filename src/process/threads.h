/* SPDX-License-Identifier: MIT
 *
 * The other threads of a process, held still while it is copied: where their stacks begin, and their registers.
 */
#ifndef LT_THREADS_H
#define LT_THREADS_H

#include "scan/scan.h"
#include <stdbool.h>

#define LT_THREADS_MAX 4096
#define LT_RED_ZONE 128 /* bytes below the stack pointer that a function may use (x86-64 psABI) */

/* In the process itself: its threads but `caller`, at most `max`, with the stack pointers of those that wait in a system call.
 * Returns their number. */
unsigned lt_threads_guess(int pid, int caller, struct lt_scan_thread *threads, unsigned max);

/* In a child of it that shares its memory (CLONE_VM): the same threads and those that came since, held still and with their
 * registers until lt_threads_release(). Where that is refused, the guess remains. *unstopped
 * counts; *missing: there are more than max. Returns their number. No memory, no lock, no libc. */
unsigned lt_threads_hold(int pid, int caller, struct lt_scan_thread *threads, unsigned guessed, unsigned max, unsigned *unstopped,
                         bool *missing);
/* Lets them go, each with the signal that it was just about to be given. False: some did not come to stand still in time and
 * can't be let go before they do: call it again. */
bool lt_threads_release(const struct lt_scan_thread *threads, unsigned count);

/* Is there another thread? Any context. */
bool lt_threads_others(int pid, int caller);

/* Does /proc number processes as this one's PID name space does? Else nothing there is to be asked for by a number, or somebody else
 * would be held still. *others: there are other threads, as far as can be told. */
bool lt_threads_are_numbered(int pid, bool *others);

#endif
