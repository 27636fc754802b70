/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: dumps, packed (packed.h), through report, ps, merge, diff. The first two bytes choose options and commands.
 *
 * Beyond what fuzz_command() asks of each command: what merge writes can be read, without a complaint, and has the same report
 * when it is merged again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "fuzz.h"
#include "packed.h"

enum { DO_MERGE = 1, DO_DIFF = 2, DO_PS = 4, ONE_BY_ONE = 8, SOME_KINDS = 16, ONE_PROCESS = 32, GENERATE = 64, FEW = 128 };

struct arguments {
	const char *argv[24];
	unsigned argc;
};

static void add(struct arguments *arguments, const char *word)
{
	arguments->argv[arguments->argc++] = word;
}

static void report(const uint8_t *choices, const char *const *paths, unsigned count)
{
	static const char *const formats[] = {"--format=text", "--format=json", "--format=csv", "--format=json"};
	static const char *const by[] = {"--by=site", "--by=function", "--by=module", "--by=rcall", "--by=process",
					 "--by=site", "--by=site", "--by=site"};
	struct arguments arguments = {.argv = {"report"}, .argc = 1};

	add(&arguments, formats[choices[0] & 3]);
	add(&arguments, by[choices[0] >> 2 & 7]);
	if (choices[0] & 32)
		add(&arguments, "--blocks");
	if (choices[0] & 64)
		add(&arguments, "--inherited");
	if (choices[0] & 128)
		add(&arguments, "--full");
	if (choices[1] & SOME_KINDS)
		add(&arguments, "--kind=definite,unknown");
	if (choices[1] & ONE_PROCESS)
		add(&arguments, "--process=100");
	/* Suppressions are no JSON. */
	if (choices[1] & GENERATE)
		arguments.argv[1] = "--gen-suppressions";
	if (choices[1] & FEW) {
		add(&arguments, "--top=2");
		add(&arguments, "--min-bytes=10");
		add(&arguments, "--fail-on=definite,growth:1,unknown:1k");
	}
	for (unsigned i = 0; i < count; i++)
		add(&arguments, paths[i]);
	fuzz_command(arguments.argv);
}

static void merge(const char *const *paths, unsigned count)
{
	const char *one = fuzz_path("merged.ltd"), *two = fuzz_path("again.ltd");
	struct arguments arguments = {.argv = {"merge", "-o", one}, .argc = 3};
	const struct fuzz_output *output;
	char *first;

	for (unsigned i = 0; i < count; i++)
		add(&arguments, paths[i]);
	if (fuzz_command(arguments.argv)->status != LT_STATUS_FINE)
		return;
	output = fuzz_command((const char *const[]){"merge", "-o", two, one, NULL});
	if (output->status != LT_STATUS_FINE || output->told_size)
		fuzz_fault("merge writes what cannot be read: status %d: %s", output->status, output->told);
	first = strdup(fuzz_command((const char *const[]){"report", "--format=json", one, NULL})->out);
	output = fuzz_command((const char *const[]){"report", "--format=json", two, NULL});
	if (!first || strcmp(first, output->out))
		fuzz_fault("a merged dump, merged again, has another report");
	free(first);
	unlink(one);
	unlink(two);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *paths[PACKED_FILES];
	unsigned count;

	if (size < PACKED_CHOICES)
		return 0;
	count = packed_unpack(data, size, paths);
	report(data, paths, data[1] & ONE_BY_ONE ? 1 : count);
	if (data[1] & DO_PS) {
		struct arguments arguments = {.argv = {"ps"}, .argc = 1};

		for (unsigned i = 0; i < count; i++)
			add(&arguments, paths[i]);
		fuzz_command(arguments.argv);
	}
	if (data[1] & DO_MERGE)
		merge(paths, count);
	if (data[1] & DO_DIFF)
		fuzz_command((const char *const[]){"diff", data[0] & 1 ? "--format=json" : data[0] & 2 ? "--format=csv" : "--format=text",
			data[0] & 32 ? "--all" : "--top=3", data[0] & 128 ? "--full" : "--fail-on=new:10,grown", paths[0], paths[count - 1], NULL});
	for (unsigned i = 0; i < count; i++)
		unlink(paths[i]);
	return 0;
}
