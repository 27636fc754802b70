/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: an ELF file that a dump's module names, with symbols, unwind entries and debug information. Addresses to look up
 * are spread over its first bytes of code.
 *
 * Much of the work is libelf's and libdw's: what they do wrong is not ours to mend, but is to be known.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"
#include "symbols.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *path = fuzz_path("module.so");
	struct lt_symbols *symbols;
	size_t n;

	if (size < 64)
		return 0;
	fuzz_write(path, data, size);
	symbols = lt_symbols_new();
	for (uint64_t offset = 1; offset < 0x3000; offset += offset < 0x400 ? 5 : 0x2f) {
		const struct lt_symbol_frame *frames = lt_symbols_lookup(symbols, path, NULL, 0, offset, &n);

		for (size_t i = 0; i < n; i++)
			if ((frames[i].function && !*frames[i].function) || (frames[i].line && !frames[i].file))
				fuzz_fault("an empty name, or a line of no file");
	}
	lt_symbols_module_note(symbols, path, NULL, 0);
	lt_symbols_free(symbols);
	return 0;
}
