/* SPDX-License-Identifier: MIT
 *
 * Unwind rules, of code whose unwind tables are written by hand, and of all that is loaded. x86_64 only.
 */
#include <link.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "trace/cfi.h"
#include "trace/rules.h"

/* No code runs here: each function is one or more places, told by the labels, and what the tables say of them. */
__asm__(".text\n"
        ".macro place name\n"
        "\\name: .skip 4, 0x90\n"
        ".endm\n"

        "usual: .cfi_startproc\n"
        "place usual_entry\n"
        ".cfi_def_cfa_offset 16\n"
        ".cfi_offset rbp, -16\n"
        "place usual_pushed\n"
        ".cfi_def_cfa_register rbp\n"
        "place usual_framed\n"
        ".cfi_remember_state\n"
        ".cfi_def_cfa rsp, 8\n"
        ".cfi_restore rbp\n"
        "place usual_left\n"
        ".cfi_restore_state\n"
        "place usual_again\n"
        ".cfi_endproc\n"

        "distant: .cfi_startproc\n"
        ".skip 63, 0x90\n"
        ".cfi_adjust_cfa_offset 8\n"
        "place distant_63\n"
        ".skip 200, 0x90\n"
        ".cfi_adjust_cfa_offset 8\n"
        "place distant_200\n"
        ".skip 5000, 0x90\n"
        ".cfi_adjust_cfa_offset 8\n"
        "place distant_5000\n"
        ".skip 70000, 0x90\n"
        ".cfi_adjust_cfa_offset 100000\n"
        "place distant_70000\n"
        ".cfi_endproc\n"

        "realigned: .cfi_startproc\n"
        ".cfi_escape 0x0f, 3, 0x76, 0x78, 0x06\n" /* CFA = *(rbp - 8) */
        ".cfi_escape 0x10, 6, 2, 0x76, 0x00\n"    /* rbp at rbp + 0 */
        "place realigned_place\n"
        ".cfi_endproc\n"

        ".balign 16\n"
        "linkage: .cfi_startproc\n" /* as linkers describe it: rsp + 8 + ((rip & 15) >= 11) * 8 */
        ".cfi_escape 0x0f, 11, 0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22\n"
        "place linkage_entry\n"
        ".skip 7, 0x90\n"
        "place linkage_pushed\n"
        ".skip 1, 0x90\n"
        "place linkage_next\n"
        ".cfi_escape 0x0f, 11, 0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x40, 0x2a, 0x33, 0x24, 0x22\n"
        "place linkage_beyond\n"
        ".cfi_endproc\n"

        "outermost: .cfi_startproc\n"
        ".cfi_undefined rip\n"
        "place outermost_place\n"
        ".cfi_endproc\n"

        "handler: .cfi_startproc\n"
        ".cfi_signal_frame\n"
        "place handler_place\n"
        ".cfi_endproc\n"

        "other_register: .cfi_startproc\n"
        ".cfi_def_cfa r10, 8\n"
        "place other_register_place\n"
        ".cfi_endproc\n"

        "other_expression: .cfi_startproc\n"
        ".cfi_escape 0x0f, 2, 0x77, 0x10\n" /* CFA = rsp + 16, as an expression */
        "place other_expression_place\n"
        ".cfi_endproc\n"

        "kept_in_register: .cfi_startproc\n"
        ".cfi_register rbp, rbx\n"
        "place rbp_in_register_place\n"
        ".cfi_same_value rbp\n"
        "place rbp_same_place\n"
        ".cfi_register rip, rbx\n"
        "place ra_in_register_place\n"
        ".cfi_endproc\n"

        "ra_elsewhere: .cfi_startproc\n"
        ".cfi_offset rip, -16\n"
        "place ra_elsewhere_place\n"
        ".cfi_endproc\n"

        "unknown_instruction: .cfi_startproc\n"
        ".cfi_escape 0x2d\n" /* GNU_window_save, of another CPU */
        "place unknown_instruction_place\n"
        ".cfi_endproc\n"

        "far_rbp: .cfi_startproc\n"
        ".cfi_offset rbp, -100000\n"
        "place far_rbp_place\n"
        ".cfi_endproc\n"

        "endless: .cfi_startproc\n" /* factors and offsets of all bits */
        ".cfi_escape 0x12, 7, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40\n"
        ".cfi_escape 0x86, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f\n"
        ".cfi_escape 0x2f, 6, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01\n"
        "place endless_place\n"
        ".cfi_endproc\n"

        "others: .cfi_startproc\n" /* registers that don't matter don't disturb */
        ".cfi_offset rbx, -16\n"
        ".cfi_offset r12, -24\n"
        ".cfi_escape 0x10, 3, 2, 0x76, 0x00\n"
        ".cfi_undefined rax\n"
        "place others_place\n"
        ".cfi_endproc\n"

        "place uncovered\n"
        "after: .cfi_startproc\n"
        "place after_entry\n"
        ".cfi_endproc\n");

