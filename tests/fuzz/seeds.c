/* SPDX-License-Identifier: MIT
 *
 * Makes the seeds of corpus/dump: small dumps, each of another sort of process, packed. usage: fuzz-seeds DIRECTORY
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/dump_builder.h"
#include "fuzz.h"
#include "packed.h"

#define SEED_MOST 8192

static const char *directory;
static uint8_t seed[SEED_MOST];
static size_t seed_size;

static void put(enum packed_op op, unsigned argument, const void *bytes, size_t size)
{
	size_t more = packed_put(seed, seed_size, sizeof seed, op, argument, bytes, size);

	if (!more)
		fuzz_fault("a seed becomes too large");
	seed_size = more;
}

static void begin(unsigned choices)
{
	seed[0] = (uint8_t)choices;
	seed[1] = (uint8_t)(choices >> 8);
	seed_size = PACKED_CHOICES;
}

static void end(const char *name)
{
	char *path;

	if (asprintf(&path, "%s/%s", directory, name) < 0)
		fuzz_fault("no memory");
	fuzz_write(path, seed, seed_size);
	free(path);
}

static void put_dump(const char *path)
{
	size_t size;
	unsigned char *bytes = db_slurp(path, &size);
	const struct leaktrace_header *header = (const void *)bytes;
	const struct leaktrace_chunk *chunk;

	if (header->flags)
		put(PACKED_HEADER, offsetof(struct leaktrace_header, flags) / 8, &header->flags, sizeof header->flags);
	else
		put(PACKED_HEADER, offsetof(struct leaktrace_header, process) / 8, &header->process, sizeof header->process);
	for (size_t at = LEAKTRACE_HEADER_SIZE; at < size; at += chunk->size) {
		chunk = (const void *)(bytes + at);
		put(PACKED_CHUNK, chunk->type, chunk + 1, chunk->count * chunk->record_size);
	}
	free(bytes);
}

static void put_built(struct db *db)
{
	const char *path = fuzz_path("seed.ltd");

	db_write(db, path);
	put_dump(path);
}

/* A master with a few sites of all kinds, some in R. */
static struct db *make_r(uint32_t pid)
{
	struct db *db = db_new(pid);
	uint32_t foo = db_module(db, "/none/libfoo.so", 0, "12345678"), r = db_module(db, "/none/libR.so", LEAKTRACE_MODULE_R, NULL);
	uint32_t main = db_frame(db, 0, r, 0x9000), call = db_frame(db, main, r, 0x1234), inner = db_frame(db, call, foo, 0x100);
	uint32_t f = db_rframe(db, 0, "f", NULL, "job.R", 12), g = db_rframe(db, f, "g", "pkg", NULL, 0);

	db_process(db)->flags |= LEAKTRACE_PROCESS_R | LEAKTRACE_PROCESS_R_STACKS;
	db_process(db)->r_version = 40202;
	db_process(db)->r_note = db_string(db, "a note");
	db_live_site(db, inner, g, 3, 64);
	db_live_site(db, db_frame(db, call, foo, 0x200), f, 1, 100)->flags = LEAKTRACE_SITE_CUT | LEAKTRACE_SITE_R_CUT;
	db_live_site(db, call, 0, 2, 7960)->flags = LEAKTRACE_SITE_R_HEAP;
	for (unsigned i = 0; i < 3; i++)
		db_judged_block(db, 0x5000 + 64 * i, 64, 1, i + 1);
	db_judged_block(db, 0x6000, 100, 2, LEAKTRACE_KIND_REACHABLE | LEAKTRACE_BLOCK_R_GARBAGE);
	db_judged_block(db, 0x8000, 7960, 3, LEAKTRACE_KIND_REACHABLE | LEAKTRACE_BLOCK_INTERIOR);
	db_judged_block(db, 0xa000, 7960, 3, LEAKTRACE_KIND_REACHABLE);
	db_verdict(db);
	return db;
}

/* Its child, a worker with tasks. */
static struct db *make_child(struct db *parent, uint32_t pid)
{
	struct db *db = db_new(pid);
	struct leaktrace_process *process = db_process(db);
	struct leaktrace_site *site;
	uint32_t module = db_module(db, "/none/libfoo.so", 0, "12345678");

	process->role = LEAKTRACE_ROLE_FORK;
	process->parent = process->forked_from = db_process(parent)->key;
	process->ppid = db_process(parent)->key.pid;
	process->tasks = 20;
	process->first_site = 4;
	process->inherited_blocks = 2;
	process->inherited_bytes = 128;
	process->end_kind = LEAKTRACE_END_NONE;
	process->end_ns = 0;
	site = db_site(db, db_frame(db, 0, module, 0x300), 0);
	site->id = 4;
	site->epoch_shift = 2;
	for (unsigned e = 0; e < 5; e++) {
		site->epoch[e].blocks = 4;
		site->epoch[e].bytes = 400;
	}
	site->allocations = 25;
	site->allocated_bytes = 2500;
	site->frees = 5;
	site->freed_bytes = 500;
	db_inherited(db, 1, 2, 128);
	return db;
}

