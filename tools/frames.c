/* SPDX-License-Identifier: MIT
 *
 * From nodes of the native trie to named frames.
 */
#include "frames.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "allocators.h"
#include "xalloc.h"

/* A hidden helper of an allocator: so many hidden frames may lie inside a known allocator of the same module. */
#define HIDDEN_HELPERS 3

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

const char *lt_frame_name(const struct lt_shown_frame *frame)
{
	return frame->function ? frame->function : frame->label;
}

const struct lt_shown_frame *lt_stack_function(const struct lt_stack *stack)
{
	return stack->count ? &stack->frames[stack->function] : NULL;
}

static void make_label(struct lt_shown_frame *frame, uint64_t start)
{
	/* The return address lies behind the call: the call itself is what a disassembler is asked for. */
	uint64_t place = start ? start : frame->offset ? frame->offset - 1 : 0;

	if (*frame->module)
		snprintf(frame->label, sizeof frame->label, "%.60s+0x%" PRIx64, frame->module, place);
	else
		snprintf(frame->label, sizeof frame->label, "0x%" PRIx64, frame->offset);
}

static void add_frames(struct lt_symbols *symbols, const struct lt_intern *intern, uint32_t native, struct lt_stack *stack,
		       size_t *room)
{
	const struct leaktrace_frame *node = &intern->frames[native];
	const struct lt_module *module = &intern->modules[node->module];
	const char *path = lt_intern_text(intern, module->path);
	const struct lt_symbol_frame *found = NULL;
	size_t n = 0;

	if (node->module)
		found = lt_symbols_lookup(symbols, path, module->build_id, module->build_id_size, node->offset, &n);
	for (size_t i = 0; i < (n ? n : 1); i++) {
		struct lt_shown_frame *frame;

		LT_GROW(stack->frames, stack->count, *room);
		frame = &stack->frames[stack->count++];
		*frame = (struct lt_shown_frame){.path = path, .module = last_part(path), .offset = node->offset,
						 .level = stack->levels};
		frame->r = module->flags & LEAKTRACE_MODULE_R || strncmp(frame->module, "libR.so", 7) == 0;
		if (n) {
			frame->function = found[i].function;
			frame->file = found[i].file;
			frame->line = found[i].file ? found[i].line : 0;
			frame->inlined = found[i].inlined;
		}
		make_label(frame, n ? found[i].start : 0);
		/* The tracer's own frames are on no stack; should one be, it names nothing. */
		if (module->flags & LEAKTRACE_MODULE_TRACER && stack->function + 1 == stack->count)
			stack->function++;
	}
	stack->levels++;
}

/* Index of the innermost frame that is no allocator. A frame without a name that a known allocator of its module called (R's
 * page and vector code in a stripped libR) belongs to the allocator. */
static size_t find_function(const struct lt_stack *stack, size_t i)
{
	while (i < stack->count) {
		const struct lt_shown_frame *frame = &stack->frames[i];
		size_t outer = i;

		while (outer < stack->count && outer - i < HIDDEN_HELPERS && !stack->frames[outer].function &&
		       stack->frames[outer].path == frame->path)
			outer++;
		if (outer >= stack->count || !stack->frames[outer].function || stack->frames[outer].path != frame->path ||
		    !lt_allocator(stack->frames[outer].function))
			return i;
		i = outer + 1;
	}
	return 0; /* nothing but allocators */
}

static unsigned find_depth(const struct lt_stack *stack)
{
	const struct lt_shown_frame *function = &stack->frames[stack->function];

	if (!function->r)
		for (size_t i = stack->function; i < stack->count; i++)
			if (stack->frames[i].r)
				return stack->frames[i].level - function->level;
	for (size_t i = stack->function; i < stack->count; i++)
		if (stack->frames[i].function && strcmp(stack->frames[i].function, "main") == 0)
			return stack->frames[i].level - function->level + 1;
	return stack->levels - function->level;
}

void lt_stack_make(struct lt_symbols *symbols, const struct lt_intern *intern, uint32_t native, struct lt_stack *stack)
{
	size_t room = 0;

	memset(stack, 0, sizeof *stack);
	for (; native; native = intern->frames[native].parent)
		add_frames(symbols, intern, native, stack, &room);
	if (!stack->count)
		return;
	stack->function = find_function(stack, stack->function < stack->count ? stack->function : 0);
	stack->depth = find_depth(stack);
}

void lt_stack_clear(struct lt_stack *stack)
{
	free(stack->frames);
	memset(stack, 0, sizeof *stack);
}
