/* SPDX-License-Identifier: MIT
 *
 * Preloaded under callgrind: a fork child begins with its parent's counts, which would be counted twice. So the parent writes
 * them down and sets them to 0 before it forks. In `prepare`, which runs before the tracer's own: those were registered first.
 */
#include <pthread.h>
#include <valgrind/callgrind.h>

static void prepare(void)
{
	CALLGRIND_DUMP_STATS;
}

__attribute__((constructor)) static void start(void)
{
	pthread_atfork(prepare, NULL, NULL);
}
