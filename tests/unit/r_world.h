/* SPDX-License-Identifier: MIT
 *
 * A synthetic R in memory, for tests of versions that are not installed: nodes, environments, a registry of name spaces, and
 * execution contexts of any layout. Contexts are pushed into a buffer on the caller's stack, downwards, as R's are.
 */
#ifndef R_WORLD_H
#define R_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#include <cmocka.h>

#include "r/r.h"
#include "r/runtime.h"

typedef struct lt_r_node *node;

#define WORLD_NODES 4096
#define WORLD_CONTEXT 448
#define WORLD_NODE_STACK (300000 * 16)

struct world {
	_Alignas(16) char pool[WORLD_NODES * 64];
	size_t used;
	node nil, marker, base, base_env, global, empty, registry, srcfile, class, filename;
	_Alignas(16) char toplevel[WORLD_CONTEXT];
	const char *global_context, *node_stack_end;
	char *node_stack;
	const struct lt_r_layout *layout;
};
static struct world world;

static inline node new_bytes(enum lt_r_type type, size_t size)
{
	node n = (node)(world.pool + world.used);

	world.used += (size + 63) & ~(size_t)63;
	assert_true(world.used <= sizeof(world.pool));
	memset(n, 0, size);
	n->info = type;
	n->attributes = world.nil;
	return n;
}

static inline node new_chars(const char *text)
{
	node n = new_bytes(LT_R_CHARS, LT_R_VECTOR_DATA + strlen(text) + 1);

	n->vector.length = (int64_t)strlen(text);
	strcpy((char *)n + LT_R_VECTOR_DATA, text);
	return n;
}

static inline node new_symbol(const char *name)
{
	node n = new_bytes(LT_R_SYMBOL, sizeof(*n));

	n->symbol.name = new_chars(name);
	return n;
}

static inline node new_cell(enum lt_r_type type, node car, node cdr, node tag)
{
	node n = new_bytes(type, sizeof(*n));

	n->list.car = car;
	n->list.cdr = cdr;
	n->list.tag = tag;
	return n;
}

static inline node new_call(const char *function)
{
	return new_cell(LT_R_CALL, new_symbol(function), world.nil, world.nil);
}

/* `operator`(a, b)(), as pkg::f() */
static inline node new_operator_call(const char *operator, const char *a, const char *b)
{
	node arguments = new_cell(LT_R_PAIRLIST, new_symbol(b), world.nil, world.nil);
	node head = new_cell(LT_R_CALL, new_symbol(operator), new_cell(LT_R_PAIRLIST, new_symbol(a), arguments, world.nil), world.nil);

	return new_cell(LT_R_CALL, head, world.nil, world.nil);
}

static inline node new_list(int64_t length)
{
	node n = new_bytes(LT_R_LIST, LT_R_VECTOR_DATA + (size_t)length * 8);

	n->vector.length = length;
	for (int64_t i = 0; i < length; i++)
		((node *)((char *)n + LT_R_VECTOR_DATA))[i] = world.nil;
	return n;
}

static inline void set_element(node list, int64_t i, node value)
{
	((node *)((char *)list + LT_R_VECTOR_DATA))[i] = value;
}

static inline node new_integers(int64_t length, int fill)
{
	node n = new_bytes(LT_R_INTEGER, LT_R_VECTOR_DATA + (size_t)length * 4);

	n->vector.length = length;
	for (int64_t i = 0; i < length; i++)
		((int *)((char *)n + LT_R_VECTOR_DATA))[i] = fill;
	return n;
}

static inline void set_integer(node integers, int64_t i, int value)
{
	((int *)((char *)integers + LT_R_VECTOR_DATA))[i] = value;
}

static inline node new_string(const char *text)
{
	node n = new_list(1);

	n->info = LT_R_STRINGS;
	set_element(n, 0, new_chars(text));
	return n;
}

static inline void set_attribute(node object, node name, node value)
{
	object->attributes = new_cell(LT_R_PAIRLIST, value, (node)object->attributes, name);
}

static inline node new_environment(node enclosure, int64_t buckets)
{
	node n = new_bytes(LT_R_ENVIRONMENT, sizeof(*n));

	n->environment.frame = world.nil;
	n->environment.enclosure = enclosure;
	n->environment.hash_table = buckets ? new_list(buckets) : world.nil;
	return n;
}

static inline void bind_in(node environment, int64_t bucket, node symbol, node value)
{
	node table = (node)environment->environment.hash_table;
	node next = table == world.nil ? (node)environment->environment.frame : (node)lt_r_element(table, bucket);
	node cell = new_cell(LT_R_PAIRLIST, value, next, symbol);

	if (table == world.nil)
		environment->environment.frame = cell;
	else
		set_element(table, bucket, cell);
}

