/* SPDX-License-Identifier: MIT
 *
 * The classifier: one thread, a copy of the program's memory, nobody's child. First it lets go of all that others could notice:
 * descriptors (a reader at the other end of a pipe waits for its end), the terminal, the working directory, signal handlers (R's
 * would print); it asks to be the first that the kernel kills when memory is short, for it makes private copies of what it
 * writes to. Then it lists the blocks, marks them, and writes the verdict: into the image's own dump if that image records
 * nothing any more, else into a snapshot file.
 *
 * Failure: it ends by _exit or by a signal, its verdict still RUNNING or FAILED, and the report says so.
 */
#include "base/arena.h"
#include "base/options.h"
#include "base/sys.h"
#include "base/text.h"
#include "dump/blocks.h"
#include "dump/dump.h"
#include "hooks/real.h"
#include "process/classify.h"
#include "process/frames.h"
#include "process/process.h"
#include "r/r.h"
#include "trace/intern.h"
#include "trace/live.h"
#include "trace/record.h"
#include <linux/futex.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>

#define WORK_SECONDS 600 /* then it gives up */
#define OWN_MAX 65536 /* segments of a dump, the library, and frames of R */
#define TURNS_MIN 8
#define SLEEPS 264 /* a round of lt_sys_wait() that sleeps */
#define PAUSE_ROUNDS 100
#define TURN_PATIENCE_NS 2000000000

static void write_file(const char *path, const char *text)
{
	int fd = lt_sys_open(AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return;
	lt_sys_write(fd, text, strlen(text));
	lt_sys_close(fd);
}

static void close_all(void)
{
	if (lt_syscall6(SYS_close_range, 0, ~0U, 0, 0, 0, 0) != 0) { /* before Linux 5.9 */
		struct rlimit limit = { 65536, 65536 };
		lt_syscall6(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, (long)&limit, 0, 0);
		for (rlim_t fd = 0; fd < limit.rlim_cur && fd < 1048576; fd++)
			lt_sys_close((int)fd);
	}
	for (int fd = 0; fd < 3; fd++) /* what R writes to them must not meet a file of ours */
		lt_sys_open(AT_FDCWD, "/dev/null", O_RDWR, 0);
}

/* What was sent to the program's process group before setsid() is pending here, for all signals are blocked still: to be ignored
 * for a moment drops it. */
static void reset_signals(void)
{
	struct {
		const void *handler;
		unsigned long flags;
		void *restorer;
		uint64_t mask;
	} action = { .handler = (const void *)SIG_IGN };
	for (int sig = 1; sig < 65; sig++)
		lt_syscall6(SYS_rt_sigaction, sig, (long)&action, 0, 8, 0, 0);
	action.handler = (const void *)SIG_DFL;
	for (int sig = 1; sig < 65; sig++)
		lt_syscall6(SYS_rt_sigaction, sig, (long)&action, 0, 8, 0, 0);
}

/* A core file has no room in 1 byte, and the kernel takes that for "none" also where core files go into a pipe, which it does not
 * do for 0 (fs/coredump.c). */
static void forbid_core(void)
{
	static const struct rlimit one = { 1, 1 }, none;
	if (lt_syscall6(SYS_prlimit64, 0, RLIMIT_CORE, (long)&one, 0, 0, 0) != 0)
		lt_syscall6(SYS_prlimit64, 0, RLIMIT_CORE, (long)&none, 0, 0, 0);
}

static void detach(void)
{
	static const int no_priority; /* struct sched_param */
	const struct itimerval end = { .it_value = { WORK_SECONDS, 0 } };
	uint64_t open = 0;
	lt_syscall6(SYS_setsid, 0, 0, 0, 0, 0, 0);
	reset_signals();
	lt_syscall6(SYS_setitimer, ITIMER_REAL, (long)&end, 0, 0, 0, 0);
	lt_syscall6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&open, 0, 8, 0, 0);
	lt_syscall6(SYS_sched_setscheduler, 0, SCHED_OTHER, (long)&no_priority, 0, 0, 0); /* not a real-time program's */
	lt_syscall6(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0, 0); /* or its own /proc/self/pagemap is not for it */
	lt_syscall6(SYS_prctl, PR_SET_NAME, (long)"leaktrace", 0, 0, 0, 0);
	forbid_core();
	close_all();
	write_file("/proc/self/oom_score_adj", "1000");
	lt_syscall6(SYS_chdir, (long)"/", 0, 0, 0, 0, 0);
}

