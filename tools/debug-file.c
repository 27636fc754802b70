/* SPDX-License-Identifier: MIT
 *
 * Where debug information lies, and whether it fits.
 *
 * libdwfl has a search of its own, dwfl_standard_find_debuginfo(); it goes on to debuginfod servers when it finds nothing,
 * and checks less. Files are opened without waiting (a path may name a FIFO) and must be regular.
 */
#include "debug-file.h"

#include <elfutils/libdwelf.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "xalloc.h"

#define SYSTEM_DIR "/usr/lib/debug"

void lt_debug_dirs_init(struct lt_debug_dirs *dirs)
{
	const char *own = getenv("LEAKTRACE_DEBUG_DIR");

	elf_version(EV_CURRENT);
	/* Absolute, so that a later chdir() does not change the meaning. A directory that is not there is not searched. */
	dirs->own = own && *own ? realpath(own, NULL) : NULL;
}

void lt_debug_dirs_clear(struct lt_debug_dirs *dirs)
{
	free(dirs->own);
	dirs->own = NULL;
}

static int open_regular(const char *path)
{
	struct stat status;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return -errno;
	if (fstat(fd, &status) || !S_ISREG(status.st_mode)) {
		close(fd);
		return -ENOEXEC;
	}
	return fd;
}

/* 0 if `fd` is a loadable object with this build-id (size 0: with none); -ENOEXEC, -ESTALE. */
static int check(int fd, const uint8_t *build_id, size_t build_id_size)
{
	/* By read(), not mmap(): a file that is being cut would end the program by SIGBUS. */
	Elf *elf = elf_begin(fd, ELF_C_READ, NULL);
	const void *present = NULL;
	GElf_Ehdr header;
	ssize_t size;
	int result = -ENOEXEC;

	if (elf && elf_kind(elf) == ELF_K_ELF && gelf_getehdr(elf, &header) &&
	    (header.e_type == ET_DYN || header.e_type == ET_EXEC)) {
		size = dwelf_elf_gnu_build_id(elf, &present);
		if (size < 0)
			size = 0;
		result = (size_t)size == build_id_size && (!size || !memcmp(present, build_id, build_id_size)) ? 0 : -ESTALE;
	}
	elf_end(elf);
	return result;
}

static int open_checked(const char *path, const uint8_t *build_id, size_t build_id_size)
{
	int fd = open_regular(path);
	int result;

	if (fd < 0)
		return fd;
	result = check(fd, build_id, build_id_size);
	if (result) {
		close(fd);
		return result;
	}
	return fd;
}

int lt_debug_file_module(const char *path, const uint8_t *build_id, size_t build_id_size)
{
	static const char deleted[] = " (deleted)";
	size_t length = strlen(path);
	char *shorter LT_AUTO_FREE = NULL;
	int fd;

	/* "[vdso]", or a relative name, which would mean something else here than in the traced process */
	if (path[0] != '/')
		return -ENOENT;
	fd = open_checked(path, build_id, build_id_size);
	if (fd >= 0 || !build_id_size || length < sizeof deleted || strcmp(path + length - (sizeof deleted - 1), deleted))
		return fd;
	/* As /proc/PID/maps spells a file that was unlinked, which is also how it looks when it was renamed. */
	shorter = lt_xstrdup(path);
	shorter[length - (sizeof deleted - 1)] = '\0';
	return open_checked(shorter, build_id, build_id_size);
}

/* Opens the file named by `path` and takes ownership of that string. */
static int try_build_id(char *path, const uint8_t *build_id, size_t build_id_size, char **found)
{
	int fd = open_checked(path, build_id, build_id_size);

	if (fd >= 0)
		*found = path;
	else
		free(path);
	return fd;
}

int lt_debug_file_by_build_id(const struct lt_debug_dirs *dirs, const uint8_t *build_id, size_t build_id_size, char **found)
{
	const char *places[] = {dirs->own, SYSTEM_DIR};
	char hex[2 * 64 + 1];
	int fd = -ENOENT;

	if (build_id_size < 2 || build_id_size > 64)
		return -ENOENT;
	for (size_t i = 0; i < build_id_size; i++)
		snprintf(hex + 2 * i, 3, "%02x", build_id[i]);
	for (size_t i = 0; i < sizeof places / sizeof *places && fd < 0; i++)
		if (places[i])
			fd = try_build_id(lt_xasprintf("%s/.build-id/%.2s/%s.debug", places[i], hex, hex + 2), build_id,
					  build_id_size, found);
	return fd < 0 ? -ENOENT : fd;
}

/* The CRC-32 of .gnu_debuglink, that of zlib. */
static bool has_checksum(int fd, uint32_t wanted)
{
	static uint32_t table[256];
	unsigned char buffer[1 << 16];
	uint32_t sum = 0xffffffffu;
	off_t place = 0;
	ssize_t got;

	for (uint32_t i = 0; !table[255] && i < 256; i++) {
		uint32_t word = i;

		for (int bit = 0; bit < 8; bit++)
			word = word & 1 ? word >> 1 ^ 0xedb88320u : word >> 1;
		table[i] = word;
	}
	while ((got = pread(fd, buffer, sizeof buffer, place)) > 0) {
		for (ssize_t i = 0; i < got; i++)
			sum = table[(sum ^ buffer[i]) & 0xff] ^ sum >> 8;
		place += got;
	}
	return got == 0 && ~sum == wanted;
}

static int try_link(char *path, uint32_t checksum, const uint8_t *build_id, size_t build_id_size, char **found)
{
	int fd = open_checked(path, build_id, build_id_size);

	if (fd >= 0 && !build_id_size && !has_checksum(fd, checksum)) {
		close(fd);
		fd = -ESTALE;
	}
	if (fd >= 0)
		*found = path;
	else
		free(path);
	return fd;
}

int lt_debug_file_by_link(const struct lt_debug_dirs *dirs, const char *path, const char *link, uint32_t checksum,
			  const uint8_t *build_id, size_t build_id_size, char **found)
{
	char *real LT_AUTO_FREE = realpath(path, NULL);
	const char *given[] = {path, real};
	int fd = -ENOENT;

	/* A name, by its definition; anything else is not followed. */
	if (!*link || strchr(link, '/'))
		return -ENOENT;
	for (size_t i = 0; i < 2 && fd < 0; i++) {
		const char *slash = given[i] ? strrchr(given[i], '/') : NULL;
		int length = slash ? (int)(slash - given[i]) : 0;
		const char *dir = given[i];

		if (!slash)
			continue;
		fd = try_link(lt_xasprintf("%.*s/.debug/%s", length, dir, link), checksum, build_id, build_id_size, found);
		if (fd < 0 && strcmp(slash + 1, link))
			fd = try_link(lt_xasprintf("%.*s/%s", length, dir, link), checksum, build_id, build_id_size, found);
		if (fd < 0 && dirs->own)
			fd = try_link(lt_xasprintf("%s%.*s/%s", dirs->own, length, dir, link), checksum, build_id,
				      build_id_size, found);
		if (fd < 0)
			fd = try_link(lt_xasprintf(SYSTEM_DIR "%.*s/%s", length, dir, link), checksum, build_id,
				      build_id_size, found);
	}
	if (fd < 0 && dirs->own)
		fd = try_link(lt_xasprintf("%s/%s", dirs->own, link), checksum, build_id, build_id_size, found);
	return fd < 0 ? -ENOENT : fd;
}
