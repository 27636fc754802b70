/* SPDX-License-Identifier: MIT
 *
 * A last request. R's parallel kills its forked workers by SIGKILL when the master ends (parallel.so, its clean-up of
 * mcparallel() and makeForkCluster()), and a killed process can't be classified. So the hook of kill() first asks a victim that is
 * traced: it sends a signal that no program uses, whose handler here starts a classifier and then sits still until the SIGKILL comes,
 * so no instruction of the program runs in between. The killer waits for that, at most 200 ms.
 *
 * Who can be asked: a table in pages that all forked descendants of an image share. A process enters itself when it can answer
 * and leaves when its end has begun, or when the program wants the signal for itself.
 *
 * An entry may be stale: its process was killed, or is another one of the same number, or runs another program by now, which that
 * signal would end. So /proc is asked whether the victim catches it, and lives, and is not stopped.
 *
 * Threads: the table is changed by compare-and-swap. Failure: table full, signal blocked: the kill goes on unasked.
 */
#include "process/request.h"
#include "base/arena.h"
#include "base/atomic.h"
#include "base/options.h"
#include "base/sys.h"
#include "base/text.h"
#include "hooks/real.h"
#include "process/classify.h"
#include "process/signals.h"
#include "trace/record.h"
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#define SLOTS 2048
#define PROBES 64
#define PATIENCE_NS 200000000
#define REST_NS 1000000000 /* the killer has died, or changed its mind */
#define COOKIE 0x6c74726bu /* "ltrk", in the signal's value */

struct slot {
	uint32_t pid; /* 0: free */
	uint32_t answered;
};

static struct slot *slots;
static int my_signal;

