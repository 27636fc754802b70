/* SPDX-License-Identifier: MIT
 *
 * Calls from outside, by the command (include/leaktrace/remote.h). They come at any instruction of the main thread, as a signal
 * handler does, but no signal is sent: a select() that waits goes on waiting. The call runs on a stack of its own,
 * saves the floating-point state, and at the end puts back each register, the stack pointer by `ret $128`: the word below
 * the red zone holds the return address meanwhile.
 *
 * Turned down: a listening thread in each process (the program would have one thread more, and its forks are those of a threaded
 * program), a signal (EINTR in select, poll, nanosleep), sigreturn (it makes an interrupted nanosleep or poll fail).
 *
 * Not handled: a thread stopped inside a restartable sequence (rseq(2)) other than glibc's, which has none.
 */
#include "leaktrace/remote.h"
#include "base/sys.h"
#include "process/classify.h"
#include "process/process.h"
#include "trace/record.h"
#include <string.h>
#include <ucontext.h>

#if defined __x86_64__

#define STACK_BYTES (256 << 10) /* of which the processor's state takes up to 16 KiB */

__attribute__((visibility("hidden"))) _Alignas(64) char lt_remote_stack[STACK_BYTES];
void lt_remote_entry(void) __attribute__((visibility("hidden")));
void lt_remote_call(void) __attribute__((visibility("hidden")));

__attribute__((visibility("default"))) struct leaktrace_remote leaktrace_preload_remote = {
	.version = LEAKTRACE_REMOTE_VERSION,
	.size = sizeof leaktrace_preload_remote,
	.entry = (uintptr_t)&lt_remote_entry,
	.stack = (uintptr_t)&lt_remote_stack[STACK_BYTES],
};
extern struct leaktrace_remote lt_remote __attribute__((alias("leaktrace_preload_remote"), visibility("hidden")));

__asm__(
	"	.text\n"
	"	.hidden lt_remote_entry\n"
	"	.globl lt_remote_entry\n"
	"	.type lt_remote_entry, @function\n"
	"lt_remote_entry:\n"
	"	.cfi_startproc\n"
	"	.cfi_undefined rip\n"
	"	cld\n"
	"	subq $16384, %rsp\n"
	"	andq $-64, %rsp\n"
	"	leaq 512(%rsp), %rdi\n" /* xsave wants a header of zeros */
	"	xorl %eax, %eax\n"
	"	movl $8, %ecx\n"
	"	rep stosq\n"
	"	movl $-1, %eax\n"
	"	movl $-1, %edx\n"
	"	xsave64 (%rsp)\n"
	"	movq %rsp, %rbx\n"
	"	call lt_remote_call\n"
	"	movl $-1, %eax\n"
	"	movl $-1, %edx\n"
	"	xrstor64 (%rbx)\n"
	"	pushq 56+lt_remote(%rip)\n"
	"	popfq\n"
	"	movq 64+lt_remote(%rip), %rsp\n"
	"	leaq -136(%rsp), %rsp\n"
	"	movq 48+lt_remote(%rip), %rax\n"
	"	movq %rax, (%rsp)\n"
	"	movq 72+lt_remote(%rip), %rax\n"
	"	movq 80+lt_remote(%rip), %rbx\n"
	"	movq 88+lt_remote(%rip), %rcx\n"
	"	movq 96+lt_remote(%rip), %rdx\n"
	"	movq 104+lt_remote(%rip), %rsi\n"
	"	movq 112+lt_remote(%rip), %rdi\n"
	"	movq 120+lt_remote(%rip), %rbp\n"
	"	movq 128+lt_remote(%rip), %r8\n"
	"	movq 136+lt_remote(%rip), %r9\n"
	"	movq 144+lt_remote(%rip), %r10\n"
	"	movq 152+lt_remote(%rip), %r11\n"
	"	movq 160+lt_remote(%rip), %r12\n"
	"	movq 168+lt_remote(%rip), %r13\n"
	"	movq 176+lt_remote(%rip), %r14\n"
	"	movq 184+lt_remote(%rip), %r15\n"
	"	movl $0, 8+lt_remote(%rip)\n"
	"	ret $128\n"
	"	.cfi_endproc\n"
	"	.size lt_remote_entry, . - lt_remote_entry\n");

static void snapshot(struct leaktrace_remote *remote)
{
	static ucontext_t context; /* what a signal handler would have been given */
	greg_t *registers = context.uc_mcontext.gregs;
	static const uint8_t which[] = { REG_RAX, REG_RBX, REG_RCX, REG_RDX, REG_RSI, REG_RDI, REG_RBP, REG_R8,
		                         REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15 };
	const uint64_t *values = &remote->rax;
	for (unsigned i = 0; i < sizeof which; i++)
		registers[which[i]] = (greg_t)values[i];
	registers[REG_RSP] = (greg_t)remote->rsp;
	registers[REG_RIP] = (greg_t)remote->rip;
	remote->label[sizeof remote->label - 1] = '\0';
	remote->result = lt_classify_now(LEAKTRACE_TRIGGER_COMMAND, remote->label[0] ? remote->label : NULL, &context,
	                                 &remote->snapshot);
}

void lt_remote_call(void)
{
	struct leaktrace_remote *remote = &lt_remote;
	if (lt_load_relaxed(&lt_state) == LT_ON && !*lt_alive)
		lt_fork_child_unseen(false); /* as the first hook would */
	if (lt_load_relaxed(&lt_state) != LT_ON || (!*lt_alive && remote->wish == LEAKTRACE_REMOTE_SNAPSHOT))
		remote->result = -ESRCH;
	else if (remote->wish == LEAKTRACE_REMOTE_SNAPSHOT)
		snapshot(remote);
	else if (remote->wish == LEAKTRACE_REMOTE_START || remote->wish == LEAKTRACE_REMOTE_STOP)
		remote->result = 0, lt_record_switch(remote->wish == LEAKTRACE_REMOTE_START);
	else
		remote->result = -ENOSYS;
	remote->calls++;
}

#endif
