/* SPDX-License-Identifier: MIT
 *
 * The dump's file: how it is created and grows, and that it is readable at any instant.
 */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "tracer.h"

#define SEGMENT UINT64_C(262144)

/* A directory, and no dump. */
static int set_up(void **state)
{
	struct tracer *tracer = calloc(1, sizeof *tracer);

	tracer->directory = db_directory();
	tracer->path = db_path(tracer->directory, "test.ltd");
	*state = tracer;
	return 0;
}

static void create(const struct tracer *tracer, uint64_t max_size)
{
	assert_int_equal(lt_dump_create(tracer->path, SEGMENT, max_size), 0);
}

/* Records that tell their index. */
struct record {
	uint64_t index, complement;
	char rest[48];
};

static struct lt_records records_of_a_test(void)
{
	return (struct lt_records){ .type = LEAKTRACE_CHUNK_EVENTS, .record_size = sizeof(struct record) };
}

static bool add(struct lt_records *records)
{
	struct record *record = lt_dump_append(records);

	if (!record)
		return false;
	record->index = records->next;
	record->complement = ~records->next;
	lt_dump_commit(records);
	return true;
}

static bool all_true(const struct view *view, uint64_t *count)
{
	*count = 0;
	VIEW_EACH(view, LEAKTRACE_CHUNK_EVENTS, chunk) {
		const struct record *records = (const struct record *)(chunk + 1);

		if (chunk->first != *count)
			return false;
		for (uint64_t i = 0; i < chunk->count; i++, ++*count)
			if (records[i].index != *count || records[i].complement != ~*count)
				return false;
	}
	return true;
}

static off_t size_of(const char *path)
{
	struct stat status;

	return stat(path, &status) ? -1 : status.st_size;
}

