/* SPDX-License-Identifier: MIT
 *
 * The reader: header, walk over the chunks, and the order in which a file that is still being written is read.
 *
 * A record refers only to what was committed before it: sites to stacks, stacks to modules, all to strings. So of a running
 * process the sites are read first and the strings last, each group after a fresh look at how far the file reaches; all that
 * a record refers to is then in what was read. Nothing is locked, and the writer notices nothing.
 */
#include "reader.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "xalloc.h"

/* How far to look for the next chunk behind a damaged one, in all: a huge sparse file must not keep us for ever. */
#define RESYNC_LIMIT (UINT64_C(1) << 30)
/* What a file may hold more than the blocks that it takes on disk (file systems that compress). */
#define SPARSE_RATIO 32
/* No version will ever know so many types of chunks. */
#define TYPE_MOST 65535

struct reader {
	int fd;
	struct lt_dump *dump;
	struct lt_notes *notes;
	uint64_t budget; /* bytes that all chunks together may hold */
	bool unfinished; /* see is_unfinished() */
	enum { TELLS_ALL, TELLS_OF_CHUNKS, TELLS_NOTHING } quiet; /* a later look tells only what is new in it */
};

static const struct {
	uint32_t parts;
} phases[] = {
	{~LT_PARTS_STACKS},
	{LT_PART(LEAKTRACE_CHUNK_FRAMES) | LT_PART(LEAKTRACE_CHUNK_RFRAMES)},
	{LT_PART(LEAKTRACE_CHUNK_MODULES)},
	{LT_PART(LEAKTRACE_CHUNK_STRINGS)},
};

static const char *type_name(uint32_t type)
{
	static const char *const names[] = {"free", "strings", "modules", "frames", "R frames", "sites", "blocks",
					    "inherited blocks", "events", "processes"};

	return type < sizeof names / sizeof *names ? names[type] : "unknown";
}

