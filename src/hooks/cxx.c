/* SPDX-License-Identifier: MIT
 *
 * C++ operators new and delete, in all forms, under their Itanium ABI names. libstdc++'s call malloc and free, whose hooks do
 * the recording (and the stack shows the operator); those of an allocator (tcmalloc's, the program's own in a library) may not,
 * and then these hooks record.
 *
 * The real operator is the next after ours, or, where the C++ library was loaded RTLD_LOCAL (an R package's), the first that a
 * loaded object defines: looked up when an operator is first called, in the objects' own tables. new may throw through us: no
 * guard is held while it runs.
 */
#include "base/log.h"
#include "hooks/real.h"
#include "trace/record.h"
#include <stdlib.h>

#define EXPORT __attribute__((visibility("default")))

static __attribute__((noinline, cold)) void *find(const char *name, void **real)
{
	lt_real_init();
	void *found = dlsym(RTLD_NEXT, name);
	if (!found)
		found = lt_elf_find(name);
	if (!found) {
		lt_warn("no definition behind ", name, NULL);
		abort();
	}
	lt_store_release(real, found); /* pairs with the acquire in REAL */
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
		lt_thread.last_new = 0;                                                \
		void *block = real arguments;                                          \
		if (block && lt_recording() && lt_thread.last_new != lt_veiled(block)) \
			lt_record_alloc(block, size, __builtin_return_address(0));     \
		return block;                                                          \
	}

#define DELETE(name, parameters, arguments)                        \
	EXPORT void name parameters;                               \
	EXPORT void name parameters                                \
	{                                                          \
		REAL(name);                                        \
		if (block && lt_recording()) {                     \
			lt_record_free(block);                     \
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
