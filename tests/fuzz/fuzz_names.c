/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: names of functions, as symbol tables have them: demangled, taken for an allocator's or not, matched, printed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "allocators.h"
#include "demangle.h"
#include "fuzz.h"
#include "out.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *name = malloc(size + 1), *plain, *utf8, *text = NULL;
	size_t text_size;
	FILE *memory;

	if (!name)
		return 0;
	memcpy(name, data, size);
	name[size] = '\0';
	plain = lt_demangle(name);
	if (plain && !*plain)
		fuzz_fault("a name is demangled to nothing");
	lt_allocator(plain ? plain : name);
	utf8 = lt_out_utf8(name, size);
	memory = open_memstream(&text, &text_size);
	if (memory) {
		lt_out_safe(memory, name);
		if (lt_out_cell(memory, name, 20, 1) > 20)
			fuzz_fault("a cell is too wide");
		fclose(memory);
		for (size_t i = 0; i < text_size; i++)
			if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
				fuzz_fault("a control character gets through");
	}
	free(text);
	free(utf8);
	free(plain);
	free(name);
	return 0;
}
