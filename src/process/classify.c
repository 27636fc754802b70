/* SPDX-License-Identifier: MIT
 *
 * A classifier's start. Three processes:
 *   the program's thread   closes the gate, blocks its signals, and waits (CLONE_VFORK) while
 *   the helper             shares its memory, holds the other threads still, forks the classifier, waits until that has its
 *                          file, lets the threads go and ends;
 *   the classifier         is a copy of the program at that moment (classifier.c).
 * The helper is there so that the classifier is nobody's child: it is reaped here by its number, has no exit signal, and so
 * neither SIGCHLD nor wait() shows it to the program; the classifier goes to init. It costs no copy of the address space.
 *
 * Raw clone(), so that the program's atfork handlers don't run. Turned down: to classify in the process itself (the pause), in a
 * child of the program (wait() shows it, and mclapply's SIGTERM ends it), in the command by process_vm_readv (the worker is gone by
 * then).
 *
 * Threads: one classification at a time; a second request meanwhile is refused with -EBUSY, but the last one waits. Failure
 * (RLIMIT_NPROC, memory): the program goes on; for the last one the dump says why its blocks stay unknown.
 */
#include "process/classify.h"
#include "base/arena.h"
#include "base/options.h"
#include "base/sys.h"
#include "base/text.h"
#include "dump/blocks.h"
#include "dump/dump.h"
#include "process/process.h"
#include "process/threads.h"
#include "scan/work.h"
#include "trace/intern.h"
#include "trace/counters.h"
#include "trace/live.h"
#include "trace/record.h"
#include <linux/futex.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <ucontext.h>

#define INIT_PATIENCE_NS 10000000000
#define BUSY_PATIENCE_NS 1000000000
#define FEW 16 /* blocks that are looked for in the environment */
#define ENVIRONMENT_MAX 1024 /* times 64 variables */
#define PATIENCE_NS 2500000000 /* for the classifier's first steps, its turn included */

static struct lt_records verdicts = { .type = LEAKTRACE_CHUNK_VERDICTS,
	                              .record_size = sizeof(struct leaktrace_verdict),
	                              .chunk_size = 4096,
	                              .bounded = true };
static int busy;
static uint32_t snapshots, last_task_snapshot, exec_snapshot; /* before an exec, which then may have failed */
static uint64_t judged_task; /* number of the task at whose end there was a verdict */
static struct leaktrace_verdict *exec_verdict; /* in the dump, on an exec that is under way */

struct leaktrace_verdict *lt_verdict_append(const struct leaktrace_verdict *verdict)
{
	struct leaktrace_verdict *record = lt_dump_append(&verdicts);
	if (record) {
		*record = *verdict;
		lt_dump_commit(&verdicts);
	}
	return record;
}

void lt_classify_fork_child(void)
{
	verdicts.chunk = NULL;
	verdicts.next = 0;
	snapshots = last_task_snapshot = exec_snapshot = 0;
	judged_task = 0;
	exec_verdict = NULL;
	busy = 0;
}

static void note_failure(struct leaktrace_verdict *record, const char *why)
{
	if (!record)
		return;
	record->note = lt_intern_string_bounded(why, strlen(why));
	lt_store_release(&record->state, LEAKTRACE_VERDICT_FAILED); /* pairs with the reader of the file */
}

static const char *reason(int error)
{
	switch (-error) {
	case EAGAIN: return "no classifier: the limit of processes is reached";
	case ENOMEM: return "no classifier: out of memory";
	case EPERM: return lt_sandboxed ? "no classifier: a seccomp filter" : "no classifier: fork is not permitted";
	case EBUSY: return "no classifier: another one was being started";
	}
	return "no classifier: fork failed";
}

static bool yama_forbids(void)
{
	char scope[16];
	return lt_text_read_file("/proc/sys/kernel/yama/ptrace_scope", scope, sizeof scope) > 0 && *scope == '1';
}

static bool is_filtered(void)
{
	char status[4096];
	return lt_text_read_file("/proc/self/status", status, sizeof status) > 0 && strstr(status, "\nSeccomp:\t2");
}

