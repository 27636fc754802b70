/* SPDX-License-Identifier: MIT
 *
 * The rules: how patterns match, files of them, and the built-in list as rules.
 */
#include "suppress.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "xalloc.h"

/* A file is read whole, be it a pipe; what is larger than this was given by mistake. */
#define FILE_MAX (16u << 20)

/* Where the next `*` or `$` stands, or the end. */
static size_t piece_length(const char *pattern)
{
	return strcspn(pattern, "*$");
}

/* The first place in `text` where `length` bytes of `piece` stand. */
static const char *find_piece(const char *text, const char *piece, size_t length)
{
	for (size_t left = strlen(text); left >= length; left--, text++)
		if (memcmp(text, piece, length) == 0)
			return text;
	return NULL;
}

/* LeakSanitizer's TemplateMatch(), its limits included: one file is to mean the same to both. So "a$" does not match "aa",
 * where the first "a" is not at the end, and what follows a `$` is not looked at. */
bool lt_suppress_pattern(const char *pattern, const char *text)
{
	bool start = *pattern == '^', asterisk = false;

	if (!text || !*text)
		return false;
	if (start)
		pattern++;
	while (*pattern) {
		size_t length = piece_length(pattern);
		const char *found;

		if (*pattern == '*') {
			pattern++;
			start = false;
			asterisk = true;
			continue;
		}
		if (*pattern == '$')
			return !*text || asterisk;
		found = *text ? find_piece(text, pattern, length) : NULL;
		if (!found || (start && found != text))
			return false;
		text = found + length;
		pattern += length;
		start = false;
		asterisk = false;
	}
	return true;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

/* One line, without its end. NULL: fine; else what is wrong with it. */
static const char *parse_line(struct lt_suppressions *suppressions, const char *path, unsigned number, const char *text,
			      size_t length)
{
	struct lt_suppression *rule;
	enum lt_rule_type type;
	size_t prefix;

	while (length && is_space(*text)) {
		text++;
		length--;
	}
	while (length && is_space(text[length - 1]))
		length--;
	if (!length || *text == '#')
		return NULL;
	if (length >= 5 && memcmp(text, "leak:", 5) == 0) {
		type = LT_RULE_LEAK;
		prefix = 5;
	} else if (length >= 2 && memcmp(text, "r:", 2) == 0) {
		type = LT_RULE_R;
		prefix = 2;
	} else {
		return "neither leak:PATTERN nor r:PATTERN";
	}
	if (memchr(text, '\0', length))
		return "a NUL byte in the pattern";
	/* LeakSanitizer takes it, for all leaks there are: nobody means that. */
	if (length == prefix)
		return "the pattern is empty";
	LT_GROW(suppressions->rules, suppressions->count, suppressions->room);
	rule = &suppressions->rules[suppressions->count++];
	*rule = (struct lt_suppression){.type = type, .source = lt_xstrdup(path), .line = number};
	rule->pattern = lt_xasprintf("%.*s", (int)(length - prefix), text + prefix);
	return NULL;
}

static int read_whole(const char *path, char **text, size_t *length)
{
	FILE *file = fopen(path, "re");
	char *bytes = NULL;
	size_t used = 0, room = 0;
	int error = 0;

	if (!file)
		return -errno;
	errno = 0;
	do {
		if (used == room) {
			room = room ? room * 2 : 4096;
			bytes = lt_xreallocarray(bytes, room, 1);
		}
		used += fread(bytes + used, 1, room - used, file);
	} while (!feof(file) && !ferror(file) && used <= FILE_MAX);
	if (ferror(file))
		error = errno ? -errno : -EIO;
	else if (used > FILE_MAX)
		error = -EFBIG;
	fclose(file);
	if (error) {
		free(bytes);
		return error;
	}
	*text = bytes;
	*length = used;
	return 0;
}

static void clear_rule(struct lt_suppression *rule)
{
	free(rule->pattern);
	free(rule->source);
}

int lt_suppressions_load(struct lt_suppressions *suppressions, const char *path, struct lt_notes *notes)
{
	size_t length = 0, before = suppressions->count;
	LT_AUTO_FREE char *text = NULL;
	unsigned number = 1;
	int error = read_whole(path, &text, &length);

	if (error) {
		lt_note(notes, NULL, "%s: %s", path, strerror(-error));
		return error;
	}
	for (size_t at = 0; at < length; number++) {
		const char *end = memchr(text + at, '\n', length - at);
		size_t line = end ? (size_t)(end - text) - at : length - at;
		const char *wrong = parse_line(suppressions, path, number, text + at, line);

		if (wrong) {
			lt_note(notes, NULL, "%s:%u: %s", path, number, wrong);
			while (suppressions->count > before)
				clear_rule(&suppressions->rules[--suppressions->count]);
			return -EINVAL;
		}
		at += line + 1;
	}
	return 0;
}

void lt_suppressions_builtin(struct lt_suppressions *suppressions)
{
	for (size_t i = 0; i < lt_builtin_count; i++) {
		LT_GROW(suppressions->rules, suppressions->count, suppressions->room);
		suppressions->rules[suppressions->count++] = (struct lt_suppression){.type = LT_RULE_BUILTIN,
										     .builtin = &lt_builtins[i]};
	}
}

void lt_suppressions_free(struct lt_suppressions *suppressions)
{
	for (size_t i = 0; i < suppressions->count; i++)
		clear_rule(&suppressions->rules[i]);
	free(suppressions->rules);
	memset(suppressions, 0, sizeof *suppressions);
}

char *lt_suppression_text(const struct lt_suppression *rule)
{
	const struct lt_builtin *builtin = rule->builtin;

	if (rule->type != LT_RULE_BUILTIN)
		return lt_xasprintf("%s%s", rule->type == LT_RULE_R ? "r:" : "leak:", rule->pattern);
	return lt_xasprintf("%s %s%s%s (built in)", builtin->module, builtin->function ? builtin->function : "*",
			    builtin->caller ? " called by " : "", builtin->caller ? builtin->caller : "");
}
