/* SPDX-License-Identifier: MIT
 *
 * dlclose. dlopen is left alone: it searches by the RUNPATH and in the name space of its caller, which it knows by its return
 * address, so a wrapper would change what it finds. New modules are noticed when a stack first shows an address in them.
 */
#include "hooks/real.h"
#include "process/process.h"
#include "trace/intern.h"
#include "trace/modules.h"
#include "trace/record.h"
#include "trace/unwind.h"
#include <errno.h>

#define EXPORT __attribute__((visibility("default")))

EXPORT int dlclose(void *handle)
{
	lt_real_init();
	lt_cxx_unload_begin();
	int result = lt_real.dlclose(handle);
	lt_cxx_unload_end();
	if (lt_recording()) {
		int saved = errno;
		lt_thread.depth++;
		if (lt_modules_scan()) {
			/* With a thread still inside (a hang in the loader), the caches stay: better a wrong name than a crash. */
			if (lt_fork_stop_threads()) {
				lt_intern_flush();
				lt_unwind_flush();
			}
			lt_fork_resume_threads();
		}
		lt_thread.depth--;
		errno = saved;
	}
	return result;
}
