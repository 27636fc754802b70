/* SPDX-License-Identifier: MIT
 *
 * Where a task begins and ends in a worker, told from the R call stack.
 *
 * A worker of parallel, snow or parallelly (PSOCK, makeForkCluster, future's multisession) runs
 *     workLoop() → workCommand() → recvData() → unserialize(), and later … → sendData() → serialize()
 * with nothing but tryCatch()'s functions between (before R 4.0: slaveLoop(), and no workCommand()). A master calls recvData()
 * and sendData() too, and so does a worker that is itself the master of others, in the middle of its task: hence the loop must
 * stand right above. The hand-shake of a starting worker, workCommand() under makeSOCKmaster(), is no task.
 * A child of mclapply() and mcparallel() ends its task by sendMaster() → serialize(); the task itself is evaluated as a promise
 * inside sendMaster(), so serialize() must be called by it directly.
 *
 * Where R does not call the hooks of R_Serialize and R_Unserialize, the same is asked in those of recv() and send(), which
 * serialize() and unserialize() on a socket call, and at the end of a child: mcexit() is the last that it calls.
 *
 * One future of multisession is several such messages: its package clears the worker's global environment and exports each
 * variable by a call of its own. These are told by the value that they send back.
 *
 * Threads: R's main thread. Failure (R stacks off): false.
 */
#include "r/r.h"
#include "r/runtime.h"
#include "r/watch.h"

#include <string.h>

enum {
	CALLS = 40,
	ARGUMENTS_MAX = 100,
	BETWEEN_MAX = 3, /* calls between unserialize() and recvData(): Rmpi's mpi.recv.Robj() */
};

static bool is(const struct lt_r_call *call, const char *name)
{
	return !strcmp(call->call, name);
}

static bool is_base(const struct lt_r_call *call, const char *name)
{
	return is(call, name) && call->namespace && !strcmp(call->namespace, "base");
}

/* A generic function or a method of it. */
static bool is_generic(const struct lt_r_call *call, const char *name)
{
	size_t length = strlen(name);

	return !strncmp(call->call, name, length) && (!call->call[length] || call->call[length] == '.');
}

static bool is_condition_handling(const struct lt_r_call *call)
{
	static const char *const names[] = { "tryCatch", "tryCatchList", "tryCatchOne", "doTryCatch", "withCallingHandlers",
		                             "try",      "withOneRestart", "doWithOneRestart", "withRestartList", "withRestarts" };

	if (!call->namespace || strcmp(call->namespace, "base"))
		return false;
	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (is(call, names[i]))
			return true;
	return false;
}

static unsigned skip_condition_handling(const struct lt_r_call *calls, unsigned i, unsigned n)
{
	while (i < n && is_condition_handling(&calls[i]))
		i++;
	return i;
}

static bool is_loop(const struct lt_r_call *call)
{
	return call->namespace && (is(call, "workLoop") || is(call, "slaveLoop"));
}

/* `innermost` in base, called through `generic` right under a worker's loop. */
static bool is_in_loop(const struct lt_r_call *calls, unsigned n, const char *innermost, const char *generic)
{
	unsigned i = 1;

	if (n < 3 || !is_base(&calls[0], innermost))
		return false;
	while (i < n && i <= BETWEEN_MAX && !is_generic(&calls[i], generic))
		i++;
	if (i == n || !is_generic(&calls[i], generic))
		return false;
	while (i < n && is_generic(&calls[i], generic))
		i++;
	i = skip_condition_handling(calls, i, n);
	if (i < n && calls[i].namespace && is(&calls[i], "workCommand"))
		i = skip_condition_handling(calls, i + 1, n);
	return i < n && is_loop(&calls[i]);
}

bool lt_r_receives_task(void)
{
	struct lt_r_call calls[CALLS];
	bool cut;

	return is_in_loop(calls, lt_r_calls(calls, CALLS, &cut), "unserialize", "recvData");
}

bool lt_r_sends_result(void)
{
	struct lt_r_call calls[CALLS];
	bool cut;
	unsigned n = lt_r_calls(calls, CALLS, &cut);

	if (n >= 2 && is_base(&calls[0], "serialize") && is(&calls[1], "sendMaster") && calls[1].namespace)
		return true;
	return is_in_loop(calls, n, "serialize", "sendData");
}

const void *lt_r_message(void)
{
	struct lt_r_walk walk;
	const char *context = lt_r_walk_begin(&walk, (uintptr_t)__builtin_frame_address(0));
	enum lt_r_visit visit = LT_R_VISIT_OTHER;

	while (context && (visit = lt_r_walk_visit(&walk, context)) == LT_R_VISIT_OTHER)
		context = lt_r_field(context, 0);
	if (!context || visit != LT_R_VISIT_FUNCTION)
		return NULL;

	const struct lt_r_node *environment = lt_r_field(context, walk.layout->cloenv);
	const struct lt_r_node *argument = lt_r_is(environment, LT_R_ENVIRONMENT) ? environment->environment.frame : NULL;
	for (int i = 0; i < ARGUMENTS_MAX && lt_r_is(argument, LT_R_PAIRLIST); i++, argument = argument->list.cdr) {
		const char *name = lt_r_symbol_name(argument->list.tag);

		if (!name || strcmp(name, "object") || !lt_r_is_ordinary_binding(argument))
			continue;
		const struct lt_r_node *value = argument->list.car;
		return lt_r_is(value, LT_R_PROMISE) ? value->promise.value : value;
	}
	return NULL;
}

bool lt_r_leaves_child(void)
{
	struct lt_r_call innermost;
	bool cut;

	return lt_r_calls(&innermost, 1, &cut) && is(&innermost, "mcexit") && innermost.namespace;
}

bool lt_r_is_preparation(const void *message)
{
	static const char prefix[] = "future-";
	const struct lt_r_node *answer = message;

	/* list(type = "VALUE", value = , success = , time = , tag = ), by workCommand() */
	if (!lt_load_acquire(&lt_r.layout) || !lt_r_is_plain(answer, LT_R_LIST) || answer->vector.length < 2)
		return false;
	const struct lt_r_node *value = lt_r_element(answer, 1);
	return lt_r_is_plain(value, LT_R_STRINGS) && value->vector.length == 1 && lt_r_is(lt_r_element(value, 0), LT_R_CHARS) &&
	       !strncmp(lt_r_chars(lt_r_element(value, 0)), prefix, sizeof(prefix) - 1);
}