static inline node new_closure(node environment)
{
	node n = new_bytes(LT_R_CLOSURE, sizeof(*n));

	n->closure.formals = n->closure.body = world.nil;
	n->closure.environment = environment;
	return n;
}

/* A registered package: its name space, with imports between it and base's. */
static inline node new_package(const char *name, int64_t bucket)
{
	node space = new_environment(new_environment(world.base, 0), 29);

	bind_in(world.registry, bucket, new_symbol(name), space);
	return space;
}

/* A srcref of `line`; file NULL: without srcfile. `hashed`: the srcfile environment is. */
static inline node new_srcref(int line, const char *file, int hashed)
{
	node n = new_integers(8, line);

	set_attribute(n, world.class, new_string("srcref"));
	if (file) {
		node environment = new_environment(world.empty, hashed ? 29 : 0);
		uint32_t hash = 0;

		for (const char *c = "filename"; *c; c++) {
			hash = (hash << 4) + (unsigned char)*c;
			hash = (hash ^ (hash & 0xf0000000u) >> 24) & 0x0fffffffu;
		}
		bind_in(environment, hash % 29, world.filename, new_string(file));
		set_attribute(n, world.srcfile, environment);
	}
	return n;
}

static inline void put_pointer(char *context, unsigned offset, const void *value)
{
	memcpy(context + offset, &value, sizeof(value));
}

/* Pushes a context; `at` NULL: the chain stays as it is. */
static inline void push_at(char *at, unsigned flags, node call, node function)
{
	const struct lt_r_layout *l = world.layout;

	memset(at, 0, WORLD_CONTEXT);
	put_pointer(at, 0, world.global_context);
	memcpy(at + l->callflag, &flags, sizeof(flags));
	put_pointer(at, l->call, call);
	put_pointer(at, l->callfun, function);
	put_pointer(at, l->cloenv, world.global);
	put_pointer(at, l->nodestack, world.node_stack_end - 4096);
	if (l->bcprottop)
		put_pointer(at, l->bcprottop, world.node_stack_end - 4096);
	put_pointer(at, l->srcref, world.nil);
	world.global_context = at;
}

/* Contexts of one test, on its stack; the first pushed is the outermost and has the highest address. */
struct contexts {
	_Alignas(16) char memory[64][WORLD_CONTEXT];
	unsigned pushed;
};

static inline char *push(struct contexts *contexts, unsigned flags, node call, node function)
{
	char *at = contexts->memory[63 - contexts->pushed++];

	push_at(at, flags, call, function);
	return at;
}

static inline void world_create(uint32_t version)
{
	lt_r_reset();
	free(world.node_stack);
	memset(&world, 0, sizeof(world));
	world.layout = lt_r_layout_of(version);
	assert_non_null(world.layout);
	world.nil = new_bytes(LT_R_NIL, sizeof(*world.nil));
	world.nil->attributes = world.nil->list.car = world.nil->list.cdr = world.nil->list.tag = world.nil;
	world.marker = new_cell(LT_R_CALL, world.nil, world.nil, world.nil);
	world.empty = new_environment(world.nil, 0);
	world.base_env = new_environment(world.empty, 0);
	world.global = new_environment(world.base_env, 29);
	world.base = new_environment(world.global, 0);
	world.registry = new_environment(world.nil, 8);
	world.srcfile = new_symbol("srcfile");
	world.class = new_symbol("class");
	world.filename = new_symbol("filename");
	world.node_stack = malloc(WORLD_NODE_STACK);
	assert_non_null(world.node_stack);
	world.node_stack_end = world.node_stack + WORLD_NODE_STACK;
	world.global_context = world.toplevel;

	lt_r = (struct lt_r_runtime){
		.version = version,
		.layout = world.layout,
		.probation = LT_R_PROBATION,
		.stack_top = getauxval(AT_EXECFN),
		.object = { .start = (uintptr_t)world.toplevel, .end = (uintptr_t)(world.toplevel + WORLD_CONTEXT) },
		.global_context = &world.global_context,
		.node_stack_end = &world.node_stack_end,
		.nil = (void *)&world.nil,
		.in_byte_code = (void *)&world.marker,
		.base_namespace = (void *)&world.base,
		.base_environment = (void *)&world.base_env,
		.global_environment = (void *)&world.global,
		.empty_environment = (void *)&world.empty,
		.namespace_registry = (void *)&world.registry,
		.srcfile_symbol = (void *)&world.srcfile,
		.class_symbol = (void *)&world.class,
	};
}

#endif
