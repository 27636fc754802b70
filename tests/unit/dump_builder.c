/* SPDX-License-Identifier: MIT
 *
 * Writer of synthetic dumps; see the header.
 */
#include "dump_builder.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TYPES (LEAKTRACE_CHUNK_VERDICTS + 1)
#define STRINGS_AT LEAKTRACE_HEADER_SIZE
#define FIRST_SITE 1

struct records {
	unsigned char *bytes;
	size_t used, room;
	uint64_t count;
};

struct db {
	struct leaktrace_process process;
	struct records records[TYPES];
	bool unknown;
};

static void *must(void *pointer)
{
	if (!pointer)
		abort();
	return pointer;
}

static void *add(struct db *db, unsigned type, const void *record, size_t size)
{
	struct records *records = &db->records[type];

	if (records->used + size > records->room) {
		records->room = (records->used + size) * 2 + 256;
		records->bytes = must(realloc(records->bytes, records->room));
	}
	memcpy(records->bytes + records->used, record, size);
	records->used += size;
	records->count++;
	return records->bytes + records->used - size;
}

struct db *db_new(uint32_t pid)
{
	struct db *db = must(calloc(1, sizeof *db));

	db->process = (struct leaktrace_process){
		.key = {.machine = 0x1122334455667788, .start = 1000 + pid, .pid = pid},
		.ppid = 1, .role = LEAKTRACE_ROLE_MASTER, .flags = LEAKTRACE_PROCESS_NATIVE_STACKS,
		.exe = db_string(db, "/usr/bin/program"), .host = db_string(db, "host"), .session = db_string(db, "session-1"),
		.cmdline = db_bytes(db, "program\0--flag\0", 15), .dir = db_string(db, "/tmp/session-1"),
		.boot_id = db_string(db, "boot"), .start_ns = 1700000000000000000 + pid, .end_ns = 1700000100000000000,
		.end_kind = LEAKTRACE_END_EXIT, .depth = 256, .first_site = FIRST_SITE, .peak_seq = 1, .pid_namespace = 4026531836,
	};
	return db;
}

void db_free(struct db *db)
{
	for (unsigned type = 0; type < TYPES; type++)
		free(db->records[type].bytes);
	free(db);
}

struct leaktrace_process *db_process(struct db *db)
{
	return &db->process;
}

uint32_t db_bytes(struct db *db, const char *bytes, uint32_t length)
{
	static const char zeros[8];
	struct records *strings = &db->records[LEAKTRACE_CHUNK_STRINGS];
	uint64_t offset = STRINGS_AT + sizeof(struct leaktrace_chunk) + strings->used;

	add(db, LEAKTRACE_CHUNK_STRINGS, &length, sizeof length);
	add(db, LEAKTRACE_CHUNK_STRINGS, bytes, length);
	add(db, LEAKTRACE_CHUNK_STRINGS, zeros, 8 - strings->used % 8);
	strings->count = strings->used;
	return (uint32_t)(offset / 8);
}

uint32_t db_string(struct db *db, const char *text)
{
	return text ? db_bytes(db, text, (uint32_t)strlen(text)) : 0;
}

uint32_t db_module(struct db *db, const char *path, uint32_t flags, const char *build_id)
{
	struct leaktrace_module module = {.path = db_string(db, path), .flags = flags, .build_id_size = build_id ? 8 : 0,
					  .base = 0x7f0000000000 + 0x1000000 * db->process.key.pid};

	if (build_id)
		memcpy(module.build_id, build_id, strnlen(build_id, 8));
	add(db, LEAKTRACE_CHUNK_MODULES, &module, sizeof module);
	return (uint32_t)db->records[LEAKTRACE_CHUNK_MODULES].count;
}

uint32_t db_frame(struct db *db, uint32_t parent, uint32_t module, uint64_t offset)
{
	struct leaktrace_frame frame = {.offset = offset, .parent = parent, .module = module};

	add(db, LEAKTRACE_CHUNK_FRAMES, &frame, sizeof frame);
	return (uint32_t)db->records[LEAKTRACE_CHUNK_FRAMES].count;
}

uint32_t db_rframe(struct db *db, uint32_t parent, const char *call, const char *namespace, const char *file, uint32_t line)
{
	struct leaktrace_rframe frame = {.parent = parent, .call = db_string(db, call), .namespace = db_string(db, namespace),
					 .file = db_string(db, file), .line = line};

	add(db, LEAKTRACE_CHUNK_RFRAMES, &frame, sizeof frame);
	return (uint32_t)db->records[LEAKTRACE_CHUNK_RFRAMES].count;
}

