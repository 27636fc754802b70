/* SPDX-License-Identifier: MIT
 *
 * The dump of this process image: one file, mapped in segments, written in place.
 */
#ifndef LT_DUMP_H
#define LT_DUMP_H

#include "base/atomic.h"
#include "leaktrace/dump-format.h"
#include <stdbool.h>

/* A growing sequence of records of one type, in as many chunks as it takes. Zero but for type and record_size at start.
 * Not locked: each sequence is guarded by its user's lock. */
struct lt_records {
	uint32_t type, record_size;
	bool bounded;        /* take the dump's lock as lt_dump_chunk() does: whoever appends may have interrupted its holder */
	uint32_t chunk_size; /* bytes of the chunks to come; 0: 4 KiB, then twice as much each time up to 32 KiB */
	struct leaktrace_chunk *chunk; /* the last one; NULL: none yet */
	uint64_t chunk_offset;         /* its place in the file */
	uint64_t next;                 /* index of the next record */
	uint64_t count, size;          /* as the last chunk's header has them; not read from there, for somebody may truncate the file */
};

#define LT_DUMP_DISK_FULL "no space left on device (1/50 of it, 16 MiB to 1 GiB, stays free)"

/* How many bytes of a file system of `size` bytes dumps leave free. */
uint64_t lt_dump_disk_reserve(uint64_t size);

/* Creates the file at `path` (absolute; copied), exclusively, mode 0600, following no link, and maps its first `first_size`
 * bytes (a multiple of 4096). The process record is then zero and to be filled. Returns 0, -EEXIST, other -errno.
 * At start and in a fork child, one thread. */
int lt_dump_create(const char *path, uint64_t first_size, uint64_t max_size);

/* There is a dump and it can be written to. */
bool lt_dump_open(void);

/* The process record in the mapped header; a private dummy while there is no dump, so that it can always be written. */
extern LT_HIDDEN struct leaktrace_process *lt_process;

/* Room for the next record of `records`, or NULL when the file is full (the process is then flagged FULL). Fill it, then call
 * lt_dump_commit(). Calls of one sequence must be serialised by the caller. Takes the dump's lock (rank 4). */
void *lt_dump_append(struct lt_records *records);
void lt_dump_commit(struct lt_records *records);

/* The next record needs no new chunk. */
bool lt_dump_has_room(const struct lt_records *records);

/* Appends a string record to the string chunks; returns its reference, 0 when full. Not interned. Caller serialises by the
 * intern lock. At most 64 KiB, the rest is cut. `bounded`: as in lt_records. */
uint32_t lt_dump_string(const char *bytes, size_t length, bool bounded);

/* Chunk of at least `bytes` of record room, outside any sequence: for lists that are written again and again. NULL when the
 * file is full, or the dump's lock can't be had for 200 ms: for contexts that may have interrupted its holder. */
struct leaktrace_chunk *lt_dump_chunk(uint32_t type, uint32_t record_size, uint64_t bytes);

/* Once the process record is complete: the file is a dump from here on. */
void lt_dump_publish(void);

/* In a fork child: forgets the parent's dump. The parent's pages are unmapped, or, if `interrupted` (a hook of this thread is
 * still under way below us), replaced by private memory of the same addresses. */
void lt_dump_fork_child(bool interrupted);

/* The page at `address` of the dump is gone: somebody truncated the file. Replaces the segment by private memory and gives the
 * dump up. Returns false if it is not in the dump. In a signal handler. */
bool lt_dump_lost(const void *address);

/* At the end of the process: cuts off what is reserved and holds nothing. The dump grows no more. */
void lt_dump_trim(void);

/* In a classifier: leaves the dump as lt_dump_fork_child() does, and makes the snapshot file `number` beside it, with the process
 * record of the dump but for its strings. Returns 0 or -errno; then no dump is open. */
int lt_dump_snapshot(uint32_t number);
void lt_dump_remove_snapshot(uint32_t number);

/* Calls visit for each part of the file that is mapped. In a classifier. */
void lt_dump_visit(void (*visit)(const void *start, size_t size, void *arg), void *arg);

/* Bytes of the file reserved so far, and those that may still come to chunks, if the disk has them. */
uint64_t lt_dump_bytes(void);
uint64_t lt_dump_left(void);

#endif
