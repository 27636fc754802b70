/* SPDX-License-Identifier: MIT
 *
 * Text without stdio or locale. No state, no memory of its own, no failure but a cut buffer.
 */
#include "base/text.h"
#include "base/sys.h"
#include <string.h>

void lt_text_add_bytes(struct lt_text *text, const char *bytes, size_t n)
{
	size_t room = text->size - text->length - 1;
	if (n > room) {
		n = room;
		text->cut = true;
	}
	memcpy(text->bytes + text->length, bytes, n);
	text->length += n;
	text->bytes[text->length] = '\0';
}

void lt_text_add(struct lt_text *text, const char *string)
{
	lt_text_add_bytes(text, string, strlen(string));
}

static void add_number(struct lt_text *text, uint64_t value, unsigned base, unsigned digits)
{
	char reversed[24];
	unsigned n = 0;
	do {
		reversed[n++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value || n < digits);
	while (n)
		lt_text_add_bytes(text, &reversed[--n], 1);
}

void lt_text_add_decimal(struct lt_text *text, uint64_t value)
{
	add_number(text, value, 10, 1);
}

void lt_text_add_hex(struct lt_text *text, uint64_t value, unsigned digits)
{
	add_number(text, value, 16, digits > 16 ? 16 : digits);
}

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return 99;
}

static int parse_number(const char **cursor, unsigned base, uint64_t *value)
{
	const char *c = *cursor;
	uint64_t v = 0;
	int digit = digit_of(*c);
	if ((unsigned)digit >= base)
		return -EINVAL;
	for (; (unsigned)(digit = digit_of(*c)) < base; c++) {
		if (v > (UINT64_MAX - (unsigned)digit) / base)
			return -ERANGE;
		v = v * base + (unsigned)digit;
	}
	*cursor = c;
	*value = v;
	return 0;
}

int lt_text_parse_decimal(const char **cursor, uint64_t *value)
{
	return parse_number(cursor, 10, value);
}

int lt_text_parse_hex(const char **cursor, uint64_t *value)
{
	return parse_number(cursor, 16, value);
}

long lt_text_read_file(const char *path, char *buffer, size_t size)
{
	int fd = lt_sys_open(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	size_t length = 0;
	long got;
	while (length < size - 1 && (got = lt_sys_read(fd, buffer + length, size - 1 - length)) != 0) {
		if (got == -EINTR)
			continue;
		if (got < 0) {
			lt_sys_close(fd);
			return got;
		}
		length += (size_t)got;
	}
	lt_sys_close(fd);
	buffer[length] = '\0';
	return (long)length;
}
