/* SPDX-License-Identifier: MIT
 *
 * What system libraries keep by design, beside leaks of a program that look alike: kept [tasks].
 *
 * setenv() in libc: 1 variable, never freed by design. GOMP_parallel in libgomp keeps its threads (with OpenMP only).
 * leak_in_region(): 1 block of 300 bytes, lost by the program inside of libgomp's function. setenv_wrapper(): 2 blocks of
 * 100, lost by a function whose name has the pattern of a built-in entry, in another module. tasks: ten tasks, each of
 * which sets another variable: 10 that are a leak.
 */
#include "target.h"
#include <leaktrace/leaktrace.h>

static volatile char *lost;

SITE static void leak_in_region(void)
{
	lost = malloc(300);
	lost = NULL;
	KEEP_FRAME();
}

SITE static void setenv_wrapper(void)
{
	for (int i = 0; i < 2; i++)
		lost = malloc(100);
	lost = NULL;
	KEEP_FRAME();
}

SITE static void set_variable(const char *name)
{
	REQUIRE(setenv(name, "value", 1) == 0);
	KEEP_FRAME();
}

int main(int argc, char **argv)
{
	set_variable("KEPT_BY_DESIGN");
	setenv_wrapper();
#pragma omp parallel num_threads(2)
	{
#pragma omp master
		leak_in_region();
	}
	for (int i = 0; argc > 1 && strcmp(argv[1], "tasks") == 0 && i < 10; i++) {
		char name[] = "VARIABLE_0";

		name[sizeof name - 2] = (char)('0' + i);
		leaktrace_task_begin();
		set_variable(name);
		leaktrace_task_end();
	}
	return 0;
}
