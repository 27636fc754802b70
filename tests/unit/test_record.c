/* SPDX-License-Identifier: MIT
 *
 * Recording: what an allocation and a free do to the counters of its site, of the process and of the task.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/options.h"
#include "trace/live.h"
#include "trace/counters.h"
#include "trace/gate.h"
#include "trace/record.h"
#include "trace/recording.h"
#include "tracer.h"

#define noinline __attribute__((noinline, noclone))
#define BLOCK(i) ((void *)(0x7f0000000000 + 32 * (uintptr_t)(i)))

/* As malloc's hook: its caller is the site. Only the innermost frame is kept, so the callers' callers don't matter. */
static noinline void hook(void *block, size_t size)
{
	lt_record_alloc(block, size, __builtin_frame_address(0));
	__asm__ volatile("");
}

static noinline void take_here(void *block, size_t size)
{
	hook(block, size);
	__asm__ volatile("");
}

static noinline void take_there(void *block, size_t size)
{
	hook(block, size);
	__asm__ volatile("# another function than the one above");
}

static uint32_t last_site(void)
{
	struct lt_block block, old;
	uintptr_t address = ~lt_thread.last_block;

	if (!lt_live_remove(address, &block))
		return 0;
	assert_int_equal(lt_live_insert(&block, &old), 0);
	return block.site;
}

static struct leaktrace_site *site_of_last(void)
{
	struct leaktrace_site *site = lt_site(last_site());

	assert_non_null(site);
	return site;
}

static uint64_t live_blocks(const struct leaktrace_site *site)
{
	return site->allocations - site->frees;
}

static int start(void **state)
{
	lt_state = LT_ON;
	lt_options.depth = 1;
	lt_gate_init();
	return lt_record_init();
}

enum { MOST = 1000 };

static int tear_down(void **state)
{
	struct lt_block block;

	lt_task_end();
	for (unsigned i = 0; i < MOST; i++)
		lt_live_remove((uintptr_t)BLOCK(i), &block);
	lt_active = true;
	lt_was_off = false;
	tracer_tear_down(state);
	return lt_live_count() ? -1 : 0;
}

static void allocation_counts_at_its_site_and_in_the_process(void **state)
{
	for (unsigned i = 0; i < 10; i++)
		take_here(BLOCK(i), 100);
	struct leaktrace_site *site = site_of_last();
	assert_int_equal(site->allocations, 10);
	assert_int_equal(site->allocated_bytes, 1000);
	assert_int_equal(site->frees, 0);
	assert_int_equal(site->startup_blocks, 10);
	assert_int_equal(site->startup_bytes, 1000);
	assert_int_equal(lt_process->live_blocks, 10);
	assert_int_equal(lt_process->live_bytes, 1000);
	assert_int_equal(lt_live_count(), 10);
	assert_int_equal(lt_site_next() - lt_site_first(), 1);
}

static void callers_are_told_apart(void **state)
{
	take_here(BLOCK(0), 1);
	uint32_t here = last_site();
	take_there(BLOCK(1), 1);
	assert_int_not_equal(last_site(), here);
	take_here(BLOCK(2), 1);
	assert_int_equal(last_site(), here);
}

static void free_counts_at_the_site_of_its_allocation(void **state)
{
	take_here(BLOCK(0), 100);
	struct leaktrace_site *site = site_of_last();
	take_there(BLOCK(1), 10);
	lt_record_free(BLOCK(0));
	assert_int_equal(site->frees, 1);
	assert_int_equal(site->freed_bytes, 100);
	assert_int_equal(site->startup_blocks, 0);
	assert_int_equal(site->startup_bytes, 0);
	assert_int_equal(lt_process->live_blocks, 1);
	assert_int_equal(lt_process->live_bytes, 10);
	lt_record_free(BLOCK(0));
	assert_int_equal(site->frees, 1);
	assert_int_equal(lt_process->unknown_frees, 1);
}

static void block_freed_before_the_next_allocation_is_temporary(void **state)
{
	take_here(BLOCK(0), 100);
	struct leaktrace_site *site = site_of_last();
	lt_record_free(BLOCK(0));
	assert_int_equal(site->temporary, 1);
	take_here(BLOCK(0), 100);
	take_there(BLOCK(1), 100);
	lt_record_free(BLOCK(0));
	assert_int_equal(site->frees, 2);
	assert_int_equal(site->temporary, 1);
}