#define PLACE(name) extern const char name[]
PLACE(usual_entry);
PLACE(usual_pushed);
PLACE(usual_framed);
PLACE(usual_left);
PLACE(usual_again);
PLACE(distant_63);
PLACE(distant_200);
PLACE(distant_5000);
PLACE(distant_70000);
PLACE(realigned_place);
PLACE(linkage_entry);
PLACE(linkage_pushed);
PLACE(linkage_next);
PLACE(linkage_beyond);
PLACE(outermost_place);
PLACE(handler_place);
PLACE(other_register_place);
PLACE(other_expression_place);
PLACE(rbp_in_register_place);
PLACE(rbp_same_place);
PLACE(ra_in_register_place);
PLACE(ra_elsewhere_place);
PLACE(unknown_instruction_place);
PLACE(far_rbp_place);
PLACE(endless_place);
PLACE(others_place);
PLACE(uncovered);
PLACE(after_entry);

/* The same at both ends of the place. */
static void expect(const char *place, struct lt_rule wanted)
{
	for (int i = 0; i < 4; i += 3) {
		struct lt_rule rule = lt_cfi_rule((uintptr_t)place + (uintptr_t)i);

		assert_int_equal(rule.kind, wanted.kind);
		assert_int_equal(rule.offset, wanted.offset);
		assert_int_equal(rule.rbp, wanted.rbp);
		assert_int_equal(rule.rbp_offset, wanted.rbp_offset);
	}
}

static void rules_of_a_function_change_as_its_frame_is_built(void **state)
{
	const struct lt_rule entry = { .kind = LT_RULE_RSP, .offset = 8 };
	const struct lt_rule framed = { .kind = LT_RULE_RBP, .offset = 16, .rbp = LT_RBP_AT_CFA, .rbp_offset = -16 };

	expect(usual_entry, entry);
	expect(usual_pushed,
	       (struct lt_rule){ .kind = LT_RULE_RSP, .offset = 16, .rbp = LT_RBP_AT_CFA, .rbp_offset = -16 });
	expect(usual_framed, framed);
}

static void remembered_state_comes_back(void **state)
{
	expect(usual_left, (struct lt_rule){ .kind = LT_RULE_RSP, .offset = 8 });
	expect(usual_again, (struct lt_rule){ .kind = LT_RULE_RBP, .offset = 16, .rbp = LT_RBP_AT_CFA, .rbp_offset = -16 });
}

static void distances_of_every_size_are_counted(void **state)
{
	const int32_t before[] = { 8, 16, 24, 32 }, at[] = { 16, 24, 32, 100032 };
	const char *const places[] = { distant_63, distant_200, distant_5000, distant_70000 };

	for (unsigned i = 0; i < 4; i++) {
		expect(places[i], (struct lt_rule){ .kind = LT_RULE_RSP, .offset = at[i] });
		assert_int_equal(lt_cfi_rule((uintptr_t)places[i] - 1).offset, before[i]);
	}
}

static void realigned_stack_is_read_through_rbp(void **state)
{
	expect(realigned_place, (struct lt_rule){ .kind = LT_RULE_RBP_DEREF, .offset = -8, .rbp = LT_RBP_AT_RBP });
}

static void linkage_table_has_pushed_in_the_middle_of_an_entry(void **state)
{
	expect(linkage_entry, (struct lt_rule){ .kind = LT_RULE_RSP, .offset = 8 });
	assert_int_equal(lt_cfi_rule((uintptr_t)linkage_pushed - 1).offset, 8);
	expect(linkage_pushed, (struct lt_rule){ .kind = LT_RULE_RSP, .offset = 16 });
	expect(linkage_next, (struct lt_rule){ .kind = LT_RULE_RSP, .offset = 8 });
	expect(linkage_beyond, (struct lt_rule){ .kind = LT_RULE_UNUSUAL });
}

static void undefined_return_address_is_the_end(void **state)
{
	expect(outermost_place, (struct lt_rule){ .kind = LT_RULE_END });
}

static void signal_frame_is_told(void **state)
{
	expect(handler_place, (struct lt_rule){ .kind = LT_RULE_SIGNAL });
}

static void what_two_words_cannot_say_is_unusual(void **state)
{
	const struct lt_rule unusual = { .kind = LT_RULE_UNUSUAL };

	expect(other_register_place, unusual);
	expect(other_expression_place, unusual);
	expect(rbp_in_register_place, unusual);
	expect(ra_in_register_place, unusual);
	expect(ra_elsewhere_place, unusual);
	expect(far_rbp_place, unusual);
	expect(endless_place, unusual);
}

