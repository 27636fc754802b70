/* SPDX-License-Identifier: MIT
 *
 * Environment for a traced program.
 */
#include "preload.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "xalloc.h"

#ifndef LEAKTRACE_LIBRARY
#define LEAKTRACE_LIBRARY "/usr/local/lib/libleaktrace.so"
#endif

/* NULL if `path` leads to no readable file. */
static char *resolve(const char *path)
{
	char *found = realpath(path, NULL);

	if (found && access(found, R_OK) == 0)
		return found;
	free(found);
	return NULL;
}

static char *beside_us(const char *relative)
{
	char self[PATH_MAX], *slash;
	ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
	LT_AUTO_FREE char *path = NULL;

	if (length <= 0)
		return NULL;
	self[length] = '\0';
	slash = strrchr(self, '/');
	if (!slash)
		return NULL;
	*slash = '\0';
	path = lt_xasprintf("%s/%s", self, relative);
	return resolve(path);
}

char *lt_preload_library(struct lt_notes *notes)
{
	const char *given = getenv("LEAKTRACE_LIB");
	char *library;

	if (given && *given) {
		library = resolve(given);
		if (!library)
			lt_note(notes, "LEAKTRACE_LIB", "%s: %s", given, strerror(errno));
	} else {
		library = beside_us("../src/libleaktrace.so");
		if (!library)
			library = resolve(LEAKTRACE_LIBRARY);
		if (!library)
			library = beside_us("../lib/libleaktrace.so");
		if (!library)
			lt_note(notes, NULL, "cannot find libleaktrace.so (%s); name it in LEAKTRACE_LIB", LEAKTRACE_LIBRARY);
	}
	/* The dynamic linker splits LD_PRELOAD at both and knows no quoting. */
	if (library && strpbrk(library, ": ")) {
		lt_note(notes, library, "cannot be preloaded: there is a blank or a colon in its path");
		free(library);
		return NULL;
	}
	return library;
}

void lt_preload_environment(const char *library, const char *options)
{
	const char *preload = getenv("LD_PRELOAD"), *known = getenv("LEAKTRACE_OPTIONS");
	LT_AUTO_FREE char *new_preload = NULL, *new_options = NULL;

	/* Before others: they (another malloc) are then found below us; we would not be called behind them. */
	new_preload = preload && *preload ? lt_xasprintf("%s:%s", library, preload) : lt_xstrdup(library);
	new_options = known && *known ? lt_xasprintf("%s:%s", known, options) : lt_xstrdup(options);
	setenv("LD_PRELOAD", new_preload, 1);
	setenv("LEAKTRACE_OPTIONS", new_options, 1);
	unsetenv("LEAKTRACE_SESSION");
}

char *lt_preload_absolute(const char *path)
{
	LT_AUTO_FREE char *here = *path == '/' ? NULL : getcwd(NULL, 0);

	return here ? lt_xasprintf("%s/%s", strcmp(here, "/") ? here : "", path) : lt_xstrdup(path);
}

char *lt_preload_directory(void)
{
	const char *known = getenv("LEAKTRACE_OPTIONS"), *last = NULL;
	LT_AUTO_FREE char *name = NULL;
	time_t now = time(NULL);
	char stamp[32];
	struct tm utc;

	for (const char *option = known; option && *option; option += strcspn(option, ":"), option += *option == ':')
		if (strncmp(option, "dir=", 4) == 0)
			last = option + 4;
	if (last && *last && *last != ':') {
		name = strndup(last, strcspn(last, ":"));
		return lt_preload_absolute(name ? name : "");
	}
	/* As the library names a session. */
	gmtime_r(&now, &utc);
	strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &utc);
	name = lt_xasprintf("leaktrace.%s-%ld", stamp, (long)getpid());
	return lt_preload_absolute(name);
}
