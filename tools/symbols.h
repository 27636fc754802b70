/* SPDX-License-Identifier: MIT
 *
 * Names for code addresses: function, file and line, inlined frames, of a module known by path and build-id.
 *
 * A name is given only if it is certain. The file at `path` counts only if its build-id is the recorded one; a file that was
 * replaced since is passed over for a separate debug file of the right build-id, or gives no names. A symbol counts only for
 * the addresses that it covers, never for what happens to lie behind it.
 *
 * Separate debug files: $LEAKTRACE_DEBUG_DIR, then /usr/lib/debug, by build-id (DIR/.build-id/xx/….debug) and by the module's
 * debug link; also embedded MiniDebugInfo. Nothing is ever asked over the network: a debuginfod server set system-wide would
 * make a report wait, and tell others what is being debugged.
 *
 * Input may be anything (no file, a directory, a damaged ELF file): the answer is then one frame without a name.
 * One thread. Memory: the answers, and the debug information of the modules used last.
 */
#ifndef LT_SYMBOLS_H
#define LT_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lt_symbols;

struct lt_symbol_frame {
	const char *function; /* demangled; NULL: unknown */
	const char *file;     /* NULL: unknown */
	unsigned line;        /* 0: unknown */
	bool inlined;         /* into the next frame */
	uint64_t start;       /* if function is NULL: offset of the start of the unwind-table entry that covers it, 0: none */
};

struct lt_symbols *lt_symbols_new(void);
void lt_symbols_free(struct lt_symbols *symbols);

/* `offset` is that of a return address, as a virtual address of the ELF file: the call is looked up, at offset - 1. Frames
 * are innermost first, inlined ones before the function that holds them; *n is at least 1. They are valid until
 * lt_symbols_free(), and equal strings of all answers are the same pointer. */
const struct lt_symbol_frame *lt_symbols_lookup(struct lt_symbols *symbols, const char *path, const uint8_t *build_id,
						size_t build_id_size, uint64_t offset, size_t *n);

/* Why a module gives no names, or what to mind about them; one clause for people, without the path. NULL: all is well. */
const char *lt_symbols_module_note(struct lt_symbols *symbols, const char *path, const uint8_t *build_id,
				   size_t build_id_size);

#endif
