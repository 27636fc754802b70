/* SPDX-License-Identifier: MIT
 *
 * memcheck's four heuristics, which make an interior pointer count as a start pointer, by layouts made by hand, each with what
 * just fails to match. The C++ ones made by a compiler are in cxx.cpp.
 */
#include "leaks.h"

enum { CELLS = 16 };
static void *volatile cell[CELLS];
static unsigned cells;

static void hold(void *pointer)
{
	REQUIRE(cells < CELLS);
	cell[cells++] = pointer;
}

/* std::string with a shared representation: length, capacity, reference count, then the text that pointers point to. */
SITE static uintptr_t *string_of(uintptr_t *block, uintptr_t length, uintptr_t capacity)
{
	block[0] = length;
	block[1] = capacity;
	return block;
}

MALLOCS(string_right)
MALLOCS(string_empty)
MALLOCS(string_with_room)
MALLOCS(string_too_long)
MALLOCS(string_wrong_capacity)
MALLOCS(string_elsewhere)
MALLOCS(string_child)
static void stdstring(void)
{
	hold(string_of(string_right(24 + 100 + 1), 100, 100) + 3);
	hold(string_of(string_empty(24 + 0 + 1), 0, 0) + 3);
	hold(string_of(string_with_room(24 + 60 + 1), 7, 60) + 3);
	hold(string_of(string_too_long(24 + 50 + 1), 51, 50) + 3);
	hold(string_of(string_wrong_capacity(24 + 40 + 2), 10, 40) + 3);
	hold(string_of(string_elsewhere(24 + 80 + 1), 80, 80) + 4);
	uintptr_t *array = string_of(malloc(24 + 8 + 1), 8, 8);
	array[3] = (uintptr_t)string_child(71);
	hold(array + 3);
}

SITE static uintptr_t *first_word(uintptr_t *block, uintptr_t value)
{
	block[0] = value;
	return block;
}

MALLOCS(length_right)
MALLOCS(length_wrong)
MALLOCS(length_elsewhere)
MALLOCS(length_child)
static void length64(void)
{
	hold(first_word(length_right(8 + 993), 993) + 1);
	hold(first_word(length_wrong(8 + 995), 994) + 1);
	hold(first_word(length_elsewhere(8 + 997), 997) + 2);
	uintptr_t *block = first_word(malloc(8 + 333), 333);
	block[1] = (uintptr_t)length_child(72);
	hold(block + 1);
}

MALLOCS(array_right)
MALLOCS(array_one)
MALLOCS(array_none)
MALLOCS(array_wrong)
MALLOCS(array_elsewhere)
static void new_array(void)
{
	hold(first_word(array_right(8 + 7 * 24), 7) + 1);
	hold(first_word(array_one(8 + 48), 1) + 1);
	hold(first_word(array_none(8 + 49), 0) + 1);
	hold(first_word(array_wrong(8 + 7 * 24), 5) + 1);
	hold(first_word(array_elsewhere(8 + 9 * 24), 9) + 2);
}

/* Inner pointers of a heap block, and in a lost graph, where all inner pointers are equal. */
MALLOCS(array_in_heap)
MALLOCS(array_parent)
MALLOCS(array_lost_parent)
MALLOCS(array_in_lost)
static void new_array_in_heap(void)
{
	uintptr_t **parent = array_parent(81);
	parent[2] = first_word(array_in_heap(8 + 5 * 11), 5) + 1;
	hold(parent);
	parent = array_lost_parent(82);
	parent[2] = first_word(array_in_lost(8 + 5 * 13), 5) + 1;
}

/* Blocks of a possible block stay possible, heuristic or not. */
MALLOCS(possible_holder)
MALLOCS(array_of_possible)
static void new_array_in_possible(void)
{
	uintptr_t **parent = possible_holder(83);
	parent[2] = first_word(array_of_possible(8 + 5 * 15), 5) + 1;
	hold((char *)parent + 32);
}

LEAK_CASES = {
	{ "stdstring", stdstring, { { "string_right", REACHABLE, 1, 125 }, { "string_empty", REACHABLE, 1, 25 },
		{ "string_with_room", REACHABLE, 1, 85 }, { "string_too_long", POSSIBLE, 1, 75 },
		{ "string_wrong_capacity", POSSIBLE, 1, 66 },
		{ "string_elsewhere", POSSIBLE, 1, 105 }, { "string_child", REACHABLE, 1, 71 } } },
	{ "length64", length64, { { "length_right", REACHABLE, 1, 1001 }, { "length_wrong", POSSIBLE, 1, 1003 },
		{ "length_elsewhere", POSSIBLE, 1, 1005 }, { "length_child", REACHABLE, 1, 72 } } },
	{ "new_array", new_array, { { "array_right", REACHABLE, 1, 176 }, { "array_one", REACHABLE, 1, 56 },
		{ "array_none", POSSIBLE, 1, 57 }, { "array_wrong", POSSIBLE, 1, 176 }, { "array_elsewhere", POSSIBLE, 1, 224 } } },
	{ "new_array_in_heap", new_array_in_heap, { { "array_parent", REACHABLE, 1, 81 }, { "array_in_heap", REACHABLE, 1, 63 },
		{ "array_lost_parent", DEFINITE, 1, 82 }, { "array_in_lost", INDIRECT, 1, 73 } } },
	{ "new_array_in_possible", new_array_in_possible, { { "possible_holder", POSSIBLE, 1, 83 },
		{ "array_of_possible", POSSIBLE, 1, 83 } } },
};
LEAK_CASE_COUNT;
