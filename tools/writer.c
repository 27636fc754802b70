/* SPDX-License-Identifier: MIT
 *
 * A merged dump, written while its inputs stream by.
 *
 * What belongs to a process (sites, blocks, events) leaves through one open chunk per type as it comes; strings, modules
 * and stacks are written once, at the end or when first needed. A chunk takes its place in the file when it is opened, at its full
 * size, so that a string has its reference before it is written; what a chunk did not use stays a hole. Chunks grow from 4 KiB
 * to 1 MiB. So memory is that of the shared tables and nine chunks.
 *
 * The file is complete or not there: a temporary file in the same directory, mode 0600, synced and then renamed. A rename
 * replaces whatever has the name, for root a device too: only a regular file, or nothing, may be there.
 */
#include "writer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model.h"
#include "xalloc.h"

#define CHUNK_LEAST UINT64_C(4096)
#define CHUNK_MOST (UINT64_C(1) << 20)
#define TYPES (LEAKTRACE_CHUNK_VERDICTS + 1)

struct open_chunk {
	unsigned char *bytes; /* header and records */
	uint64_t offset, size, used; /* of the file; bytes used, header included */
	uint64_t first, count;
	uint32_t record_size;
};

struct lt_writer {
	struct lt_merge *merge;
	char *path, *temporary;
	int fd, error;
	uint64_t end; /* of the file so far */
	uint32_t chunks;
	struct open_chunk open[TYPES];
	uint32_t *references; /* by string number; 0: not yet written */
	size_t reference_room;
};

static void write_at(struct lt_writer *writer, const void *data, uint64_t size, uint64_t offset)
{
	const char *bytes = data;

	while (size && !writer->error) {
		ssize_t n = pwrite(writer->fd, bytes, size, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			writer->error = n < 0 ? -errno : -EIO;
			return;
		}
		bytes += n;
		size -= (uint64_t)n;
		offset += (uint64_t)n;
	}
}

/* Nobody has the file's name before it is complete, so there is no order to keep between header and records. */
static void close_chunk(struct lt_writer *writer, unsigned type)
{
	struct open_chunk *chunk = &writer->open[type];
	struct leaktrace_chunk header = {
		.magic = LEAKTRACE_CHUNK_MAGIC, .type = type, .size = chunk->size, .record_size = chunk->record_size,
		.first = chunk->first,
		.count = chunk->count,
		.generation = type == LEAKTRACE_CHUNK_BLOCKS || type == LEAKTRACE_CHUNK_INHERITED ? 1 : 0,
	};

	if (!chunk->bytes)
		return;
	memcpy(chunk->bytes, &header, sizeof header);
	write_at(writer, chunk->bytes, chunk->used, chunk->offset);
	free(chunk->bytes);
	chunk->bytes = NULL;
	chunk->first += chunk->count;
}

static void open_chunk(struct lt_writer *writer, unsigned type, uint32_t record_size, uint64_t least)
{
	struct open_chunk *chunk = &writer->open[type];
	uint64_t size = chunk->size ? chunk->size * 2 : CHUNK_LEAST;

	if (size > CHUNK_MOST)
		size = CHUNK_MOST;
	least = (least + sizeof(struct leaktrace_chunk) + LEAKTRACE_CHUNK_ALIGN - 1) / LEAKTRACE_CHUNK_ALIGN * LEAKTRACE_CHUNK_ALIGN;
	if (size < least)
		size = least;
	chunk->bytes = lt_xcalloc(1, size);
	chunk->offset = writer->end;
	chunk->size = size;
	chunk->used = sizeof(struct leaktrace_chunk);
	chunk->count = 0;
	chunk->record_size = record_size;
	if (!chunk->first && (type == LEAKTRACE_CHUNK_MODULES || type == LEAKTRACE_CHUNK_FRAMES || type == LEAKTRACE_CHUNK_RFRAMES))
		chunk->first = 1;
	writer->end += size;
	writer->chunks++;
}

/* Room for `size` bytes in the open chunk of a type. */
static unsigned char *take(struct lt_writer *writer, unsigned type, uint32_t record_size, uint64_t size)
{
	struct open_chunk *chunk = &writer->open[type];
	unsigned char *place;

	if (chunk->bytes && chunk->size - chunk->used < size)
		close_chunk(writer, type);
	if (!chunk->bytes)
		open_chunk(writer, type, record_size, size);
	place = chunk->bytes + chunk->used;
	chunk->used += size;
	chunk->count += size / record_size;
	return place;
}

