/* SPDX-License-Identifier: MIT
 *
 * Two witnesses for R's version: a constant in the loaded machine code, which is what runs, and the DESCRIPTION file of
 * package base beside it, which also serves where the compiler hid the constant.
 *
 * R has no exported variable or C function that tells its version; R.version is an R object, made by R code late in the start.
 * Exported symbols differ between versions, but distributions patch and hide them, so they are no witness here.
 *
 * Threads: any; no state. Failure: 0, "no witness".
 */
#include "r/version.h"

#include <stdbool.h>
#include <string.h>

#include "base/sys.h"
#include "base/text.h"

/* R_VERSION is major << 16 | minor << 8 | patch. R_Serialize() also holds 2.3.0 and 3.5.0, the oldest versions that read its
 * two formats; so only 3.6 and newer count. */
static uint32_t plausible(uint32_t word)
{
	uint32_t major = word >> 16, minor = word >> 8 & 0xff, patch = word & 0xff;

	if (patch > 30 || minor > 30 || major > 9 || major < 3 || (major == 3 && minor < 6))
		return 0;
	return major * 10000 + minor * 100 + patch;
}

/* Only where an instruction takes the word as an immediate: b8+r imm32 (mov to a register) or c7 44 24 disp8 imm32 (mov to
 * the stack). A call's displacement may look like a version. */
static bool is_immediate(const unsigned char *code, size_t at)
{
	if (at >= 1 && (code[at - 1] & 0xf8) == 0xb8)
		return true;
	return at >= 4 && code[at - 4] == 0xc7 && code[at - 3] == 0x44 && code[at - 2] == 0x24;
}

uint32_t lt_r_version_in_code(const unsigned char *code, size_t size)
{
	uint32_t found = 0;

	for (size_t at = 0; at + 4 <= size; at++) {
		uint32_t word = code[at] | (uint32_t)code[at + 1] << 8 | (uint32_t)code[at + 2] << 16 |
		                (uint32_t)code[at + 3] << 24;
		uint32_t version = is_immediate(code, at) ? plausible(word) : 0;

		if (!version || version == found)
			continue;
		if (found)
			return 0;
		found = version;
	}
	return found;
}

uint32_t lt_r_version_in_text(const char *text)
{
	static const char key[] = "Version:";
	uint64_t number[3];

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, sizeof(key) - 1))
			continue;
		line += sizeof(key) - 1;
		while (*line == ' ' || *line == '\t')
			line++;
		for (int i = 0; i < 3; i++) {
			if (i && *line++ != '.')
				return 0;
			if (*line < '0' || *line > '9' || lt_text_parse_decimal(&line, &number[i]) || number[i] > 99)
				return 0;
		}
		return (uint32_t)(number[0] * 10000 + number[1] * 100 + number[2]);
	}
	return 0;
}

static uint32_t in_directory(const char *directory, size_t length)
{
	char path[4096 + 64], text[4096];
	struct lt_text p = LT_TEXT(path);

	lt_text_add_bytes(&p, directory, length);
	lt_text_add(&p, "/library/base/DESCRIPTION");
	if (p.cut || lt_text_read_file(path, text, sizeof(text)) <= 0)
		return 0;
	return lt_r_version_in_text(text);
}

uint32_t lt_r_version_in_home(const char *path, const char *home)
{
	size_t length = strlen(path);
	uint32_t version = 0;

	/* R_HOME/lib/libR.so is two up, R_HOME/bin/exec/R three, with a directory for the CPU four. */
	for (int up = 0; up < 4 && length && !version; up++) {
		while (length && path[length - 1] != '/')
			length--;
		while (length && path[length - 1] == '/')
			length--;
		if (up)
			version = in_directory(path, length);
	}
	if (!version && home && *home)
		version = in_directory(home, strlen(home));
	return version;
}
