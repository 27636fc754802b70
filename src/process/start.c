/* SPDX-License-Identifier: MIT
 *
 * The constructor, and the creation of a dump.
 *
 * The library is linked with `-z initfirst`: its constructor runs before those of all other objects, so nothing allocates
 * before us but the loader itself, and handlers that we register with exit run after all others, library destructors included
 * (glibc registers the loader's _dl_fini when main is about to start). libc's own constructor has not run either then: environ
 * is NULL, so the environment is taken from the constructor's arguments; and dlopen would run libc's constructor with nothing
 * (glibc 2.36: dl_open_worker passes __libc_argc and the like, still unset). So what needs libc is done a moment later, in
 * the hook of __libc_start_main, which every program's entry code calls when all constructors have run.
 */
#include "base/arena.h"
#include "base/log.h"
#include "base/options.h"
#include "base/sys.h"
#include "base/text.h"
#include "dump/dump.h"
#include "hooks/real.h"
#include "process/adopted.h"
#include "process/process.h"
#include "process/request.h"
#include "r/r.h"
#include "trace/intern.h"
#include "trace/modules.h"
#include "trace/gate.h"
#include "trace/record.h"
#include "trace/libunwind.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SIZE_R (UINT64_C(1) << 20)
#define FIRST_SIZE (UINT64_C(256) << 10)
#define IMAGES_MAX 10000

/* Mode 0700 whatever the umask is. */
static int make_one(const char *path)
{
	struct stat status;
	int error = lt_sys_mkdir(path, 0700);
	if (!error && !lt_syscall6(SYS_newfstatat, AT_FDCWD, (long)path, (long)&status, AT_SYMLINK_NOFOLLOW, 0, 0) &&
	    S_ISDIR(status.st_mode) && (status.st_mode & 0700) != 0700)
		lt_syscall6(SYS_fchmodat, AT_FDCWD, (long)path, 0700, 0, 0, 0);
	return error;
}

/* Makes the directory and those above it. An existing one must be a directory that belongs to us (or to root), and must not be
 * writable for others unless it is sticky: files in it are created exclusively and no link is followed, but whoever may write to
 * it could remove them. */
static int make_dir(const char *dir)
{
	static char path[PATH_MAX]; /* one thread, whose stack may be small */
	struct stat status;
	size_t length = strlen(dir);
	if (length >= sizeof path)
		return -ENAMETOOLONG;
	memcpy(path, dir, length + 1);
	int error = make_one(path);
	if (error == -ENOENT) {
		for (char *p = path + 1; *p; p++)
			if (*p == '/') {
				*p = '\0';
				make_one(path);
				*p = '/';
			}
		error = make_one(path);
	}
	if (error && error != -EEXIST)
		return error;
	int fd = lt_sys_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	error = (int)lt_syscall6(SYS_fstat, fd, (long)&status, 0, 0, 0, 0);
	lt_sys_close(fd);
	if (error)
		return error;
	uid_t me = (uid_t)lt_syscall6(SYS_geteuid, 0, 0, 0, 0, 0, 0);
	if (status.st_uid != me && status.st_uid != 0)
		return -EPERM;
	if (status.st_uid != me && status.st_mode & S_IWOTH && !(status.st_mode & S_ISVTX))
		return -EPERM;
	return 0;
}

static int create_file(uint64_t first_size)
{
	static char path[PATH_MAX];
	for (uint32_t image = 0; image < IMAGES_MAX; image++) {
		struct lt_text text = LT_TEXT(path);
		lt_text_add(&text, lt_session.dir);
		lt_text_add(&text, "/");
		lt_text_add_hex(&text, lt_identity.key.machine & 0xffffffff, 8);
		lt_text_add(&text, "-");
		lt_text_add_decimal(&text, lt_identity.key.pid);
		lt_text_add(&text, "-");
		lt_text_add_decimal(&text, lt_identity.key.start);
		lt_text_add(&text, "-");
		lt_text_add_decimal(&text, image);
		lt_text_add(&text, LEAKTRACE_DUMP_SUFFIX);
		if (text.cut)
			return -ENAMETOOLONG;
		lt_identity.key.image = image;
		int error = lt_dump_create(path, first_size, lt_options.max_size);
		if (error != -EEXIST && error != -ELOOP)
			return error;
	}
	return -EEXIST;
}

static const char *reason(int error)
{
	switch (-error) {
	case EACCES: case EPERM: return ": permission denied (it must belong to this user)";
	case ENOENT: return ": no such directory";
	case ENOTDIR: return ": not a directory";
	case EROFS: return ": read-only file system";
	case ENOSPC: return ": " LT_DUMP_DISK_FULL;
	case EDQUOT: return ": disk quota exceeded";
	case EFBIG: return ": file size limit";
	case ENOMEM: return ": out of memory";
	case EMFILE: case ENFILE: return ": too many open files";
	case ENAMETOOLONG: return ": path too long";
	case ELOOP: return ": a symbolic link";
	}
	return "";
}

static uint32_t string_ref(const char *string)
{
	return string ? lt_intern_string(string, strlen(string)) : 0;
}

