/* SPDX-License-Identifier: MIT
 *
 * Switching recording on and off: in which order, one at a time, and what the dump says of it.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/options.h"
#include "process/process.h"
#include "stubs.h"
#include "trace/gate.h"
#include "trace/record.h"
#include "tracer.h"

static struct {
	unsigned calls;
	bool active[8], was_on[8]; /* at each call */
	void (*then)(void);
	int inside;
	bool met;
} hooks;

static void see(void)
{
	unsigned call = hooks.calls++;

	if (call < 8) {
		hooks.active[call] = lt_active;
		hooks.was_on[call] = lt_was_on;
	}
	if (hooks.then)
		hooks.then();
}

static int set_up(void **state)
{
	lt_state = LT_ON;
	lt_options.depth = 1;
	lt_options.active = false;
	lt_gate_init();
	lt_switch_init();
	memset(&hooks, 0, sizeof hooks);
	stub_hooks_switch = see;
	lt_events_fork_child();
	if (tracer_set_up(state))
		return -1;
	lt_process->start_ns = 1;
	lt_switch_begin_dump();
	return 0;
}

static int tear_down(void **state)
{
	stub_hooks_switch = NULL;
	lt_thread.depth = 0;
	lt_options.active = true;
	lt_switch_init();
	return tracer_tear_down(state);
}

static uint64_t events(struct tracer *tracer, uint32_t *types)
{
	struct view view = view_of(tracer);
	uint64_t n = view_count(&view, LEAKTRACE_CHUNK_EVENTS);

	for (uint64_t i = 0; types && i < n; i++)
		types[i] = ((const struct leaktrace_event *)view_record(&view, LEAKTRACE_CHUNK_EVENTS, i))->type;
	view_free(&view);
	return n;
}

static void frees_are_looked_up_before_the_first_block_is_recorded(void **state)
{
	lt_record_switch(true);
	assert_int_equal(hooks.calls, 2);
	assert_false(hooks.active[0]);
	assert_true(hooks.was_on[0]);
	assert_true(hooks.active[1]);
}

static void frees_stay_looked_up(void **state)
{
	lt_record_switch(true);
	lt_record_switch(false);
	assert_int_equal(hooks.calls, 3);
	assert_false(hooks.active[2]);
	assert_true(hooks.was_on[2]);
}

static void switching_to_what_is_does_nothing(void **state)
{
	lt_record_switch(false);
	assert_int_equal(hooks.calls, 0);
	lt_record_switch(true);
	lt_record_switch(true);
	assert_int_equal(hooks.calls, 2);
	assert_int_equal(events(*state, NULL), 1);
}

static void the_dump_says_when_and_for_how_long(void **state)
{
	uint32_t types[4];

	assert_true(lt_process->flags & LEAKTRACE_PROCESS_PAUSED);
	assert_int_equal(lt_process->recording_since_ns, 0);
	lt_record_switch(true);
	assert_true(lt_process->recording_since_ns > 0);
	assert_int_equal(lt_process->recorded_ns, 0);
	lt_record_switch(false);
	assert_int_equal(lt_process->recording_since_ns, 0);
	assert_true(lt_process->recorded_ns > 0);
	assert_int_equal(events(*state, types), 2);
	assert_int_equal(types[0], LEAKTRACE_EVENT_START);
	assert_int_equal(types[1], LEAKTRACE_EVENT_STOP);
}

static void stop_once(void)
{
	hooks.then = NULL;
	lt_record_switch(false);
	assert_true(lt_active); /* not yet: it is the interrupted one's to do */
}

/* As a signal handler does, or a call from outside. */
static void interrupt_second_call(void)
{
	if (hooks.calls == 2)
		stop_once();
}

static void last_wish_wins_where_one_interrupts_the_other(void **state)
{
	uint32_t types[4];

	hooks.then = interrupt_second_call;
	lt_record_switch(true);
	assert_int_equal(hooks.calls, 3);
	assert_false(lt_active);
	assert_int_equal(events(*state, types), 2);
	assert_int_equal(types[1], LEAKTRACE_EVENT_STOP);
}

static void work_alone(void)
{
	if (__atomic_add_fetch(&hooks.inside, 1, __ATOMIC_SEQ_CST) > 1)
		hooks.met = true;
	sched_yield();
	__atomic_sub_fetch(&hooks.inside, 1, __ATOMIC_SEQ_CST);
}

enum { ROUNDS = 2000 };

static void *flip(void *argument)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		lt_record_switch(true);
		lt_record_switch(false);
	}
	return argument;
}

static void threads_switch_one_at_a_time(void **state)
{
	pthread_t threads[3];
	uint32_t *types = malloc(3 * 2 * ROUNDS * sizeof *types);
	unsigned wrong = 0;

	hooks.then = work_alone;
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, flip, NULL), 0);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	assert_false(hooks.met);
	assert_false(lt_active);
	assert_int_equal(lt_process->recording_since_ns, 0);
	uint64_t n = events(*state, types);
	for (uint64_t i = 0; i < n; i++)
		wrong += types[i] != (i % 2 ? LEAKTRACE_EVENT_STOP : LEAKTRACE_EVENT_START);
	free(types);
	assert_int_equal(wrong, 0);
	assert_int_equal(n % 2, 0);
}

static void *start_and_hang(void *argument)
{
	lt_record_switch(true);
	return argument;
}

static void hang(void)
{
	__atomic_store_n(&hooks.inside, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&hooks.inside, __ATOMIC_SEQ_CST) == 1)
		sched_yield();
}

static void use_in_child(void *argument)
{
	hooks.then = NULL;
	lt_switch_fork_child();
	CHILD_CHECK(lt_active); /* what its parent's other thread was about to do */
	lt_record_switch(false);
	CHILD_CHECK(!lt_active);
}

static void child_of_a_fork_beside_a_switch_goes_on(void **state)
{
	pthread_t thread;

	hooks.then = hang;
	assert_int_equal(pthread_create(&thread, NULL, start_and_hang, NULL), 0);
	while (!__atomic_load_n(&hooks.inside, __ATOMIC_SEQ_CST))
		sched_yield();
	int status = in_child(use_in_child, NULL);
	hooks.then = NULL;
	__atomic_store_n(&hooks.inside, 2, __ATOMIC_SEQ_CST);
	pthread_join(thread, NULL);
	assert_int_equal(status, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(frees_are_looked_up_before_the_first_block_is_recorded),
		TEST(frees_stay_looked_up),
		TEST(switching_to_what_is_does_nothing),
		TEST(the_dump_says_when_and_for_how_long),
		TEST(last_wish_wins_where_one_interrupts_the_other),
		TEST(threads_switch_one_at_a_time),
		TEST(child_of_a_fork_beside_a_switch_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
