/* SPDX-License-Identifier: MIT
 *
 * The functions behind include/leaktrace/leaktrace.h.
 */
#include "leaktrace/leaktrace.h"
#include "process/classify.h"
#include "process/process.h"
#include "trace/record.h"

#define EXPORT __attribute__((visibility("default")))

EXPORT void leaktrace_preload_mark(const char *label)
{
	if (lt_recording() && label)
		lt_event(LEAKTRACE_EVENT_MARK, 0, 0, label);
}

EXPORT void leaktrace_preload_task_begin(void)
{
	if (lt_recording() && *lt_alive)
		lt_task_begin();
}

EXPORT void leaktrace_preload_task_end(void)
{
	if (lt_recording() && *lt_alive)
		lt_task_end();
}

EXPORT void leaktrace_preload_snapshot(const char *label)
{
	if (!lt_recording() || !*lt_alive)
		return;
	leaktrace_preload_mark(label);
	lt_classify_now(LEAKTRACE_TRIGGER_API, label, NULL, NULL);
}

EXPORT void leaktrace_preload_start(void)
{
	lt_active = true;
}

EXPORT void leaktrace_preload_stop(void)
{
	lt_active = false;
}
