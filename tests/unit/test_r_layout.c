/* SPDX-License-Identifier: MIT
 *
 * The layout tables against structures with R's fields in R's order, as a compiler lays them out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "r/layout.h"

#define HEAD                                                                                                                 \
	void *nextcontext;                                                                                                   \
	int callflag;                                                                                                        \
	sigjmp_buf cjmpbuf;                                                                                                  \
	int cstacktop, evaldepth;                                                                                            \
	void *promargs, *callfun, *sysparent, *call, *cloenv, *conexit;                                                      \
	void (*cend)(void *);                                                                                                \
	void *cenddata, *vmax;                                                                                               \
	int intsusp, gcenabled, bcintactive;                                                                                 \
	void *bcbody, *bcpc;
#define TAIL                                                                                                                 \
	void *srcref;                                                                                                        \
	int browserfinish;

struct context_3_6 {
	HEAD
	void *handlerstack, *restartstack, *prstack, *nodestack;
	TAIL
	void *returnValue, *jumptarget;
	int jumpmask;
};

struct context_4_0 {
	HEAD
	void *handlerstack, *restartstack, *prstack, *nodestack, *bcprottop;
	TAIL
	void *returnValue, *jumptarget;
	int jumpmask;
};

struct context_4_4 {
	HEAD
	ptrdiff_t relpc;
	void *handlerstack, *restartstack, *prstack, *nodestack, *bcprottop, *bcframe;
	TAIL
	struct {
		int tag, flags;
		double value;
	} returnValue;
	void *jumptarget;
	int jumpmask;
};

#define check_common(type, l)                                                                                                \
	do {                                                                                                                 \
		assert_non_null(l);                                                                                          \
		assert_int_equal((l)->size, sizeof(type));                                                                   \
		assert_int_equal((l)->callflag, offsetof(type, callflag));                                                   \
		assert_int_equal((l)->callfun, offsetof(type, callfun));                                                     \
		assert_int_equal((l)->call, offsetof(type, call));                                                           \
		assert_int_equal((l)->cloenv, offsetof(type, cloenv));                                                       \
		assert_int_equal((l)->bcbody, offsetof(type, bcbody));                                                       \
		assert_int_equal((l)->bcpc, offsetof(type, bcpc));                                                           \
		assert_int_equal((l)->nodestack, offsetof(type, nodestack));                                                 \
		assert_int_equal((l)->srcref, offsetof(type, srcref));                                                       \
	} while (0)

static void layout_of_3_6_has_no_bcprottop(void **state)
{
	const struct lt_r_layout *l = lt_r_layout_of(30603);

	check_common(struct context_3_6, l);
	assert_int_equal(l->bcprottop, 0);
	assert_int_equal(l->relpc, 0);
}

static void layout_of_4_0_to_4_3_is_one(void **state)
{
	const struct lt_r_layout *l = lt_r_layout_of(40202);

	check_common(struct context_4_0, l);
	assert_int_equal(l->bcprottop, offsetof(struct context_4_0, bcprottop));
	assert_int_equal(l->relpc, 0);
	assert_ptr_equal(lt_r_layout_of(40000), l);
	assert_ptr_equal(lt_r_layout_of(40303), l);
}

static void layout_of_4_4_and_4_5_is_one(void **state)
{
	const struct lt_r_layout *l = lt_r_layout_of(40501);

	check_common(struct context_4_4, l);
	assert_int_equal(l->bcprottop, offsetof(struct context_4_4, bcprottop));
	assert_int_equal(l->relpc, offsetof(struct context_4_4, relpc));
	assert_ptr_equal(lt_r_layout_of(40400), l);
}

static void layout_of_unknown_versions_is_none(void **state)
{
	static const uint32_t unknown[] = { 0, 30503, 30700, 39900, 40600, 40700, 50000, 402, 4000000 };

	for (size_t i = 0; i < sizeof(unknown) / sizeof(*unknown); i++)
		assert_null(lt_r_layout_of(unknown[i]));
}

static void layouts_do_not_overlap(void **state)
{
	unsigned n;
	const struct lt_r_layout *l = lt_r_layouts(&n);

	for (unsigned i = 0; i < n; i++) {
		assert_true(l[i].first <= l[i].last);
		if (i)
			assert_true(l[i - 1].last < l[i].first);
	}
}

int main(void)
{
	if (!lt_r_layout_of(40202))
		return 77; /* not a CPU that has layouts */

	const struct CMUnitTest tests[] = {
		cmocka_unit_test(layout_of_3_6_has_no_bcprottop),     cmocka_unit_test(layout_of_4_0_to_4_3_is_one),
		cmocka_unit_test(layout_of_4_4_and_4_5_is_one),       cmocka_unit_test(layout_of_unknown_versions_is_none),
		cmocka_unit_test(layouts_do_not_overlap),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
