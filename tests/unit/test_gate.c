/* SPDX-License-Identifier: MIT
 *
 * The gate: while it is closed nobody records, and closing waits for those inside, within bounds.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "trace/gate.h"
#include "trace/thread.h"
#include "tracer.h"

#define get(p) __atomic_load_n((p), __ATOMIC_SEQ_CST)
#define set(p, v) __atomic_store_n((p), (v), __ATOMIC_SEQ_CST)

/* A thread that goes in, and leaves when told. */
struct guest {
	pthread_t thread;
	int inside, leave, left, nest, nested;
};

static void *visit(void *argument)
{
	struct guest *guest = argument;

	lt_gate_enter();
	set(&guest->inside, 1);
	while (!get(&guest->leave)) {
		if (get(&guest->nest) && !guest->nested) {
			lt_gate_enter();
			lt_gate_leave();
			set(&guest->nested, 1);
		}
		sched_yield();
	}
	set(&guest->left, 1);
	lt_gate_leave();
	return NULL;
}

static void let_in(struct guest *guest)
{
	assert_int_equal(pthread_create(&guest->thread, NULL, visit, guest), 0);
	while (!get(&guest->inside))
		sched_yield();
}

static void send_away(struct guest *guest)
{
	set(&guest->leave, 1);
	pthread_join(guest->thread, NULL);
}

static int open_again(void **state)
{
	lt_gate_open();
	return lt_thread.gate ? -1 : 0;
}

static void empty_gate_closes(void **state)
{
	assert_true(lt_gate_close());
	lt_gate_open();
	lt_gate_enter();
	lt_gate_leave();
	assert_true(lt_gate_close());
}

static void own_entries_do_not_hinder_the_closer(void **state)
{
	lt_gate_enter();
	lt_gate_enter();
	bool closed = lt_gate_close();
	lt_gate_enter(); /* as a signal handler of the closing thread would */
	lt_gate_leave();
	lt_gate_open();
	lt_gate_leave();
	lt_gate_leave();
	assert_true(closed);
}

static void closing_gives_up_on_a_thread_that_stays(void **state)
{
	struct guest guest = { 0 };

	let_in(&guest);
	bool closed = lt_gate_close();
	int left = get(&guest.left);
	lt_gate_open();
	send_away(&guest);
	assert_false(closed);
	assert_int_equal(left, 0);
	assert_true(lt_gate_close());
}

static void closed_gate_lets_those_inside_nest(void **state)
{
	struct guest guest = { 0 };

	let_in(&guest);
	bool closed = lt_gate_close();
	set(&guest.nest, 1);
	while (!get(&guest.nested))
		sched_yield();
	lt_gate_open();
	send_away(&guest);
	assert_false(closed);
}

/* A handler closes the gate that interrupted its thread between the two counts: the thread is not in the sum yet. */
static void interrupted_entry_is_not_taken_for_another_threads(void **state)
{
	struct guest guest = { 0 };

	let_in(&guest);
	lt_thread.gate++;
	bool closed = lt_gate_close();
	lt_gate_open();
	send_away(&guest);
	bool closed_alone = lt_gate_close();
	lt_gate_open();
	lt_thread.gate--;
	assert_false(closed);
	assert_true(closed_alone);
}

/* Likewise, but the thread is in the sum already: nobody else is inside, which can't be told, so the closer does not insist. */
static void counted_but_interrupted_entry_does_not_hang_the_closer(void **state)
{
	lt_gate_enter();
	lt_thread.inside--;
	bool closed = lt_gate_close();
	lt_gate_open();
	lt_thread.inside++;
	lt_gate_leave();
	assert_false(closed);
	assert_true(lt_gate_close());
}

static void *leave_after_a_while(void *argument)
{
	struct guest *guest = argument;

	for (int i = 0; i < 200; i++)
		sched_yield();
	set(&guest->leave, 1);
	return NULL;
}

static void closing_waits_for_those_inside(void **state)
{
	for (int round = 0; round < 20; round++) {
		struct guest guest = { 0 };
		pthread_t other;

		let_in(&guest);
		assert_int_equal(pthread_create(&other, NULL, leave_after_a_while, &guest), 0);
		while (!lt_gate_close()) /* it may give up where the machine is busy */
			lt_gate_open();
		int left = get(&guest.left);
		lt_gate_open();
		pthread_join(other, NULL);
		send_away(&guest);
		assert_int_equal(left, 1);
	}
}

