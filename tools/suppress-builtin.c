/* SPDX-License-Identifier: MIT
 *
 * What system libraries keep by design, and why. Found by memcheck on R jobs and known from the libraries' sources.
 *
 * Rules for an entry: it names a module and a function of it, and that function keeps what it allocates for itself, or for as
 * long as the process lives; memory that it hands to its caller is the caller's to free, so no such function is here (not
 * getaddrinfo, dlopen, FcPatternCreate, g_object_new ...). The matcher sees to the rest: frames of other modules inside of
 * the function's void the entry, and so does growth with each task. Most of it is reachable, thus no leak where a process
 * was classified; KEPT is for processes that were not (killed ones), where all blocks are `unknown`. Names of libc's functions
 * have no `^`: its debug information calls some of them __GI_setenv and the like.
 */
#include "suppress.h"

#define POSSIBLE LT_KIND_BIT(LT_KIND_POSSIBLE)
#define KEPT LT_KIND_BIT(LT_KIND_UNKNOWN)
#define ANY LT_KINDS_LEAKS

const struct lt_builtin lt_builtins[] = {
	/* A thread's table of thread-local storage (dtv). The thread's control block points at its second entry, so all there
	 * ever is is an interior pointer: memcheck shows each running thread as possibly lost. Only `possible`: the tables of
	 * threads that nobody joined grow, and are shown if they do so by task. */
	{"^ld-linux", "_dl_allocate_tls$", NULL, NULL, POSSIBLE},
	{"^ld-2.", "_dl_allocate_tls$", NULL, NULL, POSSIBLE},
	/* Thread-local variables of a module that was loaded later, allocated at first use; they hang on that table. */
	{"^ld-linux", "__tls_get_addr$", NULL, NULL, POSSIBLE},
	{"^ld-2.", "__tls_get_addr$", NULL, NULL, POSSIBLE},

	/* Where code is, for unwinders (_dl_find_object): the table begins on a cache line, so the pointer to it leads into its
	 * block. dlopen() makes it, inside of a function of libc that catches errors. */
	{"^ld-linux", "_dlfo_mappings_segment_allocate$", NULL, NULL, POSSIBLE},
	{"^ld-linux", NULL, NULL, "^libc.so", POSSIBLE},

	/* The environment: what setenv() stored may still be in use by whoever called getenv(), so libc never frees it, not
	 * even when it is replaced. Of putenv() only the array; the string is the caller's. Both jump to a function that has
	 * a name only where libc's debug information is there. */
	{"^libc.so.", "^__add_to_environ$", NULL, NULL, ANY},
	{"^libc.so.", "setenv$", NULL, NULL, ANY},
	{"^libc.so.", "putenv$", NULL, NULL, ANY},
	/* Loaded locales, and message catalogues, stay for the process's life; the time zone's names until it is changed. */
	{"^libc.so.", "setlocale$", NULL, NULL, KEPT},
	{"^libc.so.", "textdomain$", NULL, NULL, KEPT},
	{"^libc.so.", "gettext$", NULL, NULL, KEPT},
	{"^libc.so.", "tzset$", NULL, NULL, KEPT},
	{"^libc.so.", "localtime", NULL, NULL, KEPT},
	{"^libc.so.", "mktime$", NULL, NULL, KEPT},

	/* libgomp keeps its pool of threads, and the last team, for the next parallel region. Idle threads hold them by pointers
	 * into the middle. */
	{"^libgomp.so", "^GOMP_parallel*", NULL, NULL, KEPT | POSSIBLE},
	{"^libgomp.so", "^GOMP_loop*", NULL, NULL, KEPT | POSSIBLE},
	/* Its constructor: the environment's settings (OMP_PLACES ...). It has no name in a stripped one, but only the loader
	 * calls it. */
	{"^libgomp.so", NULL, NULL, "^ld-linux", KEPT},

	/* The emergency pool: memory for an exception that is thrown when there is none left, taken by a constructor of
	 * libstdc++ and kept to the end. That has no name in a stripped one, but only the loader calls it. */
	{"^libstdc++.so", NULL, NULL, "^ld-linux", KEPT | POSSIBLE},

	/* tcmalloc's constructor makes objects that only its own variables lead to, and those are no roots (src/trace/allocator.h). */
	{"^libtcmalloc", NULL, NULL, "^ld-linux", ANY},

	/* OpenBLAS keeps its work buffers, aligned within what malloc() gave, in a table for the next call, and its threads. */
	{"^libopenblas", "^blas_memory_alloc", NULL, NULL, KEPT | POSSIBLE},
	{"^libopenblas", "^blas_thread_init$", NULL, NULL, KEPT | POSSIBLE},

	/* ICU's tables behind the default locale and converter; u_cleanup() would free them, which no program calls. */
	{"^libicu", "^uloc_getDefault", NULL, NULL, KEPT},
	{"^libicu", "^uloc_setDefault", NULL, NULL, KEPT},
	{"^libicu", "^ucnv_getDefaultName", NULL, NULL, KEPT},
	{"^libicu", "^u_init", NULL, NULL, KEPT},

	/* R: stacks and tables of the interpreter, and the registered routines of a package for as long as it is loaded.
	 * setup_Rmainloop() also runs profiles and loads packages; a frame of a package's own code voids the entry. Without
	 * libR.so all this is in R's executable. */
	{"^libR.so", "^Rf_initialize_R$", NULL, NULL, KEPT},
	{"^libR.so", "^setup_Rmainloop$", NULL, NULL, KEPT},
	{"^libR.so", "^R_registerRoutines$", NULL, NULL, KEPT},
	{"^R$", "^Rf_initialize_R$", NULL, NULL, KEPT},
	{"^R$", "^setup_Rmainloop$", NULL, NULL, KEPT},
	{"^R$", "^R_registerRoutines$", NULL, NULL, KEPT},

	/* GLib: types, quarks, interned strings and signals are registered for ever. A type's node begins with a list of its
	 * ancestors, and everybody points behind that. */
	{"^libgobject-2.0.so", "^g_type_register_*", "^libglib-2.0.so", NULL, ANY},
	{"^libgobject-2.0.so", "^g_type_add_interface_*", "^libglib-2.0.so", NULL, ANY},
	{"^libgobject-2.0.so", "^g_signal_new*", "^libglib-2.0.so", NULL, ANY},
	{"^libglib-2.0.so", "^g_quark_from_*", NULL, NULL, ANY},
	{"^libglib-2.0.so", "^g_intern_*", NULL, NULL, ANY},
	/* Languages are interned likewise; what is handed out points behind the head of the block. */
	{"^libpango-1.0.so", "^pango_language_from_string$", "^libglib-2.0.so", NULL, ANY},

	/* Fontconfig's current configuration, which its own functions load at first use and keep. (A program that calls this
	 * function by itself gets a configuration of its own, to be freed.) Parts of it are found by distances, see below. */
	{"^libfontconfig.so", "^FcInitLoadConfigAndFonts$", "^libexpat.so ^libfreetype.so", "^libfontconfig.so", ANY},
	/* Fontconfig finds the values of a pattern by their distance from it, not by pointers, so memcheck takes them for lost.
	 * Here only patterns of Pango's cache of fonts, which lives as long as the process; anybody else's are shown. */
	{"^libfontconfig.so", "^Fc*", "^libexpat.so ^libfreetype.so", "^libpangoft2-1.0.so", ANY},
	{"^libfontconfig.so", "^Fc*", "^libexpat.so ^libfreetype.so", "^libpangocairo-1.0.so", ANY},
};
const size_t lt_builtin_count = sizeof lt_builtins / sizeof *lt_builtins;