/* The thread itself: its callee-saved registers are in the frames above `sp`, or in the context that a signal interrupted. */
static void describe_caller(struct lt_scan_thread *thread, const void *context, uintptr_t sp)
{
	memset(thread, 0, sizeof *thread);
	thread->tid = (uint32_t)lt_sys_gettid();
	thread->sp = sp;
	thread->tp = (uintptr_t)__builtin_thread_pointer();
#if defined __x86_64__
	if (context) {
		const greg_t *registers = ((const ucontext_t *)context)->uc_mcontext.gregs;
		static const uint8_t which[] = { REG_RAX, REG_RBX, REG_RCX, REG_RDX, REG_RSI, REG_RDI, REG_RBP, REG_R8,
			                         REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15, REG_RSP };
		for (unsigned i = 0; i < sizeof which; i++)
			thread->reg[i] = (uintptr_t)registers[which[i]];
		thread->registers = sizeof which;
		thread->sp = (uintptr_t)registers[REG_RSP] - LT_RED_ZONE;
		thread->pc = (uintptr_t)registers[REG_RIP];
	}
#endif
}

/* A filter that was there before us may kill for it; then it kills a child that tries. */
static bool may_trace(const struct lt_classification *c)
{
	int status = 0;
	if (!c->filtered)
		return true;
	long child = lt_syscall6(SYS_clone, 0, 0, 0, 0, 0, 0);
	if (!child) {
		lt_syscall6(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0, 0); /* no core */
		lt_syscall6(SYS_ptrace, PTRACE_SEIZE, 0, 0, 0, 0, 0);
		lt_sys_leave(SYS_exit_group, 0);
	}
	return child > 0 && lt_syscall6(SYS_wait4, child, (long)&status, __WALL, 0, 0, 0) == child && !status;
}

/* In the helper: no return, on the stack of the program's thread, which waits. */
static __attribute__((noinline, noreturn)) void help(struct lt_classification *c, int pid, int *error)
{
	/* The helper's own. A pipe must get its end when the program is killed meanwhile; and the program may have used up its limit. */
	lt_syscall6(SYS_close_range, 0, ~0U, 0, 0, 0, 0);
	if (c->thread_count > 1 && !may_trace(c))
		c->unstopped = c->thread_count - 1;
	else if (!c->unnumbered)
		c->thread_count = 1 + lt_threads_hold(pid, (int)c->threads[0].tid, c->threads + 1, c->thread_count - 1,
		                                      LT_THREADS_MAX - 1, &c->unstopped, &c->threads_missing);
	long classifier = lt_syscall6(SYS_clone, 0, 0, 0, 0, 0, 0);
	if (!classifier)
		lt_classifier_run(c);
	*error = classifier < 0 ? (int)classifier : 0;
	bool released = lt_threads_release(c->threads + 1, c->thread_count - 1);
	int64_t deadline = lt_sys_clock(CLOCK_MONOTONIC) + PATIENCE_NS;
	while (classifier > 0 && !lt_load_acquire(&c->shared->ready)) { /* pairs with the store in classifier.c */
		struct timespec rest = { 0, 1000000 };
		if (!released)
			released = lt_threads_release(c->threads + 1, c->thread_count - 1);
		lt_syscall6(SYS_futex, (long)&c->shared->ready, FUTEX_WAIT, 0, (long)&rest, 0, 0);
		if (lt_sys_clock(CLOCK_MONOTONIC) > deadline || lt_syscall6(SYS_wait4, classifier, 0, WNOHANG | __WALL, 0, 0, 0) == classifier)
			break;
	}
	lt_sys_leave(SYS_exit, 0);
}

/* Clones the helper and waits for its end. In a function of its own, with nothing kept in registers over the clone. */
static __attribute__((noinline)) int clone_helper(struct lt_classification *c)
{
	volatile int error = 0;
	struct lt_classification *volatile kept = c;
	volatile int pid = lt_sys_getpid();
	long helper = lt_syscall6(SYS_clone, CLONE_VM | CLONE_VFORK, 0, 0, 0, 0, 0);
	if (!helper)
		help(kept, pid, (int *)&error);
	if (helper < 0)
		return (int)helper;
	int status;
	while (lt_syscall6(SYS_wait4, helper, (long)&status, __WALL, 0, 0, 0) == -EINTR)
		;
	return error;
}

static struct leaktrace_verdict *announce(const struct lt_classification *c, uint32_t state)
{
	const struct leaktrace_verdict verdict = {
		.time_ns = c->time_ns,
		.trigger = c->trigger,
		.state = state,
		.generation = lt_process->blocks_generation + 1,
	};
	return lt_verdict_append(&verdict);
}

