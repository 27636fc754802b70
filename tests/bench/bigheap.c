/* SPDX-License-Identifier: MIT
 *
 * usage: bigheap BLOCKS SIZE. Holds that many blocks, says "ready", and looks at the clock as fast as it can. SIGUSR1: says "gap" and
 * the longest time, in microseconds, between two looks since the last SIGUSR1: for how long it stood still. SIGUSR2: runs
 * LeakSanitizer's check, if it is linked in. SIGTERM: ends by _exit.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

__attribute__((weak)) int __lsan_do_recoverable_leak_check(void);

static volatile sig_atomic_t tell, check, end;
static void **blocks;

static void on_signal(int sig)
{
	if (sig == SIGUSR1)
		tell = 1;
	else if (sig == SIGUSR2)
		check = 1;
	else
		end = 1;
}

static long long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char **argv)
{
	size_t count = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000, size = argc > 2 ? strtoul(argv[2], NULL, 10) : 1000;
	long long last, longest = 0;
	blocks = malloc(count * sizeof *blocks);
	for (size_t i = 0; i < count; i++) {
		blocks[i] = malloc(size);
		memset(blocks[i], (int)i, size);
	}
	signal(SIGUSR1, on_signal);
	signal(SIGUSR2, on_signal);
	signal(SIGTERM, on_signal);
	puts("ready");
	fflush(stdout);
	for (last = now(); !end;) {
		long long t;
		if (check && __lsan_do_recoverable_leak_check)
			__lsan_do_recoverable_leak_check();
		check = 0;
		t = now();
		if (t - last > longest)
			longest = t - last;
		last = t;
		if (tell) {
			printf("gap %lld\n", longest / 1000);
			fflush(stdout);
			longest = 0;
			tell = 0;
			last = now();
		}
	}
	_exit(0);
}
