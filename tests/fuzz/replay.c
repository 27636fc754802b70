/* SPDX-License-Identifier: MIT
 *
 * main() of a fuzz target where there is no libFuzzer: gives it each file, in order, and with `-runs=N` also N changed copies of
 * each. Directories stand for the files in them.
 *
 *   fuzz-TARGET [-runs=N] FILE|DIRECTORY...
 *
 * The changes are those of the target's own mutator, if it has one, on top of a few random bytes; the same in each run.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"

#define INPUT_MOST (1u << 20)
#define GROWTH 1024

#pragma weak LLVMFuzzerInitialize
#pragma weak LLVMFuzzerCustomMutator
#pragma weak LLVMFuzzerCustomCrossOver

static uint64_t state = UINT64_C(0x9e3779b97f4a7c15);
static unsigned runs, files, copies;
static uint8_t *last; /* the file before */
static size_t last_size;

static uint64_t next_random(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most)
{
	switch (next_random() % 4) {
	case 0:
		if (size < most) {
			size_t at = next_random() % (size + 1);

			memmove(data + at + 1, data + at, size - at);
			data[at] = (uint8_t)next_random();
			return size + 1;
		}
		break;
	case 1:
		if (size > 1) {
			size_t at = next_random() % size;

			memmove(data + at, data + at + 1, size - at - 1);
			return size - 1;
		}
		break;
	}
	if (size)
		data[next_random() % size] ^= (uint8_t)(1 + next_random() % 255);
	return size;
}

static void run_changed(const uint8_t *bytes, size_t size)
{
	size_t most = size + GROWTH;
	uint8_t *copy = malloc(most);

	if (!copy)
		abort();
	memcpy(copy, bytes, size);
	for (unsigned i = (unsigned)(next_random() % 4); ; i--) {
		if (LLVMFuzzerCustomCrossOver && last && next_random() % 8 == 0) {
			uint8_t *both = malloc(most);

			if (!both)
				abort();
			size = LLVMFuzzerCustomCrossOver(copy, size, last, last_size, both, most, (unsigned)next_random());
			free(copy);
			copy = both;
		} else if (LLVMFuzzerCustomMutator) {
			size = LLVMFuzzerCustomMutator(copy, size, most, (unsigned)next_random());
		} else {
			size = LLVMFuzzerMutate(copy, size, most);
		}
		if (!i)
			break;
	}
	/* Of its own size, so that a read behind it is seen. */
	uint8_t *exact = malloc(size ? size : 1);
	if (!exact)
		abort();
	memcpy(exact, copy, size);
	free(copy);
	LLVMFuzzerTestOneInput(exact, size);
	free(exact);
	copies++;
}

static void run_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	uint8_t *bytes = malloc(INPUT_MOST), *exact;
	size_t size = file && bytes ? fread(bytes, 1, INPUT_MOST, file) : 0;

	if (!file || !bytes || ferror(file) || !(exact = malloc(size ? size : 1))) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		exit(1);
	}
	fclose(file);
	memcpy(exact, bytes, size);
	free(bytes);
	LLVMFuzzerTestOneInput(exact, size);
	for (unsigned i = 0; i < runs; i++)
		run_changed(exact, size);
	free(last);
	last = exact;
	last_size = size;
	files++;
}

static int visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void run_directory(const char *path)
{
	struct dirent **entries;
	int count = scandir(path, &entries, visible, alphasort);

	for (int i = 0; i < count; i++) {
		char *name;

		if (asprintf(&name, "%s/%s", path, entries[i]->d_name) < 0)
			abort();
		run_file(name);
		free(name);
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
}

int main(int argc, char **argv)
{
	if (LLVMFuzzerInitialize)
		LLVMFuzzerInitialize(&argc, &argv);
	for (int i = 1; i < argc; i++) {
		struct stat status;

		if (strncmp(argv[i], "-runs=", 6) == 0)
			runs = (unsigned)strtoul(argv[i] + 6, NULL, 10);
		else if (stat(argv[i], &status) == 0 && S_ISDIR(status.st_mode))
			run_directory(argv[i]);
		else
			run_file(argv[i]);
	}
	free(last);
	printf("%u files and %u changed copies of them\n", files, copies);
	return files ? 0 : 1; /* a corpus that is not there tests nothing */
}
