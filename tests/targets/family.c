/* SPDX-License-Identifier: MIT
 *
 * Each member of the malloc family once, with its own leaking function, and the frees that undo some of it.
 * The sizes are all different: by_malloc 1001 … by_strdup 1015 bytes. by_realloc_failed: a block of 1012 bytes that outlives
 * realloc calls that fail. freed(): one block by each, freed again; must leave nothing.
 * With an argument it doesn't count on what only glibc does (errno of a realloc that fails, realloc to
 * nothing, that free takes what pvalloc gave).
 */
#include "target.h"
#include <errno.h>
#include <malloc.h>
#include <stdint.h>

static void *keep[32];
static int kept;
static volatile size_t huge = PTRDIFF_MAX;
static int any_libc;

#define LEAK(name, expression) \
	SITE static void name(void) \
	{ \
		void *block = (expression); \
		REQUIRE(block); \
		keep[kept++] = block; \
		KEEP_FRAME(); \
	}

LEAK(by_malloc, malloc(1001))
LEAK(by_calloc, calloc(1, 1002))
LEAK(by_calloc_array, calloc(17, 59))                   /* 1003 */
LEAK(by_realloc_new, realloc(NULL, 1004))
LEAK(by_realloc_grown, realloc(malloc(5), 1005))
LEAK(by_realloc_shrunk, realloc(malloc(100000), 1006))
LEAK(by_reallocarray, reallocarray(malloc(1), 19, 53)) /* 1007 */
LEAK(by_posix_memalign, ({ void *aligned; posix_memalign(&aligned, 256, 1008) ? NULL : aligned; }))
LEAK(by_aligned_alloc, aligned_alloc(64, 1024 + 64))   /* 1088: C11 wants a multiple */
LEAK(by_memalign, memalign(4096, 1009))
LEAK(by_valloc, valloc(1010))
LEAK(by_pvalloc, pvalloc(1011))                         /* asks for 1011, gets a page */

SITE static void by_realloc_failed(void)
{
	char *block = malloc(1012);
	REQUIRE(block);
	memset(block, 7, 1012);
	errno = 0;
	REQUIRE(!realloc(block, huge) && (any_libc || errno == ENOMEM));
	REQUIRE(!reallocarray(block, huge, 4) && (any_libc || errno == ENOMEM));
	REQUIRE(block[0] == 7 && block[1011] == 7);
	keep[kept++] = block;
}

SITE static void by_usable_size(void)
{
	char *block = malloc(1013);
	size_t usable = malloc_usable_size(block);
	REQUIRE(usable >= 1013);
	memset(block, 1, usable);
	keep[kept++] = block;
	REQUIRE(malloc_usable_size(NULL) == 0);
}

SITE static void by_zero(void)
{
	keep[kept++] = malloc(0);
	keep[kept++] = calloc(0, 8);
}

SITE static void by_strdup(void)
{
	char text[1015];
	memset(text, 'x', sizeof text);
	text[sizeof text - 1] = 0;
	keep[kept++] = strdup(text);
}

SITE static void failing(void)
{
	void *block = NULL;
	errno = 0;
	REQUIRE(!malloc(huge) && errno == ENOMEM);
	REQUIRE(!calloc(huge, 4));
	REQUIRE(posix_memalign(&block, 3, 100) == EINVAL && !block);
	REQUIRE(posix_memalign(&block, 64, huge) == ENOMEM);
	REQUIRE(!memalign(64, huge));
	free(NULL);
}

SITE static void freed(void)
{
	free(malloc(2000));
	free(calloc(2, 1000));
	free(realloc(NULL, 2000));
	free(realloc(malloc(1), 2000));
	void *block;
	REQUIRE(!posix_memalign(&block, 128, 2000));
	free(block);
	free(aligned_alloc(128, 2048));
	free(memalign(512, 2000));
	free(valloc(2000));
	if (!any_libc)
		free(pvalloc(2000));
	free(reallocarray(NULL, 2, 1000));
	block = realloc(malloc(2000), 0);
	REQUIRE(any_libc || !block);
	free(block);
}

/* errno outlives a free, and a malloc that succeeds. */
SITE static void keeps_errno(void)
{
	errno = 1234;
	free(malloc(3000));
	REQUIRE(errno == 1234);
}

int main(int argc, char **argv)
{
	any_libc = argc > 1;
	by_malloc();
	by_calloc();
	by_calloc_array();
	by_realloc_new();
	by_realloc_grown();
	by_realloc_shrunk();
	by_reallocarray();
	by_posix_memalign();
	by_aligned_alloc();
	by_memalign();
	by_valloc();
	by_pvalloc();
	by_realloc_failed();
	by_usable_size();
	by_zero();
	by_strdup();
	failing();
	freed();
	keeps_errno();
	return 0;
}
