/* SPDX-License-Identifier: MIT
 *
 * Opens a module's ELF file, or its separate debug file, and makes sure that it is the right one.
 */
#ifndef LT_DEBUG_FILE_H
#define LT_DEBUG_FILE_H

#include <stddef.h>
#include <stdint.h>

struct lt_debug_dirs {
	char *own; /* $LEAKTRACE_DEBUG_DIR, absolute; NULL: not set */
};

void lt_debug_dirs_init(struct lt_debug_dirs *dirs);
void lt_debug_dirs_clear(struct lt_debug_dirs *dirs);

/* Opens the module itself. Returns a descriptor, or -errno: -ESTALE if the file is another one than recorded, -ENOEXEC if it
 * is no ELF file that could be loaded. */
int lt_debug_file_module(const char *path, const uint8_t *build_id, size_t build_id_size);

/* Finds the debug file with this build-id. Returns a descriptor and in *found its path for free(), or -ENOENT. */
int lt_debug_file_by_build_id(const struct lt_debug_dirs *dirs, const uint8_t *build_id, size_t build_id_size, char **found);

/* Finds the debug file that the module at `path` names in its .gnu_debuglink; it must have the module's build-id or, if the
 * module has none, the checksum. */
int lt_debug_file_by_link(const struct lt_debug_dirs *dirs, const char *path, const char *link, uint32_t checksum,
			  const uint8_t *build_id, size_t build_id_size, char **found);

#endif
