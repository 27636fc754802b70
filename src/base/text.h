/* SPDX-License-Identifier: MIT
 *
 * Text without stdio: a bounded buffer that is appended to, and the few parsers that the traced side needs. Any context.
 */
#ifndef LT_TEXT_H
#define LT_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What does not fit is cut, and `cut` says so; bytes[length] is always NUL. */
struct lt_text {
	char *bytes;
	size_t size, length;
	bool cut;
};

#define LT_TEXT(buffer) ((struct lt_text){ .bytes = (buffer), .size = sizeof(buffer) })

void lt_text_add(struct lt_text *text, const char *string);
void lt_text_add_bytes(struct lt_text *text, const char *bytes, size_t n);
void lt_text_add_decimal(struct lt_text *text, uint64_t value);
/* At least `digits` digits, lower case. */
void lt_text_add_hex(struct lt_text *text, uint64_t value, unsigned digits);

/* The first decimal (or hex) number at *cursor, which moves behind it. Returns 0, -EINVAL if there is none, -ERANGE. */
int lt_text_parse_decimal(const char **cursor, uint64_t *value);
int lt_text_parse_hex(const char **cursor, uint64_t *value);

/* Reads a whole small file into buffer, NUL at the end. Returns its bytes, -errno. Meant for /proc. */
long lt_text_read_file(const char *path, char *buffer, size_t size);

#endif
