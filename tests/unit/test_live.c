/* SPDX-License-Identifier: MIT
 *
 * The table of live blocks.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "trace/live.h"
#include "tracer.h"

static struct lt_block none;

static int start(void **state)
{
	return lt_live_init();
}

struct listing {
	struct lt_block *blocks;
	size_t count, room;
};

static bool list(const struct lt_block *block, void *argument)
{
	struct listing *listing = argument;

	if (listing->count < listing->room)
		listing->blocks[listing->count] = *block;
	listing->count++;
	return true;
}

static struct listing list_all(void)
{
	struct listing listing = { .room = lt_live_count() };

	listing.blocks = calloc(listing.room + 1, sizeof *listing.blocks);
	assert_int_equal(lt_live_visit(true, list, &listing), 0);
	return listing;
}

static int empty(void **state)
{
	struct listing listing = list_all();
	struct lt_block block;

	for (size_t i = 0; i < listing.count; i++)
		lt_live_remove(listing.blocks[i].address, &block);
	free(listing.blocks);
	return lt_live_count() ? -1 : 0;
}

static struct lt_block block_at(uintptr_t address)
{
	return (struct lt_block){ .address = address, .size = (uint32_t)(address ^ 0x5555) >> 1,
		                  .site = 1 | ((uint32_t)(address >> 3) & LT_LIVE_SITE_MAX),
		                  .task = (uint32_t)(address >> 7) & LT_LIVE_TASK_MAX };
}

static void insert(uintptr_t address)
{
	struct lt_block block = block_at(address), old;

	assert_int_equal(lt_live_insert(&block, &old), 0);
	assert_int_equal(old.address, 0);
}

static void remove_and_compare(uintptr_t address)
{
	struct lt_block block, wanted = block_at(address);

	assert_true(lt_live_remove(address, &block));
	assert_memory_equal(&block, &wanted, sizeof block);
}

static void inserted_block_comes_out_whole_and_once(void **state)
{
	struct lt_block block = none;

	insert(0x7f0012345670);
	assert_int_equal(lt_live_count(), 1);
	remove_and_compare(0x7f0012345670);
	assert_int_equal(lt_live_count(), 0);
	assert_false(lt_live_remove(0x7f0012345670, &block));
	assert_memory_equal(&block, &none, sizeof block);
}

static void unknown_block_is_not_there(void **state)
{
	struct lt_block block = none;

	insert(0x1000);
	assert_false(lt_live_remove(0x1010, &block));
	assert_false(lt_live_remove(0x0ff0, &block));
	assert_memory_equal(&block, &none, sizeof block);
	assert_int_equal(lt_live_count(), 1);
}

static void blocks_that_share_16_bytes_are_two(void **state)
{
	insert(0x1000);
	insert(0x1001);
	assert_int_equal(lt_live_count(), 2);
	remove_and_compare(0x1000);
	remove_and_compare(0x1001);
}

static struct lt_block odd_blocks[] = {
	{ .address = 0x1000, .size = UINT64_C(1) << 40, .site = 1 },
	{ .address = 0x2000, .size = UINT32_MAX, .site = LT_LIVE_SITE_MAX, .task = LT_LIVE_TASK_MAX },
	{ .address = 0x3001, .size = 1, .site = 2 },
	{ .address = UINT64_C(1) << 55, .size = 1, .site = 3 },
};

static void block_too_odd_for_an_entry_comes_out_whole_and_once(void **state)
{
	struct lt_block block;

	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 4; i++) {
			assert_int_equal(lt_live_insert(&odd_blocks[i], &block), 0);
			assert_int_equal(block.address, 0);
		}
		insert(0x4000);
		assert_int_equal(lt_live_count(), 5);
		struct listing listing = list_all();
		assert_int_equal(listing.count, 5);
		free(listing.blocks);
		remove_and_compare(0x4000);
		for (unsigned i = 0; i < 4; i++) {
			assert_true(lt_live_remove(odd_blocks[i].address, &block));
			assert_memory_equal(&block, &odd_blocks[i], sizeof block);
			assert_false(lt_live_remove(odd_blocks[i].address, &block));
		}
	}
	assert_int_equal(lt_live_count(), 0);
}

static void odd_block_replaces_a_usual_one_and_the_other_way_round(void **state)
{
	struct lt_block usual = block_at(0x1000), old;

	insert(0x1000);
	assert_int_equal(lt_live_insert(&odd_blocks[0], &old), 0);
	assert_memory_equal(&old, &usual, sizeof old);
	assert_int_equal(lt_live_insert(&odd_blocks[0], &old), 0);
	assert_memory_equal(&old, &odd_blocks[0], sizeof old);
	assert_int_equal(lt_live_insert(&usual, &old), 0);
	assert_memory_equal(&old, &odd_blocks[0], sizeof old);
	assert_int_equal(lt_live_count(), 1);
	remove_and_compare(0x1000);
}

static void block_at_the_same_address_replaces_the_old_one(void **state)
{
	struct lt_block block = { .address = 0x1000, .size = 5, .site = 6, .task = 7 }, old, wanted = block_at(0x1000);

	insert(0x1000);
	assert_int_equal(lt_live_insert(&block, &old), 0);
	assert_memory_equal(&old, &wanted, sizeof old);
	assert_int_equal(lt_live_count(), 1);
	assert_true(lt_live_remove(0x1000, &old));
	assert_memory_equal(&old, &block, sizeof old);
}

static unsigned shard_of(uintptr_t address)
{
	return (unsigned)(lt_live_shard(address) - lt_live_shards);
}

/* The next address from *from on, of some shard that has an array, with this home in it. */
static uintptr_t at_home(unsigned slot, uintptr_t *from)
{
	const struct lt_live_array *array = lt_live_shard(*from)->array;

	while (lt_live_shard(*from)->array != array || lt_live_home(lt_live_shard(*from)->array, *from) != &array->entries[slot])
		*from += 16;
	*from += 16;
	return *from - 16;
}

