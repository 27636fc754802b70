/* SPDX-License-Identifier: MIT
 *
 * sigaction, signal and its like: the program sees and sets dispositions as if we had none; see process/signals.c.
 */
#include "hooks/real.h"
#include "process/request.h"
#include "process/signals.h"
#include "trace/record.h"
#include <errno.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define ALIAS(name, of) EXPORT __typeof__(of) name __attribute__((alias(#of), copy(of)))

EXPORT int sigaction(int sig, const struct sigaction *action, struct sigaction *old)
{
	struct sigaction copy;
	lt_real_init();
	if (action) /* `old` may be the same object */
		copy = *action;
	int result = lt_real.sigaction(sig, action, old);
	if (!result && lt_request_is_signal(sig)) {
		if (old && old->sa_flags & SA_SIGINFO && lt_request_is_ours((const void *)old->sa_sigaction))
			*old = (struct sigaction){ .sa_handler = SIG_DFL };
		if (action)
			lt_request_set(&copy);
		return 0;
	}
	if (result || !lt_signals_fatal(sig))
		return result;
	lt_signals_shown(sig, old);
	if (action && lt_load_relaxed(&lt_state) == LT_ON)
		lt_signals_set(sig, &copy);
	return result;
}

ALIAS(__sigaction, sigaction);

/* What `old`, the former handler, is for the program, which has set another one, with `flags`. */
static sighandler_t shown(int sig, sighandler_t old, sighandler_t handler, int flags)
{
	struct sigaction action;
	memset(&action, 0, sizeof action);
	action.sa_handler = handler;
	action.sa_flags = flags;
	if (old != SIG_ERR && lt_request_is_signal(sig)) {
		lt_request_set(&action);
		return lt_request_is_ours((const void *)old) ? SIG_DFL : old;
	}
	if (old == SIG_ERR || !lt_signals_fatal(sig))
		return old;
	if (lt_signals_is_ours((const void *)old))
		old = lt_signals_handler(sig);
	if (lt_load_relaxed(&lt_state) == LT_ON)
		lt_signals_set(sig, &action);
	return old;
}

EXPORT sighandler_t signal(int sig, sighandler_t handler)
{
	lt_real_init();
	return shown(sig, lt_real.signal(sig, handler), handler, SA_RESTART);
}

ALIAS(bsd_signal, signal);
ALIAS(ssignal, signal);

/* What <signal.h> makes of signal() for a program that asks for X/Open and not for BSD. */
EXPORT sighandler_t __sysv_signal(int sig, sighandler_t handler)
{
	lt_real_init();
	return shown(sig, lt_real.__sysv_signal(sig, handler), handler, (int)(SA_RESETHAND | SA_NODEFER));
}

ALIAS(sysv_signal, __sysv_signal);

/* glibc 2.36, signal/sigset.c: SIG_HOLD only blocks the signal, and is returned instead of a handler if it was blocked. */
EXPORT sighandler_t sigset(int sig, sighandler_t handler)
{
	struct sigaction before;
	lt_real_init();
	bool known = handler != SIG_HOLD && !lt_real.sigaction(sig, NULL, &before);
	sighandler_t old = lt_real.sigset(sig, handler);
	if (!known)
		return old != SIG_ERR && old != SIG_HOLD && lt_signals_is_ours((const void *)old) ? lt_signals_handler(sig) : old;
	sighandler_t handler_before = shown(sig, old == SIG_HOLD ? before.sa_handler : old, handler, 0);
	return old == SIG_HOLD ? old : handler_before;
}

EXPORT int sigignore(int sig)
{
	lt_real_init();
	int result = lt_real.sigignore(sig);
	if (!result)
		shown(sig, SIG_DFL, SIG_IGN, 0);
	return result;
}