static void file_is_created_for_its_owner_only(void **state)
{
	const struct tracer *tracer = *state;
	mode_t mask = umask(0);
	struct stat status;
	int error = lt_dump_create(tracer->path, SEGMENT, MAX_SIZE);

	umask(mask);
	assert_int_equal(error, 0);
	assert_int_equal(stat(tracer->path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
	assert_int_equal(status.st_size, SEGMENT);
	assert_true(lt_dump_open());
	assert_int_equal(lt_dump_bytes(), SEGMENT);
}

static void existing_file_is_left_alone(void **state)
{
	const struct tracer *tracer = *state;
	size_t size;

	db_spit(tracer->path, "precious", 8);
	assert_int_equal(lt_dump_create(tracer->path, SEGMENT, MAX_SIZE), -EEXIST);
	assert_false(lt_dump_open());
	unsigned char *bytes = db_slurp(tracer->path, &size);
	bool same = size == 8 && !memcmp(bytes, "precious", 8);
	free(bytes);
	assert_true(same);
}

static void symbolic_link_is_not_followed(void **state)
{
	const struct tracer *tracer = *state;
	char *target = db_path(tracer->directory, "target");

	assert_int_equal(symlink(target, tracer->path), 0);
	int error = lt_dump_create(tracer->path, SEGMENT, MAX_SIZE);
	off_t size = size_of(target);
	free(target);
	assert_int_equal(error, -EEXIST);
	assert_int_equal(size, -1);
	assert_false(lt_dump_open());
}

static void missing_directory_is_an_error(void **state)
{
	const struct tracer *tracer = *state;
	char *path = db_path(tracer->path, "no.ltd");
	int error = lt_dump_create(path, SEGMENT, MAX_SIZE);

	free(path);
	assert_int_equal(error, -ENOENT);
	assert_false(lt_dump_open());
}

static void file_is_a_dump_from_publication_on(void **state)
{
	create(*state, MAX_SIZE);
	lt_process->key.pid = 4711;
	struct view before = view_of(*state);
	lt_dump_publish();
	struct view after = view_of(*state);

	assert_memory_equal(before.header.magic, "\0\0\0\0\0\0\0\0", 8);
	assert_memory_equal(after.header.magic, LEAKTRACE_DUMP_MAGIC, 8);
	assert_int_equal(after.header.process.key.pid, 4711);
	assert_int_equal(after.header.major, LEAKTRACE_DUMP_MAJOR);
	assert_int_equal(after.header.endian, LEAKTRACE_DUMP_ENDIAN);
	assert_int_equal(after.header.header_size, LEAKTRACE_HEADER_SIZE);
	assert_int_equal(after.header.pointer_size, sizeof(void *));
	assert_int_equal(after.header.committed, LEAKTRACE_HEADER_SIZE);
	assert_int_equal(after.header.chunks, 0);
	view_free(&before);
	view_free(&after);
}

static void record_counts_from_its_commit_on(void **state)
{
	struct lt_records records = records_of_a_test();
	uint64_t count;

	create(*state, MAX_SIZE);
	assert_true(add(&records));
	struct record *record = lt_dump_append(&records);
	memset(record, 0xff, sizeof *record);
	struct view view = view_of(*state);
	assert_true(all_true(&view, &count));
	assert_int_equal(count, 1);
	view_free(&view);
	assert_true(add(&records)); /* in the same place */
	view = view_of(*state);
	assert_true(all_true(&view, &count));
	assert_int_equal(count, 2);
	view_free(&view);
}

static void file_grows_by_segments_without_a_gap(void **state)
{
	struct lt_records records = records_of_a_test(), odd = { .type = 4711, .record_size = 100, .chunk_size = 20480 };
	uint64_t count, segments = 1, bytes = lt_dump_bytes();

	create(*state, MAX_SIZE);
	bytes = lt_dump_bytes();
	while (segments < 5) {
		assert_true(add(&records));
		if (records.next % 64 == 0) { /* chunks of two sizes leave a rest at the end of a segment */
			assert_non_null(lt_dump_append(&odd));
			lt_dump_commit(&odd);
			odd.chunk = NULL;
		}
		segments += lt_dump_bytes() != bytes;
		bytes = lt_dump_bytes();
	}
	struct view view = view_of(*state);
	assert_int_equal(view.size, bytes);
	assert_int_equal(view.header.process.dump_bytes, bytes);
	assert_true(all_true(&view, &count));
	assert_int_equal(count, records.next);
	assert_int_equal(view_count(&view, 4711), odd.next);
	uint32_t chunks = 0, empty = 0;
	VIEW_EACH(&view, 0, chunk) {
		chunks++;
		empty += chunk->type == LEAKTRACE_CHUNK_FREE;
	}
	assert_int_equal(view.header.chunks, chunks);
	assert_true(empty > 0);
	view_free(&view);
}

static void large_list_has_one_chunk(void **state)
{
	uint64_t bytes = 3 * SEGMENT;

	create(*state, MAX_SIZE);
	struct leaktrace_chunk *chunk = lt_dump_chunk(4711, 8, bytes);
	assert_non_null(chunk);
	assert_true(chunk->size >= bytes + sizeof *chunk);
	memset(chunk + 1, 0xff, bytes);
	chunk->count = bytes / 8;
	struct view view = view_of(*state);
	assert_int_equal(view_count(&view, 4711), bytes / 8);
	view_free(&view);
}

static void string_is_found_by_its_reference(void **state)
{
	char text[64];
	uint32_t references[5000];

	create(*state, MAX_SIZE);
	for (int i = 0; i < 5000; i++) {
		int length = snprintf(text, sizeof text, "string %d%.*s", i, i % 9, "         ");

		references[i] = lt_dump_string(text, (size_t)length, false);
		assert_int_not_equal(references[i], 0);
	}
	struct view view = view_of(*state);
	for (int i = 0; i < 5000; i++) {
		int length = snprintf(text, sizeof text, "string %d%.*s", i, i % 9, "         ");
		const struct leaktrace_string *string = view_string(&view, references[i]);

		assert_non_null(string);
		assert_int_equal(string->length, length);
		assert_string_equal(string->bytes, text);
	}
	view_free(&view);
}

static void string_of_more_than_64_kib_is_cut(void **state)
{
	static const uint32_t lengths[] = { 8000, 32000, 65535, 65536, 65537, 1000000 };
	char *text = malloc(1000000);
	uint32_t references[6];

	memset(text, 'x', 1000000);
	create(*state, MAX_SIZE);
	for (unsigned i = 0; i < 6; i++)
		references[i] = lt_dump_string(text, lengths[i], false);
	free(text);
	struct view view = view_of(*state);
	for (unsigned i = 0; i < 6; i++) {
		const struct leaktrace_string *string = view_string(&view, references[i]);

		assert_non_null(string);
		assert_int_equal(string->length, lengths[i] < 65536 ? lengths[i] : 65536);
		assert_int_equal(strlen(string->bytes), string->length);
	}
	view_free(&view);
}

static void file_never_exceeds_max_size(void **state)
{
	const struct tracer *tracer = *state;
	struct lt_records records = records_of_a_test();
	uint64_t count;

	create(tracer, 3 * SEGMENT + 12345);
	while (add(&records))
		assert_true(records.next < 1000000);
	assert_true(lt_process->flags & LEAKTRACE_PROCESS_FULL);
	assert_true(size_of(tracer->path) <= (off_t)(3 * SEGMENT + 12345));
	assert_true(size_of(tracer->path) >= (off_t)(3 * SEGMENT)); /* the last segment takes what is left */
	assert_false(add(&records));
	assert_int_equal(lt_dump_left(), 0);
	assert_null(lt_dump_chunk(4711, 8, 16384));
	struct view view = view_of(tracer);
	assert_true(view.header.process.flags & LEAKTRACE_PROCESS_FULL);
	assert_true(all_true(&view, &count));
	assert_int_equal(count, records.next);
	view_free(&view);
}

static void max_size_below_the_first_size_is_kept(void **state)
{
	const struct tracer *tracer = *state;

	assert_int_equal(lt_dump_create(tracer->path, 4 * SEGMENT, SEGMENT), 0);
	assert_int_equal(size_of(tracer->path), SEGMENT);
}

static void fill_up(void)
{
	while (lt_dump_chunk(4711, 8, 4000))
		;
}

static void replaced_file_is_not_written_to(void **state)
{
	const struct tracer *tracer = *state;
	static const char another[2 * SEGMENT]; /* long enough to be ours */

	create(tracer, MAX_SIZE);
	assert_int_equal(unlink(tracer->path), 0);
	db_spit(tracer->path, another, sizeof another);
	fill_up();
	assert_true(lt_process->flags & LEAKTRACE_PROCESS_FULL);
	assert_int_equal(lt_dump_bytes(), SEGMENT);
	assert_int_equal(size_of(tracer->path), sizeof another);
}

static void removed_file_is_not_made_again(void **state)
{
	const struct tracer *tracer = *state;

	create(tracer, MAX_SIZE);
	assert_int_equal(unlink(tracer->path), 0);
	fill_up();
	assert_true(lt_process->flags & LEAKTRACE_PROCESS_FULL);
	assert_int_equal(size_of(tracer->path), -1);
}

static void truncated_file_does_not_grow_again(void **state)
{
	const struct tracer *tracer = *state;

	create(tracer, MAX_SIZE);
	/* Only behind what is in use: what is cut off is SIGBUS, for any mapped file. */
	assert_non_null(lt_dump_chunk(4711, 8, SEGMENT - 3 * 4096));
	assert_int_equal(truncate(tracer->path, SEGMENT - 4096), 0);
	assert_null(lt_dump_chunk(4711, 8, 8192));
	assert_true(lt_process->flags & LEAKTRACE_PROCESS_FULL);
	assert_int_equal(size_of(tracer->path), SEGMENT - 4096);
}

/* Somebody truncated it, and the kernel gave zeros, or lt_dump_lost() did. */
static void emptied_file_leads_nowhere(void **state)
{
	const struct tracer *tracer = *state;
	struct lt_records records = records_of_a_test();
	create(tracer, SEGMENT);
	char *start = (char *)lt_process - offsetof(struct leaktrace_header, process);
	add(&records);
	assert_true(lt_dump_string("text", 4, false));
	memset(start, 0, SEGMENT);
	uint64_t chunks = 0, most = 0;
	for (const struct leaktrace_chunk *before = NULL; chunks < 2000;) {
		char *record = lt_dump_append(&records);
		if (!record)
			break;
		assert_true(record >= start && record + sizeof(struct record) <= start + SEGMENT);
		add(&records);
		chunks += records.chunk != before;
		before = records.chunk;
		most += lt_dump_string("more text", 9, false) != 0;
	}
	assert_true(chunks > 1 && chunks < 100 && most > 100);
}

static void grow_over_the_limit(void *argument)
{
	const struct rlimit limit = { 2 * SEGMENT, RLIM_INFINITY };

	CHILD_CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	fill_up();
	CHILD_CHECK(lt_process->flags & LEAKTRACE_PROCESS_FULL);
	CHILD_CHECK(lt_dump_bytes() == 2 * SEGMENT);
}

static void limit_of_file_size_is_kept_without_a_signal(void **state)
{
	create(*state, MAX_SIZE);
	assert_int_equal(in_child(grow_over_the_limit, NULL), 0);
}

static unsigned descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(directory))
		n++;
	closedir(directory);
	return n;
}