/* A run of entries with displaced ones and ones at home; removed in every order. */
static void removal_in_any_order_keeps_the_rest_of_a_run(void **state)
{
	static const unsigned homes[] = { 30, 30, 31, 30, 32, 33, 31 };
	enum { N = sizeof homes / sizeof *homes };
	uintptr_t addresses[N], from = 0x7f0000000000;
	unsigned orders = 1;

	insert(from);
	remove_and_compare(from);
	for (unsigned i = 0; i < N; i++) {
		addresses[i] = at_home(homes[i], &from);
		orders *= i + 1;
	}
	for (unsigned order = 0; order < orders; order++) {
		uintptr_t left[N];
		unsigned n = N;

		memcpy(left, addresses, sizeof left);
		for (unsigned i = 0; i < N; i++)
			insert(addresses[i]);
		for (unsigned code = order; n; code /= n ? n + 1 : 1) {
			unsigned which = code % n;
			struct lt_block block;

			remove_and_compare(left[which]);
			left[which] = left[--n];
			for (unsigned i = 0; i < n; i++) { /* what is left is found, by taking it out and putting it back */
				assert_true(lt_live_remove(left[i], &block));
				insert(left[i]);
			}
		}
	}
}

static void growth_loses_nothing(void **state)
{
	enum { N = 200000 };

	for (uintptr_t i = 1; i <= N; i++)
		insert(0x550000000000 + 32 * i);
	assert_int_equal(lt_live_count(), N);
	for (uintptr_t i = 1; i <= N; i++)
		remove_and_compare(0x550000000000 + 32 * i);
	assert_int_equal(lt_live_count(), 0);
}

/* The longest pause is the growth of one shard. 1 GiB of a heap, 256 blocks to each 256 KiB: with all shards alike they have 1024. */
static void spread_in_child(void *argument)
{
	enum { BLOCKS = 1 << 20 };
	uint64_t most = 0;

	for (uintptr_t i = 0; i < BLOCKS; i++) {
		struct lt_block block = block_at(0x555555600000 + 1024 * i), old;

		CHILD_CHECK(!lt_live_insert(&block, &old));
	}
	for (unsigned s = 0; s < LT_LIVE_SHARDS; s++)
		if (lt_live_shards[s].array->slots > most)
			most = lt_live_shards[s].array->slots;
	CHILD_CHECK(most < 4 * BLOCKS / LT_LIVE_SHARDS);
}

