/* SPDX-License-Identifier: MIT
 *
 * Records and strings of a dump that was read: every index and reference comes from the file and is checked here.
 */
#include <string.h>

#include "reader.h"

void lt_chunk_record(const struct lt_chunk *chunk, uint64_t index, void *record, size_t size)
{
	size_t known = chunk->record_size < size ? chunk->record_size : size;

	memcpy(record, chunk->data + index * chunk->record_size, known);
	if (known < size)
		memset((char *)record + known, 0, size - known);
}

size_t lt_dump_process_count(const struct lt_dump *dump)
{
	if (!(dump->header.flags & LEAKTRACE_HEADER_MERGED))
		return 1;
	return (size_t)lt_dump_index_end(dump, LEAKTRACE_CHUNK_PROCESSES);
}

static void settle_times(struct leaktrace_process *process)
{
	process->start_ns = lt_dump_time(process->start_ns);
	process->end_ns = lt_dump_time(process->end_ns);
	process->recording_since_ns = lt_dump_time(process->recording_since_ns);
}

bool lt_dump_process(const struct lt_dump *dump, size_t index, struct leaktrace_process *process)
{
	if (!(dump->header.flags & LEAKTRACE_HEADER_MERGED)) {
		if (index)
			return false;
		*process = dump->header.process;
		settle_times(process);
		return true;
	}
	LT_DUMP_EACH(dump, LEAKTRACE_CHUNK_PROCESSES, chunk) {
		if (index < chunk->first || index - chunk->first >= chunk->count)
			continue;
		lt_chunk_record(chunk, index - chunk->first, process, sizeof *process);
		settle_times(process);
		return true;
	}
	return false;
}

uint64_t lt_dump_index_end(const struct lt_dump *dump, enum leaktrace_chunk_type type)
{
	uint64_t end = 0;

	LT_DUMP_EACH(dump, type, chunk)
		if (chunk->first + chunk->count > end)
			end = chunk->first + chunk->count;
	return end;
}

size_t lt_dump_string_slots(const struct lt_dump *dump)
{
	size_t slots = 0;

	LT_DUMP_EACH(dump, LEAKTRACE_CHUNK_STRINGS, chunk)
		slots += chunk->count / 8 + 1;
	return slots;
}

bool lt_dump_string(const struct lt_dump *dump, uint32_t reference, const char **bytes, uint32_t *length, size_t *slot)
{
	uint64_t offset = (uint64_t)reference * 8;
	size_t slots = 0;

	if (!reference)
		return false;
	/* Few chunks: the writer makes them large. */
	LT_DUMP_EACH(dump, LEAKTRACE_CHUNK_STRINGS, chunk) {
		uint64_t start = chunk->offset + sizeof(struct leaktrace_chunk);
		uint64_t place = offset - start;
		uint32_t size;

		if (offset < start || place >= chunk->count) {
			slots += chunk->count / 8 + 1;
			continue;
		}
		if (chunk->count - place < sizeof size + 1)
			return false;
		memcpy(&size, chunk->data + place, sizeof size);
		if (size > LEAKTRACE_STRING_MAX || size > chunk->count - place - sizeof size - 1 || chunk->data[place + sizeof size + size] != 0)
			return false;
		*bytes = (const char *)chunk->data + place + sizeof size;
		*length = size;
		*slot = slots + place / 8;
		return true;
	}
	return false;
}
