/* SPDX-License-Identifier: MIT
 *
 * Packed dumps: see the header. Written from dump-format.h alone, as the tests' dump_builder.c.
 */
#include "packed.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"

#define CHUNKS_MOST 256

bool packed_next(const uint8_t *data, size_t size, size_t *at, struct packed_item *item)
{
	size_t left = *at < size ? size - *at : 0;

	if (left < PACKED_ITEM)
		return false;
	item->op = data[*at] % PACKED_OPS;
	item->argument = data[*at + 1];
	item->size = data[*at + 2] | (size_t)data[*at + 3] << 8;
	item->bytes = data + *at + PACKED_ITEM;
	if (item->size > left - PACKED_ITEM)
		item->size = left - PACKED_ITEM;
	*at += PACKED_ITEM + item->size;
	return true;
}

size_t packed_put(uint8_t *data, size_t size, size_t most, enum packed_op op, unsigned argument, const void *bytes,
		  size_t length)
{
	if (length > UINT16_MAX || most < size + PACKED_ITEM + length)
		return 0;
	data[size++] = (uint8_t)op;
	data[size++] = (uint8_t)argument;
	data[size++] = (uint8_t)length;
	data[size++] = (uint8_t)(length >> 8);
	memcpy(data + size, bytes, length);
	return size + length;
}

struct file {
	const char *path;
	int fd;
	union {
		struct leaktrace_header header;
		uint8_t bytes[LEAKTRACE_HEADER_SIZE];
	} head;
	uint64_t end, length; /* length: of the file, if it is not `end` */
	uint64_t chunks[CHUNKS_MOST]; /* offsets */
	unsigned chunk_count;
	uint64_t next[256]; /* by type: index of the next record */
};

static void write_at(int fd, const void *bytes, size_t size, uint64_t offset)
{
	if (size && pwrite(fd, bytes, size, (off_t)offset) != (ssize_t)size)
		fuzz_fault("a dump cannot be written");
}

