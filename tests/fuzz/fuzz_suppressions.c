/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: a file of suppressions, in a report of one sound dump with native and R stacks. Its first line is also the name of
 * one of the dump's R functions and modules, so that patterns meet any text.
 */
#include <stdlib.h>
#include <string.h>

#include "../unit/dump_builder.h"
#include "command.h"
#include "fuzz.h"
#include "suppress.h"

static void make_dump(const char *path, const char *name)
{
	struct db *db = db_new(100);
	uint32_t libc = db_module(db, "/none/libc.so.6", 0, "12345678"), own = db_module(db, name, LEAKTRACE_MODULE_MAIN, NULL);
	uint32_t main = db_frame(db, 0, own, 0x10), inner = db_frame(db, db_frame(db, main, own, 0x20), libc, 0x30);
	uint32_t f = db_rframe(db, 0, "f", NULL, "job.R", 12), g = db_rframe(db, f, name, "pkg", NULL, 0);

	db_live_site(db, inner, g, 3, 64);
	db_live_site(db, main, f, 1, 100);
	db_live_site(db, db_frame(db, 0, libc, 0x40), 0, 2, 50);
	db_judged_block(db, 0x5000, 64, 1, LEAKTRACE_KIND_DEFINITE);
	db_judged_block(db, 0x6000, 100, 2, LEAKTRACE_KIND_DEFINITE);
	db_verdict(db);
	db_write(db, path);
	db_free(db);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *dump = fuzz_path("a.ltd"), *file = fuzz_path("suppressions");
	char name[256], *option;
	size_t length = 0;

	while (length < size && length < sizeof name - 1 && data[length] && data[length] != '\n')
		length++;
	memcpy(name, data, length);
	name[length] = '\0';
	make_dump(dump, name);
	fuzz_write(file, data, size);
	if (!(option = malloc(strlen(file) + 20)))
		return 0;
	strcpy(option, "--suppressions=");
	strcat(option, file);
	fuzz_command((const char *const[]){"report", option, "--format=json", dump, NULL});
	if (size & 1)
		fuzz_command((const char *const[]){"report", option, "--gen-suppressions", dump, NULL});
	free(option);
	return 0;
}
