/* SPDX-License-Identifier: MIT
 *
 * Dumps in few bytes, to be changed by a fuzzer: a dump is pages, most of each zeros, and one wrong byte in a header hides
 * all behind it. A packed input is two bytes of choices, then items:
 *
 *   byte op, byte argument, two bytes length (little-endian), as many bytes
 *
 * from which dumps are laid out that are sound but for what the items say. Any input is one: what makes no sense is passed over.
 */
#ifndef PACKED_H
#define PACKED_H

#include <leaktrace/dump-format.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACKED_CHOICES 2
#define PACKED_ITEM 4 /* bytes of an item's head */
#define PACKED_FILES 4

enum packed_op {
	PACKED_CHUNK,    /* argument: type. Records; the chunk's header is made for them */
	PACKED_RAW,      /* a chunk as it is, header included */
	PACKED_HEADER,   /* argument: offset / 8 in the file's header. Bytes for there */
	PACKED_SET,      /* likewise, after `committed` and `chunks` have been set right */
	PACKED_FILE,     /* what comes is in another file; argument odd: a snapshot of the first */
	PACKED_CUT,      /* 4 bytes: the file is cut there */
	PACKED_STRETCH,  /* argument: the file's length is 2^(argument % 41) */
	PACKED_BYTES,    /* argument: the chunk; 2 bytes offset / 4 in it, then bytes for there: headers can be made wrong in part */
	PACKED_OPS
};

struct packed_item {
	enum packed_op op;
	unsigned argument;
	const uint8_t *bytes;
	size_t size;
};

/* The item at *at, which moves behind it; false: no more. The last one may be cut short. */
bool packed_next(const uint8_t *data, size_t size, size_t *at, struct packed_item *item);

/* Adds an item; 0: no room, else the new size. */
size_t packed_put(uint8_t *data, size_t size, size_t most, enum packed_op op, unsigned argument, const void *bytes,
		  size_t length);

/* Writes the files (a.ltd, a-1.lts, b.ltd, c.ltd in the directory of fuzz_path()); their paths, and how many. */
unsigned packed_unpack(const uint8_t *data, size_t size, const char *paths[PACKED_FILES]);

#endif
