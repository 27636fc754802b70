/* SPDX-License-Identifier: MIT
 *
 * The gate: while it is closed nobody records, and closing waits for those inside, within bounds. All of it three times: with threads
 * that share slots, with slots of their own that need no barrier to enter, and with slots of their own where the kernel gives none.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/sys.h"
#include "trace/gate.h"
#include "trace/modules.h"
#include "trace/record.h"
#include "trace/thread.h"
#include "tracer.h"

#define get(p) __atomic_load_n((p), __ATOMIC_SEQ_CST)
#define set(p, v) __atomic_store_n((p), (v), __ATOMIC_SEQ_CST)

static bool slots_of_their_own;

/* As the hooks do: by the plain way if it is open, else slowly. */
static bool enter(void)
{
	if (lt_gate_enter_own())
		return true;
	lt_gate_enter();
	lt_gate_open_own();
	return false;
}

static void leave(bool by_own)
{
	if (by_own)
		lt_gate_leave_own(lt_thread.slot);
	else
		lt_gate_leave();
}

/* A thread that goes in, and leaves when told. */
struct guest {
	pthread_t thread;
	int inside, leave, left, nest, nested;
};

static void *visit(void *argument)
{
	struct guest *guest = argument;

	leave(enter()); /* the slot is open now */
	bool by_own = enter();
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
	leave(by_own);
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
	return lt_gate_is_inside() ? -1 : 0;
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
	lt_thread.crowd_about++;
	bool closed = lt_gate_close();
	lt_gate_open();
	send_away(&guest);
	bool closed_alone = lt_gate_close();
	lt_gate_open();
	lt_thread.crowd_about--;
	assert_false(closed);
	assert_true(closed_alone);
}

