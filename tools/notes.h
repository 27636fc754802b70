/* SPDX-License-Identifier: MIT
 *
 * What the reading side has to tell the user: collected by the libraries, printed once by the command.
 */
#ifndef LT_NOTES_H
#define LT_NOTES_H

#include <stddef.h>

/* More about one subject than this is counted, not kept: a damaged file could have a note for each of its pages. */
#define LT_NOTES_PER_SUBJECT 8

struct lt_notes {
	char **texts;
	size_t count, room;
	size_t printed;
	char *subject; /* of the latest note */
	unsigned about_subject;
};

/* Adds "SUBJECT: text" (no subject: just the text). */
void lt_note(struct lt_notes *notes, const char *subject, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Adds all of `from`, which is empty then. */
void lt_notes_move(struct lt_notes *notes, struct lt_notes *from);

/* Prints what was not printed before, one line each, to stderr. */
void lt_notes_print(struct lt_notes *notes);

void lt_notes_free(struct lt_notes *notes);

#endif