#define PUT(writer, type, record) memcpy(take((writer), (type), sizeof(record), sizeof(record)), &(record), sizeof(record))

static uint32_t string(struct lt_writer *writer, uint32_t number)
{
	const struct lt_intern *intern = writer->merge->intern;
	const struct lt_bytes *text = &intern->strings[number];
	uint64_t size, offset;
	unsigned char *place;

	if (!number)
		return 0;
	if (number >= writer->reference_room) {
		size_t room = (size_t)intern->string_count * 2;

		writer->references = lt_xreallocarray(writer->references, room, sizeof *writer->references);
		memset(writer->references + writer->reference_room, 0, (room - writer->reference_room) * sizeof *writer->references);
		writer->reference_room = room;
	}
	if (writer->references[number])
		return writer->references[number];
	size = ((uint64_t)sizeof text->length + text->length + 1 + 7) / 8 * 8;
	place = take(writer, LEAKTRACE_CHUNK_STRINGS, 1, size);
	memcpy(place, &text->length, sizeof text->length);
	memcpy(place + sizeof text->length, text->text, text->length);
	offset = writer->open[LEAKTRACE_CHUNK_STRINGS].offset + (uint64_t)(place - writer->open[LEAKTRACE_CHUNK_STRINGS].bytes);
	if (offset / 8 > UINT32_MAX) {
		writer->error = -EFBIG;
		return 0;
	}
	return writer->references[number] = (uint32_t)(offset / 8);
}

static void take_site(void *data, const struct leaktrace_site *site, const struct lt_split *split)
{
	struct leaktrace_site copy = *site;
	struct lt_writer *writer = data;

	/* As of the snapshot: what it did not find is taken for freed. */
	if (writer->merge->processes[site->process].alone) {
		uint64_t sample_bytes = lt_sample_bytes(&writer->merge->processes[site->process].record);
		struct lt_estimate live = lt_split_whole(split);

		copy.frees = copy.allocations > live.blocks ? copy.allocations - live.blocks : 0;
		copy.freed_bytes = copy.allocated_bytes > live.bytes ? copy.allocated_bytes - live.bytes : 0;
		copy.variance_blocks = (uint64_t)live.spread.blocks;
		copy.variance_bytes = (uint64_t)(live.spread.bytes / lt_sample_square(sample_bytes));
	}
	PUT(writer, LEAKTRACE_CHUNK_SITES, copy);
}

static void take_inherited(void *data, const struct leaktrace_inherited *inherited)
{
	struct lt_writer *writer = data;

	PUT(writer, LEAKTRACE_CHUNK_INHERITED, *inherited);
}

static void take_block(void *data, const struct leaktrace_block *block)
{
	struct lt_writer *writer = data;

	PUT(writer, LEAKTRACE_CHUNK_BLOCKS, *block);
}

static void take_event(void *data, const struct leaktrace_event *event)
{
	struct leaktrace_event copy = *event;

	copy.text = string(data, event->text);
	PUT((struct lt_writer *)data, LEAKTRACE_CHUNK_EVENTS, copy);
}

struct lt_sink lt_writer_sink(struct lt_writer *writer)
{
	return (struct lt_sink){.data = writer, .site = take_site, .inherited = take_inherited, .block = take_block,
				.event = take_event};
}

int lt_writer_new(const char *path, struct lt_merge *merge, struct lt_writer **result)
{
	struct lt_writer *writer;
	struct stat status;
	int error;

	if (lstat(path, &status) == 0 && !S_ISREG(status.st_mode))
		return S_ISDIR(status.st_mode) ? -EISDIR : -EEXIST;
	writer = lt_xcalloc(1, sizeof *writer);
	writer->merge = merge;
	writer->path = lt_xstrdup(path);
	writer->temporary = lt_xasprintf("%s.XXXXXX.tmp", path);
	writer->end = LEAKTRACE_HEADER_SIZE;
	writer->fd = mkostemps(writer->temporary, (int)strlen(".tmp"), O_CLOEXEC);
	if (writer->fd < 0) {
		error = -errno;
		free(writer->temporary);
		writer->temporary = NULL;
		lt_writer_free(writer);
		return error;
	}
	*result = writer;
	return 0;
}

