/* SPDX-License-Identifier: MIT
 *
 * Demangling by libiberty. It is a plain C archive, knows Rust (legacy and v0) besides C++, and hands its output to a
 * callback, so that it can be stopped. __cxa_demangle was turned down: it makes the tool depend on the C++ run-time library,
 * knows no Rust, and writes as much as a name asks for. (libiberty is LGPL; the demanglers' own sources allow linking into
 * anything.)
 *
 * Names come from files that nobody vouches for. A name of 100 characters can stand for gigabytes of output, since it may
 * refer to its own parts again and again: the callback leaves by longjmp once OUTPUT_MAX is passed (the demangler holds no
 * heap memory at that time). Recursion in C++ names is bounded by their length: libiberty's own limit would refuse every one of
 * more than 1024 characters, which is daily bread with Eigen or Boost, so it is replaced by NAME_MAX_LENGTH. A Rust name may
 * refer to itself (`_RB_0`), and libiberty's limit for those is of depth, 1024 (binutils, rust-demangle.c).
 */
#include "demangle.h"

#include <libiberty/demangle.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "xalloc.h"

#define NAME_MAX_LENGTH 4096
#define OUTPUT_MAX (64u << 10)

struct output {
	char *text;
	size_t length, room;
	jmp_buf too_long;
};

static void append(const char *bytes, size_t length, void *argument)
{
	struct output *output = argument;

	if (!length) /* then there may be no bytes either */
		return;
	if (length > OUTPUT_MAX - output->length)
		longjmp(output->too_long, 1);
	if (output->length + length >= output->room) {
		output->room = 2 * (output->length + length) + 64;
		output->text = lt_xreallocarray(output->text, output->room, 1);
	}
	memcpy(output->text + output->length, bytes, length);
	output->length += length;
	output->text[output->length] = '\0';
}

/* The state that must survive the longjmp lives with the caller. */
static __attribute__((noinline)) bool run(struct output *output, const char *name)
{
	const int options = DMGL_PARAMS | DMGL_ANSI;

	if (setjmp(output->too_long))
		return false;
	if (rust_demangle_callback(name, options, append, output))
		return true;
	output->length = 0;
	return cplus_demangle_v3_callback(name, options | DMGL_NO_RECURSE_LIMIT, append, output);
}

char *lt_demangle(const char *name)
{
	struct output output = {0};

	if (name[0] != '_' || (name[1] != 'Z' && name[1] != 'R') || strnlen(name, NAME_MAX_LENGTH + 1) > NAME_MAX_LENGTH)
		return NULL;
	if (run(&output, name) && output.length)
		return output.text;
	free(output.text);
	return NULL;
}
