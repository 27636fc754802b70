/* SPDX-License-Identifier: MIT
 *
 * A list of messages. Text out of dumps is made safe for a terminal here, where it is printed.
 */
#include "notes.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "out.h"
#include "xalloc.h"

static bool same_subject(const struct lt_notes *notes, const char *subject)
{
	if (!notes->subject || !subject)
		return false;
	return strcmp(notes->subject, subject) == 0;
}

void lt_note(struct lt_notes *notes, const char *subject, const char *format, ...)
{
	LT_AUTO_FREE char *text = NULL;
	va_list arguments;
	int length;

	if (!notes)
		return;
	if (same_subject(notes, subject)) {
		notes->about_subject++;
	} else {
		free(notes->subject);
		notes->subject = subject ? lt_xstrdup(subject) : NULL;
		notes->about_subject = 1;
	}
	if (subject && notes->about_subject > LT_NOTES_PER_SUBJECT) {
		if (notes->about_subject == LT_NOTES_PER_SUBJECT + 1) {
			LT_GROW(notes->texts, notes->count, notes->room);
			notes->texts[notes->count++] = lt_xasprintf("%s: and more of the kind", subject);
		}
		return;
	}
	va_start(arguments, format);
	length = vasprintf(&text, format, arguments);
	va_end(arguments);
	if (length < 0) {
		text = NULL;
		return;
	}
	LT_GROW(notes->texts, notes->count, notes->room);
	notes->texts[notes->count++] = subject ? lt_xasprintf("%s: %s", subject, text) : lt_xstrdup(text);
}

void lt_notes_move(struct lt_notes *notes, struct lt_notes *from)
{
	for (size_t i = 0; notes && i < from->count; i++)
		lt_note(notes, NULL, "%s", from->texts[i]);
	lt_notes_free(from);
}

void lt_notes_print(struct lt_notes *notes)
{
	for (; notes->printed < notes->count; notes->printed++) {
		fputs("leaktrace: ", stderr);
		lt_out_safe(stderr, notes->texts[notes->printed]);
		fputc('\n', stderr);
	}
}

void lt_notes_free(struct lt_notes *notes)
{
	for (size_t i = 0; i < notes->count; i++)
		free(notes->texts[i]);
	free(notes->texts);
	free(notes->subject);
	memset(notes, 0, sizeof *notes);
}
