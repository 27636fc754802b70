/* SPDX-License-Identifier: MIT
 *
 * Symbols in memory, R's heap by return address, and an R that is not there.
 */
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "r/r.h"
#include "r/runtime.h"

struct wanted {
	const char *name;
	struct lt_r_object object;
	struct lt_r_symbol symbol;
	bool found;
};

static int find(struct dl_phdr_info *info, size_t size, void *argument)
{
	struct wanted *wanted = argument;

	wanted->found = !lt_r_elf_open(info, &wanted->object) &&
	                !lt_r_elf_find(&wanted->object, wanted->name, &wanted->symbol);
	return wanted->found;
}

static void symbols_are_found_where_dlsym_finds_them(void **state)
{
	static const char *const names[] = { "qsort", "strtol", "getenv", "fputs", "cmocka_set_message_output" };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		struct wanted wanted = { .name = names[i] };

		dl_iterate_phdr(find, &wanted);
		assert_true(wanted.found);
		assert_ptr_equal((void *)wanted.symbol.address, dlsym(RTLD_DEFAULT, names[i]));
		assert_true(wanted.symbol.size > 0);
		assert_true(wanted.symbol.address >= wanted.object.text && wanted.symbol.address < wanted.object.text_end);
	}
}

static void symbols_that_nobody_defines_are_not_found(void **state)
{
	struct wanted wanted = { .name = "no_such_symbol_anywhere" };

	dl_iterate_phdr(find, &wanted);
	assert_false(wanted.found);
}

static void addresses_have_their_enclosing_symbol(void **state)
{
	struct wanted wanted = { .name = "strtol" };

	dl_iterate_phdr(find, &wanted);
	assert_true(wanted.found);
	const char *name = lt_r_elf_enclosing(&wanted.object, wanted.symbol.address + wanted.symbol.size - 1);
	assert_non_null(name);
	struct lt_r_symbol again;
	assert_int_equal(lt_r_elf_find(&wanted.object, name, &again), 0); /* perhaps an alias */
	assert_int_equal(again.address, wanted.symbol.address);
	assert_null(lt_r_elf_enclosing(&wanted.object, wanted.object.start));
}

static void a_process_without_r_has_none(void **state)
{
	struct lt_r_call calls[2];
	bool cut;

	lt_r_reset();
	assert_false(lt_r_locate());
	assert_false(lt_r_present());
	assert_int_equal(lt_r_address(), 0);
	assert_int_equal(lt_r_version(), 0);
	assert_null(lt_r_note());
	assert_false(lt_r_calls_hooks());
	assert_int_equal(lt_r_calls(calls, 2, &cut), 0);
	assert_false(lt_r_heap_block((uintptr_t)find, 7960));
	lt_r_unloaded();
	assert_false(lt_r_present());
}

static void heap_blocks_are_told_by_their_caller(void **state)
{
	struct wanted wanted = { .name = "cmocka_set_message_output" };

	/* libcmocka plays R: one of its functions is the allocator of vectors. */
	dl_iterate_phdr(find, &wanted);
	assert_true(wanted.found);
	lt_r.object = wanted.object;
	lt_r.allocate_vector = wanted.symbol;
	lt_r.present = true;

	uintptr_t start = wanted.symbol.address, end = start + wanted.symbol.size;
	assert_false(lt_r_heap_block(start, 100));
	assert_true(lt_r_heap_block(start + 1, 100));
	assert_true(lt_r_heap_block(end, 100)); /* the call was the last instruction */
	assert_false(lt_r_heap_block(end + 1, 100));

	/* A page: from code without an exported name, but from no other exported function and no other object. */
	uintptr_t hidden = wanted.object.text + 2, other;
	struct lt_r_symbol symbol;
	assert_int_equal(lt_r_elf_find(&wanted.object, "_test_malloc", &symbol), 0);
	other = symbol.address + 2;
	for (int again = 0; again < 2; again++) {
		assert_true(lt_r_heap_block(hidden, 7960));
		assert_false(lt_r_heap_block(other, 7960));
	}
	assert_false(lt_r_heap_block(hidden, 7961));
	assert_false(lt_r_heap_block((uintptr_t)dlsym(RTLD_DEFAULT, "strtol") + 4, 7960));
	lt_r_reset();
	assert_false(lt_r_heap_block(start + 1, 100));
}

static void mapped_memory_is_told_from_holes(void **state)
{
	char here[64] = "";

	assert_true(lt_r_mapped(here, sizeof(here)));
	assert_true(lt_r_mapped((void *)find, 1));
	assert_false(lt_r_mapped((void *)0x1000, 8));
	assert_false(lt_r_mapped((void *)0x7ffffffff000, 4096)); /* the last page of user space is never mapped */
	assert_false(lt_r_mapped((void *)UINTPTR_MAX, 8));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(symbols_are_found_where_dlsym_finds_them),
		cmocka_unit_test(symbols_that_nobody_defines_are_not_found),
		cmocka_unit_test(addresses_have_their_enclosing_symbol),
		cmocka_unit_test(a_process_without_r_has_none),
		cmocka_unit_test(heap_blocks_are_told_by_their_caller),
		cmocka_unit_test(mapped_memory_is_told_from_holes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
