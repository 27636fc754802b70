/* SPDX-License-Identifier: MIT
 *
 * The pages of an allocator behind us.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "trace/allocator.h"

#define PAGE UINT64_C(4096)
#define GIB (UINT64_C(1) << 30)
#define BASE (UINT64_C(0x7e1) * GIB)

static struct lt_range seen[16];
static unsigned seen_count;

static void see(uintptr_t low, uintptr_t high, void *arg)
{
	if (seen_count < 16)
		seen[seen_count] = (struct lt_range){ low, high };
	seen_count++;
}

static void assert_seen(unsigned count, const struct lt_range *wanted)
{
	seen_count = 0;
	lt_allocator_visit(see, NULL);
	assert_int_equal(seen_count, count);
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(seen[i].low, wanted[i].low);
		assert_int_equal(seen[i].high, wanted[i].high);
	}
}

static int give_all_back(void **state)
{
	lt_allocator_gave(0, UINT64_C(1) << 47);
	return 0;
}

static void nothing_is_had_at_first(void **state)
{
	assert_false(lt_allocator_has(BASE));
	assert_seen(0, NULL);
}

static void pages_that_were_taken_are_had(void **state)
{
	lt_allocator_took(BASE + 3 * PAGE, 200 * PAGE);
	assert_false(lt_allocator_has(BASE + 3 * PAGE - 1));
	assert_true(lt_allocator_has(BASE + 3 * PAGE));
	assert_true(lt_allocator_has(BASE + 203 * PAGE - 1));
	assert_false(lt_allocator_has(BASE + 203 * PAGE));
	assert_seen(1, &(struct lt_range){ BASE + 3 * PAGE, BASE + 203 * PAGE });
}

static void a_part_is_given_back(void **state)
{
	lt_allocator_took(BASE, 256 * PAGE);
	lt_allocator_gave(BASE + 64 * PAGE, 65 * PAGE);
	lt_allocator_gave(BASE + 255 * PAGE, PAGE);
	assert_seen(2, (struct lt_range[]){ { BASE, BASE + 64 * PAGE }, { BASE + 129 * PAGE, BASE + 255 * PAGE } });
}

static void ranges_go_beyond_a_gib(void **state)
{
	lt_allocator_took(BASE - PAGE, 2 * GIB + 2 * PAGE);
	assert_true(lt_allocator_has(BASE - PAGE) && lt_allocator_has(BASE + GIB) && lt_allocator_has(BASE + 2 * GIB));
	assert_seen(4, (struct lt_range[]){ { BASE - PAGE, BASE }, { BASE, BASE + GIB }, { BASE + GIB, BASE + 2 * GIB },
	                                    { BASE + 2 * GIB, BASE + 2 * GIB + PAGE } });
	lt_allocator_gave(BASE - 5 * GIB, 7 * GIB + PAGE); /* much of it never taken */
	assert_seen(0, NULL);
}

static void a_page_that_was_taken_in_part_is_not_had(void **state)
{
	lt_allocator_took(BASE + 100, 3 * PAGE);
	assert_seen(1, &(struct lt_range){ BASE + PAGE, BASE + 3 * PAGE });
	lt_allocator_gave(BASE + PAGE + 100, 10);
	assert_seen(1, &(struct lt_range){ BASE + 2 * PAGE, BASE + 3 * PAGE });
	lt_allocator_took(BASE + 10 * PAGE + 1, PAGE - 1);
	assert_false(lt_allocator_has(BASE + 10 * PAGE + 1));
}

static void addresses_beyond_all_are_not_known(void **state)
{
	lt_allocator_took(UINT64_C(1) << 47, PAGE);
	lt_allocator_took(UINT64_MAX - 2 * PAGE + 1, PAGE);
	assert_false(lt_allocator_has(UINT64_C(1) << 47));
	assert_false(lt_allocator_has(UINT64_MAX));
	assert_seen(0, NULL);
}

static void code_is_the_allocators_in_its_bounds(void **state)
{
	assert_false(lt_allocator_is((const void *)BASE));
	lt_allocator.code = (struct lt_range){ BASE, BASE + PAGE };
	assert_true(lt_allocator_is((const void *)BASE) && lt_allocator_is((const void *)(BASE + PAGE - 1)));
	assert_false(lt_allocator_is((const void *)(BASE - 1)) || lt_allocator_is((const void *)(BASE + PAGE)));
	lt_allocator.code = (struct lt_range){ 0 };
}

#define TEST(name) cmocka_unit_test_teardown(name, give_all_back)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nothing_is_had_at_first),
		TEST(pages_that_were_taken_are_had),
		TEST(a_part_is_given_back),
		TEST(ranges_go_beyond_a_gib),
		TEST(a_page_that_was_taken_in_part_is_not_had),
		TEST(addresses_beyond_all_are_not_known),
		TEST(code_is_the_allocators_in_its_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
