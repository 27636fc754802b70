/* SPDX-License-Identifier: MIT
 *
 * A session is what one start of one program brings about: all processes and images below it. The first image makes it up and
 * hands it on in the environment:
 *   LEAKTRACE_SESSION=<id>;<a|r>;<machine>-<start>-<pid>-<image>;<dir>
 * a or r is the scope as the first image decided it; then the key of the nearest traced ancestor in hex of fixed width, so that
 * a fork child can write its own in place; then the absolute directory of the dumps. A value that doesn't parse founds a new
 * session. The variable is put into `environ` once, when libc is ready; a program that clears its environment afterwards has it
 * cleared. An envp that a program hands to exec gets it only if it preloads us anyway.
 */
#include "base/arena.h"
#include "base/options.h"
#include "base/sys.h"
#include "base/text.h"
#include "process/process.h"
#include <limits.h>
#include <string.h>

#define VARIABLE "LEAKTRACE_SESSION="
#define KEY_LENGTH (16 + 1 + 16 + 1 + 8 + 1 + 8)

struct lt_session lt_session;
static char *variable; /* "LEAKTRACE_SESSION=…"; NULL: no memory */
static char *variable_key;
static bool in_environ;

static void add_key(struct lt_text *text, const struct leaktrace_key *key)
{
	lt_text_add_hex(text, key->machine, 16);
	lt_text_add(text, "-");
	lt_text_add_hex(text, key->start, 16);
	lt_text_add(text, "-");
	lt_text_add_hex(text, key->pid, 8);
	lt_text_add(text, "-");
	lt_text_add_hex(text, key->image, 8);
}

static bool parse_key(const char *p, struct leaktrace_key *key)
{
	uint64_t v[4];
	for (unsigned i = 0; i < 4; i++) {
		if (i && *p++ != '-')
			return false;
		if (lt_text_parse_hex(&p, &v[i]))
			return false;
	}
	if (*p != ';')
		return false;
	*key = (struct leaktrace_key){ v[0], v[1], (uint32_t)v[2], (uint32_t)v[3] };
	return true;
}

static const char *copy_bytes(const char *bytes, size_t n)
{
	char *copy = lt_arena_alloc(n + 1);
	if (copy)
		memcpy(copy, bytes, n);
	return copy ? copy : "";
}

