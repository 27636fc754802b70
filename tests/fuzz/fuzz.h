/* SPDX-License-Identifier: MIT
 *
 * What the fuzz targets share: files in a directory of their own, and commands run inside of this process with what they print
 * kept in memory.
 *
 * A target is a program with LLVMFuzzerTestOneInput(). Built with libFuzzer it looks for inputs by itself (see run.sh); else
 * replay.c has a main() that hands it the files of a corpus. What must not be is found by the sanitizers, or said by
 * fuzz_fault(), which aborts.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* libFuzzer's interface. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size, uint8_t *out, size_t most,
				 unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);

_Noreturn void fuzz_fault(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* DIRECTORY/NAME, in memory where there is a file system for that; valid until the end. Made once for each process. */
const char *fuzz_path(const char *name);
void fuzz_write(const char *path, const void *bytes, size_t size);

/* What a command printed. */
struct fuzz_output {
	int status;
	char *out, *told;
	size_t out_size, told_size;
};

/* Runs `leaktrace ARGV...` in this process; argv[0] is the command's name, NULL ends it. Faults: output that is out of all
 * proportion, a failure without a word or with a report, JSON (`--format=json`) that is none. The result stays valid until the
 * next call. */
const struct fuzz_output *fuzz_command(const char *const *argv);

#endif
