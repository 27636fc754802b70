/* SPDX-License-Identifier: MIT
 *
 * The verdict on the live blocks, reached by a forked copy of the process.
 */
#ifndef LT_CLASSIFY_H
#define LT_CLASSIFY_H

#include "leaktrace/dump-format.h"
#include "scan/scan.h"
#include <stdbool.h>

/* Starts a classifier. The program stands still for one fork. `context`: in a signal handler, the ucontext_t of what it
 * interrupted; else NULL. `label`: may be NULL. `last`: the image records nothing any more, so the verdict goes into its
 * dump if that has room for it; else into a snapshot file beside it. lt_thread.depth > 0, no lock held, all signals blocked. Returns 0 when a classifier
 * is at work, -ENODATA where there is nothing to do, -errno (with `last`, the reason is in the dump). */
int lt_classify(enum leaktrace_trigger trigger, const char *label, const void *context, bool last);

/* At the end of the image. Skipped where the end of the worker's only task has been judged. Returns 0 when a classifier is at
 * work. */
int lt_classify_end(const void *context, bool last);
/* The exec that it was for has failed. */
void lt_classify_undo(void);
/* It will be there, if nothing fails. */
bool lt_classify_end_due(void);

/* From a hook: the same as lt_classify() in the midst of the program's life, with all that it asks for. `snapshot`, the number of
 * the file, may be NULL. */
int lt_classify_now(enum leaktrace_trigger trigger, const char *label, const void *context, uint32_t *snapshot);

void lt_classify_fork_child(void);
struct leaktrace_verdict *lt_verdict_append(const struct leaktrace_verdict *verdict);

/* A page that the program and its classifier share. */
struct lt_handshake {
	int ready;        /* the classifier has its file: the program may go on */
	int64_t pause_ns; /* how long the program stood still; 0: it still does */
};

/* classifier.c: the copy's work. Does not return. */
struct lt_classification {
	enum leaktrace_trigger trigger;
	const char *label;
	bool last;
	const void *context; /* ucontext_t of what a signal interrupted; NULL: a function was called */
	uint32_t pid;        /* the program's */
	bool filtered;       /* there is a seccomp filter that we do not know: threads are held if it lets a child try */
	bool unnumbered;     /* /proc is of another PID name space, or not there: its numbers of threads are not ours */
	bool stopped;      /* no other thread was inside the gate */
	uint32_t snapshot; /* number of the snapshot's file */
	uint32_t replaces; /* number of an older snapshot that this one makes superfluous; 0: none */
	int64_t begin_ns;  /* CLOCK_MONOTONIC: since when the program stands still */
	int64_t time_ns;   /* CLOCK_REALTIME */
	struct leaktrace_verdict *record; /* in the dump; NULL: in a snapshot file */
	struct lt_scan_thread *threads;
	unsigned thread_count;
	unsigned unstopped;   /* of these */
	bool threads_missing; /* there are more */
	struct lt_handshake *shared;
};
void lt_classifier_run(const struct lt_classification *c) __attribute__((noreturn));

/* In the program: until no classifier of the session is at work, or the deadline (CLOCK_MONOTONIC, ns). */
void lt_classifier_wait_all(int64_t deadline);

#endif
