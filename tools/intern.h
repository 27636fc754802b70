/* SPDX-License-Identifier: MIT
 *
 * What all dumps share: strings, modules, native and R stacks, each known once under a dense number.
 *
 * Numbers count from 1 in the order of arrival; 0 is "none" or the root of a trie. They differ with the order of inputs, so
 * nothing that a user sees may depend on them. Memory grows with distinct values only.
 */
#ifndef LT_INTERN_H
#define LT_INTERN_H

#include <leaktrace/dump-format.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An open hash table of numbers; the values stay with its user. At most half full, linear probing, no deletion. */
struct lt_index {
	struct lt_index_slot {
		uint32_t hash, id; /* id 0: empty */
	} *slots;
	uint32_t mask, used;
};

struct lt_bytes {
	const char *text; /* followed by a NUL */
	uint32_t length;
};

struct lt_module {
	uint32_t path; /* string */
	uint32_t flags; /* of all records seen, or-ed */
	uint32_t build_id_size;
	uint8_t build_id[LEAKTRACE_BUILD_ID_MAX];
};

struct lt_rnode {
	uint32_t parent, call, namespace, file, line;
};

struct lt_intern {
	struct lt_bytes *strings;
	struct lt_module *modules;
	struct leaktrace_frame *frames;
	struct lt_rnode *rframes;
	uint32_t string_count, module_count, frame_count, rframe_count; /* number 0 included */
	size_t string_room, module_room, frame_room, rframe_room;
	struct lt_index string_index, module_index, frame_index, rframe_index;
	struct lt_arena_block *arena;
};

struct lt_intern *lt_intern_new(void);
void lt_intern_free(struct lt_intern *intern);

uint32_t lt_intern_string(struct lt_intern *intern, const char *bytes, uint32_t length);
uint32_t lt_intern_module(struct lt_intern *intern, uint32_t path, uint32_t flags, const uint8_t *build_id, uint32_t size);
uint32_t lt_intern_frame(struct lt_intern *intern, uint32_t parent, uint32_t module, uint64_t offset);
uint32_t lt_intern_rframe(struct lt_intern *intern, const struct lt_rnode *node);

/* "" for number 0. */
const char *lt_intern_text(const struct lt_intern *intern, uint32_t string);

/* Order by contents, the same whatever the numbers: innermost frames first. */
int lt_intern_compare_strings(const struct lt_intern *intern, uint32_t a, uint32_t b);
int lt_intern_compare_native(const struct lt_intern *intern, uint32_t a, uint32_t b);
int lt_intern_compare_r(const struct lt_intern *intern, uint32_t a, uint32_t b);

/* For other tables of the same make: visits the ids filed under `hash`; 0 ends. *cursor starts as `hash`. */
static inline uint32_t lt_index_next(const struct lt_index *index, uint32_t hash, uint32_t *cursor)
{
	if (!index->slots)
		return 0;
	for (;; (*cursor)++) {
		const struct lt_index_slot *slot = &index->slots[*cursor & index->mask];

		if (!slot->id)
			return 0;
		if (slot->hash == hash) {
			(*cursor)++;
			return slot->id;
		}
	}
}

void lt_index_add(struct lt_index *index, uint32_t hash, uint32_t id);

static inline uint32_t lt_hash_mix(uint64_t a, uint64_t b)
{
	uint64_t x = a * UINT64_C(0x9e3779b97f4a7c15) ^ b;

	x ^= x >> 32;
	x *= UINT64_C(0xd6e8feb86659fd93);
	x ^= x >> 32;
	x *= UINT64_C(0xd6e8feb86659fd93);
	return (uint32_t)(x ^ x >> 32);
}

#endif
