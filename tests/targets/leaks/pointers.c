/* SPDX-License-Identifier: MIT
 *
 * What counts as a pointer to a block, where it may lie in the program's own data, stack and registers, and how the block was
 * allocated.
 */
#include "leaks.h"
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <alloca.h>

static void *volatile slot, *volatile slot2;
static void *volatile initialised_slot = (void *)&slot;

/* ------------------------------------------------------------------ where the pointer lies */

MALLOCS(by_bss)
static void bss(void)
{
	slot = by_bss(101);
}

MALLOCS(by_data)
static void data(void)
{
	initialised_slot = by_data(102);
}

MALLOCS(by_static_local)
static void static_local(void)
{
	static void *volatile local;
	local = by_static_local(103);
}

MALLOCS(by_nothing)
static void nothing(void)
{
	by_nothing(104);
}

MALLOCS(by_heap)
MALLOCS(by_heap_child)
static void heap(void)
{
	void **block = by_heap(105);
	block[1] = by_heap_child(106);
	slot = block;
}

MALLOCS(by_pointer_array)
static void pointer_array(void)
{
	static void *cells[3];
	static void **const array[] = { &cells[0], &cells[1], &cells[2] };
	for (int i = 0; i < 3; i++)
		*array[i] = by_pointer_array(107);
}

MALLOCS(by_frame)
MALLOCS(by_outer_frame)
SITE static void inner_frame(void)
{
	void *volatile local = by_frame(108);
	TOUCH(&local);
	leaks_end(0);
}

static void frame(void)
{
	void *volatile local = by_outer_frame(109);
	TOUCH(&local);
	inner_frame();
}

MALLOCS(by_alloca)
static void in_alloca(void)
{
	void **array = alloca(4096);
	memset(array, 0, 4096);
	array[100] = by_alloca(110);
	TOUCH(array);
	leaks_end(0);
}

MALLOCS(by_unwritten_below)
SITE static void deep_frame(void)
{
	volatile char room[64 << 10];
	void *volatile local = by_unwritten_below(111);
	room[0] = 1;
	TOUCH(&local);
	TOUCH(room);
}

SITE static void deeper_frame(void)
{
	volatile char room[64 << 10];
	room[0] = 1;
	deep_frame();
	TOUCH(room);
}

/* No wiping: the pointer stays in the stack, far below the stack pointer. */
static void below_stack(void)
{
	deeper_frame();
	exit(0);
}

#if defined __x86_64__
void end_with_r12(void *variable) __attribute__((noreturn));
void setjmp_with(void *buffer, void *in_rbx, void *in_rbp);
__asm__(".text\n"
	"end_with_r12: .cfi_startproc\n\t"
	"sub $8, %rsp\n\t.cfi_adjust_cfa_offset 8\n\t"
	TAKE("r12") "xor %eax, %eax\n\tcall exit@PLT\n\thlt\n\t.cfi_endproc\n"
	"setjmp_with: .cfi_startproc\n\t"
	"push %rbx\n\t.cfi_adjust_cfa_offset 8\n\tpush %rbp\n\t.cfi_adjust_cfa_offset 8\n\t"
	"sub $8, %rsp\n\t.cfi_adjust_cfa_offset 8\n\t"
	"mov %rsi, %rbx\n\tmov %rdx, %rbp\n\txor %esi, %esi\n\tcall _setjmp@PLT\n\t"
	"add $8, %rsp\n\tpop %rbp\n\tpop %rbx\n\tret\n\t.cfi_endproc\n");

MALLOCS(by_r12)
static void callee_saved_register(void)
{
	void *block = by_r12(112);
	leaks_wipe();
	end_with_r12(&block);
}

MALLOCS(by_setjmp_rbx)
MALLOCS(by_setjmp_rbp)
static void setjmp_buffer(void)
{
	static jmp_buf buffer;
	void *rbx = by_setjmp_rbx(113);
	setjmp_with(buffer, rbx, by_setjmp_rbp(114));
}
#endif

