/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: command lines. The first byte is the command, the rest its words, one a line. Only commands that write no files
 * and start nothing; there is no session at hand, so most end where they would read one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "findings.h"
#include "diff.h"
#include "fuzz.h"

#define WORDS_MOST 20

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	if (!freopen("/dev/null", "r", stdin)) /* a word may name it */
		fuzz_fault("no /dev/null");
	return 0;
}

/* Files and directories are not what is tested here, and some would never end. */
static bool names_file(const char *word)
{
	return strchr(word, '/') || *word == '.' || strncmp(word, "--sup", 5) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const commands[] = {"report", "diff", "ps", "completion"};
	const char *argv[WORDS_MOST + 2];
	unsigned argc = 0;
	char *text, *rest, *word;
	struct lt_fail_on fail_on = {0};
	struct lt_diff_fail_on diff_fail_on = {0};

	if (!size || !(text = rest = malloc(size)))
		return 0;
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	lt_fail_on_parse(text, &fail_on);
	lt_diff_fail_on_parse(text, &diff_fail_on);
	argv[argc++] = commands[data[0] % (sizeof commands / sizeof *commands)];
	while (argc < WORDS_MOST && (word = strsep(&rest, "\n")))
		if (!names_file(word))
			argv[argc++] = word;
	/* Without an operand it would be the newest session here. */
	if (*argv[0] != 'c')
		argv[argc++] = "/none";
	argv[argc] = NULL;
	fuzz_command(argv);
	free(text);
	return 0;
}