/* As small ones of jemalloc and tcmalloc lie: of two for each home many a run reaches the end of the array. */
static void blocks_8_bytes_apart_all_find_room(void **state)
{
	struct lt_block block, old;
	unsigned refused = 0;

	for (uintptr_t base = 0x7f0000000000; base < 0x7f0040000000; base += 0x1010000)
		for (uintptr_t address = base; address < base + 8 * 3000; address += 8) {
			block = block_at(address);
			refused += lt_live_insert(&block, &old) != 0;
		}
	assert_int_equal(refused, 0);
	for (uintptr_t base = 0x7f0000000000; base < 0x7f0040000000; base += 0x1010000)
		for (uintptr_t address = base; address < base + 8 * 3000; address += 8)
			refused += !lt_live_remove(address, &block) || block.address != address;
	assert_int_equal(refused, 0);
}

static void heap_is_spread_evenly_over_the_shards(void **state)
{
	assert_int_equal(in_child(spread_in_child, NULL), 0);
}

static void random_operations_agree_with_an_array(void **state)
{
	enum { ADDRESSES = 3000, OPERATIONS = 300000 };
	bool there[ADDRESSES] = { false };
	uint64_t count = 0, random = 1;
	struct lt_block block;

	for (unsigned i = 0; i < OPERATIONS; i++) {
		random = random * 6364136223846793005ULL + 1442695040888963407ULL;
		unsigned which = (random >> 33) % ADDRESSES;
		uintptr_t address = 0x7f5500000000 + 48 * (uintptr_t)which;

		if (random >> 63 ^ (i / (OPERATIONS / 4) & 1 ? random >> 62 & 1 : 0)) {
			struct lt_block added = block_at(address);

			assert_int_equal(lt_live_insert(&added, &block), 0);
			assert_true((block.address == address) == there[which]);
			count += !there[which];
			there[which] = true;
		} else {
			assert_int_equal(lt_live_remove(address, &block), there[which]);
			count -= there[which];
			there[which] = false;
		}
		if (i % 100 == 0)
			assert_int_equal(lt_live_count(), count);
	}
	for (unsigned i = 0; i < ADDRESSES; i++)
		if (there[i])
			remove_and_compare(0x7f5500000000 + 48 * (uintptr_t)i);
	assert_int_equal(lt_live_count(), 0);
}

static void visit_meets_each_block_once(void **state)
{
	enum { N = 1000 };
	unsigned met[N + 1] = { 0 };

	for (uintptr_t i = 1; i <= N; i++)
		insert(0x1000 * i);
	struct listing listing = list_all();
	for (size_t i = 0; i < listing.count && i < N; i++)
		met[listing.blocks[i].address / 0x1000]++;
	free(listing.blocks);
	assert_int_equal(listing.count, N);
	for (unsigned i = 1; i <= N; i++)
		assert_int_equal(met[i], 1);
}

static bool stop_at_third(const struct lt_block *block, void *argument)
{
	unsigned *met = argument;

	return ++*met < 3;
}

static void visit_ends_when_told(void **state)
{
	unsigned met = 0;

	for (uintptr_t i = 1; i <= 100; i++)
		insert(0x1000 * i);
	lt_live_visit(true, stop_at_third, &met);
	assert_int_equal(met, 3);
	remove_and_compare(0x1000); /* and holds no lock */
}

static bool count_one(const struct lt_block *block, void *argument)
{
	++*(unsigned *)argument;
	return true;
}

struct inner {
	unsigned met, skipped;
};

/* Inside a visit this block's shard is locked, as for a signal handler that interrupted an update. */
static bool visit_again(const struct lt_block *block, void *argument)
{
	struct inner *inner = argument;

	inner->skipped = lt_live_visit(false, count_one, &inner->met);
	return false;
}

