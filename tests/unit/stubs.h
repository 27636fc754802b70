/* SPDX-License-Identifier: MIT
 *
 * What a test may have done where the tracer's modules call functions that are left out; see stubs.c.
 */
#ifndef STUBS_H
#define STUBS_H

extern void (*stub_hooks_switch)(void); /* NULL: nothing */

#endif
