/* SPDX-License-Identifier: MIT
 *
 * The dump file: created, grown and mapped.
 *
 * The file grows by segments (256 KiB, 512 KiB, then 1 MiB each), every one reserved by fallocate before it is mapped, for a
 * write to a hole on a full disk is SIGBUS in somebody else's program; where the file system has no fallocate, zeros are
 * written. To grow, the file is opened again by its path and closed at once: no descriptor stays open. If what is at the path
 * is another file by then, or can't be opened (chroot, dropped privileges), the dump stays as it is, flagged FULL.
 * RLIMIT_FSIZE is asked first, as fallocate beyond it raises SIGXFSZ.
 *
 * What was written is never read again to find a place in memory: somebody may truncate the file (see lt_dump_lost()), and then it
 * is zero.
 *
 * Invariants: header->committed <= bytes reserved; all below `committed` is whole chunks with valid headers; a chunk lies in
 * one segment. Commit points: a chunk's header is complete before `committed` is raised over it, a record before its chunk's
 * `count`. Turned down: one mapping of max_size at start (RLIMIT_AS), and mremap (moves the pages under other threads).
 *
 * Threads: dump_lock (rank 4) around growth. Failure: NULL, flag FULL, once a note on stderr.
 */
#include "dump/dump.h"
#include "base/arena.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/text.h"
#include <limits.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/vfs.h>

#define SEGMENT_MAX (UINT64_C(1) << 20)
#define CHUNK_FIRST 4096u
#define CHUNK_DEFAULT 32768u
#define DISK_RESERVE_MIN (UINT64_C(16) << 20)
#define DISK_RESERVE_MAX (UINT64_C(1) << 30)
#define SNAPSHOT_FIRST (UINT64_C(64) << 10)
#define SEGMENTS 16400 /* max_size is at most 16 GiB */

struct segment {
	char *address;
	uint32_t size;
};

static struct {
	struct lt_lock lock;
	const char *path;
	struct leaktrace_header *header;
	struct segment *segments;
	uint32_t count;
	char *next, *end;     /* free room in the last segment */
	uint64_t next_offset; /* of `next` in the file */
	uint64_t bytes, max_size;
	uint64_t device, inode;
	bool failed;
} dump;

static struct leaktrace_process no_process;
struct leaktrace_process *lt_process = &no_process;

static struct lt_records strings = { .type = LEAKTRACE_CHUNK_STRINGS, .record_size = 1 };

/* What others on a small file system need, and those on a large one that is nearly full: dumps of ten thousand workers fill it, too. */
uint64_t lt_dump_disk_reserve(uint64_t size)
{
	uint64_t part = size / 50;
	return part < DISK_RESERVE_MIN ? DISK_RESERVE_MIN : part > DISK_RESERVE_MAX ? DISK_RESERVE_MAX : part;
}

static int reserve(int fd, uint64_t offset, uint64_t size)
{
	struct rlimit limit;
	if (lt_syscall6(SYS_prlimit64, 0, RLIMIT_FSIZE, 0, (long)&limit, 0, 0) == 0 && limit.rlim_cur != RLIM_INFINITY &&
	    offset + size > limit.rlim_cur)
		return -EFBIG;
	struct statfs disk;
	if (lt_syscall6(SYS_fstatfs, fd, (long)&disk, 0, 0, 0, 0) == 0 && disk.f_bsize > 0 && disk.f_blocks &&
	    (uint64_t)disk.f_bavail * (uint64_t)disk.f_bsize <
	            size + lt_dump_disk_reserve((uint64_t)disk.f_blocks * (uint64_t)disk.f_bsize))
		return -ENOSPC;
	int error;
	while ((error = lt_sys_fallocate(fd, 0, offset, size)) == -EINTR)
		;
	if (error != -EOPNOTSUPP && error != -ENOSYS)
		return error;
	static const char zeros[4096];
	for (uint64_t done = 0; done < size;) {
		long n = lt_syscall6(SYS_pwrite64, fd, (long)zeros, sizeof zeros, (long)(offset + done), 0, 0);
		if (n == -EINTR)
			continue;
		if (n <= 0)
			return n ? (int)n : -ENOSPC;
		done += (uint64_t)n;
	}
	return 0;
}

/* Reserves and maps `size` bytes behind what there is. */
static int add_segment(int fd, uint64_t size)
{
	if (dump.count == SEGMENTS)
		return -EFBIG;
	int error = reserve(fd, dump.bytes, size);
	if (error)
		return error;
	char *address = lt_sys_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, dump.bytes);
	if (lt_sys_mmap_failed(address))
		return (int)(long)address;
	dump.segments[dump.count].address = address;
	dump.segments[dump.count].size = (uint32_t)size;
	dump.count++;
	dump.next = address;
	dump.end = address + size;
	dump.next_offset = dump.bytes;
	dump.bytes += size;
	if (dump.header)
		lt_store_relaxed(&dump.header->process.dump_bytes, dump.bytes);
	return 0;
}

