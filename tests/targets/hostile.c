/* SPDX-License-Identifier: MIT
 *
 * Programs whose descriptors, directories and files go away: hostile KIND [PATH]. For what they do then see hostile.h.
 *
 * Descriptors
 *   close-all, close-up, close-down  one by one: but 1 and 2; all of them from 0 on; all of them from the highest on
 *   close-range                      0 and all above, and again before the end
 *   dup2-all                         puts /dev/null over 256 of them
 *   lowest                           each file that is opened between allocations gets the lowest number that is free
 *   as-stderr                        closes all, opens two files as 1 and 2, brings the tracer into trouble: nothing is in the files
 * Directories and files; what is done to the dumps is done where there are any
 *   chdir      a directory that is removed then | chroot PATH into an empty directory
 *   dirname    removes all dumps and their directory | renamed  renames the directory
 *   deleted    removes the dumps | truncated, halved  truncates them, takes a snapshot and goes on
 *   truncated-busy  truncates them while it allocates and frees
 *   own-bus    truncates them, and has a handler for SIGBUS, which is called for a file of its own only
 *   fill PATH  fills PATH's file system half-way through, and again after it was freed
 *   many       allocates in 4096 places | umask 0777
 */
#include "hostile.h"
#include "leaktrace/leaktrace.h"
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static char dumps[PATH_MAX]; /* the directory; empty: not traced */
static volatile int handled;
static char *own_page;
static sigjmp_buf landing;

/* The fourth field of LEAKTRACE_SESSION. */
static void find_dumps(void)
{
	const char *at = getenv("LEAKTRACE_SESSION");
	for (int i = 0; at && i < 3; i++)
		if ((at = strchr(at, ';')))
			at++;
	if (at)
		snprintf(dumps, sizeof dumps, "%s", at);
}

/* ---- descriptors ---- */

static void close_all(void)
{
	for (int fd = 3; fd < 1024; fd++)
		close(fd);
	close(0);
}

static void close_up(void)
{
	for (int fd = 0; fd < 1024; fd++)
		close(fd);
}

static void close_down(void)
{
	for (int fd = 1023; fd >= 0; fd--)
		close(fd);
}

static void close_from(void)
{
	REQUIRE(!syscall(SYS_close_range, 0, ~0U, 0));
}

static void dup2_all(void)
{
	int null = open("/dev/null", O_RDWR);
	REQUIRE(null >= 0);
	for (int fd = 3; fd < 256; fd++)
		REQUIRE(dup2(null, fd) == fd);
	leak_all();
	REQUIRE(open("/dev/null", O_RDONLY) == 256);
}

static void lowest(void)
{
	int fds[4];
	for (int i = 0; i < 4; i++)
		REQUIRE((fds[i] = open("/dev/null", O_RDWR)) >= 0);
	for (unsigned turn = 0; turn < 20; turn++) {
		for (int i = 0; i < 4; i++)
			close(fds[i]);
		leak_from(turn * 50, turn * 50 + 50);
		for (int i = 0; i < 4; i++)
			REQUIRE(open("/dev/null", O_RDWR) == fds[i]);
	}
}

static void in_own_file(int number)
{
	char name[] = "/tmp/leaktrace-test-XXXXXX";
	REQUIRE(mkstemp(name) == number && !unlink(name));
}

static void each_dump(void (*act)(const char *name))
{
	char name[2 * PATH_MAX];
	DIR *dir = *dumps ? opendir(dumps) : NULL;
	if (!dir)
		return;
	for (struct dirent *entry; (entry = readdir(dir));) {
		snprintf(name, sizeof name, "%s/%s", dumps, entry->d_name);
		if (entry->d_name[0] != '.' || strlen(entry->d_name) > 2)
			act(name);
	}
	closedir(dir);
}

static void delete(const char *name)
{
	REQUIRE(!unlink(name));
}

static void as_stderr(void)
{
	struct stat status;
	close_up();
	REQUIRE(open("/dev/null", O_RDONLY) == 0);
	in_own_file(1);
	in_own_file(2);
	each_dump(delete);
	leak_all();
	for (int fd = 1; fd < 3; fd++)
		if (fstat(fd, &status) || status.st_size)
			_exit(96);
}

/* ---- directories and files ---- */

static void change_dir(void)
{
	char name[] = "/tmp/leaktrace-test-XXXXXX";
	REQUIRE(mkdtemp(name) && !chdir(name) && !rmdir(name));
}

static void change_root(void)
{
	REQUIRE(path && !chroot(path) && !chdir("/"));
	leak_from(0, 500);
	DIR *dir = opendir("/");
	REQUIRE(dir);
	for (struct dirent *entry; (entry = readdir(dir));)
		REQUIRE(entry->d_name[0] == '.');
	closedir(dir);
}

static void remove_dir(void)
{
	each_dump(delete);
	REQUIRE(!*dumps || !rmdir(dumps));
}