struct leaktrace_site *db_site(struct db *db, uint32_t native, uint32_t r)
{
	struct leaktrace_site site = {.id = (uint32_t)(db->process.first_site + db->records[LEAKTRACE_CHUNK_SITES].count),
				      .native = native, .r = r};

	return add(db, LEAKTRACE_CHUNK_SITES, &site, sizeof site);
}

struct leaktrace_site *db_live_site(struct db *db, uint32_t native, uint32_t r, uint64_t blocks, uint64_t size)
{
	struct leaktrace_site *site = db_site(db, native, r);

	site->allocations = blocks;
	site->allocated_bytes = blocks * size;
	site->startup_blocks = blocks;
	site->startup_bytes = blocks * size;
	return site;
}

void db_block(struct db *db, uint64_t address, uint64_t size, uint32_t site, uint32_t task)
{
	struct leaktrace_block block = {.address = address, .size = size, .site = site, .task = task};

	add(db, LEAKTRACE_CHUNK_BLOCKS, &block, sizeof block);
}

void db_judged_block(struct db *db, uint64_t address, uint64_t size, uint32_t site, uint32_t flags)
{
	struct leaktrace_block block = {.address = address, .size = size, .site = site, .flags = flags};

	add(db, LEAKTRACE_CHUNK_BLOCKS, &block, sizeof block);
}

void db_verdict(struct db *db)
{
	struct leaktrace_verdict verdict = {.time_ns = db->process.end_ns, .trigger = LEAKTRACE_TRIGGER_END,
					    .state = LEAKTRACE_VERDICT_DONE, .generation = 1};

	add(db, LEAKTRACE_CHUNK_VERDICTS, &verdict, sizeof verdict);
}

void db_inherited(struct db *db, uint32_t site, uint64_t blocks, uint64_t bytes)
{
	struct leaktrace_inherited inherited = {.blocks = blocks, .bytes = bytes, .site = site};

	add(db, LEAKTRACE_CHUNK_INHERITED, &inherited, sizeof inherited);
}

void db_event(struct db *db, uint32_t type, uint32_t pid, int64_t value, int64_t time_ns, const char *text)
{
	struct leaktrace_event event = {.time_ns = time_ns, .value = value, .type = type, .pid = pid, .text = db_string(db, text)};

	add(db, LEAKTRACE_CHUNK_EVENTS, &event, sizeof event);
}

void db_unknown_chunk(struct db *db)
{
	db->unknown = true;
}

static void finish_process(struct db *db)
{
	const struct records *records = &db->records[LEAKTRACE_CHUNK_SITES];
	struct leaktrace_process *process = &db->process;

	process->live_blocks = process->live_bytes = 0;
	for (uint64_t i = 0; i < records->count; i++) {
		const struct leaktrace_site *site = (const struct leaktrace_site *)records->bytes + i;

		process->live_blocks += site->allocations - site->frees;
		process->live_bytes += site->allocated_bytes - site->freed_bytes;
	}
	process->peak_live_bytes = process->live_bytes;
	if (db->records[LEAKTRACE_CHUNK_BLOCKS].count || db->records[LEAKTRACE_CHUNK_INHERITED].count) {
		process->blocks_generation = 1;
		process->flags |= LEAKTRACE_PROCESS_BLOCKS_FINAL;
	}
}

static uint64_t put_chunk(FILE *file, uint64_t offset, unsigned type, const struct records *records, uint32_t record_size)
{
	struct leaktrace_chunk chunk = {.magic = LEAKTRACE_CHUNK_MAGIC, .type = type, .record_size = record_size,
					.count = records->count};

	chunk.size = (sizeof chunk + records->used + LEAKTRACE_CHUNK_ALIGN - 1) / LEAKTRACE_CHUNK_ALIGN * LEAKTRACE_CHUNK_ALIGN;
	if (type == LEAKTRACE_CHUNK_MODULES || type == LEAKTRACE_CHUNK_FRAMES || type == LEAKTRACE_CHUNK_RFRAMES)
		chunk.first = 1;
	if (type == LEAKTRACE_CHUNK_BLOCKS || type == LEAKTRACE_CHUNK_INHERITED)
		chunk.generation = 1;
	if (fseek(file, (long)offset, SEEK_SET) || fwrite(&chunk, sizeof chunk, 1, file) != 1 ||
	    (records->used && fwrite(records->bytes, records->used, 1, file) != 1))
		abort();
	return chunk.size;
}

