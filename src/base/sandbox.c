/* SPDX-License-Identifier: MIT
 *
 * A program that installs a seccomp filter has said which system calls it will make. A filter that kills for any other would kill
 * it for one of ours, which we make on its behalf: to let the dump grow, to wait for a thread, to start a classifier. So the hooks of
 * prctl() and syscall() give us each filter, we keep a copy, and before any system call of ours the copies are run, as the kernel will
 * run the originals. What they don't plainly allow is not called; it fails with -EPERM, as it does under a filter that refuses by
 * error number, and then less is recorded. Turned down: to look for "Seccomp:" in /proc/self/status (to open that is mostly forbidden, too),
 * and to do without any system call from then on (the most common filters, those of containers, allow all that we want).
 *
 * A copy holds for all threads, though a filter without SECCOMP_FILTER_FLAG_TSYNC is that of its own thread. Not seen: a filter that is
 * installed past libc's functions, or was there when the image began. Kept in a static array: by the time the filter is known to be
 * good, mmap may be forbidden. Where that has no room, all is forbidden.
 *
 * Threads: one adds filters at a time; `programs` is released when one is complete. Read in any context.
 */
#include "base/sandbox.h"
#include "base/atomic.h"
#include "base/lock.h"
#include "base/sys.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>

#define INSTRUCTIONS 16384
#define PROGRAMS 64
#define SCRATCH 16 /* words of memory that a filter has: BPF_MEMWORDS */

#if defined __x86_64__
#define ARCH AUDIT_ARCH_X86_64
#elif defined __aarch64__
#define ARCH AUDIT_ARCH_AARCH64
#else
#define ARCH 0
#endif

bool lt_sandboxed;
static struct sock_filter instructions[INSTRUCTIONS];
static struct {
	unsigned first, count; /* count 0: nothing but what strict mode allows; UINT32_MAX: nothing at all */
} known[PROGRAMS];
static unsigned programs, used;
static bool all_forbidden;
static struct lt_lock lock; /* rank 5: nothing is taken under it */
static int pid;

#define NOTHING UINT32_MAX

/* What a filter returns for that call. One that can't be followed: kill. */
static uint32_t run(const struct sock_filter *code, unsigned count, const struct seccomp_data *data)
{
	uint32_t a = 0, x = 0, memory[SCRATCH] = { 0 };
	for (unsigned pc = 0; pc < count; pc++) {
		const struct sock_filter *i = &code[pc];
		uint32_t k = i->k, by = BPF_SRC(i->code) == BPF_X ? x : k;
		switch (BPF_CLASS(i->code)) {
		case BPF_LD:
		case BPF_LDX: {
			uint32_t value;
			if (BPF_MODE(i->code) == BPF_IMM)
				value = k;
			else if (BPF_MODE(i->code) == BPF_LEN)
				value = sizeof *data;
			else if (BPF_MODE(i->code) == BPF_MEM && k < SCRATCH)
				value = memory[k];
			else if (BPF_MODE(i->code) == BPF_ABS && k <= sizeof *data - 4)
				memcpy(&value, (const char *)data + k, 4);
			else
				return SECCOMP_RET_KILL_PROCESS;
			*(BPF_CLASS(i->code) == BPF_LD ? &a : &x) = value;
			break;
		}
		case BPF_ST:
		case BPF_STX:
			if (k >= SCRATCH)
				return SECCOMP_RET_KILL_PROCESS;
			memory[k] = BPF_CLASS(i->code) == BPF_ST ? a : x;
			break;
		case BPF_ALU:
			switch (BPF_OP(i->code)) {
			case BPF_ADD: a += by; break;
			case BPF_SUB: a -= by; break;
			case BPF_MUL: a *= by; break;
			case BPF_DIV: a = by ? a / by : 0; break;
			case BPF_AND: a &= by; break;
			case BPF_OR: a |= by; break;
			case BPF_XOR: a ^= by; break;
			case BPF_LSH: a = by < 32 ? a << by : 0; break;
			case BPF_RSH: a = by < 32 ? a >> by : 0; break;
			case BPF_NEG: a = -a; break;
			default: return SECCOMP_RET_KILL_PROCESS;
			}
			break;
		case BPF_JMP: {
			bool yes;
			switch (BPF_OP(i->code)) {
			case BPF_JA: pc += k; continue;
			case BPF_JEQ: yes = a == by; break;
			case BPF_JGT: yes = a > by; break;
			case BPF_JGE: yes = a >= by; break;
			case BPF_JSET: yes = a & by; break;
			default: return SECCOMP_RET_KILL_PROCESS;
			}
			pc += yes ? i->jt : i->jf;
			break;
		}
		case BPF_RET:
			return BPF_RVAL(i->code) == BPF_A ? a : k;
		case BPF_MISC:
			*(BPF_MISCOP(i->code) == BPF_TAX ? &x : &a) = BPF_MISCOP(i->code) == BPF_TAX ? a : x;
			break;
		}
	}
	return SECCOMP_RET_KILL_PROCESS;
}