/* Whoever holds it is another thread, for it has all signals blocked. */
static bool take_busy(bool patient)
{
	int64_t deadline = lt_sys_clock(CLOCK_MONOTONIC) + BUSY_PATIENCE_NS;
	while (lt_exchange_acquire(&busy, 1)) { /* pairs with the store at the end of lt_classify */
		if (!patient || lt_sys_clock(CLOCK_MONOTONIC) > deadline)
			return false;
		lt_sys_wait(264);
	}
	return true;
}

/* ---- a child that only has changed its environment ---- */

struct few {
	struct lt_scan_block blocks[FEW];
	unsigned count, held;
	bool more;
};

static bool list_few(const struct lt_block *block, void *arg)
{
	struct few *few = arg;
	few->more = few->count == FEW;
	if (!few->more)
		few->blocks[few->count++] = (struct lt_scan_block){
			.address = block->address, .size = block->size, .site = block->site, .task = block->task,
		};
	return !few->more;
}

static void hold(struct few *few, uintptr_t word)
{
	for (unsigned i = 0; i < few->count; i++) {
		if (few->blocks[i].address == word && !few->blocks[i].kind) {
			few->blocks[i].kind = LEAKTRACE_KIND_REACHABLE;
			few->held++;
		}
	}
}

/* Copied, never read: who gives exec an environment of its own may have left anything in `environ`. */
static bool hold_environment(struct few *few)
{
	uintptr_t words[64], address = (uintptr_t)environ;
	hold(few, address);
	for (unsigned round = 0; round < ENVIRONMENT_MAX && !(address % sizeof *words); round++) {
		size_t size = sizeof words - address % sizeof words; /* in one page */
		if (!address || !lt_pages_copy((const void *)address, words, size))
			return false;
		for (size_t i = 0; i < size / sizeof *words; i++) {
			if (!words[i] || few->held == few->count)
				return few->held == few->count;
			hold(few, words[i]);
		}
		address += size;
	}
	return false;
}

/* Between fork and exec hardly anything is allocated but what putenv() takes. Of a child of a large program a classifier would
 * look through all the memory for these few blocks, and exec would wait until it is at work: several times what fork and exec
 * themselves take. So first look where they are, if nowhere else. */
static bool judge_environment(const struct lt_classification *c)
{
	struct few few = { .count = 0 };
	uint32_t first_site = lt_site_first();
	if (first_site == 1 || lt_process->live_blocks > FEW || lt_options.sample || lt_was_off)
		return false;
	if (lt_live_visit_own(false, list_few, &few) || few.more || few.count != lt_process->live_blocks || !hold_environment(&few))
		return false;
	struct leaktrace_verdict verdict = {
		.time_ns = c->time_ns, .trigger = c->trigger, .state = LEAKTRACE_VERDICT_DONE,
		.generation = lt_process->blocks_generation + 1,
	};
	for (unsigned i = 0; i < few.count; i++) {
		verdict.kinds[LEAKTRACE_KIND_REACHABLE].blocks++;
		verdict.kinds[LEAKTRACE_KIND_REACHABLE].bytes += few.blocks[i].size;
	}
	if (lt_blocks_write_verdict(few.blocks, few.count, first_site, verdict.generation))
		return false;
	verdict.work_ns = verdict.pause_ns = lt_sys_clock(CLOCK_MONOTONIC) - c->begin_ns;
	exec_verdict = lt_verdict_append(&verdict);
	return exec_verdict;
}

void lt_classify_undo(void)
{
	if (exec_verdict) /* the next list of blocks takes the place of its own */
		lt_store_release(&exec_verdict->state, 0); /* pairs with the reader of the file */
	exec_verdict = NULL;
}