int lt_dump_create(const char *path, uint64_t first_size, uint64_t max_size)
{
	struct stat status;
	int fd = lt_sys_open(AT_FDCWD, path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, 0600);
	if (fd < 0)
		return fd;
	int error = -ENOMEM;
	size_t length = strlen(path) + 1;
	char *copy = lt_arena_alloc(length);
	if (!dump.segments)
		dump.segments = lt_map(SEGMENTS * sizeof *dump.segments);
	if (!copy || !dump.segments)
		goto out;
	memcpy(copy, path, length);
	dump.path = copy;
	dump.max_size = max_size;
	dump.count = 0;
	dump.bytes = 0;
	dump.failed = false;
	if (first_size > max_size)
		first_size = max_size & ~UINT64_C(4095);
	error = (int)lt_syscall6(SYS_fstat, fd, (long)&status, 0, 0, 0, 0);
	if (!error && (status.st_mode & 0600) != 0600) /* umask; it is to be opened again */
		lt_sys_fchmod(fd, 0600);
	if (!error)
		error = add_segment(fd, first_size);
	if (error)
		goto out;
	dump.device = status.st_dev;
	dump.inode = status.st_ino;
	struct leaktrace_header *header = (void *)dump.next;
	dump.next += LEAKTRACE_HEADER_SIZE;
	dump.next_offset += LEAKTRACE_HEADER_SIZE;
	header->major = LEAKTRACE_DUMP_MAJOR;
	header->minor = LEAKTRACE_DUMP_MINOR;
	header->endian = LEAKTRACE_DUMP_ENDIAN;
	header->header_size = LEAKTRACE_HEADER_SIZE;
	header->pointer_size = sizeof(void *);
	header->process.dump_bytes = dump.bytes;
	lt_store_release(&header->committed, LEAKTRACE_HEADER_SIZE); /* pairs with the reader of the file */
	dump.header = header;
	lt_process = &header->process;
out:
	lt_sys_close(fd);
	if (error) {
		lt_syscall6(SYS_unlinkat, AT_FDCWD, (long)path, 0, 0, 0, 0);
		dump.header = NULL;
	}
	return error;
}

/* The magic comes last: a file without it belongs to a process that died in its first moments, before it knew its name. */
void lt_dump_publish(void)
{
	if (dump.header) {
		__atomic_thread_fence(__ATOMIC_RELEASE); /* pairs with the reader of the file: identity before magic */
		memcpy(dump.header->magic, LEAKTRACE_DUMP_MAGIC, sizeof dump.header->magic);
	}
}

bool lt_dump_open(void)
{
	return dump.header != NULL;
}

uint64_t lt_dump_bytes(void)
{
	return dump.bytes;
}

uint64_t lt_dump_left(void)
{
	return dump.header && !dump.failed ? dump.max_size - dump.bytes + (uint64_t)(dump.end - dump.next) : 0;
}

static void fail(const char *why)
{
	if (dump.failed)
		return;
	dump.failed = true;
	__atomic_or_fetch(&lt_process->flags, LEAKTRACE_PROCESS_FULL, __ATOMIC_RELAXED);
	lt_warn("the dump can't grow, new call sites are no longer recorded: ", why, NULL);
}

static int grow(uint64_t at_least)
{
	if (dump.failed)
		return -ENOSPC;
	uint64_t size = dump.bytes < SEGMENT_MAX ? dump.bytes : SEGMENT_MAX;
	if (size < at_least)
		size = at_least;
	if (dump.bytes + size > dump.max_size) /* the last one takes what is left */
		size = (dump.max_size - dump.bytes) & ~UINT64_C(4095);
	if (size < at_least) {
		fail("max_size is reached");
		return -EFBIG;
	}
	int fd = lt_sys_open(AT_FDCWD, dump.path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, 0);
	if (fd < 0) {
		fail(fd == -ENOENT ? "its file is gone" : "its file can't be opened again");
		return fd;
	}
	struct stat status;
	int error = (int)lt_syscall6(SYS_fstat, fd, (long)&status, 0, 0, 0, 0);
	if (!error && (status.st_dev != dump.device || status.st_ino != dump.inode || (uint64_t)status.st_size < dump.bytes))
		error = -ESTALE;
	if (!error)
		error = add_segment(fd, size);
	lt_sys_close(fd);
	if (error)
		fail(error == -ENOSPC ? LT_DUMP_DISK_FULL
		     : error == -EFBIG ? "limit of file size"
		     : error == -EDQUOT ? "disk quota exceeded"
		     : error == -ESTALE ? "its file was replaced"
		     : error == -ENOMEM ? "no memory to map it"
		                        : "the file system refuses");
	return error;
}

