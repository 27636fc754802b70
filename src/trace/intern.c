/* SPDX-License-Identifier: MIT
 *
 * Four tables (see table.h) over sequences of the dump, all written under intern_lock (rank 2), read without:
 *   by_address  (parent node, return address) -> node: the fast way, forgotten when code is unloaded
 *   by_offset   (parent node, module and offset) -> node: the truth, outlives dlclose and another load address
 *   by_call     (parent node, hash of the call's identity) -> R node
 *   by_stacks   (native node, R node) -> site
 * and strings by content. Nodes and sites number from 1; site ids of a fork child go on from its parent's, so that an id says
 * whether a block was inherited.
 *
 * Identity of an R call: the addresses of the symbols' names (never collected), the file's string reference, the line.
 * The keys are 64-bit hashes of that; a collision would need 2^32 call sites.
 *
 * Failure: 0, when the dump or memory is full; the caller drops the allocation and counts it. There is room in a table before
 * anything is appended to the dump, and what finds no room there comes into no table: the tables are as large as the dump lets them be.
 */
#include "trace/intern.h"
#include "base/lock.h"
#include "dump/dump.h"
#include "trace/modules.h"
#include "trace/table.h"
#include <errno.h>
#include <string.h>

#define LOCK_PATIENCE_NS 200000000

static struct lt_lock intern_lock;
struct lt_table lt_intern_by_address, lt_intern_by_stacks;
static struct lt_table by_offset, by_call, strings;
static bool several_stripes; /* there are, or were, sites of others than the first */
static struct lt_records frames = { .type = LEAKTRACE_CHUNK_FRAMES, .record_size = sizeof(struct leaktrace_frame), .next = 1 };
static struct lt_records rframes = { .type = LEAKTRACE_CHUNK_RFRAMES,
	                             .record_size = sizeof(struct leaktrace_rframe),
	                             .next = 1 };
static struct lt_records sites = { .type = LEAKTRACE_CHUNK_SITES,
	                           .record_size = sizeof(struct leaktrace_site),
	                           .next = 1 };
uint32_t lt_site_lowest = 1;
struct leaktrace_site **lt_site_leaves[LT_SITE_LEAVES];

static uint64_t hash_bytes(const char *bytes, size_t length)
{
	uint64_t h = 0xcbf29ce484222325ULL ^ length;
	for (size_t i = 0; i < length; i++)
		h = (h ^ (unsigned char)bytes[i]) * 0x100000001b3ULL;
	return h ^ h >> 29;
}

static uint32_t intern_string(const char *bytes, size_t length, bool bounded)
{
	if (!length)
		return 0;
	uint64_t hash = hash_bytes(bytes, length), a = hash & LT_TABLE_KEY_MAX, b = (hash * 0x9e3779b97f4a7c15ULL + length) >> 16;
	uint32_t found = lt_table_find(&strings, a, b);
	if (found)
		return found;
	if (!bounded)
		lt_lock(&intern_lock);
	else if (lt_lock_until(&intern_lock, lt_sys_clock(CLOCK_MONOTONIC) + LT_LOCK_PATIENCE_NS))
		return 0;
	found = lt_table_find(&strings, a, b);
	if (!found) {
		int error = lt_table_reserve(&strings);
		found = lt_dump_string(bytes, length, bounded);
		if (found && !error)
			lt_table_put(&strings, a, b, found);
	}
	lt_unlock(&intern_lock);
	return found;
}

uint32_t lt_intern_string(const char *bytes, size_t length)
{
	return intern_string(bytes, length, false);
}

uint32_t lt_intern_string_bounded(const char *bytes, size_t length)
{
	return intern_string(bytes, length, true);
}

