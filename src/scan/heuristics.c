/* SPDX-License-Identifier: MIT
 *
 * Interior pointers that are as good as one to the start: memcheck's four heuristics, with its conditions, all on by default.
 *
 *   stdstring            to the third word behind the start, of a block of 3 words (length, capacity, count of references), as many
 *                        bytes as the second word says, and a NUL; the length is not above the capacity: std::string before C++11
 *   length64             to byte 8, and the first 8 bytes are the size of the rest: sqlite
 *   newarray             to the second word, and the rest is a multiple of the first, which is not 0: new[] of what has
 *                        destructors
 *   multipleinheritance  to an aligned word that points to a table of virtual functions, as the first word of the block does:
 *                        a base class that isn't the first
 *
 * A table of virtual functions: readable, of a file; within its first 21 words, up to the end of the mapping, two are code of a
 * file, all before them are that or 0. memcheck asks for words that are initialized too; which are, we can't know.
 */
#include "scan/work.h"
#include <string.h>

#define TABLE_WORDS 21

static bool of_file(const struct lt_map_line *line, uint32_t permission)
{
	const uint32_t file = LT_MAP_FILE | permission;
	return line && !(line->flags & LT_MAP_DEVICE) && (line->flags & file) == file;
}

static bool is_table(const struct lt_scan_work *w, uintptr_t address)
{
	const struct lt_map_line *line = lt_maps_find(w, address);
	uintptr_t table[TABLE_WORDS];
	unsigned functions = 0;
	if (!of_file(line, LT_MAP_READ))
		return false;
	size_t words = (line->high - address) / LT_WORD;
	words = words < TABLE_WORDS ? words : TABLE_WORDS;
	if (!words || !lt_pages_copy((const void *)address, table, words * LT_WORD))
		return false;
	for (size_t i = 0; i < words; i++) {
		if (!table[i])
			continue;
		if (!of_file(lt_maps_find(w, table[i]), LT_MAP_EXEC))
			return false;
		if (++functions == 2)
			return true;
	}
	return false;
}

/* Few tables are pointed to by many objects. */
static bool is_known_table(struct lt_scan_work *w, uintptr_t address)
{
	if (address % LT_WORD || address < w->page)
		return false;
	unsigned slot = (unsigned)(address / LT_WORD * UINT64_C(0x9e3779b97f4a7c15) >> 55) % LT_VTABLES;
	if (w->vtables[slot].address != address) {
		w->vtables[slot].is = is_table(w, address);
		w->vtables[slot].address = address;
	}
	return w->vtables[slot].is;
}

bool lt_heuristics_match(struct lt_scan_work *w, const struct lt_scan_block *block, uintptr_t address)
{
	uint64_t size = block->size, at = address - block->address, words[2] = { 0, 0 }, here;
	if (at < LT_WORD || block->address % LT_WORD)
		return false;
	size_t head = size < sizeof words ? LT_WORD : sizeof words;
	if (block->state & (LT_BLOCK_CAREFUL | LT_BLOCK_SHARED)) {
		if (!lt_pages_copy((const void *)block->address, words, head))
			return false;
	} else {
		memcpy(words, (const void *)block->address, head);
	}
	if (at == 3 * LT_WORD && size > 3 * LT_WORD && size - 3 * LT_WORD - 1 == words[1] && words[0] <= words[1])
		return true; /* stdstring */
	if (at == LT_WORD && words[0] && (size - LT_WORD) % words[0] == 0)
		return true; /* newarray; with 8-byte words this is length64 too, whose first word is all of the rest */
	if (address % LT_WORD || at + LT_WORD > size || !is_known_table(w, words[0]))
		return false;
	if (block->state & (LT_BLOCK_CAREFUL | LT_BLOCK_SHARED)) {
		if (!lt_pages_copy((const void *)address, &here, sizeof here))
			return false;
	} else {
		memcpy(&here, (const void *)address, sizeof here);
	}
	return is_known_table(w, here); /* multipleinheritance */
}
