/* SPDX-License-Identifier: MIT
 *
 * Who this process is: host, boot, PID name space, PID, start time. Together they name a process for ever, also in a directory
 * that several hosts share.
 *
 * machine is FNV-1a (64 bit) over: the host's name, NUL, the boot id as in /proc/sys/kernel/random/boot_id without its
 * newline, NUL, the PID name space's inode in decimal. The tool computes it likewise to tell whether a process can be asked
 * about in /proc. Where /proc is not mounted, parts are empty, and the start time is that of this reading.
 */
#include "base/arena.h"
#include "base/sys.h"
#include "base/text.h"
#include "process/process.h"
#include <limits.h>
#include <string.h>
#include <sys/utsname.h>

struct lt_identity lt_identity;

static char *keep(const char *bytes, size_t size)
{
	char *copy = lt_arena_alloc(size + 1);
	if (copy)
		memcpy(copy, bytes, size);
	return copy ? copy : (char *)"";
}

static uint64_t fnv(uint64_t h, const char *bytes, size_t n)
{
	while (n--)
		h = (h ^ (unsigned char)*bytes++) * 0x100000001b3ULL;
	return h;
}

/* Field 22 of /proc/PID/stat, behind the last ')' of the command's name: clock ticks since boot. */
static uint64_t read_start(void)
{
	char stat[1024];
	uint64_t value = 0;
	const char *p;
	if (lt_text_read_file("/proc/self/stat", stat, sizeof stat) > 0 && (p = strrchr(stat, ')'))) {
		for (unsigned field = 2; field < 22 && p; field++)
			p = strchr(p + 1, ' ');
		if (p && (++p, lt_text_parse_decimal(&p, &value) == 0))
			return value;
	}
	struct timespec now = { 0 };
	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 100 + (uint64_t)now.tv_nsec / 10000000;
}

void lt_identity_read(void)
{
	struct lt_identity *me = &lt_identity;
	struct utsname names;
	char buffer[PATH_MAX];
	memset(&names, 0, sizeof names);
	lt_syscall6(SYS_uname, (long)&names, 0, 0, 0, 0, 0);
	me->host = keep(names.nodename, strlen(names.nodename));
	long n = lt_text_read_file("/proc/sys/kernel/random/boot_id", buffer, 64);
	while (n > 0 && buffer[n - 1] == '\n')
		n--;
	me->boot_id = keep(buffer, n > 0 ? (size_t)n : 0);
	n = lt_sys_readlink("/proc/self/ns/pid", buffer, sizeof buffer - 1);
	if (n > 0) {
		buffer[n] = '\0';
		const char *p = strchr(buffer, '[');
		if (p && (++p, lt_text_parse_decimal(&p, &me->pid_namespace)))
			me->pid_namespace = 0;
	}
	char digits[24];
	struct lt_text text = LT_TEXT(digits);
	lt_text_add_decimal(&text, me->pid_namespace);
	uint64_t h = fnv(0xcbf29ce484222325ULL, me->host, strlen(me->host) + 1);
	h = fnv(h, me->boot_id, strlen(me->boot_id) + 1);
	me->key.machine = fnv(h, digits, text.length);
	n = lt_sys_readlink("/proc/self/exe", buffer, sizeof buffer - 1);
	me->exe = keep(buffer, n > 0 ? (size_t)n : 0);
	const size_t most = 65536;
	char *cmdline = lt_map(most);
	n = cmdline ? lt_text_read_file("/proc/self/cmdline", cmdline, most) : 0;
	me->cmdline_size = n > 0 ? (uint32_t)n : 0;
	me->cmdline = keep(cmdline, me->cmdline_size);
	lt_unmap(cmdline, most);
	lt_identity_fork_child();
}

void lt_identity_fork_child(void)
{
	lt_identity.key.pid = (uint32_t)lt_sys_getpid();
	lt_identity.key.start = read_start();
	lt_identity.key.image = 0;
}
