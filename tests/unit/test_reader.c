/* SPDX-License-Identifier: MIT
 *
 * The reader: what a dump holds, and what it makes of one that is damaged, newer, or no dump.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dump_builder.h"
#include "reader.h"

struct fixture {
	char *directory, *path;
	struct db *db;
	struct lt_dump *dump;
	struct lt_notes notes;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	uint32_t module, frame;

	f->directory = db_directory();
	f->path = db_path(f->directory, "a.ltd");
	f->db = db_new(100);
	module = db_module(f->db, "/lib/libfoo.so", 0, "12345678");
	frame = db_frame(f->db, 0, module, 0x1000);
	frame = db_frame(f->db, frame, module, 0x2000);
	db_live_site(f->db, frame, db_rframe(f->db, 0, "f", "pkg", "f.R", 3), 10, 64);
	db_block(f->db, 0x5000, 64, 1, 2);
	db_event(f->db, LEAKTRACE_EVENT_NOTE, 0, 0, 1, "a note");
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	lt_dump_free(f->dump);
	lt_notes_free(&f->notes);
	db_free(f->db);
	free(f->path);
	db_remove(f->directory);
	free(f);
	return 0;
}

static int read_it(struct fixture *f)
{
	return lt_dump_read(f->path, LT_PARTS_ALL, &f->notes, &f->dump);
}

/* Writes the dump and changes `size` bytes of it. */
static void write_changed(struct fixture *f, size_t offset, const void *change, size_t change_size)
{
	size_t size;
	unsigned char *bytes;

	db_write(f->db, f->path);
	bytes = db_slurp(f->path, &size);
	memcpy(bytes + offset, change, change_size);
	db_spit(f->path, bytes, size);
	free(bytes);
}

static uint64_t count(const struct lt_dump *dump, enum leaktrace_chunk_type type)
{
	uint64_t sum = 0;

	LT_DUMP_EACH(dump, type, chunk)
		sum += chunk->count;
	return sum;
}

static bool noted(const struct fixture *f, const char *text)
{
	for (size_t i = 0; i < f->notes.count; i++)
		if (strstr(f->notes.texts[i], text))
			return true;
	return false;
}

static void sound_dump_reads_whole_and_without_notes(void **state)
{
	struct fixture *f = *state;
	struct leaktrace_process process;
	struct leaktrace_site site;
	const char *bytes;
	uint32_t length;
	size_t slot;

	db_write(f->db, f->path);
	assert_int_equal(read_it(f), 0);
	assert_int_equal(f->notes.count, 0);
	assert_false(f->dump->partial);
	assert_int_equal(count(f->dump, LEAKTRACE_CHUNK_FRAMES), 2);
	assert_int_equal(count(f->dump, LEAKTRACE_CHUNK_BLOCKS), 1);
	assert_int_equal(lt_dump_index_end(f->dump, LEAKTRACE_CHUNK_FRAMES), 3);
	assert_true(lt_dump_process(f->dump, 0, &process));
	assert_false(lt_dump_process(f->dump, 1, &process));
	assert_int_equal(process.key.pid, 100);
	assert_true(lt_dump_string(f->dump, process.cmdline, &bytes, &length, &slot));
	assert_int_equal(length, 15);
	assert_memory_equal(bytes, "program\0--flag\0", 16);
	assert_true(slot < lt_dump_string_slots(f->dump));
	LT_DUMP_EACH(f->dump, LEAKTRACE_CHUNK_SITES, chunk)
		lt_chunk_record(chunk, 0, &site, sizeof site);
	assert_int_equal(site.allocations, 10);
}

static void parts_not_asked_for_are_not_read(void **state)
{
	struct fixture *f = *state;

	db_write(f->db, f->path);
	assert_int_equal(lt_dump_read(f->path, LT_PART(LEAKTRACE_CHUNK_SITES), &f->notes, &f->dump), 0);
	assert_int_equal(count(f->dump, LEAKTRACE_CHUNK_SITES), 1);
	assert_int_equal(count(f->dump, LEAKTRACE_CHUNK_FRAMES), 0);
}