void db_write(struct db *db, const char *path)
{
	static const uint32_t sizes[TYPES] = {
		[LEAKTRACE_CHUNK_STRINGS] = 1, [LEAKTRACE_CHUNK_MODULES] = sizeof(struct leaktrace_module),
		[LEAKTRACE_CHUNK_FRAMES] = sizeof(struct leaktrace_frame), [LEAKTRACE_CHUNK_RFRAMES] = sizeof(struct leaktrace_rframe),
		[LEAKTRACE_CHUNK_SITES] = sizeof(struct leaktrace_site), [LEAKTRACE_CHUNK_BLOCKS] = sizeof(struct leaktrace_block),
		[LEAKTRACE_CHUNK_INHERITED] = sizeof(struct leaktrace_inherited),
		[LEAKTRACE_CHUNK_EVENTS] = sizeof(struct leaktrace_event),
		[LEAKTRACE_CHUNK_VERDICTS] = sizeof(struct leaktrace_verdict),
	};
	struct leaktrace_header header = {.magic = LEAKTRACE_DUMP_MAGIC, .major = LEAKTRACE_DUMP_MAJOR,
					  .minor = LEAKTRACE_DUMP_MINOR, .endian = LEAKTRACE_DUMP_ENDIAN,
					  .header_size = LEAKTRACE_HEADER_SIZE, .pointer_size = 8};
	const struct records unknown = {.bytes = (unsigned char *)"what is to come", .used = 16, .count = 1};
	FILE *file = must(fopen(path, "wb"));
	uint64_t offset = STRINGS_AT;

	finish_process(db);
	for (unsigned type = 1; type < TYPES; type++) {
		if (!db->records[type].count)
			continue;
		offset += put_chunk(file, offset, type, &db->records[type], sizes[type]);
		header.chunks++;
		if (db->unknown && type == LEAKTRACE_CHUNK_STRINGS) {
			offset += put_chunk(file, offset, 4711, &unknown, 16);
			header.chunks++;
		}
	}
	header.committed = offset;
	header.process = db->process;
	if (fseek(file, 0, SEEK_SET) || fwrite(&header, sizeof header, 1, file) != 1 || fflush(file) ||
	    ftruncate(fileno(file), (off_t)offset) || fclose(file))
		abort();
}

char *db_directory(void)
{
	const char *base = getenv("TMPDIR");
	char *path;

	if (asprintf(&path, "%s/leaktrace-unit.XXXXXX", base && *base ? base : "/tmp") < 0)
		abort();
	return must(mkdtemp(path));
}

void db_remove(char *directory)
{
	DIR *stream = opendir(directory);
	struct dirent *entry;

	while (stream && (entry = readdir(stream)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			unlinkat(dirfd(stream), entry->d_name, 0);
	if (stream)
		closedir(stream);
	rmdir(directory);
	free(directory);
}

char *db_path(const char *directory, const char *name)
{
	char *path;

	if (asprintf(&path, "%s/%s", directory, name) < 0)
		abort();
	return path;
}

unsigned char *db_slurp(const char *path, size_t *size)
{
	FILE *file = must(fopen(path, "rb"));
	unsigned char *bytes;
	struct stat status;

	if (fstat(fileno(file), &status))
		abort();
	*size = (size_t)status.st_size;
	bytes = must(malloc(*size + 1));
	if (fread(bytes, 1, *size, file) != *size)
		abort();
	bytes[*size] = 0;
	fclose(file);
	return bytes;
}

void db_spit(const char *path, const void *bytes, size_t size)
{
	FILE *file = must(fopen(path, "wb"));

	if ((size && fwrite(bytes, size, 1, file) != 1) || fclose(file))
		abort();
}

size_t db_find_chunk(const unsigned char *bytes, size_t size, uint32_t type)
{
	struct leaktrace_chunk chunk;

	for (size_t offset = LEAKTRACE_HEADER_SIZE; offset + sizeof chunk <= size; offset += chunk.size) {
		memcpy(&chunk, bytes + offset, sizeof chunk);
		if (chunk.magic != LEAKTRACE_CHUNK_MAGIC || !chunk.size)
			return 0;
		if (chunk.type == type)
			return offset;
	}
	return 0;
}
