/* SPDX-License-Identifier: MIT
 *
 * asyncrd: a little asynchronous reader for R workers that leaks, on purpose, in two places.
 *
 * asyncrd_poll()  one turn of an event loop: waits for a message in a pipe, hands it down through the loop's layers, and
 *                 R_PollAsyncRd() reads it into a record of 1024 bytes, which nobody ever frees. Seven frames lie between
 *                 R's .Call and malloc: R_PollAsyncRd and six callers.
 * asyncrd_serve() one task of a worker: psock_worker_loop() takes the task's requests from a queue into a scratch buffer
 *                 of 512 bytes, and forgets it at the end of the loop. Five frames.
 *
 * With the argument `fixed` both give their memory back: the variant after the fix.
 *
 * The depths are part of what the example shows, so each layer is kept a frame of its own: LAYER stops inlining and
 * cloning, KEEP_FRAME after a call stops it from becoming a jump. Results depend on the arguments alone. No thread; no
 * state is kept between calls, so a fork between two calls is harmless.
 *
 * Built by Meson, or by hand: R CMD SHLIB asyncrd.c
 */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define R_NO_REMAP
#include <R.h>
#include <Rinternals.h>
#include <R_ext/Rdynload.h>

#if defined(__clang__)
#define LAYER __attribute__((noinline))
#else
#define LAYER __attribute__((noipa))
#endif
#define KEEP_FRAME() __asm__ volatile("" ::: "memory")

enum { RECORD_SIZE = 1024, SCRATCH_SIZE = 512, MESSAGE_SIZE = 96, REQUESTS = 8 };

struct source {
	int fd;
	int fixed;
};

struct loop {
	struct source source;
	struct pollfd poll;
	uint32_t checksum;
};

struct request {
	uint32_t task, number;
};

struct worker {
	struct request queue[REQUESTS];
	unsigned head, tail;
	int fixed;
};

void R_init_asyncrd(DllInfo *dll);
int R_PollAsyncRd(struct source *source, uint32_t *checksum);
uint32_t psock_worker_loop(struct worker *worker);

static uint32_t mix(uint32_t h, const void *data, size_t size)
{
	const unsigned char *byte = data;
	for (size_t i = 0; i < size; i++)
		h = (h ^ byte[i]) * UINT32_C(16777619);
	return h;
}

/* ------------------------------------------------------------------ the event loop, innermost function first */

__attribute__((visibility("default"))) LAYER int R_PollAsyncRd(struct source *source, uint32_t *checksum)
{
	unsigned char *record = malloc(RECORD_SIZE);
	if (!record)
		return -ENOMEM;
	memset(record, 0, RECORD_SIZE);
	ssize_t size;
	do
		size = read(source->fd, record, RECORD_SIZE);
	while (size < 0 && errno == EINTR);
	int error = size < 0 ? -errno : size == 0 ? -EPIPE : 0;
	if (!error)
		*checksum = mix(*checksum, record, RECORD_SIZE);
	if (source->fixed)
		free(record);
	KEEP_FRAME();
	return error;
}

static LAYER int source_drain(struct source *source, uint32_t *checksum)
{
	int error = R_PollAsyncRd(source, checksum);
	KEEP_FRAME();
	return error;
}

static LAYER int source_readable(struct source *source, uint32_t *checksum)
{
	int error = source_drain(source, checksum);
	KEEP_FRAME();
	return error;
}

static LAYER int loop_dispatch(struct loop *loop)
{
	int error = loop->poll.revents & POLLIN ? source_readable(&loop->source, &loop->checksum) : -EIO;
	KEEP_FRAME();
	return error;
}

static LAYER int loop_iterate(struct loop *loop)
{
	int ready;
	do
		ready = poll(&loop->poll, 1, -1);
	while (ready < 0 && errno == EINTR);
	int error = ready < 0 ? -errno : loop_dispatch(loop);
	KEEP_FRAME();
	return error;
}

