/* SPDX-License-Identifier: MIT
 *
 * For the tiny programs with known answers. Each allocates in functions of telling names; those are frames of their own
 * (SITE), and the programs are compiled with -fno-builtin, or gcc would drop pairs of malloc and free. They use no stdio, so
 * that what is allocated is what the source says.
 */
#ifndef TARGET_H
#define TARGET_H

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__clang__)
#define SITE __attribute__((noinline))
#else
#define SITE __attribute__((noipa))
#endif

/* For calls that a compiler would turn into a jump. */
#define KEEP_FRAME() __asm__ volatile("" ::: "memory")

#ifdef __cplusplus
extern "C" {
#endif

static inline void say(const char *text)
{
	if (write(1, text, strlen(text)) < 0)
		_exit(99);
}

/* Exit status if the condition that the target relies on does not hold: distinct from any status that a test expects. */
#define REQUIRE(condition) \
	do { \
		if (!(condition)) { \
			say("target failed: " #condition "\n"); \
			_exit(98); \
		} \
	} while (0)

/* Waits for one child; its wait status. */
static inline int reap(pid_t pid)
{
	int status = 0;
	while (waitpid(pid, &status, 0) < 0)
		;
	return status;
}

#ifdef __cplusplus
}
#endif
#endif