static void unknown_instruction_is_unusual(void **state)
{
	expect(unknown_instruction_place, (struct lt_rule){ .kind = LT_RULE_UNUSUAL });
}

static void unchanged_rbp_needs_no_reading(void **state)
{
	expect(rbp_same_place, (struct lt_rule){ .kind = LT_RULE_RSP, .offset = 8 });
}

static void other_registers_do_not_matter(void **state)
{
	expect(others_place, (struct lt_rule){ .kind = LT_RULE_RSP, .offset = 8 });
}

static void code_between_two_functions_is_unknown(void **state)
{
	expect(uncovered, (struct lt_rule){ .kind = LT_RULE_UNKNOWN });
	expect(after_entry, (struct lt_rule){ .kind = LT_RULE_RSP, .offset = 8 });
}

static void address_outside_of_all_is_unknown(void **state)
{
	int here;

	assert_int_equal(lt_cfi_rule((uintptr_t)&here).kind, LT_RULE_UNKNOWN);
	assert_int_equal(lt_cfi_rule(16).kind, LT_RULE_UNKNOWN);
	assert_int_equal(lt_cfi_rule(UINTPTR_MAX).kind, LT_RULE_UNKNOWN);
}

struct sweep {
	uint64_t kinds[LT_RULE_UNKNOWN + 1], wrong;
};

static int sweep_object(struct dl_phdr_info *info, size_t size, void *argument)
{
	struct sweep *sweep = argument;

	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &info->dlpi_phdr[i];

		if (part->p_type != PT_LOAD || !(part->p_flags & PF_X))
			continue;
		/* 16 MiB each: a sanitizer's run time is large */
		for (uintptr_t at = 0; at < part->p_memsz && at < 16 << 20; at += 13) {
			struct lt_rule rule = lt_cfi_rule(info->dlpi_addr + part->p_vaddr + at);

			if (rule.kind == LT_RULE_NONE || rule.kind > LT_RULE_UNKNOWN)
				sweep->wrong++;
			else
				sweep->kinds[rule.kind]++;
			if ((rule.kind == LT_RULE_RSP && (rule.offset < 8 || rule.offset % 8)) ||
			    (rule.kind == LT_RULE_RBP && (rule.offset < 16 || rule.offset % 8)))
				sweep->wrong++;
		}
	}
	return 0;
}

static void rules_of_all_loaded_code_make_sense(void **state)
{
	struct sweep sweep = { .wrong = 0 };

	dl_iterate_phdr(sweep_object, &sweep);
	assert_int_equal(sweep.wrong, 0);
	assert_true(sweep.kinds[LT_RULE_RSP] > 10000);
	assert_true(sweep.kinds[LT_RULE_RBP] > 100);
	assert_true(sweep.kinds[LT_RULE_END] > 0);
	assert_true(sweep.kinds[LT_RULE_SIGNAL] > 0);
	/* What begins at _start and resolves symbols late is unusual; little else. */
	assert_true(sweep.kinds[LT_RULE_UNUSUAL] * 200 < sweep.kinds[LT_RULE_RSP]);
}

/* As of a just-in-time compiler that goes on making code. */
static void cache_of_rules_has_a_bound(void **state)
{
	for (uintptr_t i = 1; i < 2000000; i++)
		lt_rules_find(lt_load_acquire(&lt_rule_array), 16 * i);
	assert_true(lt_arena_bytes() < 40 << 20);
	lt_rules_flush();
	lt_rules_fork_child();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rules_of_a_function_change_as_its_frame_is_built),
		cmocka_unit_test(remembered_state_comes_back),
		cmocka_unit_test(distances_of_every_size_are_counted),
		cmocka_unit_test(realigned_stack_is_read_through_rbp),
		cmocka_unit_test(linkage_table_has_pushed_in_the_middle_of_an_entry),
		cmocka_unit_test(undefined_return_address_is_the_end),
		cmocka_unit_test(signal_frame_is_told),
		cmocka_unit_test(what_two_words_cannot_say_is_unusual),
		cmocka_unit_test(unknown_instruction_is_unusual),
		cmocka_unit_test(unchanged_rbp_needs_no_reading),
		cmocka_unit_test(other_registers_do_not_matter),
		cmocka_unit_test(code_between_two_functions_is_unknown),
		cmocka_unit_test(address_outside_of_all_is_unknown),
		cmocka_unit_test(rules_of_all_loaded_code_make_sense),
		cmocka_unit_test(cache_of_rules_has_a_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