static void unknown_chunk_is_skipped(void **state)
{
	struct fixture *f = *state;

	db_unknown_chunk(f->db);
	db_write(f->db, f->path);
	assert_int_equal(read_it(f), 0);
	assert_int_equal(f->notes.count, 0);
	assert_int_equal(count(f->dump, LEAKTRACE_CHUNK_SITES), 1);
}

static void newer_major_version_is_refused_by_name(void **state)
{
	struct fixture *f = *state;
	uint16_t major = LEAKTRACE_DUMP_MAJOR + 1;

	write_changed(f, offsetof(struct leaktrace_header, major), &major, sizeof major);
	assert_int_equal(read_it(f), -EPROTO);
	assert_true(noted(f, "a newer leaktrace is needed"));
	assert_true(noted(f, f->path));
	assert_true(noted(f, "format version 2."));
}

static void newer_minor_version_with_longer_records_reads(void **state)
{
	struct fixture *f = *state;
	size_t size, place;
	uint32_t record_size = sizeof(struct leaktrace_event) + 32;
	uint16_t minor = LEAKTRACE_DUMP_MINOR + 1;
	unsigned char *bytes;

	db_write(f->db, f->path);
	bytes = db_slurp(f->path, &size);
	place = db_find_chunk(bytes, size, LEAKTRACE_CHUNK_EVENTS) + offsetof(struct leaktrace_chunk, record_size);
	memcpy(bytes + place, &record_size, sizeof record_size);
	memcpy(bytes + offsetof(struct leaktrace_header, minor), &minor, sizeof minor);
	db_spit(f->path, bytes, size);
	free(bytes);
	assert_int_equal(read_it(f), 0);
	assert_int_equal(count(f->dump, LEAKTRACE_CHUNK_EVENTS), 1);
	assert_int_equal(f->notes.count, 0);
}

static void other_byte_order_is_told(void **state)
{
	struct fixture *f = *state;
	uint32_t endian = __builtin_bswap32(LEAKTRACE_DUMP_ENDIAN);

	write_changed(f, offsetof(struct leaktrace_header, endian), &endian, sizeof endian);
	assert_int_equal(read_it(f), -EBADMSG);
	assert_true(noted(f, "other byte order"));
}

static void what_is_no_dump_is_refused_with_a_note(void **state)
{
	struct fixture *f = *state;
	static const char *const contents[] = {"", "short", "This is a text file, and quite long enough to hold no header at all.\n"};

	for (size_t i = 0; i < sizeof contents / sizeof *contents; i++) {
		size_t before = f->notes.count;

		db_spit(f->path, contents[i], strlen(contents[i]));
		assert_true(read_it(f) < 0);
		assert_int_equal(f->notes.count, before + 1);
	}
}

static void fifo_and_directory_are_refused_at_once(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(mkfifo(f->path, 0600), 0);
	assert_int_equal(read_it(f), -EINVAL);
	assert_true(lt_dump_read(f->directory, LT_PARTS_ALL, &f->notes, &f->dump) < 0);
	assert_int_equal(f->notes.count, 2);
}

static void records_behind_the_commit_mark_do_not_count(void **state)
{
	struct fixture *f = *state;
	size_t size, place;
	uint64_t one = 1;
	unsigned char *bytes;

	db_write(f->db, f->path);
	bytes = db_slurp(f->path, &size);
	place = db_find_chunk(bytes, size, LEAKTRACE_CHUNK_FRAMES) + offsetof(struct leaktrace_chunk, count);
	memcpy(bytes + place, &one, sizeof one);
	db_spit(f->path, bytes, size);
	free(bytes);
	assert_int_equal(read_it(f), 0);
	assert_int_equal(count(f->dump, LEAKTRACE_CHUNK_FRAMES), 1);
}

