/* SPDX-License-Identifier: MIT
 *
 * C++ operators new and delete, in all forms, under their Itanium ABI names. libstdc++'s call malloc and free, whose hooks do
 * the recording (and the stack shows the operator); those of an allocator (tcmalloc's, the program's own in a library) may not,
 * and then these hooks record.
 *
 * The real operator is the one that lt_elf_find() (real.h) finds when it is first called. One in an object that may be unloaded
 * again is kept only while no dlclose is under way: a plugin may bring operators of its own, and go. new may throw through us:
 * no guard is held while it runs.
 *
 * Threads: `kept_lock`, of no rank (nothing is taken under it), guards what is kept of such objects. It is taken inside the
 * gate, so that no fork child inherits it held; and whoever can't have it does without: it may have interrupted the holder.
 */
#include "base/lock.h"
#include "base/log.h"
#include "hooks/real.h"
#include "trace/gate.h"
#include "trace/record.h"
#include "trace/sample.h"
#include <stdlib.h>

#define EXPORT __attribute__((visibility("default")))
#define OPERATORS 32
#define LOCK_NS 50000000

static struct lt_lock kept_lock;
static void **kept[OPERATORS]; /* where addresses in objects that may go are kept */
static unsigned kept_count;
static unsigned unloads;       /* dlclose calls under way */
static unsigned unload_number; /* of all that ever began */

static void keep(void **real, void *found, unsigned number)
{
	lt_tracer_enter();
	lt_gate_enter();
	if (!lt_lock_until(&kept_lock, 0)) {
		if (!unloads && unload_number == number && !*real && kept_count < OPERATORS) {
			lt_store_release(real, found); /* pairs with the acquire in REAL */
			kept[kept_count++] = real;
		}
		lt_unlock(&kept_lock);
	}
	lt_gate_leave();
	lt_tracer_leave();
}

void lt_cxx_unload_begin(void)
{
	lt_tracer_enter();
	lt_gate_enter();
	int error = lt_lock_until(&kept_lock, lt_sys_clock(CLOCK_MONOTONIC) + LOCK_NS);
	lt_add_relaxed(&unloads, 1);
	lt_add_relaxed(&unload_number, 1);
	for (unsigned i = 0; i < kept_count; i++)
		lt_store_relaxed(kept[i], NULL);
	if (!error) {
		kept_count = 0;
		lt_unlock(&kept_lock);
	}
	lt_gate_leave();
	lt_tracer_leave();
}

void lt_cxx_unload_end(void)
{
	lt_sub_relaxed(&unloads, 1);
}

static __attribute__((noinline, cold)) void *find(const char *name, void **real)
{
	bool stays;
	unsigned number = lt_load_relaxed(&unload_number); /* before the look at the loader's list, whose lock orders the two */
	lt_real_init();
	void *found = lt_elf_find(name, &stays);
	if (!found) {
		lt_warn("no definition behind ", name, NULL);
		abort();
	}
	if (stays)
		lt_store_release(real, found); /* pairs with the acquire in REAL */
	else
		keep(real, found, number);
	return found;
}

/* Declares `real`, the definition behind the hook `name`. */
#define REAL(name)                                                                  \
	static void *real_address;                                                  \
	void *address_now = lt_load_acquire(&real_address); /* pairs with find() */ \
	__typeof__(&name) real = (__typeof__(&name))(lt_likely(address_now) ? address_now : find(#name, &real_address))

#define NEW(name, parameters, arguments)                                               \
	EXPORT void *name parameters;                                                  \
	EXPORT void *name parameters                                                   \
	{                                                                              \
		REAL(name);                                                            \
		lt_thread.last_block = 0;                                              \
		uint64_t ahead = lt_thread.ahead;                                      \
		void *block = real arguments;                                          \
		if (block && lt_recording() && lt_thread.last_block != lt_veiled(block) && lt_thread.ahead == ahead) { \
			lt_tracer_enter();                                             \
			lt_record_alloc(block, size, __builtin_frame_address(0));      \
			lt_tracer_leave();                                             \
		}                                                                      \
		return block;                                                          \
	}

#define DELETE(name, parameters, arguments)                        \
	EXPORT void name parameters;                               \
	EXPORT void name parameters                                \
	{                                                          \
		REAL(name);                                        \
		if (block && lt_was_on && lt_recording() && lt_sample_may_have(block)) { \
			lt_tracer_enter();                         \
			lt_record_free(block);                     \
			lt_tracer_leave();                         \
			lt_thread.last_deleted = lt_veiled(block); \
		}                                                  \
		real arguments;                                    \
		lt_thread.last_deleted = 0;                        \
	}

NEW(_Znwm, (size_t size), (size))
NEW(_Znam, (size_t size), (size))
NEW(_ZnwmRKSt9nothrow_t, (size_t size, const void *nothrow), (size, nothrow))
NEW(_ZnamRKSt9nothrow_t, (size_t size, const void *nothrow), (size, nothrow))
NEW(_ZnwmSt11align_val_t, (size_t size, size_t alignment), (size, alignment))
NEW(_ZnamSt11align_val_t, (size_t size, size_t alignment), (size, alignment))
NEW(_ZnwmSt11align_val_tRKSt9nothrow_t, (size_t size, size_t alignment, const void *nothrow), (size, alignment, nothrow))
NEW(_ZnamSt11align_val_tRKSt9nothrow_t, (size_t size, size_t alignment, const void *nothrow), (size, alignment, nothrow))

DELETE(_ZdlPv, (void *block), (block))
DELETE(_ZdaPv, (void *block), (block))
DELETE(_ZdlPvm, (void *block, size_t size), (block, size))
DELETE(_ZdaPvm, (void *block, size_t size), (block, size))
DELETE(_ZdlPvRKSt9nothrow_t, (void *block, const void *nothrow), (block, nothrow))
DELETE(_ZdaPvRKSt9nothrow_t, (void *block, const void *nothrow), (block, nothrow))
DELETE(_ZdlPvSt11align_val_t, (void *block, size_t alignment), (block, alignment))
DELETE(_ZdaPvSt11align_val_t, (void *block, size_t alignment), (block, alignment))
DELETE(_ZdlPvmSt11align_val_t, (void *block, size_t size, size_t alignment), (block, size, alignment))
DELETE(_ZdaPvmSt11align_val_t, (void *block, size_t size, size_t alignment), (block, size, alignment))
DELETE(_ZdlPvSt11align_val_tRKSt9nothrow_t, (void *block, size_t alignment, const void *nothrow),
       (block, alignment, nothrow))
DELETE(_ZdaPvSt11align_val_tRKSt9nothrow_t, (void *block, size_t alignment, const void *nothrow),
       (block, alignment, nothrow))
