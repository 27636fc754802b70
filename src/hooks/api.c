/* SPDX-License-Identifier: MIT
 *
 * The functions behind include/leaktrace/leaktrace.h.
 */
#include "leaktrace/leaktrace.h"
#include "process/classify.h"
#include "process/process.h"
#include "trace/record.h"
#include <string.h>

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
	lt_record_switch(true);
}

EXPORT void leaktrace_preload_stop(void)
{
	lt_record_switch(false);
}

/* For R's .C() (include/leaktrace/leaktrace.R): the name of a function, and a label. */
void leaktrace_preload_r(char **function, char **label);
EXPORT void leaktrace_preload_r(char **function, char **label)
{
	static const struct {
		const char *name;
		void (*with_label)(const char *);
		void (*plain)(void);
	} functions[] = {
		{ "mark", leaktrace_preload_mark, NULL },
		{ "snapshot", leaktrace_preload_snapshot, NULL },
		{ "task_begin", NULL, leaktrace_preload_task_begin },
		{ "task_end", NULL, leaktrace_preload_task_end },
		{ "start", NULL, leaktrace_preload_start },
		{ "stop", NULL, leaktrace_preload_stop },
	};
	for (unsigned i = 0; i < sizeof functions / sizeof *functions; i++) {
		if (strcmp(*function, functions[i].name))
			continue;
		if (functions[i].with_label)
			functions[i].with_label(*label);
		else
			functions[i].plain();
	}
}