static void begin(struct file *file, const char *name, bool snapshot)
{
	memset(file, 0, sizeof *file);
	file->path = fuzz_path(name);
	file->fd = open(file->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (file->fd < 0)
		fuzz_fault("%s: cannot be made", file->path);
	file->end = LEAKTRACE_HEADER_SIZE;
	file->head.header = (struct leaktrace_header){
		.magic = LEAKTRACE_DUMP_MAGIC, .major = LEAKTRACE_DUMP_MAJOR, .minor = LEAKTRACE_DUMP_MINOR,
		.endian = LEAKTRACE_DUMP_ENDIAN, .header_size = LEAKTRACE_HEADER_SIZE, .pointer_size = 8,
		.flags = snapshot ? LEAKTRACE_HEADER_SNAPSHOT : 0,
		.process = {.key = {.machine = 1, .start = 1, .pid = 1}},
	};
	for (unsigned type = 0; type < 256; type++)
		file->next[type] = type == LEAKTRACE_CHUNK_MODULES || type == LEAKTRACE_CHUNK_FRAMES || type == LEAKTRACE_CHUNK_RFRAMES;
}

static void add_chunk(struct file *file, const struct packed_item *item)
{
	struct leaktrace_chunk chunk = {.magic = LEAKTRACE_CHUNK_MAGIC, .type = item->argument};
	size_t record_size = leaktrace_record_size(item->argument), size = item->size;
	const uint8_t *bytes = item->bytes;

	if (file->chunk_count == CHUNKS_MOST)
		return;
	if (item->op == PACKED_CHUNK) {
		record_size = record_size ? record_size : 16;
		chunk.record_size = (uint32_t)record_size;
		chunk.count = size / record_size;
		chunk.first = file->next[item->argument];
		chunk.generation = item->argument == LEAKTRACE_CHUNK_BLOCKS || item->argument == LEAKTRACE_CHUNK_INHERITED;
		file->next[item->argument] += chunk.count;
	} else if (size >= sizeof chunk) {
		memcpy(&chunk, bytes, sizeof chunk);
		bytes += sizeof chunk;
		size -= sizeof chunk;
	} else {
		return;
	}
	file->chunks[file->chunk_count++] = file->end;
	if (item->op == PACKED_CHUNK)
		chunk.size = (sizeof chunk + size + LEAKTRACE_CHUNK_ALIGN - 1) / LEAKTRACE_CHUNK_ALIGN * LEAKTRACE_CHUNK_ALIGN;
	write_at(file->fd, &chunk, sizeof chunk, file->end);
	write_at(file->fd, bytes, size, file->end + sizeof chunk);
	file->end += (sizeof chunk + size + LEAKTRACE_CHUNK_ALIGN - 1) / LEAKTRACE_CHUNK_ALIGN * LEAKTRACE_CHUNK_ALIGN;
}

/* Bytes into the header, or into a chunk that is there. */
static void set_header(struct file *file, const struct packed_item *item)
{
	size_t offset = item->argument * 8, size = item->size;

	if (size > sizeof file->head.bytes - offset)
		size = sizeof file->head.bytes - offset;
	memcpy(file->head.bytes + offset, item->bytes, size);
}

static void set_bytes(struct file *file, const struct packed_item *item)
{
	uint64_t offset;

	if (item->size <= 2 || !file->chunk_count)
		return;
	offset = file->chunks[item->argument % file->chunk_count] + (item->bytes[0] | (uint64_t)item->bytes[1] << 8) * 4;
	if (offset < file->end)
		write_at(file->fd, item->bytes + 2, item->size - 2, offset);
}

static void finish(struct file *file, const uint8_t *data, size_t size, size_t from, size_t to)
{
	struct packed_item item;

	file->head.header.committed = file->end;
	file->head.header.chunks = file->chunk_count;
	for (size_t at = from; at < to && packed_next(data, size, &at, &item);)
		if (item.op == PACKED_SET)
			set_header(file, &item);
	write_at(file->fd, file->head.bytes, sizeof file->head.bytes, 0);
	if (ftruncate(file->fd, (off_t)(file->length ? file->length : file->end)))
		fuzz_fault("%s: cannot be stretched", file->path);
	close(file->fd);
}

unsigned packed_unpack(const uint8_t *data, size_t size, const char *paths[PACKED_FILES])
{
	static const char *const names[PACKED_FILES] = {"a.ltd", "a-1.lts", "b.ltd", "c.ltd"};
	struct packed_item item;
	struct file file;
	bool snapshot = false;
	unsigned count = 0, dumps = 1;
	size_t from = PACKED_CHOICES, at = from, before = from;

	begin(&file, names[0], false);
	while (packed_next(data, size, &at, &item)) {
		uint32_t cut;

		switch (item.op) {
		case PACKED_CHUNK:
		case PACKED_RAW:
			add_chunk(&file, &item);
			break;
		case PACKED_HEADER:
			set_header(&file, &item);
			break;
		case PACKED_FILE:
			/* One snapshot, two other dumps at most. */
			if ((item.argument & 1 && snapshot) || (!(item.argument & 1) && dumps == PACKED_FILES - 1))
				break;
			finish(&file, data, size, from, before);
			paths[count++] = file.path;
			from = at;
			begin(&file, item.argument & 1 ? names[1] : names[1 + dumps], item.argument & 1);
			snapshot |= item.argument & 1;
			dumps += !(item.argument & 1);
			break;
		case PACKED_CUT:
			if (item.size < sizeof cut)
				break;
			memcpy(&cut, item.bytes, sizeof cut);
			file.length = cut % (file.end + 1);
			file.length = file.length ? file.length : 1;
			break;
		case PACKED_STRETCH:
			file.length = UINT64_C(1) << item.argument % 41;
			break;
		case PACKED_BYTES:
			set_bytes(&file, &item);
			break;
		default: /* PACKED_SET: by finish() */
			break;
		}
		before = at;
	}
	finish(&file, data, size, from, at);
	paths[count++] = file.path;
	return count;
}
