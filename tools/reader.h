/* SPDX-License-Identifier: MIT
 *
 * Reads one dump file into memory.
 *
 * The file may be damaged, hostile, or in the making: its writer can be running right now. So it is read by pread, never
 * mapped (a file that is cut while mapped is a SIGBUS), only what lies below the commit marks is looked at, and every size
 * is bounded by the file's own. A chunk that makes no sense is skipped up to the next one that does, with a note.
 */
#ifndef LT_READER_H
#define LT_READER_H

#include <leaktrace/dump-format.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "notes.h"

/* Parts of a dump to read, or-ed. */
#define LT_PART(type) (1u << (type))
#define LT_PARTS_IDENTITY LT_PART(LEAKTRACE_CHUNK_PROCESSES)
#define LT_PARTS_STACKS                                                                                 \
	(LT_PART(LEAKTRACE_CHUNK_STRINGS) | LT_PART(LEAKTRACE_CHUNK_MODULES) | LT_PART(LEAKTRACE_CHUNK_FRAMES) | \
	 LT_PART(LEAKTRACE_CHUNK_RFRAMES))
#define LT_PARTS_ALL 0xffffffffu

/* The committed records of one chunk. */
struct lt_chunk {
	uint32_t type, generation, record_size;
	uint32_t lost; /* records that the header promises and the file does not hold, at most UINT32_MAX */
	uint64_t offset, size; /* in the file */
	uint64_t first, count;
	unsigned char *data; /* count * record_size bytes; NULL: not loaded, see lt_dump_load() */
};

struct lt_dump {
	char *path;
	uint64_t file_size;
	struct leaktrace_header header;
	struct lt_chunk *chunks; /* sorted by type, then first (STRINGS: by offset) */
	size_t chunk_count;
	size_t first_of_type[32], end_of_type[32];
	bool partial; /* something is missing; a note said what */
	int fd;       /* of a merged file, whose large chunks are loaded one by one; else -1 */
};

/* Opens and reads the parts asked for. -errno if nothing could be read; the reason is in `notes`. */
int lt_dump_read(const char *path, unsigned parts, struct lt_notes *notes, struct lt_dump **dump);
void lt_dump_free(struct lt_dump *dump);

/* A time as it is taken from a file. None lies before 1970, so one that does is damaged, and unknown; then differences of two
 * never overflow. */
static inline int64_t lt_dump_time(int64_t ns)
{
	return ns > 0 ? ns : 0;
}

/* Number of process records in the dump, and one of them. */
size_t lt_dump_process_count(const struct lt_dump *dump);
bool lt_dump_process(const struct lt_dump *dump, size_t index, struct leaktrace_process *process);

/* Large chunks (sites, blocks, inherited, events) of a merged file are in memory only between these two, so that memory does
 * not grow with the number of processes. No-ops on what is there anyway. False: cannot be read, with a note. */
bool lt_dump_load(struct lt_dump *dump, struct lt_chunk *chunk, struct lt_notes *notes);
void lt_dump_unload(struct lt_dump *dump, struct lt_chunk *chunk);

/* Copies record `index` of a chunk; what an older writer did not know is zero. */
void lt_chunk_record(const struct lt_chunk *chunk, uint64_t index, void *record, size_t size);

/* One more than the highest index of a record of this type. */
uint64_t lt_dump_index_end(const struct lt_dump *dump, enum leaktrace_chunk_type type);

/* The string that `reference` names; false if it names none (0 included). `ordinal` is a dense number of the place, below
 * lt_dump_string_slots(), to keep what was found out about it. The bytes are followed by a NUL. */
bool lt_dump_string(const struct lt_dump *dump, uint32_t reference, const char **bytes, uint32_t *length, size_t *slot);
size_t lt_dump_string_slots(const struct lt_dump *dump);

/* All chunks of one type. */
#define LT_DUMP_EACH(dump, kind, chunk)                                                                 \
	for (struct lt_chunk *chunk = (dump)->chunks + (dump)->first_of_type[kind],                     \
			     *chunk##_end = (dump)->chunks + (dump)->end_of_type[kind];                 \
	     chunk < chunk##_end; chunk++)

#endif