/* The one that counted. The kinds are in the blocks. */
static void write_verdict(struct lt_writer *writer, uint32_t number)
{
	struct leaktrace_verdict verdict = writer->merge->processes[number].verdict;

	if (!verdict.state)
		return;
	verdict.process = number;
	verdict.generation = 1;
	verdict.note = string(writer, verdict.note);
	verdict.label = string(writer, verdict.label);
	PUT(writer, LEAKTRACE_CHUNK_VERDICTS, verdict);
}

static void write_processes(struct lt_writer *writer)
{
	for (uint32_t i = 0; i < writer->merge->process_count; i++) {
		struct leaktrace_process record = writer->merge->processes[i].record;

		if (!writer->merge->processes[i].loaded) {
			/* Its dump could not be read after all: an empty record, which the reader passes over. */
			memset(&record, 0, sizeof record);
		} else {
			record.exe = string(writer, record.exe);
			record.host = string(writer, record.host);
			record.session = string(writer, record.session);
			record.r_note = string(writer, record.r_note);
			record.cmdline = string(writer, record.cmdline);
			record.dir = string(writer, record.dir);
			record.boot_id = string(writer, record.boot_id);
			bool judged = writer->merge->processes[i].verdict.state == LEAKTRACE_VERDICT_DONE;

			record.blocks_generation = record.blocks_generation || judged ? 1 : 0;
			write_verdict(writer, i);
		}
		PUT(writer, LEAKTRACE_CHUNK_PROCESSES, record);
	}
}

static void write_tables(struct lt_writer *writer)
{
	const struct lt_intern *intern = writer->merge->intern;

	for (uint32_t i = 1; i < intern->module_count; i++) {
		const struct lt_module *known = &intern->modules[i];
		struct leaktrace_module module = {.path = string(writer, known->path), .flags = known->flags,
						  .build_id_size = known->build_id_size};

		memcpy(module.build_id, known->build_id, sizeof module.build_id);
		PUT(writer, LEAKTRACE_CHUNK_MODULES, module);
	}
	for (uint32_t i = 1; i < intern->frame_count; i++)
		PUT(writer, LEAKTRACE_CHUNK_FRAMES, intern->frames[i]);
	for (uint32_t i = 1; i < intern->rframe_count; i++) {
		const struct lt_rnode *known = &intern->rframes[i];
		struct leaktrace_rframe frame = {
			.parent = known->parent, .call = string(writer, known->call), .namespace = string(writer, known->namespace),
			.file = string(writer, known->file), .line = known->line};

		PUT(writer, LEAKTRACE_CHUNK_RFRAMES, frame);
	}
}

int lt_writer_finish(struct lt_writer *writer)
{
	struct leaktrace_header header = {
		.magic = LEAKTRACE_DUMP_MAGIC, .major = LEAKTRACE_DUMP_MAJOR, .minor = LEAKTRACE_DUMP_MINOR,
		.endian = LEAKTRACE_DUMP_ENDIAN, .header_size = LEAKTRACE_HEADER_SIZE, .pointer_size = sizeof(void *),
		.flags = LEAKTRACE_HEADER_MERGED};

	write_processes(writer);
	write_tables(writer);
	for (unsigned type = 0; type < TYPES; type++)
		close_chunk(writer, type);
	header.committed = writer->end;
	header.chunks = writer->chunks;
	write_at(writer, &header, sizeof header, 0);
	if (!writer->error && ftruncate(writer->fd, (off_t)writer->end))
		writer->error = -errno;
	if (!writer->error && fsync(writer->fd) && errno != EINVAL)
		writer->error = -errno;
	if (!writer->error && rename(writer->temporary, writer->path))
		writer->error = -errno;
	if (!writer->error) {
		free(writer->temporary);
		writer->temporary = NULL;
	}
	return writer->error;
}

void lt_writer_free(struct lt_writer *writer)
{
	if (!writer)
		return;
	if (writer->fd >= 0)
		close(writer->fd);
	if (writer->temporary)
		unlink(writer->temporary);
	for (unsigned type = 0; type < TYPES; type++)
		free(writer->open[type].bytes);
	free(writer->references);
	free(writer->temporary);
	free(writer->path);
	free(writer);
}
