/* SPDX-License-Identifier: MIT
 *
 * Synthetic dumps for tests of the reading side: written from dump-format.h alone, sharing no code with src/ or tools/.
 *
 * A builder collects records; db_write() lays them out as the tracer does: header, then one chunk per type (strings first, at
 * a fixed place, so that references are known at once). Fields that a test wants wrong are set in the records, or in the
 * file afterwards. Any failure aborts: a test must not go on.
 */
#ifndef DUMP_BUILDER_H
#define DUMP_BUILDER_H

#include <leaktrace/dump-format.h>
#include <stdbool.h>
#include <stddef.h>

struct db;

struct db *db_new(uint32_t pid);
void db_free(struct db *db);

/* The process record: set what the test is about. Starts as a master of PID `pid`, ended by exit 0, all keys set. */
struct leaktrace_process *db_process(struct db *db);

uint32_t db_string(struct db *db, const char *text);
uint32_t db_bytes(struct db *db, const char *bytes, uint32_t length);
uint32_t db_module(struct db *db, const char *path, uint32_t flags, const char *build_id);
uint32_t db_frame(struct db *db, uint32_t parent, uint32_t module, uint64_t offset);
uint32_t db_rframe(struct db *db, uint32_t parent, const char *call, const char *namespace, const char *file, uint32_t line);

/* Valid until the next call for the same builder. */
struct leaktrace_site *db_site(struct db *db, uint32_t native, uint32_t r);
/* A site with `blocks` live blocks of `size` bytes, born outside any task. */
struct leaktrace_site *db_live_site(struct db *db, uint32_t native, uint32_t r, uint64_t blocks, uint64_t size);
void db_block(struct db *db, uint64_t address, uint64_t size, uint32_t site, uint32_t task);
/* With what the verdict says of it. */
void db_judged_block(struct db *db, uint64_t address, uint64_t size, uint32_t site, uint32_t flags);
/* The process was classified at its end: its blocks are those of the verdict, too. */
void db_verdict(struct db *db);
void db_inherited(struct db *db, uint32_t site, uint64_t blocks, uint64_t bytes);
void db_event(struct db *db, uint32_t type, uint32_t pid, int64_t value, int64_t time_ns, const char *text);

/* Adds a chunk of a type that no reader knows. */
void db_unknown_chunk(struct db *db);

/* The process's live figures are made those of its sites; blocks, if there are any, its final list. */
void db_write(struct db *db, const char *path);

/* A directory for one test, and its removal with all that is in it. */
char *db_directory(void);
void db_remove(char *directory);
/* DIRECTORY/NAME, to be freed. */
char *db_path(const char *directory, const char *name);

/* Whole files. */
unsigned char *db_slurp(const char *path, size_t *size);
void db_spit(const char *path, const void *bytes, size_t size);

/* Offset of the header of the first chunk of a type in a file that was slurped; 0: none. */
size_t db_find_chunk(const unsigned char *bytes, size_t size, uint32_t type);

#endif