/* Sets a field of the header of the chunk of `type`. */
static void change_chunk(struct fixture *f, uint32_t type, size_t field, uint64_t value, size_t field_size)
{
	size_t size, place;
	unsigned char *bytes;

	db_write(f->db, f->path);
	bytes = db_slurp(f->path, &size);
	place = db_find_chunk(bytes, size, type) + field;
	memcpy(bytes + place, &value, field_size);
	db_spit(f->path, bytes, size);
	free(bytes);
}

static void impossible_count_is_bounded_and_told(void **state)
{
	struct fixture *f = *state;

	change_chunk(f, LEAKTRACE_CHUNK_SITES, offsetof(struct leaktrace_chunk, count), UINT64_MAX / 2, 8);
	assert_int_equal(read_it(f), 0);
	assert_true(f->dump->partial);
	assert_true(count(f->dump, LEAKTRACE_CHUNK_SITES) <= LEAKTRACE_CHUNK_ALIGN / sizeof(struct leaktrace_site));
	assert_true(noted(f, "are missing"));
}

static void impossible_index_is_told_and_makes_no_huge_table(void **state)
{
	struct fixture *f = *state;

	change_chunk(f, LEAKTRACE_CHUNK_FRAMES, offsetof(struct leaktrace_chunk, first), UINT32_MAX - 8, 8);
	assert_int_equal(read_it(f), 0);
	assert_true(f->dump->partial);
	assert_true(lt_dump_index_end(f->dump, LEAKTRACE_CHUNK_FRAMES) < 100000);
}

static void damaged_chunk_is_passed_over(void **state)
{
	struct fixture *f = *state;

	change_chunk(f, LEAKTRACE_CHUNK_FRAMES, offsetof(struct leaktrace_chunk, magic), 0, 4);
	assert_int_equal(read_it(f), 0);
	assert_true(f->dump->partial);
	assert_true(noted(f, "damaged"));
	assert_int_equal(count(f->dump, LEAKTRACE_CHUNK_FRAMES), 0);
	assert_int_equal(count(f->dump, LEAKTRACE_CHUNK_SITES), 1);
}

static void chunk_that_claims_too_much_room_does_not_hide_the_next(void **state)
{
	struct fixture *f = *state;

	change_chunk(f, LEAKTRACE_CHUNK_FRAMES, offsetof(struct leaktrace_chunk, size), UINT64_C(1) << 40, 8);
	assert_int_equal(read_it(f), 0);
	assert_true(f->dump->partial);
	assert_int_equal(count(f->dump, LEAKTRACE_CHUNK_SITES), 1);
}

static void missing_chunks_are_told(void **state)
{
	struct fixture *f = *state;
	uint64_t committed = LEAKTRACE_HEADER_SIZE + LEAKTRACE_CHUNK_ALIGN;

	write_changed(f, offsetof(struct leaktrace_header, committed), &committed, sizeof committed);
	assert_int_equal(read_it(f), 0);
	assert_true(noted(f, "chunks are missing"));
}

static void string_that_runs_over_its_chunk_is_none(void **state)
{
	struct fixture *f = *state;
	uint32_t length = 1 << 20, found;
	const char *bytes;
	size_t slot;

	/* The first string is the executable's path. */
	write_changed(f, LEAKTRACE_HEADER_SIZE + sizeof(struct leaktrace_chunk), &length, sizeof length);
	assert_int_equal(read_it(f), 0);
	assert_false(lt_dump_string(f->dump, db_process(f->db)->exe, &bytes, &found, &slot));
	assert_false(lt_dump_string(f->dump, 0, &bytes, &found, &slot));
	assert_false(lt_dump_string(f->dump, UINT32_MAX, &bytes, &found, &slot));
	assert_true(lt_dump_string(f->dump, db_process(f->db)->host, &bytes, &found, &slot));
}