static void address_given_out_again_ends_the_block_whose_free_was_missed(void **state)
{
	take_here(BLOCK(0), 100);
	struct leaktrace_site *here = site_of_last();
	take_there(BLOCK(0), 10);
	assert_int_equal(live_blocks(here), 0);
	assert_int_equal(live_blocks(site_of_last()), 1);
	assert_int_equal(lt_process->live_blocks, 1);
	assert_int_equal(lt_process->live_bytes, 10);
	assert_int_equal(lt_live_count(), 1);
}

static void block_that_realloc_left_is_as_before(void **state)
{
	struct lt_taken taken;

	take_here(BLOCK(0), 100);
	struct leaktrace_site *site = site_of_last();
	lt_record_take(BLOCK(0), &taken);
	assert_int_equal(lt_live_count(), 0);
	lt_record_put_back(&taken);
	assert_int_equal(lt_live_count(), 1);
	assert_int_equal(site->allocations, 1);
	assert_int_equal(site->frees, 0);
	assert_int_equal(lt_process->live_bytes, 100);
}

static void block_that_realloc_moved_is_a_free_and_an_allocation(void **state)
{
	struct lt_taken taken;

	take_here(BLOCK(0), 100);
	struct leaktrace_site *site = site_of_last();
	lt_record_take(BLOCK(0), &taken);
	take_there(BLOCK(1), 200);
	lt_record_taken_freed(&taken);
	assert_int_equal(site->frees, 1);
	assert_int_equal(site->freed_bytes, 100);
	assert_int_equal(site->temporary, 0);
	assert_int_equal(lt_process->live_blocks, 1);
	assert_int_equal(lt_process->live_bytes, 200);
}

static void realloc_of_an_unknown_block_counts_nothing(void **state)
{
	struct lt_taken taken;

	lt_record_take(BLOCK(5), &taken);
	lt_record_put_back(&taken);
	lt_record_taken_freed(&taken);
	assert_int_equal(lt_live_count(), 0);
	assert_int_equal(lt_process->live_blocks, 0);
}

static void errno_is_kept(void **state)
{
	struct lt_taken taken;

	errno = 4711;
	take_here(BLOCK(0), 1);
	lt_record_take(BLOCK(0), &taken);
	lt_record_put_back(&taken);
	lt_record_free(BLOCK(0));
	lt_record_free(BLOCK(0));
	assert_int_equal(errno, 4711);
}

static void recording_leaves_no_thread_inside(void **state)
{
	take_here(BLOCK(0), 1);
	lt_record_free(BLOCK(0));
	assert_int_equal(lt_thread.depth, 0);
	assert_int_equal(lt_thread.gate, 0);
	assert_true(lt_recording());
}

static void inactive_recording_sees_frees_only(void **state)
{
	take_here(BLOCK(0), 100);
	struct leaktrace_site *site = site_of_last();
	lt_record_switch(false);
	take_here(BLOCK(1), 100);
	lt_record_free(BLOCK(0));
	lt_record_free(BLOCK(1));
	lt_record_switch(true);
	lt_record_free(BLOCK(2)); /* born while it was off, for all we know */
	assert_int_equal(site->allocations + site->frees, 2);
	assert_int_equal(lt_process->live_blocks, 0);
	assert_int_equal(lt_process->unknown_frees, 0);
	assert_true(lt_process->flags & LEAKTRACE_PROCESS_PAUSED);
	assert_true(lt_process->recording_since_ns);
}

/* As the reader: noted figures where the site saw the process's peak, the present ones elsewhere. */
static uint64_t bytes_at_peak(const struct leaktrace_site *site)
{
	return site->peak_seen == lt_process->peak_seq ? site->peak_bytes : site->allocated_bytes - site->freed_bytes;
}

static void figures_at_the_peak_add_up_to_it(void **state)
{
	struct leaktrace_site *sites[2];
	uint64_t peak = 0, random = 1, live = 0, at_peak[2] = { 0 }, of_site[2] = { 0 };
	unsigned size[MOST] = { 0 }, owner[MOST] = { 0 };

	for (unsigned i = 0; i < 20000; i++) {
		random = random * 6364136223846793005ULL + 1442695040888963407ULL;
		unsigned which = (random >> 40) % 200, place = random >> 63;

		if (size[which]) {
			live -= size[which];
			of_site[owner[which]] -= size[which];
			size[which] = 0;
			lt_record_free(BLOCK(which));
			continue;
		}
		size[which] = 1 + (random >> 33) % 100;
		owner[which] = place;
		live += size[which];
		of_site[place] += size[which];
		if (place)
			take_there(BLOCK(which), size[which]);
		else
			take_here(BLOCK(which), size[which]);
		sites[place] = site_of_last();
		if (live > peak) {
			peak = live;
			memcpy(at_peak, of_site, sizeof at_peak);
		}
	}
	assert_int_equal(lt_process->live_bytes, live);
	assert_int_equal(lt_process->peak_live_bytes, peak);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(bytes_at_peak(sites[i]), at_peak[i]);
}