int lt_start_dump(const struct leaktrace_key *parent, const struct leaktrace_key *forked_from, uint32_t role)
{
	/* What a fork child does not find, it may have left by chroot: it makes nothing there. */
	int error = forked_from ? 0 : make_dir(lt_session.dir);
	if (!error)
		error = create_file(!forked_from && lt_r_present() ? FIRST_SIZE_R : FIRST_SIZE);
	if (error) {
		lt_warn("not traced, can't write to ", lt_session.dir, reason(error));
		return error;
	}
	struct leaktrace_process *p = lt_process;
	p->key = lt_identity.key;
	if (parent)
		p->parent = *parent;
	if (forked_from)
		p->forked_from = *forked_from;
	p->ppid = (uint32_t)lt_sys_getppid();
	p->uid = (uint32_t)lt_syscall6(SYS_getuid, 0, 0, 0, 0, 0, 0);
	p->role = role;
	p->flags |= LEAKTRACE_PROCESS_NATIVE_STACKS | (lt_r_present() ? LEAKTRACE_PROCESS_R : 0) |
	            (lt_r_present() && !lt_r_note() && lt_options.r_stacks ? LEAKTRACE_PROCESS_R_STACKS : 0);
	p->flags |= lt_options.sample ? LEAKTRACE_PROCESS_SAMPLED : 0;
	p->exe = string_ref(lt_identity.exe);
	p->host = string_ref(lt_identity.host);
	p->session = string_ref(lt_session.id);
	p->dir = string_ref(lt_session.dir);
	p->boot_id = string_ref(lt_identity.boot_id);
	p->cmdline = lt_intern_string(lt_identity.cmdline, lt_identity.cmdline_size);
	p->r_note = string_ref(lt_r_present() && !lt_options.r_stacks ? "option r_stacks=0" : lt_r_note());
	p->start_ns = lt_sys_clock(CLOCK_REALTIME);
	p->r_version = lt_r_version();
	p->depth = lt_options.depth;
	p->sample_bytes = lt_options.sample;
	p->max_size = lt_options.max_size;
	p->first_site = lt_site_first();
	p->pid_namespace = lt_identity.pid_namespace;
	lt_switch_begin_dump();
	lt_dump_publish();
	lt_session_set_key(&p->key);
	return 0;
}

static bool contains(const char *bytes, size_t size, const char *what)
{
	return memmem(bytes, size, what, strlen(what)) != NULL;
}

static bool has_parent(void)
{
	static const struct leaktrace_key none;
	return memcmp(&lt_session.parent, &none, sizeof none) != 0;
}

static uint32_t find_role(void)
{
	if (contains(lt_identity.cmdline, lt_identity.cmdline_size, ".workRSOCK") ||
	    contains(lt_identity.cmdline, lt_identity.cmdline_size, "MASTER="))
		return LEAKTRACE_ROLE_PSOCK;
	return has_parent() ? LEAKTRACE_ROLE_OTHER : LEAKTRACE_ROLE_MASTER;
}

static void complain(const char *what, const char *which)
{
	lt_warn(what, which, NULL);
}

static void ignore(const char *what, const char *which)
{
}

void lt_start_before_main(void)
{
	lt_tracer_enter();
	lt_session_environ();
	/* dlopen allocates, and a malloc of the program's may count on its own constructor, which comes later. */
	if (lt_load_relaxed(&lt_state) == LT_ON && lt_real_called() != LT_MALLOC_OF_PROGRAM && lt_libunwind_init())
		lt_warn("libunwind-x86_64.so.8 is missing: unusual stacks are cut", NULL, NULL);
	lt_tracer_leave();
}

static const char own_malloc[] =
	"it has a malloc of its own, and only what that takes from the next one is seen; unusual stacks are cut";

static __attribute__((constructor)) void start(int argc, char **argv, char **envp)
{
	const char *options = NULL;
	bool joined = false;
	/* musl: its constructors get no arguments. */
	if (!lt_real_has_glibc()) {
		lt_log_init();
		if (!environ || !getenv("LEAKTRACE_SESSION"))
			lt_warn("not traced: the program's libc is not glibc", NULL, NULL);
		lt_store_relaxed(&lt_state, LT_OFF);
		return;
	}
	lt_tracer_enter();
	lt_preload_settle(argv, envp);
	lt_real_init();
	lt_adopted_init();
	lt_log_init();
	for (char **e = envp; e && *e; e++) {
		if (!strncmp(*e, "LEAKTRACE_OPTIONS=", 18))
			options = *e + 18;
		joined |= !strncmp(*e, "LEAKTRACE_SESSION=", 18);
	}
	/* The first image of a session complains of bad options; the others would only say the same again. */
	lt_options_parse(options, joined ? ignore : complain);
	if (lt_options.log[0])
		lt_log_open(lt_options.log);
	lt_session_init(argc, argv, envp);
	if (has_parent())
		lt_log_quiet();
	int state = LT_OFF;
	if (!lt_preload_aside() && (lt_r_locate() || !lt_session.only_r)) {
		lt_identity_read();
		lt_gate_init();
		if (lt_record_init()) {
			lt_warn("not traced: out of memory", NULL, NULL);
			goto out;
		}
		if (lt_start_dump(&lt_session.parent, NULL, find_role()))
			goto out;
		lt_modules_scan();
		if (lt_r_present()) {
			lt_modules_mark_r(lt_r_address());
			if (lt_r_note())
				lt_warn("R call stacks are off: ", lt_r_note(), NULL);
		}
		lt_thread.r_main = lt_r_present();
		lt_thread.r_stacks = lt_thread.r_main && lt_options.r_stacks;
		lt_fork_init();
		lt_arena_show(&lt_process->tracer_bytes, &lt_process->tracer_peak_bytes, lt_alive);
		lt_end_init();
		lt_signals_init();
		lt_request_init();
		state = LT_ON;
	}
out:
	lt_store_relaxed(&lt_state, state);
	lt_alive[LT_OPEN] = state == LT_ON;
	lt_record_settle();
	lt_hooks_switch();
	lt_tracer_leave();
	if (state == LT_ON && lt_real_called() == LT_MALLOC_OF_PROGRAM)
		lt_event(LEAKTRACE_EVENT_NOTE, 0, 0, own_malloc);
}
