/* SPDX-License-Identifier: MIT
 *
 * Fatal signals. Where a signal would end the process by its default action, our handler writes the end record and the list of
 * blocks, puts the default back, queues the signal anew with its original siginfo, and opens it in the mask that the handler's
 * return restores; so parent and core dump see what they would have seen. (Turned down: to return to the instruction of a fault.
 * That of a trap is already past; and a signal that was open only inside sigsuspend would stay blocked.)
 *
 * Process 1 of a container has no handlers of ours: the kernel ignores signals with default action there, but not handlers. Its
 * children have them.
 *
 * SIGBUS is caught also before a handler of the program's: it comes to us for a page of the dump that is gone, since somebody
 * truncated the file (lt_dump_lost()).
 *
 * The program must not notice: the hooks of sigaction, signal and the like (hooks/signal.c) answer with the disposition that the program
 * set, and put our handler wherever the program asks for SIG_DFL. Ignored signals stay ignored, also across exec. Off by
 * `signals=0`.
 */
#include "process/signals.h"
#include "base/atomic.h"
#include "base/options.h"
#include "base/sys.h"
#include "dump/dump.h"
#include "hooks/real.h"
#include "process/process.h"
#include "trace/record.h"
#include <string.h>
#include <ucontext.h>

static const int8_t fatal[] = { SIGHUP,  SIGINT,  SIGQUIT, SIGILL,  SIGABRT, SIGBUS,  SIGFPE,   SIGUSR1, SIGSEGV,
	                        SIGUSR2, SIGPIPE, SIGALRM, SIGTERM, SIGXCPU, SIGXFSZ, SIGVTALRM, SIGSYS };

static struct sigaction shown[64]; /* what the program believes, where it is SIG_DFL */
static bool ours[64];
static bool is_init; /* of a PID name space */
static bool suspended;
static bool before_theirs; /* on_bus is there */

bool lt_signals_fatal(int sig)
{
	for (unsigned i = 0; i < sizeof fatal; i++)
		if (fatal[i] == sig)
			return lt_options.signals && !is_init && !suspended;
	return false;
}

void lt_signals_end(int sig, siginfo_t *info, void *context)
{
	struct sigaction standard;
	memset(&standard, 0, sizeof standard);
	standard.sa_handler = SIG_DFL;
	lt_real.sigaction(sig, &standard, NULL);
	lt_end(LEAKTRACE_END_SIGNAL, sig, false, context);
	sigdelset(&((ucontext_t *)context)->uc_sigmask, sig);
	int pid = lt_sys_getpid(), tid = lt_sys_gettid();
	if (!info || lt_syscall6(SYS_rt_tgsigqueueinfo, pid, tid, sig, (long)info, 0, 0) != 0)
		lt_syscall6(SYS_tgkill, pid, tid, sig, 0, 0, 0);
}

static void on_fatal(int sig, siginfo_t *info, void *context)
{
	if (sig != SIGBUS || !info || !lt_dump_lost(info->si_addr))
		lt_signals_end(sig, info, context);
}

/* SIGBUS where the program has a handler of its own: the dump's pages are ours, all else is the program's. */
static void on_bus(int sig, siginfo_t *info, void *context)
{
	struct sigaction theirs = shown[sig];
	if (info && lt_dump_lost(info->si_addr))
		return;
	if (theirs.sa_flags & (int)SA_RESETHAND) {
		struct sigaction standard;
		memset(&standard, 0, sizeof standard);
		standard.sa_handler = SIG_DFL;
		lt_signals_set(sig, &standard);
	}
	if (theirs.sa_flags & SA_SIGINFO)
		theirs.sa_sigaction(sig, info, context);
	else
		theirs.sa_handler(sig);
}

static void install_before(int sig, const struct sigaction *theirs)
{
	struct sigaction action = *theirs;
	action.sa_sigaction = on_bus;
	action.sa_flags = (theirs->sa_flags | SA_SIGINFO) & ~(int)SA_RESETHAND;
	shown[sig] = *theirs;
	before_theirs = lt_real.sigaction(sig, &action, NULL) == 0;
}

static void install(int sig)
{
	struct sigaction action;
	memset(&action, 0, sizeof action);
	action.sa_sigaction = on_fatal;
	action.sa_flags = SA_SIGINFO | SA_ONSTACK;
	memset(&action.sa_mask, 0xff, sizeof action.sa_mask);
	ours[sig] = lt_real.sigaction(sig, &action, NULL) == 0;
}

void lt_signals_shown(int sig, struct sigaction *old)
{
	if (old && old->sa_flags & SA_SIGINFO && lt_signals_is_ours((const void *)old->sa_sigaction))
		*old = shown[sig];
}

void lt_signals_set(int sig, const struct sigaction *action)
{
	if (sig == SIGBUS)
		before_theirs = false;
	if (action->sa_handler == SIG_DFL) {
		shown[sig] = *action;
		install(sig);
	} else {
		ours[sig] = false;
		if (sig == SIGBUS && action->sa_handler != SIG_IGN)
			install_before(sig, action);
	}
}

sighandler_t lt_signals_handler(int sig)
{
	return shown[sig].sa_handler;
}

bool lt_signals_is_ours(const void *handler)
{
	return handler == (const void *)on_fatal || handler == (const void *)on_bus;
}

void lt_signals_init(void)
{
	is_init = lt_sys_getpid() == 1;
	if (!lt_options.signals || is_init)
		return;
	for (unsigned i = 0; i < sizeof fatal; i++) {
		struct sigaction now;
		if (lt_real.sigaction(fatal[i], NULL, &now) == 0 && now.sa_handler == SIG_DFL)
			lt_signals_set(fatal[i], &now);
	}
}

void lt_signals_suspend(void)
{
	struct sigaction standard;
	memset(&standard, 0, sizeof standard);
	standard.sa_handler = SIG_DFL;
	for (unsigned i = 0; i < sizeof fatal && !suspended; i++)
		if (ours[fatal[i]])
			lt_real.sigaction(fatal[i], &standard, NULL);
	if (before_theirs && !suspended)
		lt_real.sigaction(SIGBUS, &shown[SIGBUS], NULL);
	suspended = true;
}

void lt_signals_resume(void)
{
	for (unsigned i = 0; i < sizeof fatal && suspended; i++)
		if (ours[fatal[i]])
			install(fatal[i]);
	if (before_theirs && suspended)
		install_before(SIGBUS, &shown[SIGBUS]);
	suspended = false;
}

void lt_signals_fork_child(void)
{
	if (lt_sys_getpid() != 1) {
		if (is_init)
			lt_signals_init();
		return;
	}
	struct sigaction standard;
	memset(&standard, 0, sizeof standard);
	standard.sa_handler = SIG_DFL;
	is_init = true;
	for (unsigned i = 0; i < sizeof fatal; i++)
		if (ours[fatal[i]])
			lt_real.sigaction(fatal[i], &standard, NULL);
}