/* At most so many classifiers of a session work at a time: a job with a thousand short workers would otherwise end with a thousand
 * copies of them in memory. Who finds no room makes its program wait, which is what slows the job down to the pace at
 * which it can be judged. The lock is the process's (F_OFD_SETLK) and ends with it. */
static int open_turns(int flags)
{
	static char path[PATH_MAX];
	struct lt_text text = LT_TEXT(path);
	lt_text_add(&text, lt_session.dir);
	lt_text_add(&text, "/.classifiers");
	return text.cut ? -ENAMETOOLONG : lt_sys_open(AT_FDCWD, path, flags | O_NOFOLLOW | O_CLOEXEC, 0600);
}

static void take_turn(void)
{
	uint64_t cpus[16] = { 0 };
	unsigned turns = 0;
	lt_syscall6(SYS_sched_getaffinity, 0, sizeof cpus, (long)cpus, 0, 0, 0);
	for (unsigned i = 0; i < 16; i++)
		turns += (unsigned)__builtin_popcountll(cpus[i]);
	turns = 2 * turns < TURNS_MIN ? TURNS_MIN : 2 * turns;
	int fd = open_turns(O_RDWR | O_CREAT);
	int64_t deadline = lt_sys_clock(CLOCK_MONOTONIC) + TURN_PATIENCE_NS;
	while (fd >= 0 && lt_sys_clock(CLOCK_MONOTONIC) < deadline) {
		for (unsigned i = 0; i < turns; i++) {
			struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = i, .l_len = 1 };
			long error = lt_syscall6(SYS_fcntl, fd, F_OFD_SETLK, (long)&lock, 0, 0, 0);
			if (!error || (error != -EAGAIN && error != -EACCES))
				return; /* kept open */
		}
		struct timespec some = { 0, 1000000 };
		lt_syscall6(SYS_nanosleep, (long)&some, 0, 0, 0, 0, 0);
	}
}

void lt_classifier_wait_all(int64_t deadline)
{
	int fd = open_turns(O_RDWR);
	while (fd >= 0 && lt_sys_clock(CLOCK_MONOTONIC) < deadline) {
		struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
		struct timespec some = { 0, 2000000 };
		if (lt_syscall6(SYS_fcntl, fd, F_OFD_GETLK, (long)&lock, 0, 0, 0) != 0 || lock.l_type == F_UNLCK)
			break;
		lt_syscall6(SYS_nanosleep, (long)&some, 0, 0, 0, 0, 0);
	}
	if (fd >= 0)
		lt_sys_close(fd);
}

static __attribute__((noreturn)) void leave(int status)
{
	lt_sys_leave(SYS_exit_group, status);
}

struct listing {
	struct lt_scan_block *blocks;
	size_t count, room;
};

static bool list_block(const struct lt_block *block, void *arg)
{
	struct listing *listing = arg;
	if (listing->count == listing->room)
		return false;
	listing->blocks[listing->count++] = (struct lt_scan_block){
		.address = block->address, .size = block->size, .site = block->site, .task = block->task,
	};
	return true;
}

struct ranges {
	struct lt_range *ranges;
	unsigned count, room;
};

static void add_range(const void *start, size_t size, void *arg)
{
	struct ranges *r = arg;
	if (r->count < r->room)
		r->ranges[r->count++] = (struct lt_range){ (uintptr_t)start, (uintptr_t)start + size };
}

/* The tracer's own writable memory that no lt_map() gave: its data and the dump. */
static void list_own(struct ranges *r)
{
	extern char lt_data_start[] __asm__("_DYNAMIC"), lt_data_end[] __asm__("_end");
	add_range(lt_data_start, (size_t)(lt_data_end - lt_data_start), r);
	lt_dump_visit(add_range, r);
}

/* ---- R's heap ---- */

static struct {
	const struct lt_classification *c;
	struct lt_r_collection collection;
	bool exact;
	const char *note;
	void *landing[5];
} r;

