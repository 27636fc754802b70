/* SPDX-License-Identifier: MIT
 *
 * Memory that is there or ends the program; see the header.
 */
#include "xalloc.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static _Noreturn void out_of_memory(void)
{
	fputs("leaktrace: out of memory\n", stderr);
	_Exit(2);
}

void *lt_xmalloc(size_t size)
{
	void *block = malloc(size ? size : 1);

	if (!block)
		out_of_memory();
	return block;
}

void *lt_xcalloc(size_t count, size_t size)
{
	void *block = calloc(count ? count : 1, size ? size : 1);

	if (!block)
		out_of_memory();
	return block;
}

void *lt_xreallocarray(void *block, size_t count, size_t size)
{
	block = reallocarray(block, count ? count : 1, size ? size : 1);
	if (!block)
		out_of_memory();
	return block;
}

char *lt_xstrdup(const char *text)
{
	size_t size = strlen(text) + 1;

	return memcpy(lt_xmalloc(size), text, size);
}

char *lt_xasprintf(const char *format, ...)
{
	char *text;
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vasprintf(&text, format, arguments);
	va_end(arguments);
	if (length < 0)
		out_of_memory();
	return text;
}
