/* SPDX-License-Identifier: MIT
 *
 * How the command calls a function in a traced process: the contract of src/process/remote.c and tools/inject.c.
 *
 * libleaktrace.so exports one structure. The command stops the main thread by ptrace, stores the thread's registers and its
 * wish here, sets the thread's program counter and stack pointer to `entry` and `stack`, and lets go. The code at `entry` does
 * the work and puts all registers back by itself, so the command may die at any moment. A system call that was
 * waiting is made anew: the command stores the registers as the kernel would have set them to restart it.
 */
#ifndef LEAKTRACE_REMOTE_H
#define LEAKTRACE_REMOTE_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define LEAKTRACE_REMOTE_SYMBOL "leaktrace_preload_remote"
#define LEAKTRACE_REMOTE_VERSION 1

enum leaktrace_remote_wish {
	LEAKTRACE_REMOTE_SNAPSHOT = 1,
	LEAKTRACE_REMOTE_START = 2,
	LEAKTRACE_REMOTE_STOP = 3,
};

/* x86_64 only. */
struct leaktrace_remote {
	uint32_t version; /* LEAKTRACE_REMOTE_VERSION; 0: can't be called */
	uint32_t size;    /* of this structure, bytes */
	uint32_t busy;    /* set by the command, cleared at the end of the call; never call while it is set */
	uint32_t wish;    /* enum leaktrace_remote_wish */
	uint64_t entry, stack; /* addresses */
	uint64_t calls;   /* finished so far */
	int32_t result;   /* of the last call: 0 or -errno */
	uint32_t snapshot; /* number of the snapshot file that the last call began */
	/* From here on: set by the command. */
	uint64_t rip, rflags, rsp;
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15;
	char label[256]; /* ended by NUL; empty: none */
};
static_assert(offsetof(struct leaktrace_remote, busy) == 8, "used in remote.c's assembler");
static_assert(offsetof(struct leaktrace_remote, rip) == 48, "used in remote.c's assembler");
static_assert(offsetof(struct leaktrace_remote, r15) == 184, "used in remote.c's assembler");

#endif
