/* SPDX-License-Identifier: MIT
 *
 * What the tracer's modules call in those that are left out here, for these call the functions behind our hooks.
 */
#include "stubs.h"
#include "process/process.h"
#include "trace/gate.h"
#include "trace/record.h"
#include "trace/unwind.h"
#include <stdlib.h>

/* No test records in a child that forked unseen. */
void lt_fork_child_unseen(bool last)
{
	abort();
}

/* Nor is anything unloaded by a hook. */
bool lt_unload_retry(void)
{
	return false;
}

/* No hooks are here to be set. */
void (*stub_hooks_switch)(void);
void lt_hooks_switch(void)
{
	if (stub_hooks_switch)
		stub_hooks_switch();
}

void lt_hooks_share(void)
{
}

/* Nobody else closes the gate. */
bool lt_fork_try_stop_threads(int64_t ns)
{
	bool closed = lt_gate_close_within(ns);
	if (!closed)
		lt_gate_open();
	return closed;
}

void lt_fork_resume_threads(void)
{
	lt_gate_open();
}

/* No handler jumps. */
const char lt_jump_detour[1];