MALLOCS(by_library)
MALLOCS(by_closed_library)
static void library(void)
{
	void *handle = dlopen(leaks_beside("leaks-holder.so"), RTLD_NOW);
	REQUIRE(handle);
	*(void **)dlsym(handle, "holder_slot") = by_library(115);
	handle = dlopen(leaks_beside("leaks-holder2.so"), RTLD_NOW);
	REQUIRE(handle);
	*(void **)dlsym(handle, "holder_slot") = by_closed_library(116);
	dlclose(handle);
}

MALLOCS(by_environment)
static void environment(void)
{
	char *text = by_environment(117);
	strcpy(text, "LEAKS_TEXT=1");
	REQUIRE(!putenv(text));
}

static void ignore(int status, void *pointer)
{
	(void)status;
	(void)pointer;
}

MALLOCS(by_on_exit)
static void on_exit_argument(void)
{
	REQUIRE(!on_exit(ignore, by_on_exit(118)));
}

MALLOCS(by_pipe)
MALLOCS(by_epoll)
static void kernel(void)
{
	int fds[2];
	REQUIRE(!pipe(fds));
	void *block = by_pipe(119);
	REQUIRE(write(fds[1], &block, sizeof block) == sizeof block);
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = by_epoll(120) };
	int epoll = epoll_create1(0);
	REQUIRE(epoll >= 0 && !epoll_ctl(epoll, EPOLL_CTL_ADD, fds[0], &event));
}

/* ------------------------------------------------------------------ what counts as a pointer */

MALLOCS(at_start)
MALLOCS(at_second_word)
MALLOCS(at_odd)
MALLOCS(at_middle)
MALLOCS(at_last)
MALLOCS(at_end)
MALLOCS(at_end_24)
MALLOCS(at_before)
MALLOCS(at_before_16)
static void offsets(void)
{
	static char *volatile cells[9];
	cells[0] = at_start(201);
	cells[1] = (char *)at_second_word(202) + 8;
	cells[2] = (char *)at_odd(203) + 1;
	cells[3] = (char *)at_middle(204) + 100;
	cells[4] = (char *)at_last(205) + 204;
	cells[5] = (char *)at_end(206) + 206;
	cells[6] = (char *)at_end_24(24) + 24;
	cells[7] = (char *)at_before(208) - 1;
	cells[8] = (char *)at_before_16(209) - 16;
}

MALLOCS(with_both)
MALLOCS(with_interior_first)
MALLOCS(with_interior_first_child)
static void start_and_interior(void)
{
	static char *volatile cells[4];
	cells[0] = with_both(210);
	cells[1] = cells[0] + 50;
	char *block = with_interior_first(211);
	*(void **)block = with_interior_first_child(212);
	cells[2] = block + 50;
	cells[3] = block;
}

MALLOCS(tagged_low)
MALLOCS(tagged_high)
MALLOCS(complement)
MALLOCS(xored)
MALLOCS(byte_swapped)
static void disguised(void)
{
	static volatile uintptr_t cells[5];
	cells[0] = (uintptr_t)tagged_low(221) | 1;
	cells[1] = (uintptr_t)tagged_high(222) | (uintptr_t)1 << 60;
	cells[2] = leaks_hide(complement(223));
	cells[3] = (uintptr_t)xored(224) ^ 0x5555555555555555;
	cells[4] = __builtin_bswap64((uintptr_t)byte_swapped(225));
}

MALLOCS(stored_at_1)
MALLOCS(stored_at_4)
MALLOCS(stored_in_halves)
static void unaligned(void)
{
	static char cells[96] __attribute__((aligned(16)));
	void *block = stored_at_1(231);
	memcpy(cells + 1, &block, sizeof block);
	block = stored_at_4(232);
	memcpy(cells + 36, &block, sizeof block);
	block = stored_in_halves(233);
	memcpy(cells + 64, &block, 4);
	memcpy(cells + 72, (char *)&block + 4, 4);
	block = NULL;
	TOUCH(cells);
}

