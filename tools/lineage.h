/* SPDX-License-Identifier: MIT
 *
 * Who made whom, and how each process ended.
 *
 * A process that could, wrote down how it ended. For the others, in this order:
 *   exec      a later image of the same process is there
 *   signal    the parent saw it die of a signal (CHILD_END event)
 *   unknown   the parent saw it leave with a status, but it never said so itself (a raw system call, or the dump was full);
 *             the status is kept as its code
 *   running   same machine, boot and PID name space, and /proc knows the PID with the same start time
 *   unknown   none of these: killed, or we look from elsewhere
 */
#ifndef LT_LINEAGE_H
#define LT_LINEAGE_H

#include "merge.h"

/* To be called once all is loaded. */
void lt_lineage_resolve(struct lt_merge *merge);

/* As the tracer computes it; 0 if this machine hides its identity. */
uint64_t lt_lineage_machine(void);
uint64_t lt_lineage_hash(const char *host, const char *boot_id, uint64_t pid_namespace);

/* The process of this PID and start time lives here; the machine is not asked for. */
bool lt_lineage_runs(const struct leaktrace_key *key);

const char *lt_lineage_role(const struct lt_process *process);

/* "exit 0", "killed by SIGKILL", "running" … */
void lt_lineage_describe(const struct lt_process *process, char *buffer, size_t size);

#endif