static void string_longer_than_any_that_is_written_is_none(void **state)
{
	struct fixture *f = *state;
	char *text = calloc(1, LEAKTRACE_STRING_MAX + 1);
	uint32_t longest, longer, length;
	const char *bytes;
	size_t slot;

	longest = db_bytes(f->db, text, LEAKTRACE_STRING_MAX);
	longer = db_bytes(f->db, text, LEAKTRACE_STRING_MAX + 1);
	free(text);
	db_write(f->db, f->path);
	assert_int_equal(read_it(f), 0);
	assert_true(lt_dump_string(f->dump, longest, &bytes, &length, &slot));
	assert_int_equal(length, LEAKTRACE_STRING_MAX);
	assert_false(lt_dump_string(f->dump, longer, &bytes, &length, &slot));
}

static void time_before_1970_is_unknown(void **state)
{
	struct fixture *f = *state;
	struct leaktrace_process *process = db_process(f->db), read;

	process->start_ns = INT64_MIN;
	process->end_ns = -1;
	process->recording_since_ns = INT64_MIN / 2;
	db_write(f->db, f->path);
	assert_int_equal(read_it(f), 0);
	assert_true(lt_dump_process(f->dump, 0, &read));
	assert_int_equal(read.start_ns, 0);
	assert_int_equal(read.end_ns, 0);
	assert_int_equal(read.recording_since_ns, 0);
	process->end_ns = INT64_MAX;
	db_write(f->db, f->path);
	lt_dump_free(f->dump);
	f->dump = NULL;
	assert_int_equal(read_it(f), 0);
	assert_true(lt_dump_process(f->dump, 0, &read));
	assert_int_equal(read.end_ns, INT64_MAX);
}

static void every_cut_is_an_error_or_partial(void **state)
{
	struct fixture *f = *state;
	size_t size;
	unsigned char *bytes;

	db_write(f->db, f->path);
	bytes = db_slurp(f->path, &size);
	for (size_t cut = 0; cut < size; cut += cut < 1024 ? 1 : 512) {
		size_t before = f->notes.count;

		db_spit(f->path, bytes, cut);
		if (read_it(f) == 0)
			assert_true(f->dump->partial);
		assert_true(f->notes.count > before);
		lt_dump_free(f->dump);
		f->dump = NULL;
		lt_notes_free(&f->notes);
	}
	free(bytes);
}

static void running_process_is_read_in_phases(void **state)
{
	struct fixture *f = *state;

	db_process(f->db)->end_kind = LEAKTRACE_END_NONE;
	db_write(f->db, f->path);
	assert_int_equal(read_it(f), 0);
	assert_int_equal(f->notes.count, 0);
	assert_int_equal(count(f->dump, LEAKTRACE_CHUNK_SITES), 1);
	assert_int_equal(count(f->dump, LEAKTRACE_CHUNK_FRAMES), 2);
	assert_int_equal(count(f->dump, LEAKTRACE_CHUNK_MODULES), 1);
	assert_true(lt_dump_string_slots(f->dump) > 0);
}

/* A process that was killed before its dump had a magic, or anything. `kept`: bytes of it that are there. */
static void check_unfinished(struct fixture *f, const char *name, size_t kept, bool zeroed, int expected)
{
	size_t size;
	unsigned char *bytes;
	struct leaktrace_process process;

	free(f->path);
	f->path = db_path(f->directory, name);
	db_write(f->db, f->path);
	bytes = db_slurp(f->path, &size);
	memset(bytes, 0, zeroed ? size : sizeof(LEAKTRACE_DUMP_MAGIC) - 1);
	db_spit(f->path, bytes, kept < size ? kept : size);
	free(bytes);
	assert_int_equal(read_it(f), expected);
	if (expected)
		return;
	assert_int_equal(f->notes.count, 1);
	assert_true(noted(f, "has hardly begun"));
	assert_true(lt_dump_process(f->dump, 0, &process));
	assert_int_equal(process.key.pid, zeroed ? 4711 : 100);
	assert_true(process.start_ns > 0);
	if (zeroed) {
		assert_int_equal(process.key.machine, 0x15218304);
		assert_int_equal(process.key.start, 337751);
		assert_int_equal(process.key.image, 2);
		assert_int_equal(f->dump->chunk_count, 0);
	} else {
		assert_int_equal(count(f->dump, LEAKTRACE_CHUNK_SITES), 1);
	}
}

