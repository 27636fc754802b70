/* SPDX-License-Identifier: MIT
 *
 * Text helpers; no state. Width counts code points, which is right for all but combining and wide characters.
 */
#include "out.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "xalloc.h"

const char *lt_out_count(char buffer[LT_OUT_NUMBER], uint64_t number)
{
	char digits[24];
	int length = snprintf(digits, sizeof digits, "%" PRIu64, number);
	char *out = buffer;

	for (int i = 0; i < length; i++) {
		if (i && (length - i) % 3 == 0)
			*out++ = ',';
		*out++ = digits[i];
	}
	*out = '\0';
	return buffer;
}

const char *lt_out_size(char buffer[LT_OUT_NUMBER], uint64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double value = (double)bytes;
	unsigned unit = 0;

	while (value >= 1023.95 && unit + 1 < sizeof units / sizeof *units) {
		value /= 1024;
		unit++;
	}
	snprintf(buffer, LT_OUT_NUMBER, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
	return buffer;
}

const char *lt_out_mean(char buffer[LT_OUT_NUMBER], double number)
{
	char fraction[16];
	uint64_t whole;
	unsigned rest;

	if (!(number >= 0) || number > 1e18)
		return strcpy(buffer, "?");
	whole = (uint64_t)number;
	rest = (unsigned)((number - (double)whole) * 1000 + 0.5);
	if (rest >= 1000) {
		whole++;
		rest = 0;
	}
	if (whole >= 100) {
		whole += rest >= 500;
		rest = 0;
	}
	if (!whole && !rest && number > 0)
		return strcpy(buffer, "<0.001");
	lt_out_count(buffer, whole);
	if (rest) {
		size_t length;

		snprintf(fraction, sizeof fraction, ".%03u", rest);
		for (length = strlen(fraction); fraction[length - 1] == '0'; length--)
			fraction[length - 1] = '\0';
		strcat(buffer, fraction);
	}
	return buffer;
}

const char *lt_out_rounded(char buffer[LT_OUT_NUMBER], double number)
{
	return number < 1e18 ? lt_out_count(buffer, (uint64_t)(number + 0.5)) : lt_out_mean(buffer, number);
}

static const char *with_error(char *buffer, const char *number, const char *error)
{
	snprintf(buffer, LT_OUT_ESTIMATE, "%s ± %s", number, error);
	return buffer;
}

const char *lt_out_estimate(char buffer[LT_OUT_ESTIMATE], uint64_t number, double error)
{
	char text[LT_OUT_NUMBER], error_text[LT_OUT_NUMBER];

	if (!(error > 0))
		return lt_out_count(buffer, number);
	/* 0 would say that it is exact. */
	return with_error(buffer, lt_out_count(text, number), lt_out_rounded(error_text, fmax(error, 1)));
}

const char *lt_out_estimated_mean(char buffer[LT_OUT_ESTIMATE], double number, double error)
{
	char text[LT_OUT_NUMBER], error_text[LT_OUT_NUMBER];

	if (!(error > 0))
		return lt_out_mean(buffer, number);
	return with_error(buffer, lt_out_mean(text, number), lt_out_mean(error_text, error));
}

const char *lt_out_duration(char buffer[LT_OUT_NUMBER], int64_t ns)
{
	int64_t seconds = ns / 1000000000;

	if (ns < 0)
		return strcpy(buffer, "?");
	if (seconds < 60)
		snprintf(buffer, LT_OUT_NUMBER, "%.2f s", (double)ns / 1e9);
	else if (seconds < 3600)
		snprintf(buffer, LT_OUT_NUMBER, "%" PRId64 " min %" PRId64 " s", seconds / 60, seconds % 60);
	else
		snprintf(buffer, LT_OUT_NUMBER, "%" PRId64 " h %" PRId64 " min", seconds / 3600, seconds / 60 % 60);
	return buffer;
}

const char *lt_out_time(char buffer[LT_OUT_NUMBER], int64_t ns)
{
	time_t seconds = ns / 1000000000;
	struct tm local;

	if (ns <= 0 || !localtime_r(&seconds, &local) || !strftime(buffer, LT_OUT_NUMBER, "%Y-%m-%d %H:%M:%S", &local))
		return strcpy(buffer, "?");
	return buffer;
}

const char *lt_out_signal(char buffer[LT_OUT_NUMBER], int number)
{
	const char *name = number > 0 && number < 65 ? sigabbrev_np(number) : NULL;

	if (name)
		snprintf(buffer, LT_OUT_NUMBER, "SIG%s", name);
	else
		snprintf(buffer, LT_OUT_NUMBER, "signal %d", number);
	return buffer;
}

/* Length of the valid UTF-8 sequence at `text`, at most `room` bytes; 0 if there is none. */
static size_t utf8_length(const unsigned char *text, size_t room)
{
	size_t length;

	if (!room)
		return 0;
	if (text[0] < 0x80)
		return 1;
	length = text[0] >= 0xc2 && text[0] < 0xe0 ? 2 : text[0] >= 0xe0 && text[0] < 0xf0 ? 3 :
		 text[0] >= 0xf0 && text[0] < 0xf5 ? 4 : 0;
	if (!length || length > room)
		return 0;
	for (size_t i = 1; i < length; i++)
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	/* Overlong forms, surrogates, beyond U+10FFFF. */
	if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] >= 0xa0) ||
	    (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] >= 0x90))
		return 0;
	return length;
}