static void rename_dir(void)
{
	char name[PATH_MAX + 8];
	snprintf(name, sizeof name, "%s.moved", dumps);
	REQUIRE(!*dumps || !rename(dumps, name));
}

static void delete_dumps(void)
{
	each_dump(delete);
}

static void cut_to_nothing(const char *name)
{
	REQUIRE(!truncate(name, 0));
}

static void cut_in_half(const char *name)
{
	struct stat status;
	REQUIRE(!stat(name, &status) && !truncate(name, status.st_size / 2));
}

static void truncate_dumps(void)
{
	leak_from(0, 300);
	each_dump(cut_to_nothing);
	leak_from(300, 600);
	leaktrace_snapshot("truncated");
}

static void truncate_busily(void)
{
	void *blocks[64] = { NULL };
	for (unsigned i = 0; i < 100000; i++) {
		free(blocks[i & 63]);
		blocks[i & 63] = malloc(16 + (i * 7 & 1023));
		if (i % 33333 == 1000)
			each_dump(cut_to_nothing);
	}
	for (unsigned i = 0; i < 64; i++)
		free(blocks[i]);
}

static void halve_dumps(void)
{
	leak_from(0, 300);
	each_dump(cut_in_half);
	leak_from(300, 600);
	leaktrace_snapshot("halved");
}

static void on_signal(int sig)
{
	handled++;
}

static void on_bus(int sig, siginfo_t *info, void *context)
{
	handled++;
	REQUIRE((char *)info->si_addr >= own_page && (char *)info->si_addr < own_page + 4096);
	siglongjmp(landing, 1);
}

static void own_bus(void)
{
	char name[] = "/tmp/leaktrace-test-XXXXXX";
	int fd = mkstemp(name);
	REQUIRE(fd >= 0 && !unlink(name));
	own_page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	REQUIRE(own_page != MAP_FAILED);
	struct sigaction action = { .sa_sigaction = on_bus, .sa_flags = SA_SIGINFO | SA_RESETHAND }, now;
	REQUIRE(!sigaction(SIGBUS, &action, NULL));
	leak_from(0, 300);
	each_dump(cut_to_nothing);
	leak_from(300, 600);
	REQUIRE(!handled && !sigaction(SIGBUS, NULL, &now) && now.sa_sigaction == on_bus && now.sa_flags & (int)SA_RESETHAND);
	if (!sigsetjmp(landing, 1))
		*own_page = 1;
	REQUIRE(handled == 1 && !sigaction(SIGBUS, NULL, &now) && now.sa_handler == SIG_DFL);
	REQUIRE(signal(SIGBUS, on_signal) == SIG_DFL && signal(SIGBUS, SIG_IGN) == on_signal && signal(SIGBUS, SIG_DFL) == SIG_IGN);
	REQUIRE(signal(SIGBUS, on_signal) == SIG_DFL && !raise(SIGBUS) && handled == 2);
	each_dump(cut_to_nothing);
}

static void fill(void)
{
	static char zeros[65536];
	for (int turn = 0; turn < 2; turn++) {
		int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		REQUIRE(fd >= 0);
		for (size_t size = sizeof zeros; size; size /= 2)
			while (write(fd, zeros, size) > 0)
				;
		REQUIRE(errno == ENOSPC);
		leak_from((unsigned)turn * 400, (unsigned)turn * 400 + 400);
		close(fd);
		REQUIRE(!unlink(path));
		say("full\n");
	}
}

/* 1.5 MB of dump. */
SITE static void *wider(unsigned way, unsigned bits)
{
	void *block;
	if (!bits)
		block = malloc(16);
	else if (way & 1)
		block = wider(way >> 1, bits - 1);
	else
		block = wider(way >> 1, bits - 1);
	KEEP_FRAME();
	return block;
}

static void many(void)
{
	for (unsigned i = 0; i < 1u << 12; i++)
		free(wider(i, 12));
}

static void mask(void)
{
	umask(0777);
}

static const struct kind kinds[] = {
	{ "close-all", close_all, NULL },
	{ "close-up", close_up, close_down },
	{ "close-down", close_down, close_up },
	{ "close-range", close_from, close_from },
	{ "dup2-all", dup2_all, NULL },
	{ "lowest", lowest, NULL },
	{ "as-stderr", as_stderr, NULL },
	{ "chdir", change_dir, NULL },
	{ "chroot", change_root, NULL },
	{ "dirname", remove_dir, NULL },
	{ "renamed", rename_dir, NULL },
	{ "deleted", delete_dumps, NULL },
	{ "truncated", truncate_dumps, truncate_dumps },
	{ "truncated-busy", truncate_busily, NULL },
	{ "halved", halve_dumps, NULL },
	{ "own-bus", own_bus, NULL },
	{ "fill", fill, NULL },
	{ "umask", mask, NULL },
	{ "many", many, NULL },
};

int main(int argc, char **argv)
{
	find_dumps();
	return run_kind(kinds, sizeof kinds / sizeof *kinds, argc, argv);
}