static void zeros_are_a_process_that_has_hardly_begun(void **state)
{
	check_unfinished(*state, "15218304-4711-337751-2.ltd", SIZE_MAX, true, 0);
}

static void empty_file_is_a_process_that_has_hardly_begun(void **state)
{
	check_unfinished(*state, "15218304-4711-337751-2.ltd", 0, true, 0);
}

static void without_magic_the_rest_is_read(void **state)
{
	check_unfinished(*state, "15218304-4711-337751-2.ltd", SIZE_MAX, false, 0);
}

static void zeros_of_another_name_are_no_dump(void **state)
{
	check_unfinished(*state, "15218304-4711-2.ltd", SIZE_MAX, true, -EBADMSG);
	check_unfinished(*state, "15218304-4711-337751-2-1.lts", SIZE_MAX, true, -EBADMSG);
	check_unfinished(*state, "b.ltd", 0, true, -EBADMSG);
}


/* The chunk of sites, alone behind a hole that nothing leads over; the next one is looked for at most 1 GiB ahead. */
static void chunk_behind_a_hole_is_found(void **state)
{
	struct fixture *f = *state;
	const uint64_t hole = UINT64_C(900) << 20;
	struct leaktrace_chunk chunk;
	struct leaktrace_header header;
	uint64_t offset = LEAKTRACE_HEADER_SIZE;
	size_t size;
	unsigned char *bytes;
	int fd;

	db_write(f->db, f->path);
	bytes = db_slurp(f->path, &size);
	for (;; offset += chunk.size) {
		assert_true(offset < size);
		memcpy(&chunk, bytes + offset, sizeof chunk);
		if (chunk.type == LEAKTRACE_CHUNK_SITES)
			break;
	}
	memcpy(&header, bytes, sizeof header);
	header.committed = LEAKTRACE_HEADER_SIZE + hole + chunk.size;
	fd = open(f->path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, &header, sizeof header, 0), sizeof header);
	assert_int_equal(pwrite(fd, bytes + offset, chunk.size, (off_t)(LEAKTRACE_HEADER_SIZE + hole)), chunk.size);
	close(fd);
	free(bytes);
	assert_int_equal(read_it(f), 0);
	assert_true(noted(f, "cannot be read"));
	assert_int_equal(count(f->dump, LEAKTRACE_CHUNK_SITES), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(zeros_are_a_process_that_has_hardly_begun),
		TEST(empty_file_is_a_process_that_has_hardly_begun),
		TEST(without_magic_the_rest_is_read),
		TEST(zeros_of_another_name_are_no_dump),
		TEST(sound_dump_reads_whole_and_without_notes),
		TEST(parts_not_asked_for_are_not_read),
		TEST(unknown_chunk_is_skipped),
		TEST(newer_major_version_is_refused_by_name),
		TEST(newer_minor_version_with_longer_records_reads),
		TEST(other_byte_order_is_told),
		TEST(what_is_no_dump_is_refused_with_a_note),
		TEST(fifo_and_directory_are_refused_at_once),
		TEST(records_behind_the_commit_mark_do_not_count),
		TEST(impossible_count_is_bounded_and_told),
		TEST(impossible_index_is_told_and_makes_no_huge_table),
		TEST(damaged_chunk_is_passed_over),
		TEST(chunk_that_claims_too_much_room_does_not_hide_the_next),
		TEST(missing_chunks_are_told),
		TEST(string_that_runs_over_its_chunk_is_none),
		TEST(string_longer_than_any_that_is_written_is_none),
		TEST(time_before_1970_is_unknown),
		TEST(every_cut_is_an_error_or_partial),
		TEST(running_process_is_read_in_phases),
		TEST(chunk_behind_a_hole_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