static void block_belongs_to_the_task_of_its_birth(void **state)
{
	struct leaktrace_site *site = NULL;

	for (unsigned i = 0; i < 4; i++) {
		if (i)
			lt_task_begin();
		assert_int_equal(lt_task_current(), i);
		take_here(BLOCK(2 * i), 10);
		take_here(BLOCK(2 * i + 1), 10);
		if (i)
			lt_task_end();
	}
	site = site_of_last();
	lt_record_free(BLOCK(2));
	assert_int_equal(lt_process->tasks, 3);
	assert_int_equal(lt_task_current(), 0);
	assert_int_equal(site->startup_blocks, 2);
	assert_int_equal(site->epoch_shift, 0);
	assert_int_equal(site->epoch[0].blocks, 1);
	assert_int_equal(site->epoch[0].bytes, 10);
	assert_int_equal(site->epoch[1].blocks, 2);
	assert_int_equal(site->epoch[2].blocks, 2);
}

static void epochs_widen_and_keep_every_block(void **state)
{
	enum { TASKS = 300 };

	for (unsigned task = 1; task <= TASKS; task++) {
		lt_task_begin();
		take_here(BLOCK(task), 10);
		lt_task_end();
	}
	struct leaktrace_site *site = site_of_last();
	assert_int_equal(site->epoch_shift, 6);
	for (unsigned i = 0; i < LEAKTRACE_EPOCHS; i++) {
		assert_int_equal(site->epoch[i].blocks, i < 4 ? 64 : i == 4 ? TASKS - 4 * 64 : 0);
		assert_int_equal(site->epoch[i].bytes, 10 * site->epoch[i].blocks);
	}
	assert_int_equal(lt_process->tasks, TASKS);
	for (unsigned task = 1; task <= TASKS; task++)
		lt_record_free(BLOCK(task));
	for (unsigned i = 0; i < LEAKTRACE_EPOCHS; i++)
		assert_int_equal(site->epoch[i].blocks + site->epoch[i].bytes, 0);
	assert_int_equal(site->flags, LEAKTRACE_SITE_CUT); /* and no lock */
}

static void task_that_begins_ends_the_one_before(void **state)
{
	lt_task_begin();
	lt_task_begin();
	assert_int_equal(lt_process->tasks, 1);
	assert_int_equal(lt_task_current(), 2);
	lt_task_end();
	lt_task_end();
	assert_int_equal(lt_process->tasks, 2);
}

static void postponed_task_was_none(void **state)
{
	lt_task_begin();
	lt_task_postpone();
	assert_int_equal(lt_task_current(), 0);
	assert_int_equal(lt_process->tasks, 0);
	lt_task_begin();
	assert_int_equal(lt_task_current(), 1);
}

static void fork_child_is_one_task(void *argument)
{
	lt_task_fork_child();
	CHILD_CHECK(lt_process->flags & LEAKTRACE_PROCESS_FORK_TASK);
	CHILD_CHECK(lt_task_current() == 0);
	lt_task_end();
	lt_task_end();
	CHILD_CHECK(lt_process->tasks == 1);
}

static void fork_child_with_messages_has_their_tasks(void *argument)
{
	lt_process->tasks = 0;
	lt_task_fork_child();
	lt_task_begin();
	CHILD_CHECK(!(lt_process->flags & LEAKTRACE_PROCESS_FORK_TASK));
	CHILD_CHECK(lt_task_current() == 1);
	lt_task_end();
	lt_task_begin();
	lt_task_end();
	CHILD_CHECK(lt_process->tasks == 2);
}

static void forked_worker_is_one_task_until_it_receives_some(void **state)
{
	assert_int_equal(in_child(fork_child_is_one_task, NULL), 0);
	assert_int_equal(in_child(fork_child_with_messages_has_their_tasks, NULL), 0);
}