/* Reads up to `size` bytes; returns how many there were, or -errno. */
static int64_t read_at(int fd, void *buffer, uint64_t size, uint64_t offset)
{
	uint64_t done = 0;

	while (done < size) {
		ssize_t n = pread(fd, (char *)buffer + done, size - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (uint64_t)n;
	}
	return (int64_t)done;
}

#define TELL_UNLESS(level, reader, ...)                                                                 \
	do {                                                                                            \
		(reader)->dump->partial = true;                                                         \
		if ((reader)->quiet < (level))                                                          \
			lt_note((reader)->notes, (reader)->dump->path, __VA_ARGS__);                    \
	} while (0)
/* Of the file as a whole, of one chunk. */
#define TELL_FILE(reader, ...) TELL_UNLESS(TELLS_OF_CHUNKS, reader, __VA_ARGS__)
#define TELL(reader, ...) TELL_UNLESS(TELLS_NOTHING, reader, __VA_ARGS__)

/* What a dump's file name says of its process: MACHINE-PID-START-IMAGE.ltd, of the machine 32 bits. */
static bool key_of_name(const char *path, struct leaktrace_key *key)
{
	const char *name = strrchr(path, '/');
	uint32_t machine;
	int end = 0;

	name = name ? name + 1 : path;
	*key = (struct leaktrace_key){0};
	if (sscanf(name, "%8" SCNx32 "-%9" SCNu32 "-%19" SCNu64 "-%9" SCNu32 LEAKTRACE_DUMP_SUFFIX "%n", &machine, &key->pid,
		   &key->start, &key->image, &end) != 4 || !end || name[end])
		return false;
	key->machine = machine;
	return true;
}

/* The file of a process that has just begun, or was killed in its first moments: there is no magic yet, perhaps nothing. Who it was
 * its name says. `n`: bytes of the header that are there. */
static bool is_unfinished(struct reader *reader, struct leaktrace_header *header, size_t n, const struct stat *status)
{
	static const struct leaktrace_header nothing;
	struct leaktrace_key key;

	if (memcmp(header->magic, nothing.magic, sizeof header->magic) || !key_of_name(reader->dump->path, &key))
		return false;
	if (n < sizeof *header || header->endian != LEAKTRACE_DUMP_ENDIAN) {
		if (memcmp(header, &nothing, n))
			return false;
		*header = (struct leaktrace_header){
			.major = LEAKTRACE_DUMP_MAJOR, .minor = LEAKTRACE_DUMP_MINOR, .endian = LEAKTRACE_DUMP_ENDIAN,
			.header_size = LEAKTRACE_HEADER_SIZE, .pointer_size = sizeof(void *), .committed = LEAKTRACE_HEADER_SIZE,
			.process.flags = LEAKTRACE_PROCESS_NATIVE_STACKS, /* none is missing */
		};
	}
	if (!header->committed)
		header->committed = LEAKTRACE_HEADER_SIZE;
	if (!header->process.key.machine || !header->process.key.pid || !header->process.key.start)
		header->process.key = key;
	if (!header->process.start_ns)
		header->process.start_ns = (int64_t)status->st_mtim.tv_sec * 1000000000 + status->st_mtim.tv_nsec;
	return true;
}

static int read_header(struct reader *reader, struct leaktrace_header *header, const struct stat *status)
{
	const char *path = reader->dump->path;
	int64_t n;

	*header = (struct leaktrace_header){0};
	n = read_at(reader->fd, header, sizeof *header, 0);
	if (n < 0) {
		lt_note(reader->notes, path, "cannot be read: %s", strerror((int)-n));
		return (int)n;
	}
	if (is_unfinished(reader, header, (size_t)n, status)) {
		n = sizeof *header;
		reader->unfinished = true;
	} else if (n == 0) {
		lt_note(reader->notes, path, "is empty: its process ended before it could write, or the disk was full");
		return -EBADMSG;
	} else if ((size_t)n < sizeof header->magic || memcmp(header->magic, LEAKTRACE_DUMP_MAGIC, sizeof header->magic)) {
		lt_note(reader->notes, path, "is not a dump of leaktrace, or its header is damaged");
		return -EBADMSG;
	}
	if ((size_t)n < sizeof *header) {
		lt_note(reader->notes, path, "is cut in its header, nothing of it can be read");
		return -EBADMSG;
	}
	if (header->endian != LEAKTRACE_DUMP_ENDIAN) {
		lt_note(reader->notes, path, header->endian == __builtin_bswap32(LEAKTRACE_DUMP_ENDIAN) ?
			"was written by a machine of the other byte order; read it on one of that kind" :
			"has a damaged header (byte order mark)");
		return -EBADMSG;
	}
	if (header->major != LEAKTRACE_DUMP_MAJOR) {
		lt_note(reader->notes, path, "has format version %u.%u, this leaktrace reads version %u: %s", header->major,
			header->minor, LEAKTRACE_DUMP_MAJOR, header->major > LEAKTRACE_DUMP_MAJOR ?
			"a newer leaktrace is needed" : "an older leaktrace is needed");
		return -EPROTO;
	}
	if (header->header_size != LEAKTRACE_HEADER_SIZE || header->committed < LEAKTRACE_HEADER_SIZE) {
		lt_note(reader->notes, path, "has a damaged header (sizes)");
		return -EBADMSG;
	}
	return 0;
}

/* A chunk's header that can be believed: its type may be unknown, its size may reach too far. */
static bool plausible(const struct leaktrace_chunk *chunk)
{
	return chunk->magic == LEAKTRACE_CHUNK_MAGIC && chunk->size >= LEAKTRACE_CHUNK_ALIGN &&
	       chunk->size % LEAKTRACE_CHUNK_ALIGN == 0;
}

/* The place before the next one that holds data, not before `offset`; `end` if there is none. A file may claim to be huge and hold
 * nothing, and each look takes a system call. */
static uint64_t behind_hole(const struct reader *reader, uint64_t offset, uint64_t end)
{
	off_t data = lseek(reader->fd, (off_t)offset, SEEK_DATA);

	if (data < 0)
		return errno == ENXIO ? end : offset;
	if ((uint64_t)data / LEAKTRACE_CHUNK_ALIGN <= offset / LEAKTRACE_CHUNK_ALIGN)
		return offset;
	return ((uint64_t)data / LEAKTRACE_CHUNK_ALIGN - 1) * LEAKTRACE_CHUNK_ALIGN;
}

/* The offset of the next plausible chunk at or behind `offset`, or `end`. */
static uint64_t resync(struct reader *reader, uint64_t offset, uint64_t end)
{
	struct leaktrace_chunk header;
	uint64_t limit = end - offset > RESYNC_LIMIT ? offset + RESYNC_LIMIT : end;

	offset = (offset + LEAKTRACE_CHUNK_ALIGN - 1) / LEAKTRACE_CHUNK_ALIGN * LEAKTRACE_CHUNK_ALIGN;
	for (; offset < limit; offset += LEAKTRACE_CHUNK_ALIGN) {
		if (read_at(reader->fd, &header, sizeof header, offset) != sizeof header)
			break;
		if (plausible(&header) && header.size <= end - offset)
			return offset;
		if (!header.magic)
			offset = behind_hole(reader, offset, end);
	}
	return end;
}

/* Records are found by their index in the file; those of other types by an id in them, or not at all. */
static bool indexed(uint32_t type)
{
	return type == LEAKTRACE_CHUNK_MODULES || type == LEAKTRACE_CHUNK_FRAMES || type == LEAKTRACE_CHUNK_RFRAMES ||
	       type == LEAKTRACE_CHUNK_PROCESSES;
}

/* Bounds a chunk's count by what the file holds of it, and by where an index may lead. */
static void bound_count(struct reader *reader, struct lt_chunk *chunk, uint64_t end)
{
	uint64_t room = chunk->offset + chunk->size <= end ? chunk->size : end - chunk->offset;
	uint64_t holds = room > sizeof(struct leaktrace_chunk) ?
			 (room - sizeof(struct leaktrace_chunk)) / chunk->record_size : 0;

	if (chunk->count > holds) {
		uint64_t lost = chunk->count - holds;

		TELL(reader, "%" PRIu64 " of %" PRIu64 " records (%s) at offset %" PRIu64 " are missing", lost, chunk->count,
		     type_name(chunk->type), chunk->offset);
		chunk->lost = lost > UINT32_MAX ? UINT32_MAX : (uint32_t)lost;
		chunk->count = holds;
	}
	if (indexed(chunk->type) && (chunk->first > reader->dump->file_size / chunk->record_size + 1 ||
				     chunk->first > UINT32_MAX - chunk->count)) {
		TELL(reader, "a chunk (%s) at offset %" PRIu64 " has an impossible index, %" PRIu64 " records skipped",
		     type_name(chunk->type), chunk->offset, chunk->count);
		chunk->count = 0;
	}
}

static bool read_records(struct reader *reader, struct lt_chunk *chunk)
{
	uint64_t size = chunk->count * chunk->record_size;
	int64_t n;

	/* One byte more, so that a string that ends with its chunk has its NUL. */
	chunk->data = lt_xmalloc(size + 1);
	n = read_at(reader->fd, chunk->data, size, chunk->offset + sizeof(struct leaktrace_chunk));
	if (n < 0 || (uint64_t)n < size) {
		uint64_t got = n < 0 ? 0 : (uint64_t)n / chunk->record_size;

		TELL(reader, "%" PRIu64 " records (%s) at offset %" PRIu64 " cannot be read%s%s", chunk->count - got,
		     type_name(chunk->type), chunk->offset, n < 0 ? ": " : "", n < 0 ? strerror((int)-n) : "");
		chunk->count = got;
	}
	chunk->data[chunk->count * chunk->record_size] = 0;
	return chunk->count > 0;
}

static bool loaded_late(const struct lt_dump *dump, uint32_t type)
{
	return dump->header.flags & LEAKTRACE_HEADER_MERGED &&
	       (type == LEAKTRACE_CHUNK_SITES || type == LEAKTRACE_CHUNK_BLOCKS || type == LEAKTRACE_CHUNK_INHERITED ||
		type == LEAKTRACE_CHUNK_EVENTS);
}

bool lt_dump_load(struct lt_dump *dump, struct lt_chunk *chunk, struct lt_notes *notes)
{
	struct reader reader = {.fd = dump->fd, .dump = dump, .notes = notes};

	return chunk->data || read_records(&reader, chunk);
}

void lt_dump_unload(struct lt_dump *dump, struct lt_chunk *chunk)
{
	if (!loaded_late(dump, chunk->type))
		return;
	free(chunk->data);
	chunk->data = NULL;
}

static void take_chunk(struct reader *reader, const struct leaktrace_chunk *header, uint64_t offset, uint64_t end,
		       unsigned parts, size_t *room)
{
	struct lt_dump *dump = reader->dump;
	size_t least = leaktrace_record_size(header->type);
	struct lt_chunk chunk = {
		.type = header->type, .generation = header->generation, .record_size = header->record_size, .offset = offset,
		.size = header->size, .first = header->first, .count = header->count,
	};

	if (!least)
		return;
	/* A later minor version may make records longer, though hardly 16 times. */
	if (header->record_size < least || header->record_size > 16 * least ||
	    (header->record_size != least && dump->header.minor <= LEAKTRACE_DUMP_MINOR)) {
		/* Also where its type is not wanted: it may be the type that is wrong. */
		TELL_FILE(reader, "a chunk (%s) at offset %" PRIu64 " has records of %u bytes, skipped", type_name(header->type),
			  offset, header->record_size);
		return;
	}
	if (!(parts & LT_PART(header->type)))
		return;
	if (header->type == LEAKTRACE_CHUNK_STRINGS)
		chunk.record_size = 1; /* bytes, whatever a writer says */
	bound_count(reader, &chunk, end);
	if (!chunk.count)
		return;
	if (chunk.count * chunk.record_size > reader->budget) {
		TELL(reader, "a chunk (%s) at offset %" PRIu64 " claims more than the file can hold, skipped",
		     type_name(header->type), offset);
		return;
	}
	reader->budget -= chunk.count * chunk.record_size;
	if (!loaded_late(dump, chunk.type) && !read_records(reader, &chunk)) {
		free(chunk.data);
		return;
	}
	LT_GROW(dump->chunks, dump->chunk_count, *room);
	dump->chunks[dump->chunk_count++] = chunk;
}

/* Goes over all chunks below `committed` and keeps those of the wanted types. */
static void walk(struct reader *reader, const struct leaktrace_header *head, unsigned parts, size_t *room)
{
	uint64_t size = reader->dump->file_size;
	uint64_t end = head->committed < size ? head->committed : size;
	uint64_t offset = LEAKTRACE_HEADER_SIZE;
	uint64_t seen = 0;

	if (head->committed > size && !reader->unfinished)
		TELL_FILE(reader, "is cut: %" PRIu64 " of %" PRIu64 " bytes are there", size, head->committed);
	while (offset < end && end - offset >= sizeof(struct leaktrace_chunk)) {
		struct leaktrace_chunk header;
		int64_t n = read_at(reader->fd, &header, sizeof header, offset);

		if (n != sizeof header) {
			TELL_FILE(reader, "cannot be read from offset %" PRIu64 " on%s%s", offset, n < 0 ? ": " : "",
			     n < 0 ? strerror((int)-n) : "");
			return;
		}
		if (!plausible(&header)) {
			uint64_t next = resync(reader, offset + LEAKTRACE_CHUNK_ALIGN, end);

			TELL_FILE(reader, "is damaged: %" PRIu64 " bytes at offset %" PRIu64 " cannot be read", next - offset, offset);
			offset = next;
			continue;
		}
		seen++;
		/* Free chunks never held records. */
		if ((header.type == LEAKTRACE_CHUNK_FREE && (header.record_size || header.count)) || header.type > TYPE_MOST)
			TELL_FILE(reader, "is damaged: the chunk at offset %" PRIu64 " has lost its type, it is skipped", offset);
		if (header.size > head->committed - offset) { /* not a matter of being cut: no chunk reaches so far */
			uint64_t next = resync(reader, offset + LEAKTRACE_CHUNK_ALIGN, end);

			TELL_FILE(reader, "is damaged: the chunk (%s) at offset %" PRIu64 " has a wrong size",
				  type_name(header.type), offset);
			header.size = next - offset;
		}
		take_chunk(reader, &header, offset, end, parts, room);
		if (header.size >= end - offset)
			break;
		offset += header.size;
	}
	if (seen < head->chunks)
		TELL_FILE(reader, "%" PRIu64 " of %u chunks are missing", head->chunks - seen, head->chunks);
}

static int by_place(const void *a, const void *b)
{
	const struct lt_chunk *x = a, *y = b;

	if (x->type != y->type)
		return x->type < y->type ? -1 : 1;
	if (x->type != LEAKTRACE_CHUNK_STRINGS && x->first != y->first)
		return x->first < y->first ? -1 : 1;
	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* A type's chunks follow each other without a gap, and those that are found by index start with the first. */
static void find_gap(struct reader *reader, const struct lt_chunk *previous, const struct lt_chunk *chunk)
{
	uint32_t type = chunk->type;
	uint64_t expected = indexed(type) && type != LEAKTRACE_CHUNK_PROCESSES ? 1 : 0;

	if (previous)
		expected = previous->first + previous->count + previous->lost;
	else if (!indexed(type))
		return;
	if (chunk->first > expected)
		TELL(reader, "%" PRIu64 " records (%s) before offset %" PRIu64 " are missing", chunk->first - expected,
		     type_name(type), chunk->offset);
	else if (chunk->first < expected && !previous)
		TELL(reader, "a chunk (%s) at offset %" PRIu64 " has an impossible index", type_name(type), chunk->offset);
}

/* The index of each type's chunks. Chunks that claim the same records make no sense: the later one goes. */
static void index_chunks(struct reader *reader)
{
	struct lt_dump *dump = reader->dump;
	size_t kept = 0;

	if (dump->chunk_count)
		qsort(dump->chunks, dump->chunk_count, sizeof *dump->chunks, by_place);
	for (size_t i = 0; i < dump->chunk_count; i++) {
		struct lt_chunk *chunk = &dump->chunks[i], *previous = kept ? &dump->chunks[kept - 1] : NULL;

		if (previous && previous->type != chunk->type)
			previous = NULL;
		if (previous && indexed(chunk->type) && chunk->first < previous->first + previous->count) {
			TELL(reader, "two chunks (%s) claim the same records, the one at offset %" PRIu64 " is skipped",
			     type_name(chunk->type), chunk->offset);
			free(chunk->data);
			continue;
		}
		/* Lists of blocks are written anew into chunks of earlier ones. */
		if (indexed(chunk->type) || chunk->type == LEAKTRACE_CHUNK_SITES || chunk->type == LEAKTRACE_CHUNK_EVENTS)
			find_gap(reader, previous, chunk);
		dump->chunks[kept++] = *chunk;
	}
	dump->chunk_count = kept;
	for (size_t i = 0; i < kept; i++) {
		uint32_t type = dump->chunks[i].type;

		if (dump->end_of_type[type] == 0)
			dump->first_of_type[type] = i;
		dump->end_of_type[type] = i + 1;
	}
}

static void drop_chunks(struct lt_dump *dump)
{
	for (size_t i = 0; i < dump->chunk_count; i++)
		free(dump->chunks[i].data);
	dump->chunk_count = 0;
}

/* The size is taken after the header: a file that grows is then never shorter than its commit mark. */
static int look(struct reader *reader, struct leaktrace_header *header)
{
	struct lt_dump *dump = reader->dump;
	struct stat status;
	int error;

	if (fstat(reader->fd, &status))
		return -errno;
	reader->unfinished = false;
	error = read_header(reader, header, &status);
	if (error)
		return error;
	dump->file_size = (uint64_t)status.st_size;
	reader->budget = (uint64_t)status.st_blocks * 512 * SPARSE_RATIO + (1u << 20);
	if (reader->budget > dump->file_size)
		reader->budget = dump->file_size;
	return 0;
}

/* The list of live blocks may be replaced while we read: then read it again. */
static int read_first_phase(struct reader *reader, unsigned parts, size_t *room)
{
	struct lt_dump *dump = reader->dump;

	for (int attempt = 0;; attempt++) {
		struct leaktrace_header after;
		int error;

		walk(reader, &dump->header, parts & phases[0].parts, room);
		error = look(reader, &after);
		if (error)
			return error;
		if (after.process.blocks_generation == dump->header.process.blocks_generation || attempt == 4)
			return 0;
		drop_chunks(dump);
		reader->quiet = TELLS_NOTHING;
		dump->header = after;
	}
}

static int read_chunks(struct reader *reader, unsigned parts)
{
	struct lt_dump *dump = reader->dump;
	bool live = !(dump->header.flags & LEAKTRACE_HEADER_MERGED) && dump->header.process.end_kind == LEAKTRACE_END_NONE;
	size_t room = 1;
	int error;

	if (!parts)
		return 0;
	if (!live) {
		walk(reader, &dump->header, parts, &room);
		index_chunks(reader);
		return 0;
	}
	error = read_first_phase(reader, parts, &room);
	if (error)
		return error;
	for (size_t i = 1; i < sizeof phases / sizeof *phases; i++) {
		struct leaktrace_header now;

		if (!(parts & phases[i].parts))
			continue;
		error = look(reader, &now);
		if (error)
			return error;
		reader->quiet = TELLS_OF_CHUNKS;
		walk(reader, &now, parts & phases[i].parts, &room);
	}
	reader->quiet = TELLS_ALL;
	index_chunks(reader);
	return 0;
}

int lt_dump_read(const char *path, unsigned parts, struct lt_notes *notes, struct lt_dump **result)
{
	struct lt_dump *dump = lt_xcalloc(1, sizeof *dump);
	struct reader reader = {.dump = dump, .notes = notes};
	struct stat status;
	int error = 0;

	dump->path = lt_xstrdup(path);
	dump->fd = -1;
	dump->chunks = lt_xmalloc(sizeof *dump->chunks); /* for LT_DUMP_EACH: no offset may be added to NULL, not even 0 */
	/* O_NONBLOCK: a FIFO in a session directory must not stop us. */
	reader.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (reader.fd < 0 || fstat(reader.fd, &status)) {
		error = -errno;
		lt_note(notes, path, "cannot be opened: %s", strerror(errno));
		goto out;
	}
	if (!S_ISREG(status.st_mode)) {
		error = -EINVAL;
		lt_note(notes, path, "is not a regular file");
		goto out;
	}
	error = look(&reader, &dump->header);
	if (error)
		goto out;
	/* Only a merged file keeps its process records in chunks; those of one image need no walk to be known. */
	if (!(dump->header.flags & LEAKTRACE_HEADER_MERGED))
		parts &= ~LT_PARTS_IDENTITY;
	error = read_chunks(&reader, parts);
	if (!error && reader.unfinished)
		lt_note(notes, path, "has hardly begun; its name says whose it is");
out:
	if (!error && dump->header.flags & LEAKTRACE_HEADER_MERGED)
		dump->fd = reader.fd;
	else if (reader.fd >= 0)
		close(reader.fd);
	if (error)
		lt_dump_free(dump);
	else
		*result = dump;
	return error;
}

void lt_dump_free(struct lt_dump *dump)
{
	if (!dump)
		return;
	drop_chunks(dump);
	if (dump->fd >= 0)
		close(dump->fd);
	free(dump->chunks);
	free(dump->path);
	free(dump);
}
