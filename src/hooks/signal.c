/* SPDX-License-Identifier: MIT
 *
 * sigaction and signal: the program sees and sets dispositions as if we had none; see process/signals.c.
 */
#include "hooks/real.h"
#include "process/request.h"
#include "process/signals.h"
#include "trace/record.h"
#include <errno.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

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

EXPORT sighandler_t signal(int sig, sighandler_t handler)
{
	lt_real_init();
	sighandler_t old = lt_real.signal(sig, handler);
	struct sigaction action;
	memset(&action, 0, sizeof action);
	action.sa_handler = handler;
	action.sa_flags = SA_RESTART; /* as signal() sets it */
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