SITE static void *no_bytes_held(void)
{
	void *block = malloc(0);
	KEEP_FRAME();
	return block;
}

SITE static void no_bytes_lost(void)
{
	TOUCH(malloc(0));
}

static void no_bytes(void)
{
	slot = no_bytes_held();
	no_bytes_lost();
}

/* ------------------------------------------------------------------ how it was allocated */

static void *volatile held[16];
static unsigned held_count;

#define FORM(name, ...) \
	SITE static void *name##_form(int lost) \
	{ \
		void *volatile block = NULL; \
		__VA_ARGS__; \
		REQUIRE(block); \
		void *result = block; \
		block = NULL; \
		return lost ? NULL : result; \
	}
FORM(calloc, block = calloc(3, 101))
FORM(realloc_grown, block = malloc(10); block = realloc(block, 5000))
FORM(realloc_shrunk, block = malloc(5000); block = realloc(block, 301))
FORM(realloc_null, block = realloc(NULL, 302))
FORM(realloc_mapped, block = malloc(300000); block = realloc(block, 700001))
FORM(reallocarray, block = reallocarray(NULL, 3, 103))
FORM(memalign, block = memalign(64, 303))
FORM(memalign_page, block = memalign(4096, 304))
FORM(memalign_mapped, block = memalign(4096, 300001))
FORM(posix_memalign, void *out; REQUIRE(!posix_memalign(&out, 256, 305)); block = out)
FORM(aligned_alloc, block = aligned_alloc(128, 384))
FORM(valloc, block = valloc(307))
FORM(strdup, block = strdup("one two three"))

static void forms(int lost)
{
	void *(*const all[])(int) = { calloc_form, realloc_grown_form, realloc_shrunk_form, realloc_null_form, realloc_mapped_form,
		reallocarray_form, memalign_form, memalign_page_form, memalign_mapped_form, posix_memalign_form, aligned_alloc_form,
		valloc_form, strdup_form };
	for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
		held[held_count++] = all[i](lost);
}

static void forms_held(void)
{
	forms(0);
}

static void forms_lost(void)
{
	forms(1);
}

#define FORMS(kind) { \
	{ "calloc_form", kind, 1, 303 }, { "realloc_grown_form", kind, 1, 5000 }, { "realloc_shrunk_form", kind, 1, 301 }, \
	{ "realloc_null_form", kind, 1, 302 }, { "realloc_mapped_form", kind, 1, 700001 }, { "reallocarray_form", kind, 1, 309 }, \
	{ "memalign_form", kind, 1, 303 }, { "memalign_page_form", kind, 1, 304 }, { "memalign_mapped_form", kind, 1, 300001 }, \
	{ "posix_memalign_form", kind, 1, 305 }, { "aligned_alloc_form", kind, 1, 384 }, { "valloc_form", kind, 1, 307 }, \
	{ "strdup_form", kind, 1, 14 } }

SITE static void *shrunk(void)
{
	char *block = malloc(4000);
	block = realloc(block, 100);
	REQUIRE(block);
	return block + 2000;
}

static void past_shrunk_end(void)
{
	slot = shrunk();
}

/* Within the last, unused bytes that malloc_usable_size() tells of. */
MALLOCS(with_slack)
static void in_slack(void)
{
	slot = (char *)with_slack(33) + 36;
}

MALLOCS(of_struct)
MALLOCS(of_struct_member)
static void flexible(void)
{
	struct { int a; char pad[20]; void *member; } *block = of_struct(32);
	block->member = of_struct_member(241);
	slot = block;
}

MALLOCS(many_held)
static void many(void)
{
	static void *cells[5000];
	for (int i = 0; i < 5000; i++)
		cells[i] = many_held(64);
	for (int i = 0; i < 5000; i += 5)
		cells[i] = NULL;
	TOUCH(cells);
}

