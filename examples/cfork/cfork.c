/* SPDX-License-Identifier: MIT
 *
 * A server without R: the parent forks workers, each answers requests, and each request leaves its session behind.
 *
 *   LD_PRELOAD=$PWD/build/src/libleaktrace.so build/examples/cfork 3 50
 *   build/tools/leaktrace report
 *
 * names session_open(), called by answer(): 160 bytes per request, in 3 processes. What the parent allocated before the
 * fork (the configuration, in config_load()) is counted once, in the parent, though each worker inherits it.
 *
 * The calls of leaktrace.h tell where a request begins and ends, so that the report has a growth per task; they link
 * against nothing and do nothing without the preload.
 */
#include <leaktrace/leaktrace.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__clang__)
#define LAYER __attribute__((noinline))
#else
#define LAYER __attribute__((noipa))
#endif

struct session {
	unsigned id;
	char user[156];
};

static LAYER char *config_load(void)
{
	char *config = malloc(4096);
	if (config)
		memset(config, 'c', 4096);
	return config;
}

static LAYER struct session *session_open(unsigned id)
{
	struct session *session = calloc(1, sizeof *session);
	if (session) {
		session->id = id;
		snprintf(session->user, sizeof session->user, "user%u", id);
	}
	return session;
}

static LAYER unsigned answer(unsigned id, const char *config)
{
	char *text = malloc(192 + id % 64);
	struct session *session = session_open(id);
	if (!text || !session)
		abort();
	snprintf(text, 192, "%s:%c", session->user, config[id % 4096]);
	unsigned length = (unsigned)strlen(text);
	free(text);
	return length; /* the session is forgotten */
}

static int work(unsigned worker, unsigned requests, const char *config)
{
	unsigned sum = 0;
	for (unsigned i = 0; i < requests; i++) {
		leaktrace_task_begin();
		sum += answer(worker * 1000 + i, config);
		leaktrace_task_end();
	}
	return sum > 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
	long workers = argc > 1 ? strtol(argv[1], NULL, 10) : 3, requests = argc > 2 ? strtol(argv[2], NULL, 10) : 50;
	if (workers < 1 || workers > 64 || requests < 1 || requests > 1000000) {
		fprintf(stderr, "usage: cfork [WORKERS [REQUESTS]], 1 to 64 and 1 to 1000000\n");
		return 2;
	}
	char *config = config_load();
	if (!config) {
		perror("cfork: configuration");
		return 1;
	}
	for (unsigned i = 1; i <= workers; i++) {
		pid_t pid = fork();
		if (pid < 0) {
			perror("cfork: fork");
			return 1;
		}
		if (!pid)
			_exit(work(i, (unsigned)requests, config));
	}
	int status, failed = 0;
	while (wait(&status) > 0)
		failed |= status != 0;
	printf("%ld workers, %ld requests each: %s\n", workers, requests, failed ? "failed" : "done");
	free(config);
	return failed;
}