/* The next piece of `text` that is safe on a terminal, in `piece`; returns the bytes consumed and the columns taken. C1
 * controls (U+0080 to U+009F) count as control characters too. */
static size_t safe_piece(const char *text, char piece[8], size_t *columns)
{
	const unsigned char *bytes = (const unsigned char *)text;
	size_t length = utf8_length(bytes, strlen(text) < 4 ? strlen(text) : 4);

	if (!length || bytes[0] < 0x20 || bytes[0] == 0x7f || (bytes[0] == 0xc2 && bytes[1] < 0xa0)) {
		*columns = (size_t)snprintf(piece, 8, "\\x%02x", bytes[0]);
		return 1;
	}
	memcpy(piece, text, length);
	piece[length] = '\0';
	*columns = 1;
	return length;
}

/* strlen per piece would make a long line quadratic; the plain case is handled without it. */
static size_t next_piece(const char *text, char piece[8], size_t *columns)
{
	if ((unsigned char)*text >= 0x20 && (unsigned char)*text < 0x7f) {
		piece[0] = *text;
		piece[1] = '\0';
		*columns = 1;
		return 1;
	}
	char head[5] = "";

	for (int i = 0; i < 4 && text[i]; i++)
		head[i] = text[i];
	return safe_piece(head, piece, columns);
}

void lt_out_safe(FILE *out, const char *text)
{
	char piece[8];
	size_t columns;

	while (*text) {
		text += next_piece(text, piece, &columns);
		fputs(piece, out);
	}
}

static size_t text_columns(const char *text, size_t limit)
{
	char piece[8];
	size_t columns, total = 0;

	while (*text && total <= limit) {
		text += next_piece(text, piece, &columns);
		total += columns;
	}
	return total;
}

size_t lt_out_cell(FILE *out, const char *text, size_t width, int pad)
{
	char piece[8];
	size_t columns, used = 0;
	bool cut = text_columns(text, width) > width;
	size_t room = cut && width > 3 ? width - 3 : width;

	while (*text) {
		text += next_piece(text, piece, &columns);
		if (used + columns > room)
			break;
		fputs(piece, out);
		used += columns;
	}
	for (; cut && used < width; used++)
		fputc('.', out);
	for (; pad && used < width; used++)
		fputc(' ', out);
	return used;
}

char *lt_out_utf8(const char *text, size_t length)
{
	char *copy = lt_xmalloc(length * 3 + 1), *out = copy;

	for (size_t i = 0; i < length;) {
		size_t n = utf8_length((const unsigned char *)text + i, length - i);

		if (n) {
			memcpy(out, text + i, n);
			out += n;
			i += n;
		} else {
			memcpy(out, "\xef\xbf\xbd", 3);
			out += 3;
			i++;
		}
	}
	*out = '\0';
	return copy;
}

unsigned lt_out_columns(FILE *out, unsigned otherwise)
{
	struct winsize size;

	if (isatty(fileno(out)) && ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col >= 40)
		return size.ws_col;
	return otherwise;
}

int lt_out_parse_size(const char *text, uint64_t *bytes)
{
	static const char units[] = "kmgt";
	unsigned long long number;
	const char *unit;
	char *end;
	unsigned shift = 0;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	number = strtoull(text, &end, 10);
	if (errno)
		return -EINVAL;
	if (*end && (unit = strchr(units, tolower((unsigned char)*end)))) {
		shift = 10 * (unsigned)(unit - units + 1);
		end++;
	}
	if (*end || number > (UINT64_MAX >> shift))
		return -EINVAL;
	*bytes = number << shift;
	return 0;
}

int lt_out_flush(FILE *out)
{
	errno = 0;
	if (fflush(out) || ferror(out))
		return errno ? -errno : -EIO;
	return 0;
}