static void allocation_without_room_for_its_site_is_counted_as_dropped(void **state)
{
	unsigned i;

	take_here(BLOCK(0), 100);
	struct leaktrace_site *known = site_of_last();
	tracer_fill();
	for (i = 0; i < 1000000 && lt_intern_site(1000 + i, 0, 0, 0); i++) /* what is left of the chunk of sites */
		;
	for (uintptr_t pc = 16; pc < 16000000 && lt_intern_native(&pc, 1);)
		pc += 16;
	take_there(BLOCK(1), 100);
	assert_int_equal(lt_process->dropped_allocations, 1);
	assert_int_equal(lt_process->live_blocks, 1);
	assert_int_equal(lt_live_count(), 1);
	take_there(BLOCK(0), 100); /* what was there is gone all the same */
	assert_int_equal(lt_process->dropped_allocations, 2);
	assert_int_equal(live_blocks(known), 0);
	assert_int_equal(lt_live_count(), 0);
}

static void free_of_an_ancestors_block_is_counted_apart(void **state)
{
	struct tracer *tracer = *state;

	take_here(BLOCK(0), 100);
	take_here(BLOCK(1), 100);
	tracer_end(tracer); /* fork */
	tracer_start(tracer, MAX_SIZE);
	lt_unwind_flush();
	lt_record_free(BLOCK(0));
	take_here(BLOCK(2), 10);
	assert_int_equal(lt_process->inherited_freed_blocks, 1);
	assert_int_equal(lt_process->inherited_freed_bytes, 100);
	assert_int_equal(lt_process->live_blocks, 1);
	assert_int_equal(site_of_last()->allocations, 1);
	assert_int_equal(site_of_last()->frees, 0);
}

enum { THREADS = 4, ROUNDS = 5000 };

static void *record_blocks(void *argument)
{
	unsigned first = (unsigned)(uintptr_t)argument * 10;

	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < 10; i++)
			take_here(BLOCK(first + i), 16);
		for (unsigned i = round == ROUNDS - 1; i < 10; i++) /* the last round leaves one */
			lt_record_free(BLOCK(first + i));
	}
	return NULL;
}

static void threads_lose_no_count(void **state)
{
	pthread_t threads[THREADS];
	uint64_t allocations = 0, frees = 0, startup = 0;

	lt_count_begin();
	for (uintptr_t t = 0; t < THREADS; t++)
		assert_int_equal(pthread_create(&threads[t], NULL, record_blocks, (void *)t), 0);
	for (unsigned t = 0; t < THREADS; t++)
		pthread_join(threads[t], NULL);
	for (uint32_t id = lt_site_first(); id < lt_site_next(); id++) {
		allocations += lt_site(id)->allocations;
		frees += lt_site(id)->frees;
		startup += lt_site(id)->startup_blocks;
	}
	assert_int_equal(allocations, THREADS * ROUNDS * 10);
	assert_int_equal(frees, allocations - THREADS);
	assert_int_equal(startup, THREADS);
	lt_count_settle();
	assert_int_equal(lt_process->live_blocks, THREADS);
	assert_int_equal(lt_process->live_bytes, 16 * THREADS);
	assert_true(lt_process->peak_live_bytes >= 16 * THREADS); /* threads' counts come in late */
	assert_true(lt_process->peak_live_bytes <= THREADS * 160);
	assert_int_equal(lt_process->dropped_allocations, 0);
	assert_int_equal(lt_process->unknown_frees, 0);
}

/* The sum of all records of the site: as the reader has it, who brings epochs to the same width first. */
static struct leaktrace_site sum_of(const struct leaktrace_site *of)
{
	struct leaktrace_site sum = { 0 };

	for (uint32_t id = lt_site_first(); id < lt_site_next(); id++) {
		struct leaktrace_site site = *lt_site(id);

		if (site.native != of->native || site.r != of->r)
			continue;
		assert_int_equal(lt_site_first_of(id), lt_site_first_of(of->id));
		sum.allocations += site.allocations;
		sum.allocated_bytes += site.allocated_bytes;
		sum.frees += site.frees;
		sum.freed_bytes += site.freed_bytes;
		sum.startup_blocks += site.startup_blocks;
		sum.startup_bytes += site.startup_bytes;
		lt_count_widen(&site, 1 << 20);
		for (unsigned e = 0; e < LEAKTRACE_EPOCHS; e++) {
			sum.epoch[0].blocks += site.epoch[e].blocks;
			sum.epoch[0].bytes += site.epoch[e].bytes;
		}
		sum.id++;
	}
	return sum;
}