static uint32_t frame_slowly(uint32_t parent, uintptr_t pc, bool unsure)
{
	uint64_t offset;
	uint32_t module = lt_modules_find(pc, &offset); /* rank 1, and the loader's: before our lock */
	uint64_t place = (uint64_t)parent << 16 | module;
	if (offset > LT_TABLE_KEY_MAX || module > UINT16_MAX)
		return 0;
	lt_lock(&intern_lock);
	uint32_t node = lt_table_find(&by_offset, offset, place);
	if (!node && !lt_table_reserve(&by_offset)) {
		struct leaktrace_frame *frame = lt_dump_append(&frames);
		if (frame) {
			*frame = (struct leaktrace_frame){ .offset = offset, .parent = parent, .module = module };
			node = (uint32_t)frames.next;
			lt_dump_commit(&frames);
			lt_table_put(&by_offset, offset, place, node);
		}
	}
	if (node && !unsure && !lt_table_find(&lt_intern_by_address, pc, parent))
		lt_table_add(&lt_intern_by_address, pc, parent, node);
	lt_unlock(&intern_lock);
	return node;
}

uint32_t lt_intern_frame_slowly(uint32_t parent, uintptr_t pc)
{
	int saved = errno;
	uint32_t node = frame_slowly(parent, pc, false);
	errno = saved;
	return node;
}

uint32_t lt_intern_native(const uintptr_t *pcs, unsigned n)
{
	uint32_t node = 0;
	do
		node = n ? lt_intern_frame(node, pcs[--n]) : 0;
	while (n && node);
	return node;
}

uint32_t lt_intern_anew(const uintptr_t *pcs, unsigned n)
{
	uint32_t node = 0;
	do
		node = n ? frame_slowly(node, pcs[--n], true) : 0;
	while (n && node);
	return node;
}

/* Code may be at addresses where other code was. The stack's own is not unloaded meanwhile. */
uint32_t lt_intern_unsure(struct lt_stack *stack)
{
	int saved = errno;
	uint32_t node = 0, first = stack->first;
	lt_modules_refresh();
	stack->known = 0;
	for (uint32_t i = first; i < lt_stack_count(stack) && (i == first || node); i++)
		node = frame_slowly(node, stack->frames[i].pc, true);
	errno = saved;
	return node;
}

/* Two keys of a table: all of the identity, and the parent. */
static uint64_t first_key(uint64_t identity)
{
	return identity & LT_TABLE_KEY_MAX;
}

static uint64_t second_key(uint64_t identity, uint32_t parent)
{
	return identity >> 48 << 32 | parent;
}

static uint32_t intern_call_slowly(uint32_t parent, const struct lt_r_call *call, uint32_t file, uint64_t identity)
{
	uint32_t name = lt_intern_string(call->call, strnlen(call->call, LEAKTRACE_NAME_MAX));
	uint32_t namespace = call->namespace ? lt_intern_string(call->namespace, strnlen(call->namespace, LEAKTRACE_NAME_MAX)) : 0;
	lt_lock(&intern_lock);
	uint32_t node = lt_table_find(&by_call, first_key(identity), second_key(identity, parent));
	if (!node && !lt_table_reserve(&by_call)) {
		struct leaktrace_rframe *frame = lt_dump_append(&rframes);
		if (frame) {
			*frame = (struct leaktrace_rframe){
				.parent = parent, .call = name, .namespace = namespace, .file = file, .line = call->line,
			};
			node = (uint32_t)rframes.next;
			lt_dump_commit(&rframes);
			lt_table_put(&by_call, first_key(identity), second_key(identity, parent), node);
		}
	}
	lt_unlock(&intern_lock);
	return node;
}

uint32_t lt_intern_r_call(uint32_t parent, const struct lt_r_call *call)
{
	uint32_t file = call->file ? lt_intern_string(call->file, strnlen(call->file, LEAKTRACE_NAME_MAX)) : 0;
	uint64_t identity = (uintptr_t)call->call * 0x9fb21c651e98df25ULL;
	identity = (identity ^ identity >> 31 ^ (uintptr_t)call->namespace) * 0xd6e8feb86659fd93ULL;
	identity = (identity ^ identity >> 31 ^ ((uint64_t)file << 32 | call->line)) * 0x9e3779b97f4a7c15ULL;
	uint32_t node = lt_table_find(&by_call, first_key(identity), second_key(identity, parent));
	return lt_likely(node) ? node : intern_call_slowly(parent, call, file, identity);
}

