/* SPDX-License-Identifier: MIT
 *
 * What a seccomp filter of the program lets us call. Base of sys.h.
 */
#ifndef LT_SANDBOX_H
#define LT_SANDBOX_H

#include <stdbool.h>

#define LT_SANDBOX_HIDDEN __attribute__((visibility("hidden")))

/* There is a filter. */
extern LT_SANDBOX_HIDDEN bool lt_sandboxed;

/* The kernel would do something else than what is asked for, if this were called now. Any context. */
bool lt_sandbox_forbids(long n, long a, long b, long c, long d, long e, long f);

/* The process's number when the first filter came, for where getpid() is forbidden. */
int lt_sandbox_pid(void);

/* Around the program's own system call that installs a filter (`program`: its struct sock_fprog; NULL: strict mode). prepare() before
 * it; if that is true, finish() says whether it succeeded. Between them lt_sandbox_forbids() does not know of it yet, and
 * lt_sandbox_will_forbid() answers for it alone. False: another thread is at it for long, and all is forbidden from now on. */
bool lt_sandbox_prepare(const void *program);
bool lt_sandbox_will_forbid(long n, long a, long b, long c, long d, long e, long f);
void lt_sandbox_finish(bool installed);

#endif