static struct slot *find(uint32_t pid, bool enter)
{
	for (unsigned i = 0; slots && i < PROBES; i++) {
		struct slot *slot = &slots[(pid + i * 31) % SLOTS];
		uint32_t none = 0;
		if (lt_load_acquire(&slot->pid) == pid) /* pairs with the exchange below */
			return slot;
		if (enter && __atomic_compare_exchange_n(&slot->pid, &none, pid, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			return slot;
	}
	return NULL;
}

static void on_request(int sig, siginfo_t *info, void *context)
{
	int saved = errno;
	struct slot *slot = find((uint32_t)lt_sys_getpid(), false);
	if (!info || info->si_code != SI_QUEUE || (uint32_t)info->si_value.sival_int != COOKIE) { /* no request: its default action */
		lt_signals_end(sig, info, context);
		errno = saved;
		return;
	}
	if (!slot) {
		errno = saved;
		return;
	}
	if (lt_load_relaxed(&lt_state) == LT_ON && *lt_alive)
		lt_classify_now(LEAKTRACE_TRIGGER_KILL, NULL, context, NULL);
	lt_store_release(&slot->answered, 1); /* pairs with the load in lt_request_before_kill */
	for (int64_t end = lt_sys_clock(CLOCK_MONOTONIC) + REST_NS; lt_sys_clock(CLOCK_MONOTONIC) < end;) {
		struct timespec some = { 0, 10000000 };
		lt_syscall6(SYS_nanosleep, (long)&some, 0, 0, 0, 0, 0);
	}
	errno = saved;
}

/* Enters this process if the signal is the tracer's. */
static void enter(void)
{
	struct sigaction now, action;
	if (!slots || lt_sandboxed || lt_sys_getpid() == 1 || lt_real.sigaction(my_signal, NULL, &now))
		return;
	if (now.sa_flags & SA_SIGINFO ? now.sa_sigaction != on_request : now.sa_handler != SIG_DFL)
		return;
	memset(&action, 0, sizeof action);
	action.sa_sigaction = on_request;
	action.sa_flags = SA_SIGINFO | SA_RESTART;
	memset(&action.sa_mask, 0xff, sizeof action.sa_mask);
	struct slot *slot = lt_real.sigaction(my_signal, &action, NULL) ? NULL : find((uint32_t)lt_sys_getpid(), true);
	if (slot)
		lt_store_relaxed(&slot->answered, 0);
}

void lt_request_leave(int pid)
{
	struct slot *slot = pid > 0 ? find((uint32_t)pid, false) : NULL;
	if (slot)
		lt_store_release(&slot->pid, 0);
}

void lt_request_init(void)
{
	if (!lt_options.verdict || !lt_options.signals)
		return;
	my_signal = SIGRTMAX - 5;
	slots = lt_map_shared(SLOTS * sizeof *slots);
}

void lt_request_fork_child(void)
{
	enter();
}

bool lt_request_is_signal(int sig)
{
	return slots && sig == my_signal;
}

void lt_request_set(const struct sigaction *action)
{
	if (!find((uint32_t)lt_sys_getpid(), false))
		return;
	lt_request_leave(lt_sys_getpid());
	if (action->sa_handler == SIG_DFL)
		enter();
}

bool lt_request_is_ours(const void *handler)
{
	return handler == (const void *)on_request;
}

static uint64_t signals_in(const char *status, const char *field)
{
	uint64_t signals = 0;
	const char *at = strstr(status, field);
	if (at && (at += strlen(field), lt_text_parse_hex(&at, &signals)))
		signals = 0;
	return signals;
}

static long read_proc(int pid, const char *file, char *buffer, size_t size)
{
	char path[48];
	struct lt_text text = LT_TEXT(path);
	lt_text_add(&text, "/proc/");
	lt_text_add_decimal(&text, (uint64_t)pid);
	lt_text_add(&text, file);
	return lt_text_read_file(path, buffer, size);
}

/* In sigwait() a thread has the signals unblocked that it waits for, and would be given this one. Of the main thread only. */
static bool can_answer(int pid)
{
	char status[2048], call[256];
	const char *number = call;
	uint64_t n;
	if (read_proc(pid, "/status", status, sizeof status) <= 0)
		return false;
	const uint64_t bit = UINT64_C(1) << (my_signal - 1);
	const char *state = strstr(status, "\nState:\t");
	if (!state || strchr("ZXTt", state[8]) || !(signals_in(status, "\nSigCgt:\t") & bit) || signals_in(status, "\nSigBlk:\t") & bit)
		return false;
	return read_proc(pid, "/syscall", call, sizeof call) <= 0 || lt_text_parse_decimal(&number, &n) || n != SYS_rt_sigtimedwait;
}

static bool has_ended(int pid)
{
	siginfo_t info = { 0 };
	if (lt_syscall6(SYS_waitid, P_PID, pid, (long)&info, WEXITED | WNOHANG | WNOWAIT, 0, 0) == 0)
		return info.si_pid == pid;
	return lt_syscall6(SYS_kill, pid, 0, 0, 0, 0, 0) != 0; /* no child of ours */
}

void lt_request_before_kill(int pid)
{
	struct slot *slot = pid > 0 && pid != lt_sys_getpid() ? find((uint32_t)pid, false) : NULL;
	if (!slot || lt_load_relaxed(&slot->answered) || !can_answer(pid))
		return;
	siginfo_t info;
	memset(&info, 0, sizeof info);
	info.si_signo = my_signal;
	info.si_code = SI_QUEUE;
	info.si_pid = lt_sys_getpid();
	info.si_uid = (uid_t)lt_syscall6(SYS_getuid, 0, 0, 0, 0, 0, 0);
	info.si_value.sival_int = (int)COOKIE;
	if (lt_syscall6(SYS_rt_sigqueueinfo, pid, my_signal, (long)&info, 0, 0, 0) != 0)
		return;
	int64_t deadline = lt_sys_clock(CLOCK_MONOTONIC) + PATIENCE_NS;
	for (unsigned round = 0; !lt_load_acquire(&slot->answered) && lt_load_relaxed(&slot->pid) == (uint32_t)pid; round++) {
		if (lt_sys_clock(CLOCK_MONOTONIC) > deadline || has_ended(pid))
			return;
		lt_sys_wait(200 + round);
	}
}
