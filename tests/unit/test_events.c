/* SPDX-License-Identifier: MIT
 *
 * Events: in the dump at once, or as soon as that can be, and in order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/options.h"
#include "process/process.h"
#include "trace/gate.h"
#include "trace/record.h"
#include "tracer.h"

static int set_up(void **state)
{
	lt_state = LT_ON;
	lt_gate_init();
	lt_events_fork_child();
	return tracer_set_up(state);
}

static int tear_down(void **state)
{
	lt_thread.depth = 0;
	return tracer_tear_down(state);
}

/* Their values are 0, 1, 2 …; returns how many there are, or -1. */
static int in_order(struct tracer *tracer)
{
	struct view view = view_of(tracer);
	int n = (int)view_count(&view, LEAKTRACE_CHUNK_EVENTS), right = 0;

	for (int i = 0; i < n; i++)
		right += ((const struct leaktrace_event *)view_record(&view, LEAKTRACE_CHUNK_EVENTS, (uint64_t)i))->value == i;
	view_free(&view);
	return right == n ? n : -1;
}

static void event_is_in_the_dump_with_its_text(void **state)
{
	lt_event(LEAKTRACE_EVENT_MARK, 7, 0, "half way");
	struct view view = view_of(*state);
	const struct leaktrace_event *event = view_record(&view, LEAKTRACE_CHUNK_EVENTS, 0);
	assert_non_null(event);
	assert_int_equal(event->type, LEAKTRACE_EVENT_MARK);
	assert_int_equal(event->pid, 7);
	assert_true(event->time_ns > 0);
	assert_string_equal(view_string(&view, event->text)->bytes, "half way");
	view_free(&view);
}

/* lt_thread.depth: as of a signal handler that interrupted the tracer. */
static void event_inside_the_tracer_is_written_at_once_where_there_is_room(void **state)
{
	lt_event(LEAKTRACE_EVENT_START, 0, 0, NULL);
	lt_thread.depth = 1;
	lt_event(LEAKTRACE_EVENT_STOP, 0, 1, NULL);
	lt_event(LEAKTRACE_EVENT_START, 0, 2, NULL);
	assert_int_equal(in_order(*state), 3);
}

static void events_take_a_quarter_of_the_dump_at_most(void **state)
{
	uint64_t max_size = lt_options.max_size;
	lt_options.max_size = 4096 * 4;
	for (int i = 0; i < 4096; i++)
		lt_event(LEAKTRACE_EVENT_FORK, 0, i, NULL);
	lt_options.max_size = max_size;
	assert_int_equal(in_order(*state), 4096 / sizeof(struct leaktrace_event));
	assert_int_equal(lt_process->dropped_events, 4096 - 4096 / sizeof(struct leaktrace_event));
}

static void dump_that_is_prepared_has_room_for_the_first(void **state)
{
	lt_events_prepare();
	lt_thread.depth = 1;
	lt_event(LEAKTRACE_EVENT_START, 0, 0, NULL);
	assert_int_equal(in_order(*state), 1);
}

static void event_without_room_waits_for_the_next_and_stays_in_order(void **state)
{
	lt_thread.depth = 1;
	lt_event(LEAKTRACE_EVENT_FORK, 0, 0, NULL);
	lt_event(LEAKTRACE_EVENT_FORK, 0, 1, NULL);
	assert_int_equal(in_order(*state), 0);
	lt_thread.depth = 0;
	lt_event(LEAKTRACE_EVENT_FORK, 0, 2, NULL);
	assert_int_equal(in_order(*state), 3);
}

static void event_without_room_is_written_at_the_end(void **state)
{
	lt_thread.depth = 1;
	lt_event(LEAKTRACE_EVENT_FORK, 0, 0, NULL);
	lt_events_settle(true);
	assert_int_equal(in_order(*state), 1);
}

static void all_events_are_written_where_the_chunk_ends(void **state)
{
	enum { EVENTS = 300 }; /* a chunk has 126 */

	for (int i = 0; i < EVENTS; i++) {
		lt_thread.depth = i % 50 != 0;
		lt_event(LEAKTRACE_EVENT_FORK, 0, i, NULL);
	}
	lt_thread.depth = 0;
	lt_events_settle(true);
	assert_int_equal(in_order(*state), EVENTS);
	assert_int_equal(lt_process->dropped_events, 0);
}

static void events_that_find_no_place_are_counted(void **state)
{
	lt_thread.depth = 1;
	for (int i = 0; i < 100; i++)
		lt_event(LEAKTRACE_EVENT_FORK, 0, i, NULL);
	assert_int_equal(lt_process->dropped_events, 100 - 64);
	lt_thread.depth = 0;
	lt_events_settle(true);
	assert_int_equal(in_order(*state), 64);
	tracer_fill();
	for (int i = 0; i < 1000; i++)
		lt_event(LEAKTRACE_EVENT_FORK, 0, 64 + i, NULL);
	assert_int_equal(in_order(*state) + (int)lt_process->dropped_events, 1100);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(event_is_in_the_dump_with_its_text),
		TEST(event_inside_the_tracer_is_written_at_once_where_there_is_room),
		TEST(events_take_a_quarter_of_the_dump_at_most),
		TEST(dump_that_is_prepared_has_room_for_the_first),
		TEST(event_without_room_waits_for_the_next_and_stays_in_order),
		TEST(event_without_room_is_written_at_the_end),
		TEST(all_events_are_written_where_the_chunk_ends),
		TEST(events_that_find_no_place_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