/* Under the lock: makes [next, next + size) a chunk. */
static struct leaktrace_chunk *carve(uint32_t type, uint64_t size, uint64_t *offset)
{
	struct leaktrace_chunk *chunk = (void *)dump.next;
	*offset = dump.next_offset;
	chunk->magic = LEAKTRACE_CHUNK_MAGIC;
	chunk->type = type;
	chunk->size = size;
	dump.next += size;
	dump.next_offset += size;
	return chunk;
}

/* `chunks` were carved. Their number comes last: a reader misses a chunk where it is more than what lies below the mark. */
static void commit_chunks(uint32_t chunks)
{
	lt_store_release(&dump.header->committed, dump.next_offset); /* pairs with the reader of the file: headers first */
	lt_store_release(&dump.header->chunks, dump.header->chunks + chunks); /* likewise: the mark first */
}

/* A committed chunk without records; `size` a multiple of LEAKTRACE_CHUNK_ALIGN. `bounded`: give up when the lock can't be had. */
static struct leaktrace_chunk *new_chunk(const struct lt_records *like, uint64_t size, uint64_t *offset, bool bounded)
{
	uint64_t ignored;
	uint32_t chunks = 1;
	struct leaktrace_chunk *chunk = NULL;
	if (!bounded)
		lt_lock(&dump.lock);
	else if (lt_lock_until(&dump.lock, lt_sys_clock(CLOCK_MONOTONIC) + LT_LOCK_PATIENCE_NS))
		return NULL;
	if (!dump.header)
		goto out;
	uint64_t rest = (uint64_t)(dump.end - dump.next);
	if (rest < size) {
		char *hole = dump.next;
		if (grow(size))
			goto out;
		/* The rest of the segment before is a FREE chunk; its place is in the middle of the file by now. */
		if (rest) {
			char *next = dump.next;
			uint64_t next_offset = dump.next_offset;
			dump.next = hole;
			dump.next_offset = next_offset - rest;
			carve(LEAKTRACE_CHUNK_FREE, rest, &ignored);
			dump.next = next;
			dump.next_offset = next_offset;
			chunks++;
		}
	}
	chunk = carve(like->type, size, offset);
	chunk->record_size = like->record_size;
	chunk->first = like->next;
	commit_chunks(chunks);
out:
	lt_unlock(&dump.lock);
	return chunk;
}

struct leaktrace_chunk *lt_dump_chunk(uint32_t type, uint32_t record_size, uint64_t bytes)
{
	uint64_t offset, size = (sizeof(struct leaktrace_chunk) + bytes + LEAKTRACE_CHUNK_ALIGN - 1) &
	                        ~(uint64_t)(LEAKTRACE_CHUNK_ALIGN - 1);
	const struct lt_records like = { .type = type, .record_size = record_size };
	return new_chunk(&like, size, &offset, true);
}

static bool extend(struct lt_records *records)
{
	uint64_t offset;
	uint64_t size = records->chunk_size;
	if (!size) {
		size = records->chunk ? 2 * records->size : CHUNK_FIRST;
		if (size > CHUNK_DEFAULT)
			size = CHUNK_DEFAULT;
	}
	struct leaktrace_chunk *chunk = new_chunk(records, size, &offset, records->bounded);
	if (!chunk)
		return false;
	records->chunk = chunk;
	records->chunk_offset = offset;
	records->count = 0;
	records->size = size;
	return true;
}

static bool has_room(const struct lt_records *records, uint64_t bytes)
{
	return records->chunk && sizeof *records->chunk + records->count * records->record_size + bytes <= records->size;
}

bool lt_dump_has_room(const struct lt_records *records)
{
	return has_room(records, records->record_size);
}

void *lt_dump_append(struct lt_records *records)
{
	if (!has_room(records, records->record_size) && !extend(records))
		return NULL;
	return (char *)(records->chunk + 1) + records->count * records->record_size;
}

void lt_dump_commit(struct lt_records *records)
{
	records->next++;
	lt_store_release(&records->chunk->count, ++records->count); /* pairs with the reader of the file */
}