static void on_fault(int sig)
{
	(void)sig;
	__builtin_longjmp(r.landing, 1);
}

static size_t size_of_block(uintptr_t address, void *scan)
{
	return (size_t)lt_scan_block_size(scan, address);
}

/* The process's first. */
static const struct lt_scan_thread *r_thread(void)
{
	for (unsigned i = 0; i < r.c->thread_count; i++)
		if (r.c->threads[i].tid == r.c->pid)
			return &r.c->threads[i];
	return NULL;
}

static void list_evaluator(struct ranges *ranges)
{
	uintptr_t top = lt_r_present() ? lt_r_stack_top() : 0;
	const struct lt_scan_thread *thread = top ? r_thread() : NULL;
	if (thread && (thread->registers || thread == r.c->threads))
		lt_frames_of_r(thread, top & ~(uintptr_t)7, add_range, ranges);
}

/* In the midst of C code that a package's .Call() runs, objects may be in use that nothing but
 * the stack holds; where R itself called the hook, they can't be. */
static void describe_r_thread(struct lt_r_collection *collection)
{
	const struct lt_classification *c = r.c;
	bool called = c->trigger == LEAKTRACE_TRIGGER_TASK || (c->trigger == LEAKTRACE_TRIGGER_END && !c->context);
	const struct lt_scan_thread *thread = r_thread();
	if (!thread || (thread == c->threads && called))
		return;
	collection->stack = thread->sp;
	collection->registers = thread->reg;
	collection->register_count = thread->registers;
}

static __attribute__((noinline)) int collect_guarded(struct lt_r_collection *collection)
{
	if (__builtin_setjmp(r.landing))
		return -EFAULT;
	return lt_r_collect(collection);
}

/* A fault means that R's heap was not what we took it for: then it is scanned like any other memory. */
static bool collect_r(struct lt_scan *scan, struct lt_scan_heap *heap)
{
	struct sigaction action = { .sa_handler = on_fault, .sa_flags = SA_NODEFER }, standard = { .sa_handler = SIG_DFL };
	if (!lt_r_present())
		return false;
	r.collection = (struct lt_r_collection){ .block = size_of_block, .arg = scan };
	describe_r_thread(&r.collection);
	lt_real.sigaction(SIGSEGV, &action, NULL);
	lt_real.sigaction(SIGBUS, &action, NULL);
	int error = collect_guarded(&r.collection);
	lt_real.sigaction(SIGSEGV, &standard, NULL);
	lt_real.sigaction(SIGBUS, &standard, NULL);
	r.exact = !error;
	r.note = error == -EFAULT ? "R's heap is damaged" : r.collection.note;
	if (error)
		return false;
	*heap = (struct lt_scan_heap){
		.owns = lt_r_owns,
		.live = r.collection.live.all,
		.live_count = r.collection.live.count,
		.garbage = r.collection.garbage.all,
		.garbage_count = r.collection.garbage.count,
	};
	return true;
}

/* What is to be said of the scan, in one string. */
static uint32_t intern_note(const char *note)
{
	static char buffer[512];
	struct lt_text text = LT_TEXT(buffer);
	lt_text_add(&text, note);
	if (r.c && (r.c->unstopped || r.c->threads_missing)) {
		lt_text_add(&text, *note ? "; " : "");
		lt_text_add(&text, "what only their registers hold counts as lost, of threads that could not be stopped: ");
		lt_text_add_decimal(&text, r.c->unstopped);
		lt_text_add(&text, r.c->threads_missing ? " or more" : "");
	}
	if (r.note && !r.exact) {
		lt_text_add(&text, text.length ? "; " : "");
		lt_text_add(&text, "R's heap was scanned like any other memory: ");
		lt_text_add(&text, r.note);
	}
	return text.length ? lt_intern_string_bounded(buffer, text.length) : 0;
}

