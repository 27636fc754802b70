/* SPDX-License-Identifier: MIT
 *
 * Many threads, with counts that are known. usage: threads KIND ...
 *   exchange THREADS ROUNDS  each thread allocates in give(), over 16 stacks, puts the block into one of 256 boxes and frees what was in
 *                            there, mostly another's; what is in the boxes at the end stays. Prints its allocations and their bytes, the
 *                            blocks that stay and their bytes
 *   exchange-until-killed THREADS FILE
 *                            the same for ever. In FILE, as 64-bit numbers: allocations begun, done; frees begun, done
 *   sequence THREADS         one thread after another: each leaves a block of 24 bytes in leak(), and frees one of 100 that main has
 *                            allocated in lend()
 *   start-and-end ROUNDS     threads start, allocate and end all the time while main forks ROUNDS children; each leaves a block of 40
 *                            bytes in leak_in_child()
 *   many-stacks              a thread allocates in give() over 8192 stacks, and when it has ended main frees it all
 *   refused KIND ...         KIND, started where the kernel refuses membarrier()
 *   refused-later THREADS ROUNDS
 *                            exchange; after a while the kernel refuses membarrier(), and main forks 20 children
 */
#include "target.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { MOST = 200, BOXES = 256, STACKS = 8192 };

struct worker {
	pthread_t thread;
	unsigned seed;
	uint64_t rounds, allocations, bytes;
};

struct counts {
	_Atomic uint64_t allocations_begun, allocations_done, frees_begun, frees_done;
};

static _Atomic(void *) boxes[BOXES];
static struct counts *counts; /* NULL: nobody looks */
static atomic_bool stop, started;

SITE static void *give(size_t size)
{
	void *block = malloc(size);
	KEEP_FRAME();
	return block;
}

SITE static void *left(size_t size, unsigned path, unsigned bits);

SITE static void *right(size_t size, unsigned path, unsigned bits)
{
	void *block = !bits ? give(size) : path & 1 ? right(size, path >> 1, bits - 1) : left(size, path >> 1, bits - 1);
	KEEP_FRAME();
	return block;
}

SITE static void *left(size_t size, unsigned path, unsigned bits)
{
	void *block = !bits ? give(size) : path & 1 ? right(size, path >> 1, bits - 1) : left(size, path >> 1, bits - 1);
	KEEP_FRAME();
	return block;
}

SITE static void leak(void)
{
	static void *volatile block __attribute__((unused));
	block = malloc(24);
}

SITE static void *lend(void)
{
	void *block = malloc(100);
	KEEP_FRAME();
	return block;
}

SITE static void leak_in_child(void)
{
	static void *volatile block __attribute__((unused));
	block = malloc(40);
}