static void impatient_visit_leaves_a_held_shard_out_and_says_so(void **state)
{
	struct inner inner = { 0 };

	insert(0x1000);
	uintptr_t other = 0x1000;
	do
		other += 1 << 18;
	while (shard_of(other) <= shard_of(0x1000)); /* visited later */
	insert(other);
	lt_live_visit(true, visit_again, &inner);
	assert_true(inner.skipped >= 1);
	assert_int_equal(inner.met, 1);
}

static bool fork_here(const struct lt_block *block, void *argument)
{
	*(unsigned *)argument = lt_live_fork_child();
	return false;
}

static void fork_child_loses_only_a_shard_caught_in_an_update(void **state)
{
	unsigned lost = 0, first = LT_LIVE_SHARDS, others = 0;

	for (uintptr_t i = 1; i <= 1000; i++) {
		insert(0x10000 * i);
		first = shard_of(0x10000 * i) < first ? shard_of(0x10000 * i) : first;
	}
	for (uintptr_t i = 1; i <= 1000; i++)
		others += shard_of(0x10000 * i) != first;
	lt_live_visit(true, fork_here, &lost);
	assert_int_equal(lost, 1);
	assert_true(lt_live_count() < 1000);
	assert_int_equal(lt_live_count(), others); /* the first shard was being visited */
	assert_int_equal(lt_live_fork_child(), 0);
	assert_int_equal(lt_live_count(), others);
}

static bool sum_sites(const struct lt_block *block, void *argument)
{
	*(uint64_t *)argument += block->site;
	return true;
}

/* Sites tell the generations apart. */
static void fork_child_finds_what_it_inherited(void **state)
{
	struct lt_block old, block = { .address = 0x10000, .size = 1, .site = 1 };
	uint64_t sum = 0;

	assert_int_equal(lt_live_insert(&block, &old), 0);
	block = (struct lt_block){ 0x20000, 1, 1, 0 };
	assert_int_equal(lt_live_insert(&block, &old), 0);
	block = (struct lt_block){ 0x30000, UINT64_C(1) << 33, 1, 0 };
	assert_int_equal(lt_live_insert(&block, &old), 0);
	assert_int_equal(lt_live_fork_child(), 0);
	block = (struct lt_block){ 0x40000, 1, 10, 0 };
	assert_int_equal(lt_live_insert(&block, &old), 0);
	assert_int_equal(lt_live_fork_child(), 0);
	block = (struct lt_block){ 0x20000, 1, 100, 0 }; /* the free was not seen */
	assert_int_equal(lt_live_insert(&block, &old), 0);
	lt_live_visit(true, sum_sites, &sum);
	assert_int_equal(sum, 112);
	sum = 0;
	lt_live_visit_own(true, sum_sites, &sum);
	assert_int_equal(sum, 100);
	assert_true(lt_live_most() >= 4);

	assert_true(lt_live_remove(0x10000, &block));
	assert_int_equal(block.site, 1);
	assert_false(lt_live_remove(0x10000, &block));
	assert_true(lt_live_remove(0x30000, &block));
	assert_int_equal(block.size, UINT64_C(1) << 33);
	assert_true(lt_live_remove(0x40000, &block));
	assert_int_equal(block.site, 10);
	assert_true(lt_live_remove(0x20000, &block));
	assert_int_equal(block.site, 100);
	assert_true(lt_live_remove(0x20000, &block)); /* the stale one */
	assert_int_equal(lt_live_count(), 0);
}