static LAYER int loop_run(const unsigned char message[MESSAGE_SIZE], int fixed, uint32_t *checksum)
{
	int fds[2];
	if (pipe(fds))
		return -errno;
	struct loop loop = {
		.source = { .fd = fds[0], .fixed = fixed },
		.poll = { .fd = fds[0], .events = POLLIN },
		.checksum = UINT32_C(2166136261),
	};
	int error = write(fds[1], message, MESSAGE_SIZE) == MESSAGE_SIZE ? loop_iterate(&loop) : -EIO;
	close(fds[0]);
	close(fds[1]);
	if (!error)
		*checksum = loop.checksum;
	KEEP_FRAME();
	return error;
}

/* .Call("asyncrd_poll", task, number, fixed): the checksum of the message that arrived. */
static LAYER SEXP asyncrd_poll(SEXP task, SEXP number, SEXP fixed)
{
	unsigned char message[MESSAGE_SIZE];
	uint32_t seed = (uint32_t)Rf_asInteger(task) * 31 + (uint32_t)Rf_asInteger(number);
	for (unsigned i = 0; i < MESSAGE_SIZE; i++)
		message[i] = (unsigned char)(seed * (i + 7) >> 3);

	uint32_t checksum = 0;
	int error = loop_run(message, Rf_asLogical(fixed) == TRUE, &checksum);
	if (error)
		Rf_error("asyncrd: cannot poll: %s", strerror(-error));
	return Rf_ScalarReal(checksum);
}

/* ------------------------------------------------------------------ the worker's loop, innermost function first */

__attribute__((visibility("default"))) LAYER uint32_t psock_worker_loop(struct worker *worker)
{
	uint32_t checksum = 0;
	char *scratch = malloc(SCRATCH_SIZE);
	if (!scratch)
		return 0;
	memset(scratch, 0, SCRATCH_SIZE);
	while (worker->head != worker->tail) {
		struct request *request = &worker->queue[worker->head++ % REQUESTS];
		memcpy(scratch + request->number % (SCRATCH_SIZE / sizeof *request) * sizeof *request, request, sizeof *request);
		checksum = mix(checksum, scratch, SCRATCH_SIZE);
	}
	if (worker->fixed)
		free(scratch);
	KEEP_FRAME();
	return checksum;
}

static LAYER uint32_t session_serve(struct worker *worker)
{
	uint32_t checksum = psock_worker_loop(worker);
	KEEP_FRAME();
	return checksum;
}

static LAYER uint32_t session_fill(struct worker *worker, uint32_t task)
{
	for (uint32_t i = 0; i < REQUESTS; i++)
		worker->queue[worker->tail++ % REQUESTS] = (struct request){ .task = task, .number = i };
	uint32_t checksum = session_serve(worker);
	KEEP_FRAME();
	return checksum;
}

static LAYER uint32_t worker_task(uint32_t task, int fixed)
{
	struct worker worker = { .fixed = fixed };
	uint32_t checksum = session_fill(&worker, task);
	KEEP_FRAME();
	return checksum;
}

/* .Call("asyncrd_serve", task, fixed): the checksum of the task's requests. */
static LAYER SEXP asyncrd_serve(SEXP task, SEXP fixed)
{
	uint32_t checksum = worker_task((uint32_t)Rf_asInteger(task), Rf_asLogical(fixed) == TRUE);
	KEEP_FRAME();
	return Rf_ScalarReal(checksum);
}

__attribute__((visibility("default"))) void R_init_asyncrd(DllInfo *dll)
{
	static const R_CallMethodDef calls[] = {
		{ "asyncrd_poll", (DL_FUNC)asyncrd_poll, 3 },
		{ "asyncrd_serve", (DL_FUNC)asyncrd_serve, 2 },
		{ NULL, NULL, 0 },
	};
	R_registerRoutines(dll, NULL, calls, NULL, NULL);
	R_useDynamicSymbols(dll, FALSE);
}
