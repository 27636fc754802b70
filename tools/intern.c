/* SPDX-License-Identifier: MIT
 *
 * Interning. Millions of frames pass through here for each thousand dumps, so the tables are flat: 8 bytes a slot with the
 * hash in it (growing touches no value), values in one array per sort. uthash would add 56 bytes to each 16-byte frame; it
 * serves the small tables elsewhere.
 */
#include "intern.h"

#include <string.h>

#include "xalloc.h"

#define ARENA_BLOCK (256u << 10)

struct lt_arena_block {
	struct lt_arena_block *next;
	size_t used, size;
	char bytes[];
};

static char *arena_take(struct lt_intern *intern, size_t size)
{
	struct lt_arena_block *block = intern->arena;
	char *bytes;

	if (!block || block->size - block->used < size) {
		size_t room = size > ARENA_BLOCK ? size : ARENA_BLOCK;

		block = lt_xmalloc(sizeof *block + room);
		block->next = intern->arena;
		block->used = 0;
		block->size = room;
		intern->arena = block;
	}
	bytes = block->bytes + block->used;
	block->used += size;
	return bytes;
}

static void index_put(struct lt_index *index, uint32_t hash, uint32_t id)
{
	uint32_t place = hash;

	while (index->slots[place & index->mask].id)
		place++;
	index->slots[place & index->mask] = (struct lt_index_slot){hash, id};
}

void lt_index_add(struct lt_index *index, uint32_t hash, uint32_t id)
{
	if (!index->slots || index->used >= index->mask / 2) {
		struct lt_index_slot *old = index->slots;
		uint32_t old_mask = index->mask;

		index->mask = old ? old_mask * 2 + 1 : 255;
		index->slots = lt_xcalloc((size_t)index->mask + 1, sizeof *index->slots);
		for (size_t i = 0; old && i <= old_mask; i++)
			if (old[i].id)
				index_put(index, old[i].hash, old[i].id);
		free(old);
	}
	index_put(index, hash, id);
	index->used++;
}

struct lt_intern *lt_intern_new(void)
{
	struct lt_intern *intern = lt_xcalloc(1, sizeof *intern);

	LT_GROW(intern->strings, intern->string_count, intern->string_room);
	LT_GROW(intern->modules, intern->module_count, intern->module_room);
	LT_GROW(intern->frames, intern->frame_count, intern->frame_room);
	LT_GROW(intern->rframes, intern->rframe_count, intern->rframe_room);
	intern->strings[0] = (struct lt_bytes){"", 0};
	memset(&intern->modules[0], 0, sizeof *intern->modules);
	memset(&intern->frames[0], 0, sizeof *intern->frames);
	memset(&intern->rframes[0], 0, sizeof *intern->rframes);
	intern->string_count = intern->module_count = intern->frame_count = intern->rframe_count = 1;
	return intern;
}

void lt_intern_free(struct lt_intern *intern)
{
	if (!intern)
		return;
	while (intern->arena) {
		struct lt_arena_block *next = intern->arena->next;

		free(intern->arena);
		intern->arena = next;
	}
	free(intern->strings);
	free(intern->modules);
	free(intern->frames);
	free(intern->rframes);
	free(intern->string_index.slots);
	free(intern->module_index.slots);
	free(intern->frame_index.slots);
	free(intern->rframe_index.slots);
	free(intern);
}

static uint32_t hash_bytes(const void *data, size_t size, uint32_t seed)
{
	const unsigned char *bytes = data;
	uint64_t hash = UINT64_C(14695981039346656037) ^ seed;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ bytes[i]) * UINT64_C(1099511628211);
	return (uint32_t)(hash ^ hash >> 32);
}

uint32_t lt_intern_string(struct lt_intern *intern, const char *bytes, uint32_t length)
{
	uint32_t hash = hash_bytes(bytes, length, 0), cursor = hash, id;
	char *copy;

	while ((id = lt_index_next(&intern->string_index, hash, &cursor))) {
		const struct lt_bytes *known = &intern->strings[id];

		if (known->length == length && memcmp(known->text, bytes, length) == 0)
			return id;
	}
	copy = arena_take(intern, (size_t)length + 1);
	memcpy(copy, bytes, length);
	copy[length] = '\0';
	LT_GROW(intern->strings, intern->string_count, intern->string_room);
	id = intern->string_count++;
	intern->strings[id] = (struct lt_bytes){copy, length};
	lt_index_add(&intern->string_index, hash, id);
	return id;
}