static bool join(const char *value)
{
	const char *scope = strchr(value, ';');
	if (!scope || scope == value || (scope[1] != 'a' && scope[1] != 'r') || scope[2] != ';')
		return false;
	const char *key = scope + 3;
	if (strlen(key) < KEY_LENGTH + 2 || key[KEY_LENGTH] != ';' || key[KEY_LENGTH + 1] != '/' ||
	    !parse_key(key, &lt_session.parent))
		return false;
	lt_session.id = copy_bytes(value, (size_t)(scope - value));
	lt_session.only_r = scope[1] == 'r';
	lt_session.dir = copy_bytes(key + KEY_LENGTH + 1, strlen(key + KEY_LENGTH + 1));
	return true;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

static bool is_r_name(const char *path)
{
	return !strcmp(base_name(path), "R") || !strcmp(base_name(path), "Rscript");
}

/* The session was started by R or Rscript; R is a shell script, so then the image is a shell with it as its argument. */
static bool started_by_r(int argc, char **argv)
{
	char exe[PATH_MAX];
	long n = lt_sys_readlink("/proc/self/exe", exe, sizeof exe - 1);
	exe[n > 0 ? n : 0] = '\0';
	return is_r_name(exe) || (argc > 1 && strchr(argv[1], '/') && is_r_name(argv[1]));
}

/* 2026-11-23 09:01:29 UTC and PID 4711 give 20261123-090129-4711. Civil date from days: Howard Hinnant's algorithm. */
static void make_id(struct lt_text *text)
{
	int64_t seconds = lt_sys_clock(CLOCK_REALTIME) / 1000000000;
	uint64_t of_day = (uint64_t)seconds % 86400, day = (uint64_t)seconds / 86400 + 719468;
	uint64_t era = day / 146097, of_era = day % 146097;
	uint64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	uint64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	uint64_t m = (5 * of_year + 2) / 153, month = m < 10 ? m + 3 : m - 9;
	uint64_t date = ((year_of_era + era * 400 + (month <= 2)) * 100 + month) * 100 + of_year - (153 * m + 2) / 5 + 1;
	uint64_t time = (of_day / 3600 * 100 + of_day / 60 % 60) * 100 + of_day % 60;
	lt_text_add_decimal(text, date);
	lt_text_add(text, "-");
	for (uint64_t limit = 100000; limit > 1 && time < limit; limit /= 10)
		lt_text_add(text, "0");
	lt_text_add_decimal(text, time);
	lt_text_add(text, "-");
	lt_text_add_decimal(text, (uint64_t)lt_sys_getpid());
}

static void found(int argc, char **argv)
{
	char id[64], dir[2 * PATH_MAX];
	struct lt_text text = LT_TEXT(id), path = LT_TEXT(dir);
	make_id(&text);
	lt_session.id = copy_bytes(id, text.length);
	if (lt_options.dir[0] != '/') {
		long n = lt_sys_getcwd(dir, PATH_MAX);
		if (n > 1 && dir[0] == '/') {
			path.length = (size_t)n - 1;
		} else {
			path.length = 0;
			lt_text_add(&path, "/tmp");
		}
		if (path.length > 1)
			lt_text_add(&path, "/");
	}
	if (lt_options.dir[0]) {
		lt_text_add(&path, lt_options.dir);
	} else {
		lt_text_add(&path, "leaktrace.");
		lt_text_add(&path, id);
	}
	lt_session.dir = copy_bytes(dir, path.length);
	lt_session.only_r = lt_options.scope == LT_SCOPE_R || (lt_options.scope == LT_SCOPE_AUTO && started_by_r(argc, argv));
}

void lt_session_init(int argc, char **argv, char **envp)
{
	const char *value = NULL;
	for (char **e = envp; e && *e; e++)
		if (!strncmp(*e, VARIABLE, sizeof VARIABLE - 1))
			value = *e + sizeof VARIABLE - 1;
	if (!value || !join(value))
		found(argc, argv);
	size_t size = sizeof VARIABLE + strlen(lt_session.id) + KEY_LENGTH + strlen(lt_session.dir) + 8;
	variable = lt_arena_alloc(size);
	if (!variable)
		return;
	struct lt_text text = { .bytes = variable, .size = size };
	lt_text_add(&text, VARIABLE);
	lt_text_add(&text, lt_session.id);
	lt_text_add(&text, lt_session.only_r ? ";r;" : ";a;");
	variable_key = variable + text.length;
	add_key(&text, &lt_session.parent);
	lt_text_add(&text, ";");
	lt_text_add(&text, lt_session.dir);
}

void lt_session_set_key(const struct leaktrace_key *key)
{
	char hex[KEY_LENGTH + 1];
	struct lt_text text = LT_TEXT(hex);
	if (!variable)
		return;
	add_key(&text, key);
	memcpy(variable_key, hex, KEY_LENGTH);
}

static unsigned count(char *const envp[])
{
	unsigned n = 0;
	while (envp[n])
		n++;
	return n;
}

static void copy_env(char *const envp[], char **out)
{
	bool placed = false;
	for (; *envp; envp++) {
		bool ours = !strncmp(*envp, VARIABLE, sizeof VARIABLE - 1);
		if (ours && placed)
			continue;
		placed |= ours;
		*out++ = ours ? variable : *envp;
	}
	if (!placed)
		*out++ = variable;
	*out = NULL;
}

void lt_session_environ(void)
{
	if (in_environ || !variable || !environ)
		return;
	in_environ = true;
	char **copy = lt_arena_alloc((count(environ) + 2) * sizeof *copy);
	if (!copy)
		return;
	copy_env(environ, copy);
	environ = copy;
}

unsigned lt_session_envp_size(char *const envp[])
{
	bool preloads = false;
	if (!variable || !envp)
		return 0;
	for (unsigned i = 0; envp[i]; i++) {
		if (envp[i] == variable)
			return 0;
		if (!strncmp(envp[i], "LD_PRELOAD=", 11) && strstr(envp[i], "libleaktrace"))
			preloads = true;
	}
	return preloads ? count(envp) + 2 : 0;
}

void lt_session_envp(char *const envp[], char **out)
{
	copy_env(envp, out);
}