static void *free_first_half(void *argument)
{
	for (unsigned i = 0; i < MOST / 2; i++)
		lt_record_free(BLOCK(i));
	return NULL;
}

static void run_thread(void *(*function)(void *), void *argument)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, function, argument), 0);
	pthread_join(thread, NULL);
}

static void free_by_another_thread_counts_in_a_record_of_its_own(void **state)
{
	lt_count_begin();
	for (unsigned i = 0; i < MOST; i++)
		take_here(BLOCK(i), 10 + i);
	struct leaktrace_site *site = site_of_last();
	run_thread(free_first_half, NULL);
	struct leaktrace_site sum = sum_of(site);
	assert_int_equal(sum.id, 2);
	assert_int_equal(site->frees, 0);
	assert_int_equal(sum.allocations, MOST);
	assert_int_equal(sum.frees, MOST / 2);
	assert_int_equal(sum.startup_blocks, MOST / 2);
	assert_int_equal(sum.allocated_bytes - sum.freed_bytes, sum.startup_bytes);
	assert_int_equal(sum.startup_bytes, (10 + MOST / 2 + 10 + MOST - 1) * (MOST / 2) / 2);
	lt_count_settle();
	assert_int_equal(lt_process->live_blocks, MOST / 2);
	assert_int_equal(lt_process->live_bytes, sum.startup_bytes);
	assert_int_equal(lt_process->unknown_frees, 0);
}

static void block_of_a_task_that_another_thread_frees_leaves_its_epoch(void **state)
{
	struct leaktrace_site *site = NULL;

	for (unsigned i = 0; i < MOST; i++) {
		if (i % 20 == 0)
			lt_task_begin();
		take_here(BLOCK(i), 10);
		site = site_of_last();
	}
	lt_task_end();
	run_thread(free_first_half, NULL);
	struct leaktrace_site sum = sum_of(site);
	assert_true(site->epoch_shift > 0);
	assert_int_equal(sum.startup_blocks, 0);
	assert_int_equal(sum.epoch[0].blocks, MOST / 2);
	assert_int_equal(sum.epoch[0].bytes, MOST / 2 * 10);
}

static void *take_all(void *argument)
{
	for (unsigned i = 0; i < MOST; i++)
		take_here(BLOCK(i), 10);
	return NULL;
}

static void *take_one(void *argument)
{
	take_there(BLOCK(MOST - 1), 10);
	return NULL;
}

/* There is no room for records of the thread that frees. So they all become everybody's. */
static void full_dump_counts_what_other_threads_free(void **state)
{
	lt_count_begin();
	run_thread(take_all, NULL);
	struct leaktrace_site *site = lt_site(lt_site_first());
	assert_int_equal(site->allocations, MOST);
	assert_true(site->process != LT_SITE_OF_ALL);
	run_thread(take_one, NULL);
	tracer_fill();
	for (unsigned i = 0; i < 1000000 && lt_intern_site(1000 + i, 0, 0, 0); i++)
		;
	for (unsigned i = 0; i < MOST / 2; i++)
		lt_record_free(BLOCK(i));
	assert_int_equal(site->frees, MOST / 2);
	assert_int_equal(lt_slot_of_thread()->sites, 0);
	run_thread(free_first_half, NULL); /* nothing there */
	run_thread(take_all, NULL);        /* first frees those whose free was missed */
	struct leaktrace_site sum = sum_of(site);
	assert_int_equal(sum.allocations, 2 * MOST);
	assert_int_equal(sum.frees, MOST);
	assert_false(site->flags & LEAKTRACE_SITE_BUSY);
	lt_count_settle();
	assert_int_equal(lt_process->live_blocks, MOST);
	assert_int_equal(lt_process->dropped_allocations, 0);
}

enum { BLOCKS_EACH = MOST / THREADS };
static pthread_barrier_t turn;

/* Allocates, and frees what the next one has allocated. */
static void *exchange_blocks(void *argument)
{
	unsigned own = (unsigned)(uintptr_t)argument, next = (own + 1) % THREADS;

	for (unsigned round = 0; round < 50; round++) {
		for (unsigned i = 0; i < BLOCKS_EACH; i++)
			(i % 2 ? take_here : take_there)(BLOCK(own * BLOCKS_EACH + i), 1 + i);
		pthread_barrier_wait(&turn);
		for (unsigned i = 0; i < BLOCKS_EACH; i++)
			lt_record_free(BLOCK(next * BLOCKS_EACH + i));
		pthread_barrier_wait(&turn);
	}
	return NULL;
}

