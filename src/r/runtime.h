/* SPDX-License-Identifier: MIT
 *
 * Inside this room: what lt_r_locate() found, R's nodes as they lie in memory, and how to read them without trusting them.
 */
#ifndef LT_R_RUNTIME_H
#define LT_R_RUNTIME_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomic.h"
#include "r/elf.h"
#include "r/layout.h"
#include "r/r.h"

/* A node of R's heap; the same in all 64-bit versions 3.6 to 4.5. */
struct lt_r_node {
	uint64_t info;
	const struct lt_r_node *attributes;
	const struct lt_r_node *gc_next, *gc_previous;
	union {
		struct {
			const struct lt_r_node *car, *cdr, *tag;
		} list; /* LISTSXP, LANGSXP; of BCODESXP code and constants are car and cdr */
		struct {
			const struct lt_r_node *name;
		} symbol;
		struct {
			const struct lt_r_node *frame, *enclosure, *hash_table;
		} environment;
		struct {
			const struct lt_r_node *formals, *body, *environment;
		} closure;
		struct {
			const struct lt_r_node *value;
		} promise;
		struct {
			int64_t length, true_length;
		} vector; /* data follows */
	};
};
static_assert(offsetof(struct lt_r_node, list.car) == 32, "R's node header");
static_assert(offsetof(struct lt_r_node, environment.hash_table) == 48, "R's node");
#define LT_R_VECTOR_DATA 48

enum lt_r_type {
	LT_R_NIL = 0,
	LT_R_SYMBOL = 1,
	LT_R_PAIRLIST = 2,
	LT_R_CLOSURE = 3,
	LT_R_ENVIRONMENT = 4,
	LT_R_PROMISE = 5,
	LT_R_CALL = 6,
	LT_R_SPECIAL = 7,
	LT_R_BUILTIN = 8,
	LT_R_CHARS = 9,
	LT_R_LOGICAL = 10,
	LT_R_INTEGER = 13,
	LT_R_DOUBLE = 14,
	LT_R_COMPLEX = 15,
	LT_R_STRINGS = 16,
	LT_R_DOTS = 17,
	LT_R_LIST = 19,
	LT_R_EXPRESSIONS = 20,
	LT_R_BYTE_CODE = 21,
	LT_R_EXTERNAL_POINTER = 22, /* address, protected value and tag are car, cdr and tag */
	LT_R_WEAK_REFERENCE = 23,   /* a list of key, value, finalizer and the next weak reference */
	LT_R_RAW = 24,
	LT_R_OBJECT = 25,
};

enum {
	LT_R_CONTEXT_FUNCTION = 4,
	LT_R_CONTEXT_FLAGS = 0xff, /* all bits that callflag may have */
	LT_R_CAREFUL = 256,        /* one in so many walks checks everything; a power of two */
	LT_R_PROBATION = 64,       /* so many walks check each address with the kernel before it is read */
};

/* One for the process. Written by lt_r_locate() before `layout` is stored, and by lt_r_switch_off(). */
struct lt_r_runtime {
	bool present;
	uint32_t version;
	/* NULL: no R stacks. Last to be stored, with release order; pairs with the acquiring load at the start of each walk. */
	const struct lt_r_layout *layout;
	unsigned probation; /* walks that remain under probation */
	unsigned walks;
	bool judging; /* lt_r_judge(): what is kept from walk to walk is neither believed nor changed */
	uintptr_t node_limit; /* 0 under probation, else LT_R_NODE_LIMIT; see lt_r_is_node() */
	unsigned stale;     /* walks in a row that found R_GlobalContext pointing below the stack */
	uintptr_t stack_top; /* of the process's first thread */
	struct lt_r_object object;
	struct lt_r_object variables_object; /* the executable, if it holds R's variables by copy relocations; else like object */
	struct lt_r_symbol allocate_vector; /* Rf_allocVector3 */
	struct lt_r_evaluator evaluator;    /* all but byte_code */
	bool calls_hooks;

	/* R's own variables: pointers to them, for R sets them while it starts. */
	const char *const *global_context;
	const char *const *node_stack_end;
	const struct lt_r_node *const *nil, *const *in_byte_code, *const *base_namespace, *const *base_environment,
	    *const *global_environment, *const *empty_environment, *const *namespace_registry, *const *srcfile_symbol,
	    *const *class_symbol;
	/* For collect.c; any may be NULL. */
	const struct lt_r_node *const *const *protect_stack;
	const int *protect_top;
	const char *const *node_stack_top;
	const struct lt_r_node *const *parsed; /* the parser's yylval: stale, and no root of R's */
};
extern LT_HIDDEN struct lt_r_runtime lt_r;

/* No more R stacks in this process; the note, its reason, is <a><b><c> (NULL: left out). The first caller's note stays. */
void lt_r_switch_off(const char *a, const char *b, const char *c);

/* Forgets R and the note. Only while nobody walks. */
void lt_r_reset(void);

/* `size` bytes at `address` are mapped, asked of the kernel. Any context. */
bool lt_r_mapped(const void *address, size_t size);

#define LT_R_NODE_LIMIT (((uintptr_t)1 << 44) - 1)

/* May be a node: not NULL, a multiple of 8 and below 2^47, in one compare; under probation the limit is 0, and the rest of the
 * test asks the kernel. */
static inline bool lt_r_is_node(const struct lt_r_node *node)
{
	uintptr_t address = (uintptr_t)node, rotated = (address >> 3 | address << 61) - 1;

	if (lt_likely(rotated < lt_r.node_limit))
		return true;
	return lt_r.probation && rotated < LT_R_NODE_LIMIT && lt_r_mapped(node, sizeof(*node));
}

static inline enum lt_r_type lt_r_type_of(const struct lt_r_node *node)
{
	return (enum lt_r_type)(node->info & 31);
}

static inline bool lt_r_is(const struct lt_r_node *node, enum lt_r_type type)
{
	return lt_r_is_node(node) && lt_r_type_of(node) == type;
}

/* Its data does not stand behind the header (ALTREP). */
static inline bool lt_r_is_alternative(const struct lt_r_node *node)
{
	return node->info >> 7 & 1;
}

/* A vector of that type, with its data behind the header. */
static inline bool lt_r_is_plain(const struct lt_r_node *node, enum lt_r_type type)
{
	return lt_r_is(node, type) && !lt_r_is_alternative(node) && node->vector.length >= 0;
}

/* The car of a binding may hold a number rather than a pointer, or the function of an active binding. */
static inline bool lt_r_is_ordinary_binding(const struct lt_r_node *cell)
{
	return !(cell->info >> 48) && !(cell->info >> 8 & 1u << 15);
}

static inline const struct lt_r_node *lt_r_element(const struct lt_r_node *vector, int64_t i)
{
	return ((const struct lt_r_node *const *)((const char *)vector + LT_R_VECTOR_DATA))[i];
}

static inline int lt_r_integer(const struct lt_r_node *vector, int64_t i)
{
	return ((const int *)((const char *)vector + LT_R_VECTOR_DATA))[i];
}

static inline const char *lt_r_chars(const struct lt_r_node *chars)
{
	return (const char *)chars + LT_R_VECTOR_DATA;
}

static lt_always_inline const void *lt_r_field(const char *context, unsigned offset)
{
	return *(const void *const *)(context + offset);
}

/* The name of a symbol, NULL if it is none. */
static inline const char *lt_r_symbol_name(const struct lt_r_node *symbol)
{
	return lt_r_is(symbol, LT_R_SYMBOL) && lt_r_is(symbol->symbol.name, LT_R_CHARS) ? lt_r_chars(symbol->symbol.name) : NULL;
}

#endif
