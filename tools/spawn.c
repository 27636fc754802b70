/* SPDX-License-Identifier: MIT
 *
 * Fork, exec, wait. Signals that we act on are blocked and taken with sigtimedwait(), so there is no handler and no race;
 * the child gets back the mask and dispositions that we were started with. A pipe that closes on exec tells a program that
 * could not be started from one that failed.
 */
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const int forwarded[] = {SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};
#define FORWARDED (sizeof forwarded / sizeof *forwarded)

struct saved {
	sigset_t mask;
	struct sigaction interrupt, quit;
};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void take_signals(struct saved *saved, sigset_t *set)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};

	sigemptyset(set);
	sigaddset(set, SIGCHLD);
	for (size_t i = 0; i < FORWARDED; i++)
		sigaddset(set, forwarded[i]);
	sigprocmask(SIG_BLOCK, set, &saved->mask);
	sigaction(SIGINT, &ignore, &saved->interrupt);
	sigaction(SIGQUIT, &ignore, &saved->quit);
}

static void give_back_signals(const struct saved *saved)
{
	sigaction(SIGINT, &saved->interrupt, NULL);
	sigaction(SIGQUIT, &saved->quit, NULL);
	sigprocmask(SIG_SETMASK, &saved->mask, NULL);
}

static _Noreturn void child(char *const *argv, const struct saved *saved, int pipe_end)
{
	int error;

	give_back_signals(saved);
	execvp(argv[0], argv);
	error = errno;
	if (write(pipe_end, &error, sizeof error) != sizeof error)
		_exit(126);
	_exit(127);
}

/* 0 once the program runs, or why it does not. */
static int wait_for_exec(int pipe_end)
{
	int error = 0;
	ssize_t n;

	do
		n = read(pipe_end, &error, sizeof error);
	while (n < 0 && errno == EINTR);
	return n == sizeof error ? -error : 0;
}

static void wait_loop(pid_t pid, const sigset_t *set, int interval_ms, void (*tick)(void *data, pid_t child), void *data,
		      int *status)
{
	int64_t next = now_ms();

	for (;;) {
		int64_t left = next - now_ms();
		struct timespec timeout;
		int signal;

		if (left <= 0) {
			/* Status first: a child that is gone must not be sampled for another process of its PID. */
			if (waitpid(pid, status, WNOHANG) == pid)
				return;
			tick(data, pid);
			left = interval_ms;
			next = now_ms() + interval_ms;
		}
		timeout = (struct timespec){left / 1000, left % 1000 * 1000000};
		signal = sigtimedwait(set, NULL, &timeout);
		if (signal == SIGCHLD) {
			if (waitpid(pid, status, WNOHANG) == pid)
				return;
		} else if (signal > 0) {
			kill(pid, signal);
		}
	}
}

int lt_spawn(char *const *argv, int interval_ms, void (*tick)(void *data, pid_t child), void *data, int *status)
{
	struct saved saved;
	sigset_t set;
	int pipe_ends[2], error;
	pid_t pid;

	if (pipe2(pipe_ends, O_CLOEXEC))
		return -errno;
	take_signals(&saved, &set);
	pid = fork();
	if (pid == 0) {
		close(pipe_ends[0]);
		child(argv, &saved, pipe_ends[1]);
	}
	error = pid < 0 ? -errno : 0;
	close(pipe_ends[1]);
	if (!error) {
		error = wait_for_exec(pipe_ends[0]);
		if (error)
			waitpid(pid, status, 0);
		else
			wait_loop(pid, &set, interval_ms, tick, data, status);
	}
	close(pipe_ends[0]);
	give_back_signals(&saved);
	return error;
}