static void threads_that_free_one_anothers_blocks_lose_no_count(void **state)
{
	pthread_t threads[THREADS];
	struct leaktrace_site sum;

	lt_count_begin();
	pthread_barrier_init(&turn, NULL, THREADS);
	for (uintptr_t t = 0; t < THREADS; t++)
		assert_int_equal(pthread_create(&threads[t], NULL, exchange_blocks, (void *)t), 0);
	for (unsigned t = 0; t < THREADS; t++)
		pthread_join(threads[t], NULL);
	for (unsigned i = 0; i < 2; i++) {
		sum = sum_of(lt_site(lt_site_first() + i));
		assert_int_equal(sum.allocations, 50 * MOST / 2);
		assert_int_equal(sum.frees, sum.allocations);
		assert_int_equal(sum.freed_bytes, sum.allocated_bytes);
		assert_int_equal(sum.startup_blocks + sum.startup_bytes, 0);
	}
	lt_count_settle();
	assert_int_equal(lt_process->live_blocks + lt_process->live_bytes, 0);
	assert_int_equal(lt_live_count(), 0);
}

struct kept {
	struct lt_slot *slot;
	bool leave; /* a stack there, as far as the one who comes after can tell */
	uint64_t found;
};

static void *look_at_kept_stacks(void *argument)
{
	struct kept *kept = argument;

	take_here(BLOCK(0), 10);
	kept->slot = lt_thread.slot;
	kept->found = kept->slot->scratch->stacks.used[0] | kept->slot->scratch->stacks.shapes[0].key;
	if (kept->leave)
		kept->slot->scratch->stacks.used[0] = kept->slot->scratch->stacks.shapes[0].key = 1;
	return NULL;
}

/* Where they were may be no memory any more. */
static void kept_stacks_of_an_ended_thread_are_forgotten(void **state)
{
	struct kept first = { .leave = true }, second = { 0 };

	run_thread(look_at_kept_stacks, &first);
	for (unsigned i = 0; i < 100 && second.slot != first.slot; i++)
		run_thread(look_at_kept_stacks, &second);
	assert_ptr_equal(second.slot, first.slot);
	assert_int_equal(second.found, 0);
}

static int open_the_gate(void **state)
{
	lt_gate_open(); /* slots, too */
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tracer_set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(allocation_counts_at_its_site_and_in_the_process),
		TEST(callers_are_told_apart),
		TEST(free_counts_at_the_site_of_its_allocation),
		TEST(block_freed_before_the_next_allocation_is_temporary),
		TEST(address_given_out_again_ends_the_block_whose_free_was_missed),
		TEST(block_that_realloc_left_is_as_before),
		TEST(block_that_realloc_moved_is_a_free_and_an_allocation),
		TEST(realloc_of_an_unknown_block_counts_nothing),
		TEST(errno_is_kept),
		TEST(recording_leaves_no_thread_inside),
		TEST(inactive_recording_sees_frees_only),
		TEST(figures_at_the_peak_add_up_to_it),
		TEST(block_belongs_to_the_task_of_its_birth),
		TEST(epochs_widen_and_keep_every_block),
		TEST(task_that_begins_ends_the_one_before),
		TEST(postponed_task_was_none),
		TEST(forked_worker_is_one_task_until_it_receives_some),
		TEST(allocation_without_room_for_its_site_is_counted_as_dropped),
		TEST(free_of_an_ancestors_block_is_counted_apart),
		TEST(threads_lose_no_count),
	};
	const struct CMUnitTest threads[] = {
		TEST(threads_lose_no_count),
		TEST(free_by_another_thread_counts_in_a_record_of_its_own),
		TEST(block_of_a_task_that_another_thread_frees_leaves_its_epoch),
		TEST(full_dump_counts_what_other_threads_free),
		TEST(threads_that_free_one_anothers_blocks_lose_no_count),
		TEST(kept_stacks_of_an_ended_thread_are_forgotten),
	};

	return cmocka_run_group_tests(tests, start, NULL) | cmocka_run_group_tests_name("slots are shut", threads, NULL, NULL) |
	       cmocka_run_group_tests_name("slots are open", threads, open_the_gate, NULL);
}