uint32_t lt_intern_r(const struct lt_r_call *calls, unsigned n)
{
	uint32_t node = 0;
	do
		node = n ? lt_intern_r_call(node, &calls[--n]) : 0;
	while (n && node);
	return node;
}

/* The other part of a leaf: the first id of the same stacks, for each. */
static uint32_t *first_of(uint32_t id)
{
	return (uint32_t *)(void *)(lt_site_leaves[id / LT_SITE_LEAF] + LT_SITE_LEAF) + id % LT_SITE_LEAF;
}

uint32_t lt_site_first_of(uint32_t id)
{
	return *first_of(id);
}

uint32_t lt_intern_site_of_any(uint32_t native, uint32_t r)
{
	for (uint32_t i = 0; i < LT_SITE_STRIPES && lt_load_relaxed(&several_stripes); i++) {
		uint32_t id = lt_table_find(&lt_intern_by_stacks, native + 1ULL, (uint64_t)i << 32 | r);
		if (id)
			return *first_of(id);
	}
	return 0;
}

static uint32_t new_site(uint32_t native, uint32_t r, uint32_t stripe, uint32_t flags)
{
	uint32_t id = (uint32_t)sites.next;
	if (id / LT_SITE_LEAF >= LT_SITE_LEAVES)
		return 0;
	if (!lt_site_leaves[id / LT_SITE_LEAF]) {
		struct leaktrace_site **leaf = lt_arena_alloc(LT_SITE_LEAF * (sizeof *leaf + sizeof(uint32_t)));
		if (!leaf)
			return 0;
		lt_store_release(&lt_site_leaves[id / LT_SITE_LEAF], leaf); /* pairs with lt_site */
	}
	struct leaktrace_site *site = lt_dump_append(&sites);
	if (!site)
		return 0;
	*site = (struct leaktrace_site){
		.id = id, .process = lt_site_owner(stripe), .native = native, .r = r, .flags = flags, .peak_seen = lt_process->peak_seq,
	};
	if (stripe)
		lt_store_relaxed(&several_stripes, true);
	uint32_t first = lt_intern_site_of_any(native, r);
	*first_of(id) = first ? first : id;
	lt_store_release(&lt_site_leaves[id / LT_SITE_LEAF][id % LT_SITE_LEAF], site);
	lt_dump_commit(&sites);
	return id;
}

uint32_t lt_intern_site_slowly(uint32_t native, uint64_t r, uint32_t flags)
{
	int saved = errno;
	lt_lock(&intern_lock);
	uint32_t id = lt_table_find(&lt_intern_by_stacks, native + 1ULL, r);
	if (!id && !lt_table_reserve(&lt_intern_by_stacks)) {
		id = new_site(native, (uint32_t)r, (uint32_t)(r >> 32), flags);
		if (id)
			lt_table_put(&lt_intern_by_stacks, native + 1ULL, r, id);
	}
	lt_unlock(&intern_lock);
	errno = saved;
	return id;
}

uint32_t lt_site_first(void)
{
	return lt_site_lowest;
}

uint32_t lt_site_next(void)
{
	return (uint32_t)sites.next;
}

void lt_intern_flush(void)
{
	lt_table_empty(&lt_intern_by_address);
}

static struct lt_table *const tables[] = { &lt_intern_by_address, &by_offset, &by_call, &lt_intern_by_stacks, &strings };

void lt_intern_settle(void)
{
	for (unsigned i = 0; i < sizeof tables / sizeof *tables; i++)
		lt_table_settle(tables[i]);
}

void lt_intern_fork_child(bool interrupted)
{
	intern_lock.held = 0;
	for (unsigned i = 0; i < sizeof tables / sizeof *tables; i++)
		if (interrupted)
			lt_table_clear(tables[i]);
		else
			lt_table_reset(tables[i]);
	frames.chunk = rframes.chunk = sites.chunk = NULL;
	frames.next = rframes.next = 1;
	lt_site_lowest = (uint32_t)sites.next;
	several_stripes = false;
	for (uint32_t i = 0; i <= lt_site_lowest / LT_SITE_LEAF && i < LT_SITE_LEAVES; i++)
		lt_site_leaves[i] = NULL;
	lt_r_stack_forget();
}