static int opened;

static void *enter_and_look(void *argument)
{
	int *seen = argument;

	set(seen, 1);
	lt_gate_enter();
	*seen = 2 + get(&opened);
	lt_gate_leave();
	return NULL;
}

static void closed_gate_keeps_others_out(void **state)
{
	pthread_t thread;
	int seen = 0;

	set(&opened, 0);
	assert_true(lt_gate_close());
	assert_int_equal(pthread_create(&thread, NULL, enter_and_look, &seen), 0);
	while (!get(&seen))
		sched_yield();
	for (int i = 0; i < 1000; i++)
		sched_yield();
	int while_closed = get(&seen);
	set(&opened, 1);
	lt_gate_open();
	pthread_join(thread, NULL);
	assert_int_equal(while_closed, 1);
	assert_int_equal(seen, 3);
}

enum { RECORDERS = 4, CLOSINGS = 200 };

struct recorder {
	pthread_t thread;
	uint64_t first, second; /* equal but inside */
};
static int stop;

static void *record(void *argument)
{
	struct recorder *recorder = argument;

	while (!get(&stop)) {
		lt_gate_enter();
		__atomic_store_n(&recorder->first, recorder->first + 1, __ATOMIC_RELAXED);
		__atomic_store_n(&recorder->second, recorder->second + 1, __ATOMIC_RELAXED);
		lt_gate_leave();
	}
	return NULL;
}

static void recorders_stand_still_while_it_is_closed(void **state)
{
	struct recorder recorders[RECORDERS] = { { 0 } };
	unsigned wrong = 0, closings = 0;

	set(&stop, 0);
	for (unsigned i = 0; i < RECORDERS; i++)
		assert_int_equal(pthread_create(&recorders[i].thread, NULL, record, &recorders[i]), 0);
	for (unsigned tries = 0; closings < CLOSINGS && tries < 100 * CLOSINGS; tries++) {
		if (lt_gate_close()) {
			uint64_t before[RECORDERS];

			closings++;
			for (unsigned i = 0; i < RECORDERS; i++) {
				before[i] = get(&recorders[i].first);
				wrong += get(&recorders[i].second) != before[i];
			}
			for (unsigned i = 0; i < 10; i++)
				sched_yield();
			for (unsigned i = 0; i < RECORDERS; i++)
				wrong += get(&recorders[i].first) != before[i];
		}
		lt_gate_open();
		sched_yield();
	}
	set(&stop, 1);
	for (unsigned i = 0; i < RECORDERS; i++)
		pthread_join(recorders[i].thread, NULL);
	assert_int_equal(wrong, 0);
	assert_int_equal(closings, CLOSINGS);
}

static void close_in_the_child(void *argument)
{
	lt_gate_fork_child();
	CHILD_CHECK(lt_thread.gate == 1);
	CHILD_CHECK(lt_gate_close()); /* the guest is not here */
	lt_gate_open();
	lt_gate_leave();
	lt_gate_enter();
	lt_gate_leave();
	CHILD_CHECK(lt_gate_close());
}

static void fork_child_is_alone_inside_and_the_gate_open(void **state)
{
	struct guest guest = { 0 };

	let_in(&guest);
	lt_gate_enter();
	bool closed = lt_gate_close();
	int status = in_child(close_in_the_child, NULL);
	lt_gate_open();
	lt_gate_leave();
	send_away(&guest);
	assert_false(closed);
	assert_int_equal(status, 0);
}

#define TEST(name) cmocka_unit_test_teardown(name, open_again)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(empty_gate_closes),
		TEST(own_entries_do_not_hinder_the_closer),
		TEST(closing_gives_up_on_a_thread_that_stays),
		TEST(interrupted_entry_is_not_taken_for_another_threads),
		TEST(counted_but_interrupted_entry_does_not_hang_the_closer),
		TEST(closed_gate_lets_those_inside_nest),
		TEST(closing_waits_for_those_inside),
		TEST(closed_gate_keeps_others_out),
		TEST(recorders_stand_still_while_it_is_closed),
		TEST(fork_child_is_alone_inside_and_the_gate_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