uint32_t lt_intern_module(struct lt_intern *intern, uint32_t path, uint32_t flags, const uint8_t *build_id, uint32_t size)
{
	uint32_t hash, cursor, id;
	struct lt_module *module;

	if (size > LEAKTRACE_BUILD_ID_MAX)
		size = 0;
	hash = cursor = hash_bytes(build_id, size, path);
	while ((id = lt_index_next(&intern->module_index, hash, &cursor))) {
		module = &intern->modules[id];
		if (module->path != path || module->build_id_size != size || (size && memcmp(module->build_id, build_id, size)))
			continue;
		module->flags |= flags;
		return id;
	}
	LT_GROW(intern->modules, intern->module_count, intern->module_room);
	id = intern->module_count++;
	module = &intern->modules[id];
	memset(module, 0, sizeof *module);
	module->path = path;
	module->flags = flags;
	module->build_id_size = size;
	if (size)
		memcpy(module->build_id, build_id, size);
	lt_index_add(&intern->module_index, hash, id);
	return id;
}

uint32_t lt_intern_frame(struct lt_intern *intern, uint32_t parent, uint32_t module, uint64_t offset)
{
	uint32_t hash = lt_hash_mix((uint64_t)parent << 32 | module, offset), cursor = hash, id;

	while ((id = lt_index_next(&intern->frame_index, hash, &cursor))) {
		const struct leaktrace_frame *frame = &intern->frames[id];

		if (frame->offset == offset && frame->parent == parent && frame->module == module)
			return id;
	}
	LT_GROW(intern->frames, intern->frame_count, intern->frame_room);
	id = intern->frame_count++;
	intern->frames[id] = (struct leaktrace_frame){.offset = offset, .parent = parent, .module = module};
	lt_index_add(&intern->frame_index, hash, id);
	return id;
}

uint32_t lt_intern_rframe(struct lt_intern *intern, const struct lt_rnode *node)
{
	uint32_t hash = lt_hash_mix((uint64_t)node->parent << 32 | node->call,
				    (uint64_t)node->namespace << 48 ^ (uint64_t)node->file << 24 ^ node->line);
	uint32_t cursor = hash, id;

	while ((id = lt_index_next(&intern->rframe_index, hash, &cursor)))
		if (memcmp(&intern->rframes[id], node, sizeof *node) == 0)
			return id;
	LT_GROW(intern->rframes, intern->rframe_count, intern->rframe_room);
	id = intern->rframe_count++;
	intern->rframes[id] = *node;
	lt_index_add(&intern->rframe_index, hash, id);
	return id;
}

const char *lt_intern_text(const struct lt_intern *intern, uint32_t string)
{
	return intern->strings[string].text;
}

int lt_intern_compare_strings(const struct lt_intern *intern, uint32_t a, uint32_t b)
{
	const struct lt_bytes *x = &intern->strings[a], *y = &intern->strings[b];
	int order;

	if (a == b)
		return 0;
	order = memcmp(x->text, y->text, x->length < y->length ? x->length : y->length);
	return order ? order : x->length < y->length ? -1 : x->length > y->length;
}

static int compare_modules(const struct lt_intern *intern, uint32_t a, uint32_t b)
{
	const struct lt_module *x = &intern->modules[a], *y = &intern->modules[b];
	int order;

	if (a == b)
		return 0;
	order = lt_intern_compare_strings(intern, x->path, y->path);
	if (order)
		return order;
	if (x->build_id_size != y->build_id_size)
		return x->build_id_size < y->build_id_size ? -1 : 1;
	return memcmp(x->build_id, y->build_id, x->build_id_size);
}

int lt_intern_compare_native(const struct lt_intern *intern, uint32_t a, uint32_t b)
{
	while (a != b) {
		const struct leaktrace_frame *x = &intern->frames[a], *y = &intern->frames[b];
		int order;

		if (!a || !b)
			return a ? 1 : -1;
		order = compare_modules(intern, x->module, y->module);
		if (order)
			return order;
		if (x->offset != y->offset)
			return x->offset < y->offset ? -1 : 1;
		a = x->parent;
		b = y->parent;
	}
	return 0;
}

int lt_intern_compare_r(const struct lt_intern *intern, uint32_t a, uint32_t b)
{
	while (a != b) {
		const struct lt_rnode *x = &intern->rframes[a], *y = &intern->rframes[b];
		int order;

		if (!a || !b)
			return a ? 1 : -1;
		if ((order = lt_intern_compare_strings(intern, x->call, y->call)) ||
		    (order = lt_intern_compare_strings(intern, x->namespace, y->namespace)) ||
		    (order = lt_intern_compare_strings(intern, x->file, y->file)))
			return order;
		if (x->line != y->line)
			return x->line < y->line ? -1 : 1;
		a = x->parent;
		b = y->parent;
	}
	return 0;
}