static unsigned next_random(unsigned *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

static void *exchange(void *argument)
{
	struct worker *w = argument;
	for (uint64_t i = 0; i < w->rounds; i++) {
		size_t size = sizeof size + next_random(&w->seed) % 200;
		if (counts)
			counts->allocations_begun++;
		size_t *block = left(size, next_random(&w->seed), 4);
		if (counts)
			counts->allocations_done++;
		*block = size;
		w->allocations++;
		w->bytes += size;
		void *other = atomic_exchange(&boxes[next_random(&w->seed) % BOXES], block);
		if (other && counts)
			counts->frees_begun++;
		free(other);
		if (other && counts)
			counts->frees_done++;
	}
	return NULL;
}

static struct worker workers[MOST];

static void start_workers(unsigned n, uint64_t rounds)
{
	REQUIRE(n <= MOST);
	for (unsigned i = 0; i < n; i++) {
		workers[i] = (struct worker){ .seed = i + 1, .rounds = rounds };
		REQUIRE(!pthread_create(&workers[i].thread, NULL, exchange, &workers[i]));
	}
}

static void end_workers(unsigned n)
{
	uint64_t allocations = 0, bytes = 0, blocks = 0, live = 0;
	char line[128];
	for (unsigned i = 0; i < n; i++) {
		REQUIRE(!pthread_join(workers[i].thread, NULL));
		allocations += workers[i].allocations;
		bytes += workers[i].bytes;
	}
	for (unsigned i = 0; i < BOXES; i++)
		if (boxes[i]) {
			blocks++;
			live += *(size_t *)boxes[i];
		}
	snprintf(line, sizeof line, "%llu %llu %llu %llu\n", (unsigned long long)allocations, (unsigned long long)bytes,
	         (unsigned long long)blocks, (unsigned long long)live);
	say(line);
}

static void fork_children(int rounds)
{
	for (int i = 0; i < rounds; i++) {
		pid_t pid = fork();
		REQUIRE(pid >= 0);
		if (!pid) {
			leak_in_child();
			for (int k = 0; k < 50; k++)
				free(realloc(malloc(100), 5000));
			_exit(0);
		}
		REQUIRE(reap(pid) == 0);
	}
}

static void *leak_and_free(void *block)
{
	leak();
	free(block);
	return NULL;
}

static void *allocate_and_end(void *argument)
{
	for (int i = 0; i < 20; i++)
		free(malloc(50));
	return NULL;
}

static void *start_threads(void *argument)
{
	while (!stop) {
		pthread_t thread;
		if (pthread_create(&thread, NULL, allocate_and_end, NULL) == 0)
			pthread_join(thread, NULL);
		started = true;
	}
	return NULL;
}

static void *give_all(void *argument)
{
	void **blocks = argument;
	for (unsigned i = 0; i < STACKS; i++)
		blocks[i] = left(50, i, 13);
	return NULL;
}

static void run_thread(void *(*function)(void *), void *argument)
{
	pthread_t thread;
	REQUIRE(!pthread_create(&thread, NULL, function, argument) && !pthread_join(thread, NULL));
}

/* In all threads. */
static void refuse_membarrier(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof filter / sizeof *filter, filter };
	REQUIRE(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program))
		exit(77);
}

int main(int argc, char **argv)
{
	const char *kind = argc > 1 ? argv[1] : "";
	unsigned number = argc > 2 ? (unsigned)atoi(argv[2]) : 0;
	if (!strcmp(kind, "exchange")) {
		REQUIRE(argc > 3);
		start_workers(number, strtoull(argv[3], NULL, 10));
		end_workers(number);
	} else if (!strcmp(kind, "exchange-until-killed")) {
		REQUIRE(argc > 3);
		int fd = open(argv[3], O_RDWR | O_CREAT, 0600);
		REQUIRE(fd >= 0 && !ftruncate(fd, sizeof *counts));
		counts = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		REQUIRE(counts != MAP_FAILED);
		start_workers(number, UINT64_MAX);
		end_workers(number);
	} else if (!strcmp(kind, "sequence")) {
		for (unsigned i = 0; i < number; i++)
			run_thread(leak_and_free, lend());
	} else if (!strcmp(kind, "start-and-end")) {
		pthread_t starters[4];
		for (unsigned i = 0; i < 4; i++)
			REQUIRE(!pthread_create(&starters[i], NULL, start_threads, NULL));
		while (!started)
			usleep(100);
		fork_children((int)number);
		stop = true;
		for (unsigned i = 0; i < 4; i++)
			pthread_join(starters[i], NULL);
	} else if (!strcmp(kind, "many-stacks")) {
		static void *blocks[STACKS];
		run_thread(give_all, blocks);
		for (unsigned i = 0; i < STACKS; i++)
			free(blocks[i]);
	} else if (!strcmp(kind, "refused")) {
		refuse_membarrier();
		argv[1] = argv[0];
		execv(argv[0], argv + 1);
		return 97;
	} else if (!strcmp(kind, "refused-later")) {
		REQUIRE(argc > 3);
		start_workers(number, strtoull(argv[3], NULL, 10));
		usleep(10000);
		refuse_membarrier();
		fork_children(20);
		end_workers(number);
	} else {
		return 97;
	}
	return 0;
}