int lt_classify(enum leaktrace_trigger trigger, const char *label, const void *context, bool last)
{
	struct lt_classification c = {
		.trigger = trigger, .label = label, .last = last, .context = context, .pid = (uint32_t)lt_sys_getpid(),
		.begin_ns = lt_sys_clock(CLOCK_MONOTONIC), .time_ns = lt_sys_clock(CLOCK_REALTIME),
	};
	int error;
	__builtin_unwind_init();
	if (!lt_options.verdict || !lt_dump_open())
		return -ENODATA;
	lt_count_settle();
	if (trigger == LEAKTRACE_TRIGGER_END && !lt_process->live_blocks) {
		if (last)
			announce(&c, LEAKTRACE_VERDICT_DONE);
		return -ENODATA;
	}
	if (trigger == LEAKTRACE_TRIGGER_END && !last && judge_environment(&c))
		return 0;
	if (!take_busy(last)) {
		if (last)
			note_failure(announce(&c, LEAKTRACE_VERDICT_RUNNING), reason(-EBUSY));
		return -EBUSY;
	}
	size_t size = LT_THREADS_MAX * sizeof *c.threads;
	int pid = (int)c.pid, tid = lt_sys_gettid();
	c.shared = lt_map_shared(4096);
	c.threads = lt_map(size);
	error = -ENOMEM;
	if (!c.shared || !c.threads)
		goto out;
	/* Nobody looks for these verdicts but who has asked for them, and that is the program's own pause. */
	c.shared->ready = trigger == LEAKTRACE_TRIGGER_API || trigger == LEAKTRACE_TRIGGER_COMMAND;
	c.thread_count = 1;
	bool opened = false, others;
	describe_caller(&c.threads[0], context, (uintptr_t)__builtin_frame_address(0));
	c.unnumbered = !lt_threads_are_numbered(pid, &others);
	if (c.unnumbered) {
		c.threads_missing = others;
	} else if (others) {
		c.filtered = !lt_sandboxed && is_filtered();
		c.thread_count += lt_threads_guess(pid, tid, c.threads + 1, LT_THREADS_MAX - 1);
		opened = yama_forbids() && lt_syscall6(SYS_prctl, PR_SET_PTRACER, (long)PR_SET_PTRACER_ANY, 0, 0, 0, 0) == 0;
	}
	if (last && lt_dump_left() >= lt_blocks_room())
		c.record = announce(&c, LEAKTRACE_VERDICT_RUNNING);
	if (!c.record)
		c.snapshot = ++snapshots;
	if (trigger == LEAKTRACE_TRIGGER_TASK)
		c.replaces = last_task_snapshot;
	if (trigger == LEAKTRACE_TRIGGER_END)
		c.replaces = exec_snapshot;
	c.stopped = lt_fork_stop_threads();
	lt_count_settle();
	if (last && !c.stopped) /* the dump is the classifier's from now on */
		lt_record_end();
	error = clone_helper(&c);
	if (last) /* until now other threads waited at the gate, and freed nothing that the classifier would look for */
		lt_record_end();
	lt_fork_resume_threads();
	lt_store_relaxed(&c.shared->pause_ns, lt_sys_clock(CLOCK_MONOTONIC) - c.begin_ns);
	if (opened)
		lt_syscall6(SYS_prctl, PR_SET_PTRACER, 0, 0, 0, 0, 0);
	if (!error && trigger == LEAKTRACE_TRIGGER_TASK)
		last_task_snapshot = c.snapshot;
	if (!error && trigger == LEAKTRACE_TRIGGER_END && !last)
		exec_snapshot = c.snapshot;
out:
	if (error)
		note_failure(c.record, reason(error));
	lt_unmap(c.threads, size);
	lt_unmap(c.shared, 4096);
	lt_store_release(&busy, 0); /* pairs with the exchange in take_busy */
	return error;
}

bool lt_classify_end_due(void)
{
	bool judged = judged_task && judged_task == lt_process->tasks && !lt_task_current();
	return lt_options.verdict && !judged && lt_load_relaxed(&lt_process->live_blocks);
}

int lt_classify_end(const void *context, bool last)
{
	int error = -EALREADY;
	if (!judged_task || judged_task != lt_process->tasks || lt_task_current())
		error = lt_classify(LEAKTRACE_TRIGGER_END, NULL, context, last);
	if (last && lt_options.verdict && lt_sys_getpid() == 1) /* its end is that of its name space, its workers' classifiers and all */
		lt_classifier_wait_all(lt_sys_clock(CLOCK_MONOTONIC) + INIT_PATIENCE_NS);
	return error;
}

int lt_classify_now(enum leaktrace_trigger trigger, const char *label, const void *context, uint32_t *snapshot)
{
	uint64_t all = ~UINT64_C(0), before;
	lt_tracer_enter();
	lt_syscall6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&before, 8, 0, 0);
	int error = lt_classify(trigger, label, context, false);
	if (!error && snapshot)
		*snapshot = snapshots;
	if (!error && trigger == LEAKTRACE_TRIGGER_TASK)
		judged_task = lt_process->tasks;
	lt_syscall6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&before, 0, 8, 0, 0);
	lt_tracer_leave();
	return error;
}