static void seed_processes(void)
{
	struct db *parent = make_r(100), *child = make_child(parent, 101);

	db_event(parent, LEAKTRACE_EVENT_FORK, 101, 0, 1700000000500000000, NULL);
	db_event(parent, LEAKTRACE_EVENT_CHILD_END, 101, 9, 1700000001000000000, NULL);
	db_event(parent, LEAKTRACE_EVENT_MARK, 0, 0, 1700000002000000000, "a mark");
	db_event(parent, LEAKTRACE_EVENT_NOTE, 0, 0, 1700000003000000000, "a problem");
	db_event(parent, LEAKTRACE_EVENT_STOP, 0, 0, 1700000004000000000, NULL);
	db_event(parent, LEAKTRACE_EVENT_START, 0, 0, 1700000005000000000, NULL);
	db_unknown_chunk(parent);

	begin(0x0701);
	put_built(parent);
	put(PACKED_FILE, 0, "", 0);
	put_built(child);
	end("fork");

	begin(0x0001 | 32 | 64);
	put_built(parent);
	end("kinds-json");
	begin(0x4000);
	put_built(parent);
	end("generate");
	begin(0x8000 | 1 << 2);
	put_built(parent);
	end("functions-text");
	begin(0x0080 | 2 | 3 << 2);
	put_built(parent);
	end("calls-csv");

	/* As one merged file. */
	db_write(parent, fuzz_path("one.ltd"));
	db_write(child, fuzz_path("two.ltd"));
	if (fuzz_command((const char *const[]){"merge", "-o", fuzz_path("seed.ltd"), fuzz_path("one.ltd"), fuzz_path("two.ltd"),
					       NULL})->status)
		fuzz_fault("no merged seed");
	begin(0x0301 | 64);
	put_dump(fuzz_path("seed.ltd"));
	end("merged");
	db_free(parent);
	db_free(child);
}

/* Killed, with a snapshot beside it. */
static void seed_snapshot(void)
{
	struct db *db = db_new(100), *snapshot = db_new(100);
	uint32_t frame = db_frame(db, 0, db_module(db, "/none/program", LEAKTRACE_MODULE_MAIN, NULL), 0x100);

	db_process(db)->end_kind = LEAKTRACE_END_NONE;
	db_process(db)->end_ns = 0;
	db_live_site(db, frame, 0, 10, 32);
	db_judged_block(snapshot, 0x1000, 32, 1, LEAKTRACE_KIND_DEFINITE);
	db_judged_block(snapshot, 0x2000, 32, 1, LEAKTRACE_KIND_POSSIBLE);
	db_verdict(snapshot);
	begin(0x0501);
	put_built(db);
	put(PACKED_FILE, 1, "", 0);
	put_built(snapshot);
	end("snapshot");
	db_free(db);
	db_free(snapshot);
}

/* Figures that are estimates; several records of one site, of several threads. */
static void seed_sampled(void)
{
	struct db *db = db_new(100);
	uint32_t module = db_module(db, "/none/program", LEAKTRACE_MODULE_MAIN, "abcdefgh"), frame = db_frame(db, 0, module, 0x100);
	struct leaktrace_process *process = db_process(db);
	struct leaktrace_site *site;

	process->flags |= LEAKTRACE_PROCESS_SAMPLED | LEAKTRACE_PROCESS_PAUSED;
	process->sample_bytes = 4096;
	process->recorded_ns = 5000000000;
	process->tasks = 3;
	for (unsigned thread = 0; thread < 3; thread++) {
		site = db_live_site(db, frame, 0, 82, 100);
		site->process = thread;
		site->sampled = 2;
		site->variance_blocks = 3280;
		site->variance_bytes = 2050000;
		site->epoch[thread].blocks = 41;
		site->epoch[thread].bytes = 4100;
		site->epoch_shift = thread;
	}
	db_judged_block(db, 0x1000, 100, 1, LEAKTRACE_KIND_DEFINITE);
	db_judged_block(db, 0x2000, 100, 2, LEAKTRACE_KIND_INDIRECT);
	db_verdict(db);
	begin(0x0301);
	put_built(db);
	end("sampled");
	begin(0x0000 | 32);
	put_built(db);
	end("sampled-text");
	db_free(db);
}

/* Two sessions of two builds, for diff. */
static void seed_builds(void)
{
	struct db *before = db_new(100), *after = db_new(200);
	uint32_t a = db_module(before, "/none/program", LEAKTRACE_MODULE_MAIN, "abcdefgh");
	uint32_t b = db_module(after, "/none/program", LEAKTRACE_MODULE_MAIN, "ABCDEFGH");

	db_live_site(before, db_frame(before, db_frame(before, 0, a, 0x10), a, 0x20), db_rframe(before, 0, "f", NULL, "job.R", 12),
		     5, 8);
	db_live_site(after, db_frame(after, db_frame(after, 0, b, 0x14), b, 0x28), db_rframe(after, 0, "f", NULL, "job.R", 13), 9, 8);
	db_live_site(after, db_frame(after, 0, 0, 0x7fff1234), 0, 1, 8);
	db_process(after)->end_kind = LEAKTRACE_END_SIGNAL;
	db_process(after)->end_code = 11;
	for (unsigned format = 0; format < 3; format++) {
		char name[16] = "diff-0";

		name[5] = (char)('0' + format);
		begin(0x0200 | (format == 2 ? 128 | 2 : format));
		put_built(before);
		put(PACKED_FILE, 0, "", 0);
		put_built(after);
		end(name);
	}
	db_free(before);
	db_free(after);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		fuzz_fault("usage: fuzz-seeds DIRECTORY");
	directory = argv[1];
	seed_processes();
	seed_snapshot();
	seed_sampled();
	seed_builds();
	return 0;
}
