/* SPDX-License-Identifier: MIT
 *
 * What the traced side asks of R: the only header of this room that others include.
 *
 * Everything here only reads R's memory: no allocation, no call that can raise an R error, run R code or start R's garbage
 * collector, no lock. All functions but lt_r_locate() may be called inside any malloc made by R's main thread.
 */
#ifndef LT_R_H
#define LT_R_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One R function call. The strings lie in R's memory and are valid only until control returns to R; copy them. `call` and
 * `namespace` are names of symbols and never move or go away; `file` may. */
struct lt_r_call {
	const char *call;      /* never NULL; "<anonymous>" where the call has no name */
	const char *namespace; /* NULL: global environment or unknown */
	const char *file;      /* NULL: R kept no source */
	uint32_t line;         /* of the call in `file`; 0: unknown */
};

/* Looks for an R runtime among the loaded objects, in their symbol tables: no dlsym(), so the program's dlerror() stays.
 * Called in the constructor and after each dlopen until it succeeds, with no lock held; it takes the loader's own. Reads one
 * small file. Returns true if R is there. */
bool lt_r_locate(void);

/* After each dlclose, with no lock held: forgets an R runtime that is no longer loaded. */
void lt_r_unloaded(void);

/* R is there (lt_r_locate succeeded). */
bool lt_r_present(void);

/* An address inside the object that holds R, to find its module; 0 if none. */
uintptr_t lt_r_address(void);

/* 40202 for R 4.2.2; 0 if unknown. Known as soon as R is located. */
uint32_t lt_r_version(void);

/* Why R stacks are off, one line in English for the report and stderr; NULL if they are on or there is no R. Static memory. */
const char *lt_r_note(void);

/* The R calls that are active now, innermost first, at most `max`; returns their number, sets *cut if there were more.
 * 0 if R stacks are off, R has not started, or no call is active, and on every thread but the process's first. */
unsigned lt_r_calls(struct lt_r_call *calls, unsigned max, bool *cut);

/* In the hook of R_Unserialize: a worker of parallel (PSOCK, makeForkCluster) or parallelly receives its next task, that is
 * the R call stack is unserialize() under recvData(); not readRDS, lazy loading or the user's own unserialize(). */
bool lt_r_receives_task(void);

/* In the hook of R_Serialize: a worker sends back its task's result: serialize() under sendData() or sendMaster(). */
bool lt_r_sends_result(void);

/* `message` (a SEXP) is the answer of one of future's own calls that set a worker up for the future that comes next: clearing
 * its global environment, exporting a variable. Their value is a string "future-..." (future 1.31, R/ClusterFuture-class.R). */
bool lt_r_is_preparation(const void *message);

/* The block that malloc(size) just returned to `return_address` was taken by R's own allocator: a page of small nodes or a
 * large vector (R's memory.c), not by C code that happens to be in libR. */
bool lt_r_heap_block(uintptr_t return_address, size_t size);

#endif