static void no_descriptor_stays_open(void **state)
{
	unsigned before = descriptors(), created;

	create(*state, MAX_SIZE);
	created = descriptors();
	fill_up();
	assert_int_equal(created, before);
	assert_int_equal(descriptors(), before);
}

static void write_as_child(void *argument)
{
	struct tracer *tracer = argument;
	struct lt_records records = records_of_a_test();
	uint64_t count;

	lt_process->tasks = 1;
	lt_dump_fork_child(false);
	CHILD_CHECK(!lt_dump_open());
	lt_process->tasks = 2; /* a dummy's */
	CHILD_CHECK(!lt_dump_append(&records));
	CHILD_CHECK(!lt_dump_string("text", 4, false));
	char *path = db_path(tracer->directory, "child.ltd");
	CHILD_CHECK(lt_dump_create(path, SEGMENT, MAX_SIZE) == 0);
	CHILD_CHECK(lt_process->tasks == 0);
	CHILD_CHECK(add(&records));
	CHILD_CHECK(lt_dump_string("text", 4, false));
	struct view view;
	CHILD_CHECK(view_read(&view, path));
	CHILD_CHECK(all_true(&view, &count) && count == 1);
}

static void fork_child_writes_a_file_of_its_own(void **state)
{
	struct lt_records records = records_of_a_test();
	uint64_t count;

	create(*state, MAX_SIZE);
	assert_true(add(&records));
	int status = in_child(write_as_child, *state);
	struct view view = view_of(*state);
	assert_int_equal(status, 0);
	assert_int_equal(view.header.process.tasks, 1); /* what it wrote before it forgot */
	assert_true(all_true(&view, &count));
	assert_int_equal(count, 1);
	view_free(&view);
	assert_true(add(&records));
}

