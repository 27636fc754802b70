/* SPDX-License-Identifier: MIT
 *
 * main() of the programs with known verdicts. --list prints, separated by tabs:
 *
 *   CASE FUNCTION KIND BLOCKS BYTES VALGRIND-KIND VALGRIND-BLOCKS VALGRIND-BYTES STATUS WHY
 *
 * `gone` says that no block of the function is left, `none` for Valgrind that it gives no verdict in this case.
 */
#include "leaks.h"
#include <limits.h>
#include <stdio.h>
#include <time.h>

static const char *const kind_names[] = { "same", "gone", "any", "definite", "indirect", "possible", "reachable", "unknown",
	"none" };

static void list(void)
{
	for (unsigned i = 0; i < leak_case_count; i++) {
		const struct leak_case *c = &leak_cases[i];
		for (const struct leak_site *s = c->sites; s->function; s++) {
			int same = s->valgrind.kind == SAME, none = c->flags & LEAKS_NO_VALGRIND;
			printf("%s\t%s\t%s\t%u\t%lu\t%s\t%u\t%lu\t%d\t%s\n", c->name, s->function, kind_names[s->kind], s->blocks,
				s->bytes,
				kind_names[none ? NONE : same ? s->kind : s->valgrind.kind],
				none ? 0 : same ? s->blocks : s->valgrind.blocks,
				none ? 0 : same ? s->bytes : s->valgrind.bytes,
				c->status, c->why ? c->why : "");
		}
	}
}

/* Wipes all below its caller's frame, in the very words that the case's frames were in: a C function has holes in its frame. */
#if defined __x86_64__
__asm__(".text\n.globl leaks_wipe\n.globl leaks_wipe_registers\n"
	"leaks_wipe: .cfi_startproc\n\t"
	"sub $131072, %rsp\n\t.cfi_adjust_cfa_offset 131072\n\t"
	"mov %rsp, %rdi\n\tmov $16384, %ecx\n\txor %eax, %eax\n\tcld\n\trep stosq\n\t"
	"add $131072, %rsp\n\t.cfi_adjust_cfa_offset -131072\n\t.cfi_endproc\n"
	"leaks_wipe_registers: .cfi_startproc\n\t"
	"xor %eax, %eax\n\txor %ecx, %ecx\n\txor %edx, %edx\n\txor %esi, %esi\n\txor %edi, %edi\n\t"
	"xor %r8d, %r8d\n\txor %r9d, %r9d\n\txor %r10d, %r10d\n\txor %r11d, %r11d\n\tret\n\t.cfi_endproc\n");
#else
SITE void leaks_wipe_registers(void)
{
}

SITE void leaks_wipe(void)
{
	volatile char stack[128 << 10];
	for (size_t i = 0; i < sizeof stack; i++)
		stack[i] = 0;
}
#endif

void leaks_end(int status)
{
	leaks_wipe();
	exit(status);
}

SITE uintptr_t leaks_hide(const void *pointer)
{
	return ~(uintptr_t)pointer;
}

const char *leaks_beside(const char *name)
{
	static char path[PATH_MAX];
	ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
	REQUIRE(size > 0);
	path[size] = 0;
	char *slash = strrchr(path, '/');
	REQUIRE(slash && (size_t)(slash + 1 - path) + strlen(name) < sizeof path);
	strcpy(slash + 1, name);
	return path;
}

void leaks_nap(void)
{
	struct timespec time = { 0, 50000000 };
	nanosleep(&time, NULL);
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--list")) {
		list();
		return 0;
	}
	REQUIRE(argc == 2);
	for (unsigned i = 0; i < leak_case_count; i++) {
		if (!strcmp(argv[1], leak_cases[i].name)) {
			leak_cases[i].run();
			leaks_wipe();
			return 0;
		}
	}
	return 97;
}
