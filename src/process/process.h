/* SPDX-License-Identifier: MIT
 *
 * The life of a process: who it is, its session, its start, its forks, its end.
 */
#ifndef LT_PROCESS_H
#define LT_PROCESS_H

#include "base/atomic.h"
#include "leaktrace/dump-format.h"
#include <stdbool.h>
#include <stdint.h>

/* identity.c: who this process is; read from /proc and uname(2) at start and after fork. Memory of the arena. */
struct lt_identity {
	struct leaktrace_key key; /* image is filled in when the dump is created */
	const char *host, *boot_id, *exe;
	const char *cmdline; /* cmdline_size bytes, each argument ended by NUL */
	uint32_t cmdline_size;
	uint64_t pid_namespace;
};
extern LT_HIDDEN struct lt_identity lt_identity;

void lt_identity_read(void);
/* In a fork child: what differs from the parent. */
void lt_identity_fork_child(void);

/* session.c: the session is named by LEAKTRACE_SESSION in the environment, made by the first image. */
struct lt_session {
	const char *id, *dir; /* dir is absolute */
	bool only_r;          /* scope r */
	struct leaktrace_key parent; /* nearest traced ancestor; zero: none */
};
extern LT_HIDDEN struct lt_session lt_session;

/* Joins the session of `envp`, or founds one. Options are parsed before. Start only. */
void lt_session_init(int argc, char **argv, char **envp);

/* This image (a fork child) is the ancestor that programs started from here on will find. */
void lt_session_set_key(const struct leaktrace_key *key);

/* Sees to it that `environ` holds LEAKTRACE_SESSION; once per image, when libc is ready. In hooks that may start a program. */
void lt_session_environ(void);

/* The number of pointers, its NULL included, of the array that lt_session_envp() needs; 0 if `envp` is fine as it is: it has
 * the session, or does not preload us. */
unsigned lt_session_envp_size(char *const envp[]);
void lt_session_envp(char *const envp[], char **out);

/* preload.c: the first thing at start. It may not return: the image is executed again without us, or with us first. */
void lt_preload_settle(char **argv, char **envp);
/* The program has a sanitizer: nothing is to be recorded. */
bool lt_preload_aside(void);

/* start.c: creates the dump of this image and fills in its record. Returns 0 or -errno (said on stderr). */
int lt_start_dump(const struct leaktrace_key *parent, const struct leaktrace_key *forked_from, uint32_t role);

/* start.c: the second part of the start, when libc is ready and no thread but this one is there. */
void lt_start_before_main(void);

/* fork.c */
void lt_fork_init(void);          /* start only: registers the atfork handlers */
/* A hook finds itself in a child whose dump has not begun. `last`: the child is about to end. */
void lt_fork_child_unseen(bool last);
bool lt_fork_stop_threads(void);  /* closes the gate, one closer at a time; what lt_gate_close() said */
bool lt_fork_try_stop_threads(int64_t ns); /* likewise, if nobody else does just now; false: nothing is to be resumed */
void lt_fork_resume_threads(void);
bool lt_fork_is_stopping_threads(void); /* it is this thread that closed the gate, or is about to */
void lt_fork_undo(void); /* this thread has left a fork between its handlers (lt_thread.forking) */

/* unload.c: what is cached by code address, around the real dlclose. Any thread, signal handlers too. */
void lt_unload_begin(void);
void lt_unload_end(void);
/* While lt_code_unsure: empties the caches if that is owed and can be had at once. Returns true if they are good again. Inside
 * the gate, before anything of the caches is read. */
bool lt_unload_retry(void);
void lt_unload_fork_child(void);

/* end.c: the end record and the final list of blocks. `patient`: may wait for locks; not in a signal handler, which passes its
 * `context` (ucontext_t; else NULL). Returns false and does nothing in a vfork child or where there is no dump. */
bool lt_end(enum leaktrace_end_kind kind, int code, bool patient, const void *context);
/* exec failed: the image goes on. */
void lt_end_undo(int error);
extern LT_HIDDEN int lt_quick_exit_status;
void lt_end_init(void); /* start only: registers with exit and quick_exit */

/* Recording ends here, for a thread has left it half done: flag STOPPED. The end record comes as ever, without blocks or verdict. Any
 * context. */
void lt_end_early(void);

struct __jmp_buf_tag;
typedef void lt_jump_function(struct __jmp_buf_tag *env, int value);
/* jump.c: the program is about to jump by `jump`, from a signal handler that interrupted the tracer (lt_thread.inside_tracer). Returns
 * when that is nothing to the tracer; else the tracer's work is finished first and the jump made. Called by the hook itself. */
void lt_jump(struct __jmp_buf_tag *env, int value, lt_jump_function *jump);

/* events.c: from any context, signal handlers too (then it may be queued until the next one, and loses its text). */
void lt_event(uint32_t type, uint32_t pid, int64_t value, const char *text);
void lt_events_prepare(void);        /* at the start of a dump: there is room for one that comes at any moment */
void lt_events_settle(bool patient); /* at the end of the image: what is queued; `patient` as of lt_end() */
void lt_events_fork_child(void);

/* signals.c: handlers for fatal signals whose disposition is the default. */
void lt_signals_init(void);
void lt_signals_fork_child(void);

#endif
