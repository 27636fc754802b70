/* SPDX-License-Identifier: MIT
 *
 * Memory for the command-line tool: every call succeeds or ends the program.
 *
 * A report that ran out of memory has no useful partial result, so one message and exit status 2 replace a check at each
 * call. Input never decides a size alone: the reader bounds every count by the size of its file before it comes here.
 */
#ifndef LT_XALLOC_H
#define LT_XALLOC_H

#include <stddef.h>
#include <stdlib.h>

void *lt_xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *lt_xcalloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *lt_xreallocarray(void *block, size_t count, size_t size) __attribute__((returns_nonnull));
char *lt_xstrdup(const char *text) __attribute__((malloc, returns_nonnull));
char *lt_xasprintf(const char *format, ...) __attribute__((malloc, returns_nonnull, format(printf, 1, 2)));

/* Makes room for one more element in a growing array of `used` elements, of `room` in all. */
#define LT_GROW(array, used, room)                                                                      \
	do {                                                                                            \
		if ((used) >= (room)) {                                                                 \
			(room) = (room) ? (room) * 2 : 16;                                              \
			(array) = lt_xreallocarray((array), (room), sizeof *(array));                   \
		}                                                                                       \
	} while (0)

static inline void lt_xfree(void *pointer)
{
	free(*(void **)pointer);
}
#define LT_AUTO_FREE __attribute__((cleanup(lt_xfree)))

#endif