static void write_on_below_a_hook(void *argument)
{
	struct lt_records records = records_of_a_test();
	struct leaktrace_process *process = lt_process;

	CHILD_CHECK(add(&records));
	lt_dump_fork_child(true);
	process->tasks = 99; /* a hook that is still under way */
	((struct record *)(records.chunk + 1))->index = 99;
	CHILD_CHECK(!lt_dump_open());
}

static void interrupted_hook_of_a_fork_child_writes_nowhere(void **state)
{
	uint64_t count;

	create(*state, MAX_SIZE);
	int status = in_child(write_on_below_a_hook, NULL);
	struct view view = view_of(*state);
	assert_int_equal(status, 0);
	assert_int_equal(view.header.process.tasks, 0);
	assert_true(all_true(&view, &count));
	view_free(&view);
}

static void some_of_the_disk_stays_free(void **state)
{
	assert_int_equal(lt_dump_disk_reserve(0), 16 << 20);
	assert_int_equal(lt_dump_disk_reserve(800 << 20), 16 << 20);
	assert_int_equal(lt_dump_disk_reserve(UINT64_C(10) << 30), (UINT64_C(10) << 30) / 50);
	assert_int_equal(lt_dump_disk_reserve(UINT64_C(50) << 30), 1 << 30);
	assert_int_equal(lt_dump_disk_reserve(UINT64_C(1) << 60), 1 << 30);
}

/* Until the file is full, then waits. */
static void write_until_killed(void)
{
	struct lt_records records = records_of_a_test();
	char text[32];

	while (add(&records)) {
		if (records.next % 50 == 0)
			lt_dump_string(text, (size_t)snprintf(text, sizeof text, "%u", (unsigned)records.next), false);
		if (records.next % 5000 == 0)
			lt_dump_chunk(4711, 8, 10000 + records.next % 30000);
	}
	for (;;)
		pause();
}

static void file_is_readable_at_any_instant_and_after_a_kill(void **state)
{
	const struct tracer *tracer = *state;
	uint64_t count = 0, last = 0;
	const char *fault = NULL;
	struct view view;
	int status;

	create(tracer, UINT64_C(32) << 20);
	lt_dump_publish();
	pid_t pid = fork();
	if (!pid)
		write_until_killed(); /* the file stays mapped in both; only the child writes */
	bool sound = true;
	for (unsigned reading = 0; sound && (reading < 20 || count < 30000) && !waitpid(pid, &status, WNOHANG); reading++) {
		sound = view_read(&view, tracer->path) && all_true(&view, &count) && count >= last;
		fault = view_fault(&view);
		last = count;
		view_free(&view);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	if (!sound)
		fail_msg("while it was written: %s, %u records", fault ? fault : "a record", (unsigned)count);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	view = view_of(tracer);
	assert_true(all_true(&view, &count));
	assert_true(count >= last);
	view_free(&view);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tracer_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(some_of_the_disk_stays_free),
		TEST(file_is_created_for_its_owner_only),
		TEST(existing_file_is_left_alone),
		TEST(symbolic_link_is_not_followed),
		TEST(missing_directory_is_an_error),
		TEST(file_is_a_dump_from_publication_on),
		TEST(record_counts_from_its_commit_on),
		TEST(file_grows_by_segments_without_a_gap),
		TEST(large_list_has_one_chunk),
		TEST(string_is_found_by_its_reference),
		TEST(string_of_more_than_64_kib_is_cut),
		TEST(file_never_exceeds_max_size),
		TEST(max_size_below_the_first_size_is_kept),
		TEST(replaced_file_is_not_written_to),
		TEST(removed_file_is_not_made_again),
		TEST(truncated_file_does_not_grow_again),
		TEST(emptied_file_leads_nowhere),
		TEST(limit_of_file_size_is_kept_without_a_signal),
		TEST(no_descriptor_stays_open),
		TEST(fork_child_writes_a_file_of_its_own),
		TEST(interrupted_hook_of_a_fork_child_writes_nowhere),
		TEST(file_is_readable_at_any_instant_and_after_a_kill),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