static bool forbids(unsigned program, const struct seccomp_data *data)
{
	if (known[program].count == NOTHING)
		return true;
	if (!known[program].count)
		return data->nr != SYS_read && data->nr != SYS_write && data->nr != SYS_exit && data->nr != SYS_rt_sigreturn;
	uint32_t action = run(&instructions[known[program].first], known[program].count, data) & SECCOMP_RET_ACTION_FULL;
	return action != SECCOMP_RET_ALLOW && action != SECCOMP_RET_LOG;
}

static struct seccomp_data call_of(long n, long a, long b, long c, long d, long e, long f)
{
	return (struct seccomp_data){
		.nr = (int)n, .arch = ARCH, .instruction_pointer = (uintptr_t)&lt_sandbox_forbids,
		.args = { (uint64_t)a, (uint64_t)b, (uint64_t)c, (uint64_t)d, (uint64_t)e, (uint64_t)f },
	};
}

bool lt_sandbox_forbids(long n, long a, long b, long c, long d, long e, long f)
{
	const struct seccomp_data data = call_of(n, a, b, c, d, e, f);
	bool any = lt_load_relaxed(&all_forbidden);
	for (unsigned i = lt_load_acquire(&programs); i-- && !any;) /* pairs with lt_sandbox_finish */
		any = forbids(i, &data);
	return any;
}

int lt_sandbox_pid(void)
{
	return pid;
}

/* The program's memory, which may not be there. */
static bool copy(void *to, const void *from, size_t size)
{
	for (uintptr_t page = (uintptr_t)from & -4096UL; page < (uintptr_t)from + size; page += 4096)
		if (!lt_sys_can_read(page))
			return false;
	memcpy(to, from, size);
	return true;
}

bool lt_sandbox_prepare(const void *program)
{
	struct sock_fprog given;
	if (lt_lock_until(&lock, lt_sys_clock(CLOCK_MONOTONIC) + LT_LOCK_PATIENCE_NS)) {
		lt_store_relaxed(&all_forbidden, true);
		lt_store_relaxed(&lt_sandboxed, true);
		return false;
	}
	if (!lt_sandboxed)
		pid = lt_sys_getpid();
	if (programs == PROGRAMS)
		return true;
	known[programs].first = used;
	known[programs].count = program ? NOTHING : 0;
	if (program && copy(&given, program, sizeof given) && given.len && given.len <= INSTRUCTIONS - used &&
	    copy(&instructions[used], given.filter, given.len * sizeof *given.filter))
		known[programs].count = given.len;
	return true;
}

bool lt_sandbox_will_forbid(long n, long a, long b, long c, long d, long e, long f)
{
	const struct seccomp_data data = call_of(n, a, b, c, d, e, f);
	return programs == PROGRAMS || forbids(programs, &data);
}

void lt_sandbox_finish(bool installed)
{
	if (installed && programs == PROGRAMS) {
		lt_store_relaxed(&all_forbidden, true);
	} else if (installed) {
		used += known[programs].count == NOTHING ? 0 : known[programs].count;
		lt_store_release(&programs, programs + 1); /* pairs with lt_sandbox_forbids */
	}
	if (installed)
		lt_store_relaxed(&lt_sandboxed, true);
	lt_unlock(&lock);
}
