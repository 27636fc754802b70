/* SPDX-License-Identifier: MIT
 *
 * For tests of the scan: blocks of the real malloc, known by small numbers, since a test that held their addresses in its own
 * variables would be a root itself. What is tracked lies in the tracer's memory. Blocks are made and linked in functions that
 * are not inlined, and whose frames are wiped before the scan. Include cmocka.h first.
 */
#ifndef SCAN_WORLD_H
#define SCAN_WORLD_H

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/arena.h"
#include "scan/scan.h"

#define WORLD_BLOCKS 65536
#define NOINLINE __attribute__((noinline, unused))

struct world {
	uint32_t count;
	uintptr_t address[WORLD_BLOCKS]; /* by number */
	uint64_t size[WORLD_BLOCKS];
	uint32_t site[WORLD_BLOCKS];
	uint32_t forgotten[WORLD_BLOCKS]; /* not tracked */
	struct lt_scan_block blocks[WORLD_BLOCKS];
	struct lt_scan_thread threads[16];
	unsigned thread_count;
	struct lt_range own[16];
	unsigned own_count;
	struct lt_scan scan;
};

static struct world *world; /* of lt_map */

/* Gives back what the test made; malloc's own state may be dirty from it, as that of a program. */
static inline int world_end(void **state)
{
	for (uint32_t i = 0; i < world->count; i++)
		if (world->address[i] && world->forgotten[i] != 2)
			free((void *)world->address[i]);
	memset(world, 0, sizeof *world);
	return 0;
}

static int world_start(void **state)
{
	if (!world)
		world = lt_map(sizeof *world);
	memset(world, 0, sizeof *world);
	return world ? 0 : -1;
}

static NOINLINE uint32_t track_at(void *address, uint64_t size, bool freed_at_end)
{
	uint32_t number = world->count++;

	world->address[number] = (uintptr_t)address;
	world->size[number] = size;
	world->site[number] = 1;
	world->forgotten[number] = freed_at_end ? 0 : 2;
	return number;
}

/* A block of zeros. */
static NOINLINE uint32_t make(uint64_t size)
{
	void *block = malloc(size ? size : 1);

	memset(block, 0, size);
	return track_at(block, size, true);
}

static inline uintptr_t at(uint32_t number, uint64_t offset)
{
	return world->address[number] + offset;
}

/* The word at `offset` of `from` points to byte `into` of `to`. */
static NOINLINE void point(uint32_t from, uint64_t offset, uint32_t to, uint64_t into)
{
	uintptr_t value = at(to, into);

	memcpy((void *)at(from, offset), &value, sizeof value);
}

static NOINLINE void put(uint32_t number, uint64_t offset, uint64_t value)
{
	memcpy((void *)at(number, offset), &value, sizeof value);
}

/* Overwrites what functions that returned left on the stack and in registers. */
static NOINLINE void wipe(void)
{
	volatile char below[32768];

	memset((void *)below, 0, sizeof below);
#if defined __x86_64__
	__asm__ volatile("xor %%rbx, %%rbx\n xor %%r12, %%r12\n xor %%r13, %%r13\n xor %%r14, %%r14\n xor %%r15, %%r15"
	                 ::: "rbx", "r12", "r13", "r14", "r15", "memory");
#endif
}

static inline uintptr_t thread_pointer(void)
{
#if defined __x86_64__
	uintptr_t tp;
	__asm__("mov %%fs:0, %0" : "=r"(tp));
	return tp;
#else
	return 0;
#endif
}

static inline void add_thread(uintptr_t sp)
{
	world->threads[world->thread_count++] =
		(struct lt_scan_thread){ .tid = (uint32_t)gettid(), .sp = sp, .tp = thread_pointer() };
}

/* Judges all; this thread's stack counts from the caller's frame on, unless threads were added. */
static NOINLINE int judge(void)
{
	struct lt_scan *scan = &world->scan;

	wipe();
	if (!world->thread_count)
		add_thread((uintptr_t)__builtin_frame_address(0) + 16);
	for (uint32_t i = 0; i < world->count; i++)
		if (world->forgotten[i] != 1)
			world->blocks[scan->count++] = (struct lt_scan_block){
				.address = world->address[i], .size = world->size[i], .site = world->site[i], .task = i,
			};
	scan->blocks = world->blocks;
	scan->threads = world->threads;
	scan->thread_count = world->thread_count;
	scan->own = world->own;
	scan->own_count = world->own_count;
	return lt_scan_run(scan);
}

static const struct lt_scan_block *judged(uint32_t number)
{
	for (uint64_t i = 0; i < world->scan.count; i++)
		if (world->scan.blocks[i].task == number)
			return &world->scan.blocks[i];
	abort();
}

static inline char kind(uint32_t number)
{
	return "?dipr"[judged(number)->kind];
}

/* The kinds of blocks 0, 1, …, a letter each: definite, indirect, possible, reachable; R: by a heuristic. */
static inline const char *kinds(void)
{
	static char text[WORLD_BLOCKS + 1];
	uint32_t i = 0;

	for (; i < world->count; i++) {
		text[i] = kind(i);
		if (judged(i)->flags & LEAKTRACE_BLOCK_INTERIOR)
			text[i] = text[i] == 'r' ? 'R' : '!';
	}
	text[i] = 0;
	return text;
}

#define assert_judged(wanted)                          \
	do {                                           \
		assert_int_equal(judge(), 0);          \
		assert_string_equal(kinds(), (wanted)); \
	} while (0)

#endif
