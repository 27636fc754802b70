/* SPDX-License-Identifier: MIT
 *
 * The malloc family. Each hook: the real function under the thread's guard (what that calls itself is its own business, also
 * where a preloaded allocator calls back into the family), then the record. A block is taken out of the table before the real
 * free or realloc, for another thread may get its address at once; a realloc that fails puts it back.
 */
#include "base/sys.h"
#include "hooks/real.h"
#include "trace/record.h"
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define CALLER __builtin_return_address(0)

/* C23; not in glibc 2.36 */
void free_sized(void *block, size_t size);
void free_aligned_sized(void *block, size_t alignment, size_t size);
void cfree(void *block);

static inline bool ready(const void *function)
{
	if (lt_likely(function != NULL))
		return true;
	lt_real_init();
	return false;
}

/* The real function is known now, or we are inside dlsym. */
#define BOOTSTRAP(function, size, alignment)                            \
	do {                                                            \
		if (!ready((const void *)lt_real.function) && !lt_real.function) \
			return lt_bootstrap_alloc(size, alignment);     \
	} while (0)

#define GUARDED(result, call)       \
	do {                        \
		lt_thread.depth++;  \
		(result) = (call);  \
		lt_thread.depth--;  \
	} while (0)

EXPORT void *malloc(size_t size)
{
	void *block;
	BOOTSTRAP(malloc, size, 16);
	if (!lt_recording())
		return lt_real.malloc(size);
	GUARDED(block, lt_real.malloc(size));
	if (block)
		lt_record_alloc(block, size, CALLER);
	return block;
}

EXPORT void *calloc(size_t n, size_t size)
{
	void *block;
	size_t bytes;
	if (lt_unlikely(__builtin_mul_overflow(n, size, &bytes)))
		bytes = SIZE_MAX; /* no allocator has that much, but each sets errno by itself */
	BOOTSTRAP(calloc, bytes, 16);
	if (!lt_recording())
		return lt_real.calloc(n, size);
	GUARDED(block, lt_real.calloc(n, size));
	if (block)
		lt_record_alloc(block, bytes, CALLER);
	return block;
}

EXPORT void free(void *block)
{
	if (!block || lt_bootstrap_owns(block))
		return;
	ready((const void *)lt_real.free);
	if (!lt_recording()) {
		lt_real.free(block);
		return;
	}
	lt_record_free(block);
	lt_thread.depth++;
	lt_real.free(block);
	lt_thread.depth--;
}

EXPORT void free_sized(void *block, size_t size)
{
	free(block);
}

EXPORT void free_aligned_sized(void *block, size_t alignment, size_t size)
{
	free(block);
}

EXPORT void cfree(void *block)
{
	free(block);
}

/* A block of the bootstrap arena moves to the real heap. */
static void *leave_bootstrap(void *old, size_t size, void *caller)
{
	size_t old_size = lt_bootstrap_size(old);
	void *block;
	BOOTSTRAP(malloc, size, 16);
	GUARDED(block, lt_real.malloc(size));
	if (!block)
		return NULL;
	memcpy(block, old, size < old_size ? size : old_size);
	if (lt_recording())
		lt_record_alloc(block, size, caller);
	return block;
}

static void *do_realloc(void *old, size_t size, void *caller)
{
	void *block;
	struct lt_taken taken = { 0 };
	if (old)
		lt_record_take(old, &taken);
	GUARDED(block, lt_real.realloc(old, size));
	if (!block && size) {
		lt_record_put_back(&taken);
		return NULL;
	}
	lt_record_taken_freed(&taken); /* glibc: realloc(p, 0) frees and returns NULL */
	if (block)
		lt_record_alloc(block, size, caller);
	return block;
}

EXPORT void *realloc(void *old, size_t size)
{
	if (lt_unlikely(lt_bootstrap_owns(old)))
		return leave_bootstrap(old, size, CALLER);
	BOOTSTRAP(realloc, size, 16);
	if (!lt_recording())
		return lt_real.realloc(old, size);
	return do_realloc(old, size, CALLER);
}

EXPORT void *reallocarray(void *old, size_t n, size_t size)
{
	size_t bytes;
	if (__builtin_mul_overflow(n, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	if (lt_unlikely(lt_bootstrap_owns(old)))
		return leave_bootstrap(old, bytes, CALLER);
	BOOTSTRAP(realloc, bytes, 16);
	if (!lt_recording())
		return lt_real.realloc(old, bytes);
	return do_realloc(old, bytes, CALLER);
}

EXPORT int posix_memalign(void **block, size_t alignment, size_t size)
{
	int error;
	if (!ready((const void *)lt_real.posix_memalign) && !lt_real.posix_memalign) {
		void *early = lt_bootstrap_alloc(size, alignment);
		if (early)
			*block = early;
		return early ? 0 : ENOMEM;
	}
	if (!lt_recording())
		return lt_real.posix_memalign(block, alignment, size);
	GUARDED(error, lt_real.posix_memalign(block, alignment, size));
	if (!error && *block)
		lt_record_alloc(*block, size, CALLER);
	return error;
}

EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
	void *block;
	BOOTSTRAP(aligned_alloc, size, alignment);
	if (!lt_recording())
		return lt_real.aligned_alloc(alignment, size);
	GUARDED(block, lt_real.aligned_alloc(alignment, size));
	if (block)
		lt_record_alloc(block, size, CALLER);
	return block;
}

EXPORT void *memalign(size_t alignment, size_t size)
{
	void *block;
	BOOTSTRAP(memalign, size, alignment);
	if (!lt_recording())
		return lt_real.memalign(alignment, size);
	GUARDED(block, lt_real.memalign(alignment, size));
	if (block)
		lt_record_alloc(block, size, CALLER);
	return block;
}

EXPORT void *valloc(size_t size)
{
	void *block;
	BOOTSTRAP(valloc, size, 4096);
	if (!lt_recording())
		return lt_real.valloc(size);
	GUARDED(block, lt_real.valloc(size));
	if (block)
		lt_record_alloc(block, size, CALLER);
	return block;
}

EXPORT void *pvalloc(size_t size)
{
	void *block;
	BOOTSTRAP(pvalloc, size, 4096);
	if (!lt_recording())
		return lt_real.pvalloc(size);
	GUARDED(block, lt_real.pvalloc(size));
	if (block)
		lt_record_alloc(block, size, CALLER);
	return block;
}

EXPORT size_t malloc_usable_size(void *block)
{
	if (!block)
		return 0;
	if (lt_bootstrap_owns(block))
		return lt_bootstrap_size(block);
	ready((const void *)lt_real.malloc_usable_size);
	return lt_real.malloc_usable_size ? lt_real.malloc_usable_size(block) : 0;
}