LEAK_CASES = {
	{ "bss", bss, { { "by_bss", REACHABLE, 1, 101 } } },
	{ "data", data, { { "by_data", REACHABLE, 1, 102 } } },
	{ "static_local", static_local, { { "by_static_local", REACHABLE, 1, 103 } } },
	{ "nothing", nothing, { { "by_nothing", DEFINITE, 1, 104 } } },
	{ "heap", heap, { { "by_heap", REACHABLE, 1, 105 }, { "by_heap_child", REACHABLE, 1, 106 } } },
	{ "pointer_array", pointer_array, { { "by_pointer_array", REACHABLE, 3, 321 } } },
	{ "frame", frame, { { "by_frame", REACHABLE, 1, 108 }, { "by_outer_frame", REACHABLE, 1, 109 } } },
	{ "alloca", in_alloca, { { "by_alloca", REACHABLE, 1, 110 } } },
	{ "below_stack", below_stack, { { "by_unwritten_below", DEFINITE, 1, 111 } } },
#if defined __x86_64__
	{ "callee_saved_register", callee_saved_register, { { "by_r12", REACHABLE, 1, 112 } } },
	{ "setjmp_buffer", setjmp_buffer, { { "by_setjmp_rbx", REACHABLE, 1, 113 }, { "by_setjmp_rbp", DEFINITE, 1, 114 } } },
#endif
	{ "library", library, { { "by_library", REACHABLE, 1, 115 }, { "by_closed_library", DEFINITE, 1, 116 } } },
	{ "environment", environment, { { "by_environment", REACHABLE, 1, 117 } } },
	{ "on_exit_argument", on_exit_argument, { { "by_on_exit", REACHABLE, 1, 118 } } },
	{ "kernel", kernel, { { "by_pipe", DEFINITE, 1, 119 }, { "by_epoll", DEFINITE, 1, 120 } } },
	{ "offsets", offsets, { { "at_start", REACHABLE, 1, 201 }, { "at_second_word", POSSIBLE, 1, 202 },
		{ "at_odd", POSSIBLE, 1, 203 },
		{ "at_middle", POSSIBLE, 1, 204 }, { "at_last", POSSIBLE, 1, 205 }, { "at_end", DEFINITE, 1, 206 },
		{ "at_end_24", DEFINITE, 1, 24 }, { "at_before", DEFINITE, 1, 208 }, { "at_before_16", DEFINITE, 1, 209 } } },
	{ "start_and_interior", start_and_interior, { { "with_both", REACHABLE, 1, 210 },
		{ "with_interior_first", REACHABLE, 1, 211 },
		{ "with_interior_first_child", REACHABLE, 1, 212 } } },
	{ "disguised", disguised, { { "tagged_low", POSSIBLE, 1, 221 }, { "tagged_high", DEFINITE, 1, 222 },
		{ "complement", DEFINITE, 1, 223 }, { "xored", DEFINITE, 1, 224 }, { "byte_swapped", DEFINITE, 1, 225 } } },
	{ "unaligned", unaligned, { { "stored_at_1", DEFINITE, 1, 231 }, { "stored_at_4", DEFINITE, 1, 232 },
		{ "stored_in_halves", DEFINITE, 1, 233, { REACHABLE, 1, 233 } } },
		.why = "Valgrind's heap is below 4 GiB, so there the lower half is the whole pointer" },
	{ "no_bytes", no_bytes, { { "no_bytes_held", REACHABLE, 1, 0 }, { "no_bytes_lost", DEFINITE, 1, 0 } } },
	{ "forms_held", forms_held, FORMS(REACHABLE) },
	{ "forms_lost", forms_lost, FORMS(DEFINITE) },
	{ "past_shrunk_end", past_shrunk_end, { { "shrunk", DEFINITE, 1, 100 } } },
	{ "in_slack", in_slack, { { "with_slack", DEFINITE, 1, 33 } } },
	{ "flexible", flexible, { { "of_struct", REACHABLE, 1, 32 }, { "of_struct_member", REACHABLE, 1, 241 } } },
	{ "many", many, { { "many_held", REACHABLE, 4000, 256000 }, { "many_held", DEFINITE, 1000, 64000 } } },
};
LEAK_CASE_COUNT;