static void judge(const struct lt_classification *c, struct leaktrace_verdict *record, uint32_t first_site)
{
	uint64_t most = lt_live_most() + 64, bytes_before = lt_arena_bytes();
	struct listing listing = { .blocks = lt_map(most * sizeof *listing.blocks), .room = most };
	struct ranges own = { .ranges = lt_map(OWN_MAX * sizeof *own.ranges), .room = OWN_MAX };
	const char *note = "the classifier found no memory";
	int error = listing.blocks && own.ranges ? 0 : -ENOMEM;
	static struct lt_scan scan;
	if (!error) {
		record->dropped_blocks = lt_live_visit(c->stopped, list_block, &listing);
		list_own(&own);
		r.c = c;
		list_evaluator(&own);
		uintptr_t tp = (uintptr_t)__builtin_thread_pointer();
		scan = (struct lt_scan){
			.blocks = listing.blocks, .count = listing.count, .threads = c->threads, .thread_count = c->thread_count,
			.threads_missing = c->threads_missing,
			.own_tls_low = (uintptr_t)&lt_thread - tp, .own_tls_high = (uintptr_t)(&lt_thread + 1) - tp,
			.own = own.ranges, .own_count = own.count, .first_site = first_site, .sampled = lt_options.sample || lt_was_off,
			.collect = collect_r,
		};
		error = lt_scan_run(&scan);
		note = scan.note;
		if (error && !*note)
			note = error == -ENOMEM ? "the classifier found no memory" : "the classifier could not read /proc";
	}
	if (!error) {
		record->scanned_bytes = scan.scanned_bytes;
		memcpy(record->kinds, scan.kinds, sizeof record->kinds);
		record->dropped_blocks += lt_blocks_write_verdict(listing.blocks, listing.count, first_site, record->generation);
	}
	record->note = intern_note(note);
	if (r.exact)
		record->flags |= LEAKTRACE_VERDICT_R_EXACT;
	record->classifier_bytes = lt_arena_peak() - bytes_before;
	record->work_ns = lt_sys_clock(CLOCK_MONOTONIC) - c->begin_ns;
	for (unsigned round = 0; round < PAUSE_ROUNDS && !(record->pause_ns = lt_load_relaxed(&c->shared->pause_ns)); round++)
		lt_sys_wait(SLEEPS + round);
	lt_dump_trim(); /* who finds the verdict finds the file as it stays */
	lt_store_release(&record->state, error ? LEAKTRACE_VERDICT_FAILED : LEAKTRACE_VERDICT_DONE); /* pairs with the reader */
	if (!error && c->replaces)
		lt_dump_remove_snapshot(c->replaces);
}

static struct leaktrace_verdict *open_verdict(const struct lt_classification *c)
{
	struct leaktrace_verdict verdict = {
		.time_ns = c->time_ns, .trigger = c->trigger, .state = LEAKTRACE_VERDICT_RUNNING, .generation = 1,
		.classifier_pid = lt_identity.key.pid, .classifier_start = lt_identity.key.start,
	};
	if (c->record) {
		c->record->classifier_pid = verdict.classifier_pid;
		c->record->classifier_start = verdict.classifier_start;
		return c->record;
	}
	if (c->last) /* nobody writes to the dump any more */
		lt_dump_trim();
	if (lt_dump_snapshot(c->snapshot))
		return NULL;
	lt_intern_fork_child(false);
	lt_blocks_begin_file();
	lt_classify_fork_child();
	lt_process->blocks_generation = 0;
	if (c->label)
		verdict.label = lt_intern_string(c->label, strnlen(c->label, 255));
	struct leaktrace_verdict *record = lt_verdict_append(&verdict);
	lt_dump_publish();
	return record;
}

static void tell_program(const struct lt_classification *c)
{
	lt_store_release(&c->shared->ready, 1); /* pairs with the load in classify.c */
	lt_syscall6(SYS_futex, (long)&c->shared->ready, FUTEX_WAKE, 1, 0, 0, 0);
}

void lt_classifier_run(const struct lt_classification *c)
{
	uint32_t first_site = lt_site_first();
	lt_store_relaxed(&lt_state, LT_OFF);
	lt_alive[LT_PLAIN] = lt_alive[LT_OPEN] = 0;
	lt_arena_fork_child();
	detach();
	lt_identity_fork_child();
	take_turn();
	struct leaktrace_verdict *record = open_verdict(c);
	tell_program(c);
	if (!record)
		leave(1);
	judge(c, record, first_site);
	leave(0);
}