/* Likewise, but the thread is in the sum already: nobody else is inside, which can't be told, so the closer does not insist. */
static void counted_but_interrupted_entry_does_not_hang_the_closer(void **state)
{
	lt_gate_enter();
	lt_thread.crowd_inside--;
	bool closed = lt_gate_close();
	lt_gate_open();
	lt_thread.crowd_inside++;
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

enum { RECORDERS = 2, MOST_RECORDERS = LT_SLOTS + 20 };

struct recorder {
	pthread_t thread;
	uint64_t first, second; /* equal but inside */
	uint64_t entries, by_own;
};
static int stop;

/* Stores that miss the caches keep those after them from being seen: whoever relies on the order of a store and a load is found out. */
static void store_far_away(uint64_t *random)
{
	enum { WORDS = 1 << 22, STORES = 50 };
	static uint64_t far_away[WORDS];

	for (unsigned i = 0; i < STORES; i++) {
		*random = *random * 6364136223846793005ULL + 1442695040888963407ULL;
		__atomic_store_n(&far_away[*random >> 42], *random, __ATOMIC_RELAXED);
	}
}

static void *record(void *argument)
{
	struct recorder *recorder = argument;
	uint64_t random = (uintptr_t)argument;

	while (!get(&stop)) {
		store_far_away(&random);
		bool by_own = enter();
		__atomic_store_n(&recorder->first, recorder->first + 1, __ATOMIC_RELAXED);
		__atomic_store_n(&recorder->second, recorder->second + 1, __ATOMIC_RELAXED);
		leave(by_own);
		recorder->by_own += by_own;
		recorder->entries++;
	}
	return NULL;
}

/* Closes it so many times; the number of times that somebody was inside. */
static unsigned watch(struct recorder *recorders, unsigned n, unsigned closings)
{
	unsigned wrong = 0;
	uint64_t before[MOST_RECORDERS];

	set(&stop, 0);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(pthread_create(&recorders[i].thread, NULL, record, &recorders[i]), 0);
	while (closings) {
		uint64_t seen = get(&recorders[closings % n].first);

		while (get(&recorders[closings % n].first) == seen)
			sched_yield();
		if (lt_gate_close()) { /* it may give up where the machine is busy */
			closings--;
			for (unsigned i = 0; i < n; i++) {
				before[i] = get(&recorders[i].first);
				wrong += get(&recorders[i].second) != before[i];
			}
			sched_yield();
			for (unsigned i = 0; i < n; i++)
				wrong += get(&recorders[i].first) != before[i];
		}
		lt_gate_open();
	}
	set(&stop, 1);
	for (unsigned i = 0; i < n; i++)
		pthread_join(recorders[i].thread, NULL);
	return wrong;
}

static void recorders_stand_still_while_it_is_closed(void **state)
{
	struct recorder recorders[RECORDERS] = { { 0 } };
	uint64_t entries = 0, by_own = 0;
	unsigned wrong = watch(recorders, RECORDERS, 200);

	for (unsigned i = 0; i < RECORDERS; i++) {
		entries += recorders[i].entries;
		by_own += recorders[i].by_own;
	}
	assert_int_equal(wrong, 0);
	if (slots_of_their_own && lt_gate_has_barrier)
		assert_true(by_own > entries / 2);
	else
		assert_int_equal(by_own, 0);
}

static void more_threads_than_slots_stand_still_as_well(void **state)
{
	static struct recorder recorders[MOST_RECORDERS];

	assert_int_equal(watch(recorders, MOST_RECORDERS, 4), 0);
}

static void close_in_the_child(void *argument)
{
	lt_gate_fork_child();
	CHILD_CHECK(lt_gate_is_inside());
	CHILD_CHECK(lt_gate_close()); /* the guest is not here */
	lt_gate_open();
	lt_gate_leave();
	CHILD_CHECK(!lt_gate_is_inside());
	CHILD_CHECK(!enter()); /* slots are shut there */
	lt_gate_leave();
	CHILD_CHECK(lt_gate_close());
	lt_gate_open();
	leave(enter());
	CHILD_CHECK(!slots_of_their_own || lt_thread.slot == &lt_slots[1]);
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

static void *enter_and_end(void *argument)
{
	leave(enter());
	*(bool *)argument = enter();
	return NULL;
}

/* As one that was cancelled there: its locks may be held for ever. */
static void thread_that_ended_inside_is_not_waited_for_but_told_of(void *argument)
{
	pthread_t thread;
	bool by_own;
	struct guest guest = { 0 };

	lt_gate_fork_child();
	CHILD_CHECK(!pthread_create(&thread, NULL, enter_and_end, &by_own));
	pthread_join(thread, NULL);
	for (unsigned i = 0; i < 3; i++) {
		CHILD_CHECK(!lt_gate_close_within(INT64_C(1) << (slots_of_their_own ? 62 : 20))); /* without end, if it waited */
		lt_gate_open();
		let_in(&guest); /* does not take over the slot */
		send_away(&guest);
		guest = (struct guest){ 0 };
	}
	lt_gate_fork_child();
	CHILD_CHECK(lt_gate_close());
}

static void ended_inside(void **state)
{
	assert_int_equal(in_child(thread_that_ended_inside_is_not_waited_for_but_told_of, NULL), 0);
}

static void *note_slot(void *argument)
{
	leave(enter());
	*(struct lt_slot **)argument = lt_thread.slot;
	return NULL;
}

static struct lt_slot *slot_of_an_ended_thread(void)
{
	struct lt_slot *slot;
	pthread_t thread;

	if (pthread_create(&thread, NULL, note_slot, &slot))
		abort();
	pthread_join(thread, NULL);
	return slot;
}

static void end_many_threads(void *argument)
{
	lt_gate_fork_child();
	for (unsigned i = 0; i < 2000; i++) {
		struct lt_slot *slot = slot_of_an_ended_thread();

		CHILD_CHECK(slot > &lt_slots[1] && slot < &lt_slots[20]);
	}
}

static void slots_of_ended_threads_are_taken_over(void **state)
{
	assert_int_equal(in_child(end_many_threads, NULL), 0);
}

/* A thread may get the number of one that is gone. */
static void *take_over_ones_own(void *argument)
{
	struct lt_slot *slot = argument;

	slot->owner = (uint32_t)lt_sys_gettid();
	leave(enter());
	return lt_thread.slot;
}

static void slot_of_a_thread_of_the_same_number_is_taken_over(void **state)
{
	struct lt_slot *slot = slot_of_an_ended_thread();
	pthread_t thread;
	void *got;

	assert_int_equal(pthread_create(&thread, NULL, take_over_ones_own, slot), 0);
	pthread_join(thread, &got);
	assert_ptr_equal(got, slot);
}

static void nor_if_it_ended_inside(void *argument)
{
	lt_gate_fork_child();
	struct lt_slot *slot = slot_of_an_ended_thread();
	pthread_t thread;
	void *got;

	slot->inside = 1;
	CHILD_CHECK(!pthread_create(&thread, NULL, take_over_ones_own, slot));
	pthread_join(thread, &got);
	CHILD_CHECK(got != slot && got != lt_slots);
	CHILD_CHECK(!lt_gate_close_within(INT64_C(1) << 62));
}

static void slot_of_one_that_ended_inside_is_not(void **state)
{
	assert_int_equal(in_child(nor_if_it_ended_inside, NULL), 0);
}

/* It has the thread's memory, but a number of its own, and is soon gone. */
static void *enter_in_a_vfork_child(void *argument)
{
	static volatile bool own;
	pid_t pid = vfork();

	if (!pid) {
		lt_gate_enter();
		own = lt_slot_is_own(lt_thread.slot);
		lt_gate_leave();
		_exit(0);
	}
	while (waitpid(pid, NULL, 0) < 0)
		;
	*(bool *)argument = own;
	return NULL;
}

static void vfork_child_takes_no_slot(void **state)
{
	pthread_t thread;
	bool own = true;

	assert_int_equal(pthread_create(&thread, NULL, enter_in_a_vfork_child, &own), 0);
	pthread_join(thread, NULL);
	assert_false(own);
}

static void slot_stays_shut_while_care_is_asked_for(void **state)
{
	leave(enter());
	assert_true(enter());
	lt_gate_leave_own(lt_thread.slot);
	lt_code_unsure = 1;
	lt_record_settle();
	assert_false(enter());
	lt_gate_leave();
	assert_false(enter());
	lt_code_unsure = 0;
	lt_gate_leave();
	assert_false(enter());
	lt_gate_leave();
	assert_true(enter());
	lt_gate_leave_own(lt_thread.slot);
}

static int share_slots(void **state)
{
	lt_state = LT_ON;
	return open_again(state);
}

static int have_slots(void **state)
{
	static const char several = 0;

	lt_gate_init();
	lt_gate_alone = &several;
	slots_of_their_own = true;
	if (!lt_gate_has_barrier)
		print_message("no membarrier() here\n");
	return open_again(state);
}

static int have_no_barrier(void **state)
{
	lt_gate_has_barrier = false;
	lt_gate_shut_all();
	return open_again(state);
}

#define TEST(name) cmocka_unit_test_teardown(name, open_again)

int main(void)
{
	const struct CMUnitTest shared[] = {
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
		TEST(ended_inside),
	};
	const struct CMUnitTest own[] = {
		TEST(empty_gate_closes),
		TEST(own_entries_do_not_hinder_the_closer),
		TEST(closing_gives_up_on_a_thread_that_stays),
		TEST(closed_gate_lets_those_inside_nest),
		TEST(closing_waits_for_those_inside),
		TEST(closed_gate_keeps_others_out),
		TEST(recorders_stand_still_while_it_is_closed),
		TEST(more_threads_than_slots_stand_still_as_well),
		TEST(fork_child_is_alone_inside_and_the_gate_open),
		TEST(ended_inside),
		TEST(slots_of_ended_threads_are_taken_over),
		TEST(slot_of_a_thread_of_the_same_number_is_taken_over),
		TEST(slot_of_one_that_ended_inside_is_not),
		TEST(vfork_child_takes_no_slot),
	};
	const struct CMUnitTest open[] = {
		TEST(slot_stays_shut_while_care_is_asked_for),
	};
	int failed = cmocka_run_group_tests_name("shared slots", shared, share_slots, NULL) |
	             cmocka_run_group_tests_name("own slots", own, have_slots, NULL);

	if (lt_gate_has_barrier)
		failed |= cmocka_run_group_tests_name("open slots", open, NULL, NULL);
	return failed | cmocka_run_group_tests_name("own slots, no barrier", own, have_no_barrier, NULL);
}