uint32_t lt_dump_string(const char *bytes, size_t length, bool bounded)
{
	if (length > LEAKTRACE_STRING_MAX)
		length = LEAKTRACE_STRING_MAX;
	uint64_t size = (sizeof(struct leaktrace_string) + length + 1 + 7) & ~UINT64_C(7);
	strings.chunk_size = size > CHUNK_FIRST - sizeof(struct leaktrace_chunk) ?
		(uint32_t)((size + sizeof(struct leaktrace_chunk) + 4095) & ~UINT64_C(4095)) : 0;
	strings.bounded = bounded;
	if (!has_room(&strings, size) && !extend(&strings))
		return 0;
	struct leaktrace_chunk *chunk = strings.chunk;
	uint64_t at = sizeof *chunk + strings.count;
	struct leaktrace_string *string = (void *)((char *)chunk + at);
	string->length = (uint32_t)length;
	memcpy(string->bytes, bytes, length);
	string->bytes[length] = '\0';
	strings.next += size;
	lt_store_release(&chunk->count, strings.count += size); /* pairs with the reader of the file */
	return (uint32_t)((strings.chunk_offset + at) / 8);
}

bool lt_dump_lost(const void *address)
{
	for (uint32_t i = 0; dump.header && i < dump.count; i++) {
		const struct segment *s = &dump.segments[i];
		if ((uintptr_t)address - (uintptr_t)s->address >= s->size)
			continue;
		dump.failed = true;
		void *p = lt_sys_mmap(s->address, s->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		return !lt_sys_mmap_failed(p);
	}
	return false;
}

void lt_dump_trim(void)
{
	struct stat status;
	if (!dump.header || lt_lock_until(&dump.lock, lt_sys_clock(CLOCK_MONOTONIC) + LT_LOCK_PATIENCE_NS))
		return;
	dump.failed = true; /* the other threads may still run: no chunk is carved out of what goes away */
	dump.next = dump.end;
	uint64_t committed = dump.next_offset;
	int fd = committed < dump.bytes ? lt_sys_open(AT_FDCWD, dump.path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, 0) : -1;
	if (fd >= 0) {
		if (!lt_syscall6(SYS_fstat, fd, (long)&status, 0, 0, 0, 0) && status.st_dev == dump.device && status.st_ino == dump.inode &&
		    !lt_sys_ftruncate(fd, committed))
			lt_store_relaxed(&dump.header->process.dump_bytes, committed);
		lt_sys_close(fd);
	}
	lt_unlock(&dump.lock);
}

void lt_dump_fork_child(bool interrupted)
{
	for (uint32_t i = 0; i < dump.count; i++) {
		const struct segment *s = &dump.segments[i];
		if (interrupted)
			lt_sys_mmap(s->address, s->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		else
			lt_sys_munmap(s->address, s->size);
	}
	dump.lock.held = 0;
	dump.header = NULL;
	dump.count = 0;
	memset(&no_process, 0, sizeof no_process);
	lt_process = &no_process;
	strings = (struct lt_records){ .type = LEAKTRACE_CHUNK_STRINGS, .record_size = 1 };
}

void lt_dump_visit(void (*visit)(const void *start, size_t size, void *arg), void *arg)
{
	for (uint32_t i = 0; dump.header && i < dump.count; i++)
		visit(dump.segments[i].address, dump.segments[i].size, arg);
}

/* The dump's path with `-`, the number and the other suffix. */
static bool snapshot_path(uint32_t number, struct lt_text *text)
{
	lt_text_add(text, dump.path);
	if (text->cut || text->length < sizeof LEAKTRACE_DUMP_SUFFIX)
		return false;
	text->length -= sizeof LEAKTRACE_DUMP_SUFFIX - 1;
	text->bytes[text->length] = '\0';
	lt_text_add(text, "-");
	lt_text_add_decimal(text, number);
	lt_text_add(text, LEAKTRACE_SNAPSHOT_SUFFIX);
	return !text->cut;
}

int lt_dump_snapshot(uint32_t number)
{
	static char path[PATH_MAX];
	struct lt_text text = LT_TEXT(path);
	struct leaktrace_process process = *lt_process;
	process.exe = process.host = process.session = process.r_note = process.cmdline = process.dir = process.boot_id = 0;
	if (!snapshot_path(number, &text))
		return -ENAMETOOLONG;
	lt_dump_fork_child(false);
	int error = lt_dump_create(path, SNAPSHOT_FIRST, dump.max_size);
	if (error)
		return error;
	*lt_process = process;
	dump.header->flags |= LEAKTRACE_HEADER_SNAPSHOT;
	return 0;
}

void lt_dump_remove_snapshot(uint32_t number)
{
	static char path[PATH_MAX];
	struct lt_text text = LT_TEXT(path);
	if (snapshot_path(number, &text))
		lt_syscall6(SYS_unlinkat, AT_FDCWD, (long)path, 0, 0, 0, 0);
}
