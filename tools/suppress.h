/* SPDX-License-Identifier: MIT
 *
 * Suppressions: leaks that somebody knows of and does not want to hear about again.
 *
 * A file has LeakSanitizer's syntax: lines `leak:PATTERN`, and `#` comments. PATTERN is looked for in the names of functions,
 * source files and modules, frame by frame from the innermost outwards. `r:PATTERN` is ours: it is looked for in the names
 * of R calls, "pkg::f". The first rule that matches the innermost frame that any matches gets the hit; files come before
 * the built-in list, so that a user sees their own rules at work.
 *
 * Only leaks are suppressed: blocks that are definite, possible, indirect or unknown. What hangs on a suppressed block is
 * known by its own stack; there are no pointers in a dump to follow.
 */
#ifndef LT_SUPPRESS_H
#define LT_SUPPRESS_H

#include "frames.h"
#include "model.h"
#include "notes.h"

#define LT_KIND_BIT(kind) (1u << (kind))
#define LT_KINDS_LEAKS                                                                                             \
	(LT_KIND_BIT(LT_KIND_DEFINITE) | LT_KIND_BIT(LT_KIND_POSSIBLE) | LT_KIND_BIT(LT_KIND_INDIRECT) |           \
	 LT_KIND_BIT(LT_KIND_UNKNOWN))

/* An entry of the built-in list. It matches a frame by its module and its function, and only if all frames inside of that
 * one are the module's own, those of libc, the loader and libstdc++, or of `inner`: what the function calls back is the
 * user's code, and its leaks are the user's. */
struct lt_builtin {
	const char *module;   /* pattern for the module's name without directories */
	const char *function; /* pattern; NULL: any, then `caller` is what ties it down */
	const char *inner;    /* patterns of modules, separated by blanks; NULL: none */
	const char *caller;   /* pattern of the module that the calling frame must lie in; NULL: any */
	unsigned kinds;       /* bits of enum lt_kind */
};

extern const struct lt_builtin lt_builtins[];
extern const size_t lt_builtin_count;

enum lt_rule_type { LT_RULE_LEAK, LT_RULE_R, LT_RULE_BUILTIN };

struct lt_suppression {
	enum lt_rule_type type;
	char *pattern;
	char *source; /* file; NULL of the built-in list */
	unsigned line;
	const struct lt_builtin *builtin;
	struct lt_amount hits;
	uint64_t sites;
};

struct lt_suppressions {
	struct lt_suppression *rules;
	size_t count, room;
};

/* Whether LeakSanitizer would say that the pattern matches: a substring, `*` any run of characters, `^` at the start and `$`
 * for the ends of the text. Like there, each piece between two `*` is taken at its first occurrence. */
bool lt_suppress_pattern(const char *pattern, const char *text);

/* Adds the rules of a file. 0; -EINVAL or another error after a note that names the file, and the line if it is one's fault;
 * nothing is added then. */
int lt_suppressions_load(struct lt_suppressions *suppressions, const char *path, struct lt_notes *notes);

/* Adds the built-in list: once, and after the files. */
void lt_suppressions_builtin(struct lt_suppressions *suppressions);

void lt_suppressions_free(struct lt_suppressions *suppressions);

/* How a rule is written: "leak:foo", or "libgomp.so: GOMP_parallel (built in)". For free(). */
char *lt_suppression_text(const struct lt_suppression *rule);

/* Finds the rule for a site of a kind, or NULL; `builtin`: whether the built-in list counts. Sites share most of their
 * frames, so the answers for these are kept; no rules may be added meanwhile. */
struct lt_suppress_cache;
struct lt_suppress_cache *lt_suppress_cache_new(struct lt_suppressions *suppressions, struct lt_symbols *symbols,
						const struct lt_intern *intern);
struct lt_suppression *lt_suppress_cache_match(struct lt_suppress_cache *cache, uint32_t native, uint32_t r, enum lt_kind kind,
					       bool builtin);
void lt_suppress_cache_free(struct lt_suppress_cache *cache);

/* Takes suppressed rows out of a finished model: what they held goes from their kinds' totals to those of LT_KIND_SUPPRESSED,
 * and to the hits of the rules; rows and blocks are numbered anew. */
void lt_suppress_rows(struct lt_suppressions *suppressions, struct lt_symbols *symbols, struct lt_model *model);

#endif