/* With no memory for growth, a shard fills up and then says so; what is in it stays. */
static void fill_without_memory(void *argument)
{
	const struct rlimit nothing = { 0, 0 };
	volatile char stack[1 << 16]; /* there already when it can't grow */
	struct lt_block block, old;
	uintptr_t i = 1;
	int error;

	for (size_t at = 0; at < sizeof stack; at += 4096)
		stack[at] = 0;
	block = block_at(0x100 * i);
	CHILD_CHECK(!lt_live_insert(&block, &old));
	uint32_t room = lt_live_shard(0x100)->array->room;
	CHILD_CHECK(setrlimit(RLIMIT_AS, &nothing) == 0);
	do {
		block = block_at(0x100 * ++i);
		error = lt_live_insert(&block, &old);
	} while (!error && i < 1000); /* all in one shard */
	CHILD_CHECK(error == -ENOMEM);
	CHILD_CHECK(lt_live_count() == i - 1);
	CHILD_CHECK(i - 1 > room + 1); /* more than it would grow at */
	CHILD_CHECK(!lt_live_remove(0x100 * i, &block));
	while (--i) {
		struct lt_block wanted = block_at(0x100 * i);

		CHILD_CHECK(lt_live_remove(0x100 * i, &block));
		CHILD_CHECK(!memcmp(&block, &wanted, sizeof block));
	}
}

static void table_without_memory_keeps_what_it_has(void **state)
{
	assert_int_equal(in_child(fill_without_memory, NULL), 0);
}

enum { THREADS = 4, ROUNDS = 20, PER_ROUND = 2000 };

struct worker {
	pthread_t thread;
	uintptr_t base;
	unsigned wrong;
};

/* Neighbours of the other threads' addresses, so that they share shards and runs. */
static void *insert_and_remove(void *argument)
{
	struct worker *worker = argument;
	struct lt_block block;

	for (unsigned round = 0; round < ROUNDS; round++) {
		for (uintptr_t i = 0; i < PER_ROUND; i++) {
			struct lt_block added = block_at(worker->base + 16 * THREADS * i);

			lt_gate_enter();
			worker->wrong += lt_live_insert(&added, &block) || block.address;
			lt_gate_leave();
		}
		for (uintptr_t i = round == ROUNDS - 1; i < PER_ROUND; i++) { /* one is left */
			struct lt_block wanted = block_at(worker->base + 16 * THREADS * i);

			lt_gate_enter();
			worker->wrong += !lt_live_remove(wanted.address, &block) || memcmp(&block, &wanted, sizeof block);
			lt_gate_leave();
		}
	}
	return NULL;
}

static void threads_do_not_disturb_each_other(void **state)
{
	struct worker workers[THREADS] = { { 0 } };

	for (unsigned t = 0; t < THREADS; t++) {
		workers[t].base = 0x7f1000000000 + 16 * t;
		assert_int_equal(pthread_create(&workers[t].thread, NULL, insert_and_remove, &workers[t]), 0);
	}
	for (unsigned t = 0; t < THREADS; t++)
		pthread_join(workers[t].thread, NULL);
	for (unsigned t = 0; t < THREADS; t++)
		assert_int_equal(workers[t].wrong, 0);
	assert_int_equal(lt_live_count(), THREADS);
	for (unsigned t = 0; t < THREADS; t++)
		remove_and_compare(workers[t].base);
}

#define TEST(name) cmocka_unit_test_teardown(name, empty)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(table_without_memory_keeps_what_it_has), /* first: the table must not have grown yet */
		TEST(heap_is_spread_evenly_over_the_shards),  /* nor much here */
		TEST(inserted_block_comes_out_whole_and_once),
		TEST(unknown_block_is_not_there),
		TEST(blocks_that_share_16_bytes_are_two),
		TEST(block_at_the_same_address_replaces_the_old_one),
		TEST(block_too_odd_for_an_entry_comes_out_whole_and_once),
		TEST(odd_block_replaces_a_usual_one_and_the_other_way_round),
		TEST(removal_in_any_order_keeps_the_rest_of_a_run),
		TEST(impatient_visit_leaves_a_held_shard_out_and_says_so),
		TEST(fork_child_loses_only_a_shard_caught_in_an_update),
		TEST(fork_child_finds_what_it_inherited),
		TEST(visit_meets_each_block_once),
		TEST(visit_ends_when_told),
		TEST(random_operations_agree_with_an_array),
		TEST(growth_loses_nothing),
		TEST(blocks_8_bytes_apart_all_find_room),
		TEST(threads_do_not_disturb_each_other),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
