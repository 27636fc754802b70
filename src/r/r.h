/* SPDX-License-Identifier: MIT
 *
 * What the traced side asks of R: with stack.h, for the hot path, the only header of this room that others include.
 *
 * Everything here only reads R's memory: no allocation, no call that can raise an R error, run R code or start R's garbage
 * collector, no lock. All functions but lt_r_locate() may be called inside any malloc made by R's main thread.
 */
#ifndef LT_R_H
#define LT_R_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/range.h"
#include "leaktrace/dump-format.h"

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

/* Option check: the same, with everything looked up and checked anew. */
unsigned lt_r_judge(struct lt_r_call *calls, unsigned max, bool *cut);

/* The same stack as a node of the trie (trace/intern.h), of at most LT_R_DEPTH calls; 0: no calls, or, with *cut, no room for it.
 * Mostly it is the one before, or differs from it in the innermost calls only. No lock held; inside the gate. */
#define LT_R_DEPTH LEAKTRACE_R_STACK_MAX
uint32_t lt_r_stack(bool *cut);

/* The nodes that it gave are good no more, or R's memory is another. No other thread is in it. */
void lt_r_stack_forget(void);

/* In the hook of R_Unserialize: a worker of parallel (PSOCK, makeForkCluster) or parallelly receives its next task, that is
 * the R call stack is unserialize() under recvData(); not readRDS, lazy loading or the user's own unserialize(). */
bool lt_r_receives_task(void);

/* In the hook of R_Serialize: a worker sends back its task's result: serialize() under sendData() or sendMaster(). */
bool lt_r_sends_result(void);

/* R calls these hooks. Not so where R_Serialize is bound to another object before us: to the executable, if R is in it (built
 * without libR.so). False without R. */
bool lt_r_calls_hooks(void);

/* A child of mclapply() or mcparallel() that has sent its result goes: mcexit(). */
bool lt_r_leaves_child(void);

/* What is being serialized (a SEXP), as serialize(), the innermost call, has it; NULL: not found. */
const void *lt_r_message(void);

/* `message` (a SEXP) is the answer of one of future's own calls that set a worker up for the future that comes next: clearing
 * its global environment, exporting a variable. Their value is a string "future-..." (future 1.31, R/ClusterFuture-class.R). */
bool lt_r_is_preparation(const void *message);

/* The block that malloc(size) just returned to `return_address` was taken by R's own allocator: a page of small nodes or a
 * large vector (R's memory.c), not by C code that happens to be in libR. */
bool lt_r_heap_block(uintptr_t return_address, size_t size);

/* Where the code of R's evaluator is: Rf_eval, Rf_applyClosure, Rf_ReplIteration, and some address inside the byte-code
 * interpreter; 0: not known. */
struct lt_r_evaluator {
	uintptr_t eval, apply_closure, read_and_eval, byte_code;
};

/* The highest address of R's stack; 0: not known. */
uintptr_t lt_r_stack_top(void);

/* Only in a copy of the process. False if R stacks are off or R has not started. */
bool lt_r_evaluator(struct lt_r_evaluator *evaluator);

/* ---- What of R's heap is garbage; see collect.c. Only in a copy of the process, where nothing else runs. ---- */

/* Aligned words in nodes of R's that may be pointers to blocks that aren't R's: the address of an external pointer, the bytes of a
 * raw vector. No other words of R's heap are. */
struct lt_r_ranges {
	struct lt_range *all;
	size_t count, room;
};

struct lt_r_collection {
	/* given */
	/* 0: R's thread has called us, from code where R might have collected too. Else it was stopped anywhere, this is its stack
	 * pointer, and what its stack points to is kept. */
	uintptr_t stack;
	const uintptr_t *registers; /* the thread's, where it was stopped; their number */
	unsigned register_count;
	/* Size of the recorded block that begins at `address`, 0: none. NULL: graphics devices keep nothing (they are the only
	 * roots of R's in blocks of malloc). */
	size_t (*block)(uintptr_t address, void *arg);
	void *arg;

	/* results */
	struct lt_r_ranges live;    /* in live nodes */
	struct lt_r_ranges garbage; /* in nodes that only garbage holds which waits for its finalizer */
	uint64_t pending;           /* finalizers that would run at R's next collection */
	uint64_t strange;           /* pointers that lead to no node: 0, unless stale words were taken for roots */
	const char *note;           /* why it failed; static */
};

/* Which nodes can R still get at? Writes nothing into R's memory, and calls nothing of R's. Returns 0, -ENODATA (no R, or it has
 * not started), -ENOTSUP (a version or build that isn't known), -EBUSY (R was in the middle of an allocation or a collection),
 * -EUCLEAN (something isn't laid out as expected), -ENOMEM; then there are no results. It may crash where R's memory is damaged:
 * the caller may then go on as if it had failed, for it leaves nothing half done but memory of the tracer's. */
int lt_r_collect(struct lt_r_collection *collection);

/* After lt_r_collect(): the block is R's own, a page of nodes, a large vector, garbage or not, or a stack of nodes: R has not lost it,
 * and what points to others in it is in the ranges. */
bool lt_r_owns(uintptr_t block, uint64_t size);

void lt_r_collect_end(struct lt_r_collection *collection);

#endif
