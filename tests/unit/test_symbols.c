/* SPDX-License-Identifier: MIT
 *
 * The symbolizer against the tools that everybody trusts: addr2line for functions, lines and inlined calls, c++filt for
 * names, nm for where functions begin. arguments: inlined.so [names.so]. Exit status 77 without binutils.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dump_builder.h"
#include "demangle.h"
#include "symbols.h"

enum { MOST = 4096, FRAMES = 16 };

static const char *inlined_module, *names_module; /* absolute paths */

struct function {
	uint64_t start, size;
	char name[256];
};

struct fixture {
	char *directory, *module, *debug; /* a stripped copy of inlined.so, and what it was stripped of */
	uint8_t build_id[64];
	size_t build_id_size;
	struct lt_symbols *symbols;
};

/* Runs a command of binutils, made of a format; its output line by line. */
static FILE *ask(const char *format, ...)
{
	char command[3 * PATH_MAX];
	va_list arguments;
	FILE *output;

	va_start(arguments, format);
	vsnprintf(command, sizeof command, format, arguments);
	va_end(arguments);
	output = popen(command, "r");
	assert_non_null(output);
	return output;
}

static void tell(const char *format, ...)
{
	char command[3 * PATH_MAX];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(command, sizeof command, format, arguments);
	va_end(arguments);
	assert_int_equal(system(command), 0);
}

static void read_build_id(struct fixture *f, const char *module)
{
	char line[512];
	FILE *output = ask("readelf -n '%s'", module);

	while (fgets(line, sizeof line, output)) {
		const char *hex = strstr(line, "Build ID: ");
		unsigned byte;

		for (hex = hex ? hex + 10 : NULL; hex && sscanf(hex, "%2x", &byte) == 1; hex += 2)
			f->build_id[f->build_id_size++] = (uint8_t)byte;
	}
	pclose(output);
	assert_true(f->build_id_size >= 8);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	unsetenv("LEAKTRACE_DEBUG_DIR");
	f->directory = db_directory();
	f->module = db_path(f->directory, "inlined.so");
	f->debug = db_path(f->directory, "all.debug");
	read_build_id(f, inlined_module);
	tell("objcopy --only-keep-debug '%s' '%s' && objcopy --strip-all '%s' '%s'", inlined_module, f->debug, inlined_module, f->module);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	lt_symbols_free(f->symbols);
	unsetenv("LEAKTRACE_DEBUG_DIR");
	tell("rm -rf '%s'", f->directory);
	free(f->directory);
	free(f->module);
	free(f->debug);
	free(f);
	return 0;
}

static const struct lt_symbol_frame *lookup(struct fixture *f, const char *module, uint64_t address, size_t *n)
{
	if (!f->symbols)
		f->symbols = lt_symbols_new();
	return lt_symbols_lookup(f->symbols, module, f->build_id, f->build_id_size, address + 1, n);
}

/* Functions of the text section, by nm, without the start-up code that the compiler brings. */
static size_t functions_of(const char *module, struct function *functions)
{
	char line[1024], type;
	size_t count = 0;
	FILE *output = ask("nm -n -S --defined-only '%s'", module);

	while (count < MOST && fgets(line, sizeof line, output)) {
		struct function *function = &functions[count];

		if (sscanf(line, "%" SCNx64 " %" SCNx64 " %c %255s", &function->start, &function->size, &type, function->name) == 4 &&
		    strchr("TtWw", type) && strcmp(function->name, "_init") && strcmp(function->name, "_fini"))
			count++;
	}
	assert_int_equal(pclose(output), 0);
	assert_true(count > 5);
	return count;
}

static size_t instructions_of(const char *module, uint64_t *addresses)
{
	char line[1024], *end;
	size_t count = 0;
	FILE *output = ask("objdump -d --no-show-raw-insn -j .text -j .text.unlikely '%s' 2>/dev/null", module);

	while (count < MOST && fgets(line, sizeof line, output)) {
		uint64_t address = strtoull(line, &end, 16);

		if (line[0] == ' ' && *end == ':')
			addresses[count++] = address;
	}
	pclose(output);
	assert_true(count > 100);
	return count;
}

/* One line for a chain of frames: "innermost /src/inlined.c:20 < middle /src/inlined.c:27 <". addr2line leaves ".." in paths. */
static void add_frame(char *text, const char *function, const char *file, unsigned line)
{
	size_t length = strlen(text);
	char *real = file ? realpath(file, NULL) : NULL;

	snprintf(text + length, 2048 - length, "%s %s:%u < ", function ? function : "?", real ? real : "?", line);
	free(real);
}

/* The first instructions' chains in each of which addr2line knows everything. It gives up on what gcc moved to a function's
 * cold part. */
static size_t chains_of(struct fixture *f, const char *module, const uint64_t *addresses, size_t count, char (*chains)[2048])
{
	char *list = db_path(f->directory, "addresses"), line[4096], place[4096];
	size_t i = SIZE_MAX, known = 0;
	FILE *file = fopen(list, "w");

	for (size_t j = 0; j < count; j++)
		fprintf(file, "%#" PRIx64 "\n", addresses[j]);
	fclose(file);
	file = ask("addr2line -a -i -f -e '%s' <'%s'", module, list);
	for (bool whole = false; fgets(line, sizeof line, file);) {
		unsigned number = 0;
		char *colon;

		line[strcspn(line, "\n")] = '\0';
		if (!strncmp(line, "0x", 2)) {
			i++;
			chains[i][0] = '\0';
			known += i && chains[i - 1][0];
			whole = true;
			continue;
		}
		assert_non_null(fgets(place, sizeof place, file));
		colon = strrchr(place, ':');
		if (!whole || !colon || sscanf(colon + 1, "%u", &number) != 1 || strchr(line, '.') || !strcmp(line, "??")) {
			whole = false;
			chains[i][0] = '\0';
			continue;
		}
		*colon = '\0';
		add_frame(chains[i], line, place, number);
	}
	pclose(file);
	assert_int_equal(i + 1, count);
	free(list);
	return known;
}

/* nop between functions belongs to none, though addr2line gives it the name before. */
static bool in_function(const struct function *functions, size_t count, uint64_t address)
{
	for (size_t i = 0; i < count; i++)
		if (address - functions[i].start < functions[i].size)
			return true;
	return false;
}

/* Every instruction of inlined.so, looked up in `module`, has the frames that addr2line finds in the file with all of them. */
static void assert_as_addr2line(struct fixture *f, const char *module)
{
	static char chains[MOST][2048];
	static uint64_t addresses[MOST];
	static struct function functions[MOST];
	size_t count = instructions_of(inlined_module, addresses), deepest = 0;
	size_t function_count = functions_of(inlined_module, functions);

	assert_true(chains_of(f, inlined_module, addresses, count, chains) > 80);
	for (size_t i = 0; i < count; i++) {
		char found[2048] = "";
		size_t n;
		const struct lt_symbol_frame *frames = lookup(f, module, addresses[i], &n);

		if (!chains[i][0] || !in_function(functions, function_count, addresses[i]))
			continue;
		for (size_t j = 0; j < n; j++) {
			add_frame(found, frames[j].function, frames[j].file, frames[j].line);
			assert_non_null(frames[j].file);
			assert_null(strstr(frames[j].file, "/.."));
			assert_int_equal(frames[j].inlined, j + 1 < n);
		}
		if (strcmp(found, chains[i]))
			print_error("at %#" PRIx64 "\n", addresses[i]);
		assert_string_equal(found, chains[i]);
		deepest = n > deepest ? n : deepest;
	}
	assert_int_equal(deepest, 4);
}

static void inlined_frames_are_those_of_addr2line(void **state)
{
	assert_as_addr2line(*state, inlined_module);
}

static void debug_file_is_found_by_build_id(void **state)
{
	struct fixture *f = *state;
	char hex[129] = "";

	for (size_t i = 0; i < f->build_id_size; i++)
		snprintf(hex + 2 * i, 3, "%02x", f->build_id[i]);
	tell("mkdir -p '%s/.build-id/%.2s' && cp '%s' '%s/.build-id/%.2s/%s.debug'", f->directory, hex, f->debug, f->directory, hex, hex + 2);
	setenv("LEAKTRACE_DEBUG_DIR", f->directory, 1);
	assert_as_addr2line(f, f->module);
}

static void debug_file_is_found_by_its_link(void **state)
{
	struct fixture *f = *state;

	tell("objcopy --add-gnu-debuglink='%s' '%s'", f->debug, f->module);
	tell("mkdir '%s/.debug' && mv '%s' '%s/.debug/'", f->directory, f->debug, f->directory);
	assert_as_addr2line(f, f->module);
}

static void link_without_build_id_is_checked_by_checksum(void **state)
{
	struct fixture *f = *state;

	tell("objcopy -R .note.gnu.build-id '%s' && objcopy -R .note.gnu.build-id '%s'", f->debug, f->module);
	tell("objcopy --add-gnu-debuglink='%s' '%s'", f->debug, f->module);
	f->build_id_size = 0;
	assert_as_addr2line(f, f->module);
}

/* Debug information of another build: it must not be believed. Only what the module says by itself is left. */
static void assert_exported_names_only(struct fixture *f, const char *module)
{
	static struct function functions[MOST];
	size_t count = functions_of(inlined_module, functions), named = 0, hidden = 0;

	for (size_t i = 0; i < count; i++) {
		for (uint64_t address = functions[i].start; address < functions[i].start + functions[i].size; address++) {
			size_t n;
			const struct lt_symbol_frame *frame = lookup(f, module, address, &n);

			assert_int_equal(n, 1);
			assert_null(frame->file);
			if (!strncmp(functions[i].name, "exported_", 9)) {
				assert_non_null(frame->function);
				assert_string_equal(frame->function, functions[i].name);
				named++;
			} else {
				/* No name at all rather than a neighbour's; where it begins is known from the unwind table. */
				assert_null(frame->function);
				assert_int_equal(frame->start, functions[i].start);
				hidden++;
			}
		}
	}
	assert_true(named > 100 && hidden > 100);
}

static void stripped_function_has_no_name_but_its_start(void **state)
{
	struct fixture *f = *state;

	unlink(f->debug);
	assert_exported_names_only(f, f->module);
}

static void debug_file_of_another_build_is_refused(void **state)
{
	struct fixture *f = *state;
	char *id = db_path(f->directory, "id");
	unsigned char *note;
	size_t size;

	/* Linked to, but then replaced by one of another build-id. */
	tell("objcopy --add-gnu-debuglink='%s' '%s'", f->debug, f->module);
	tell("objcopy --dump-section .note.gnu.build-id='%s' '%s'", id, f->debug);
	note = db_slurp(id, &size);
	note[size - 1] ^= 1;
	db_spit(id, note, size);
	free(note);
	tell("objcopy --update-section .note.gnu.build-id='%s' '%s'", id, f->debug);
	free(id);
	assert_exported_names_only(f, f->module);
}

static void checksum_that_differs_is_refused(void **state)
{
	struct fixture *f = *state;

	tell("objcopy -R .note.gnu.build-id '%s' && objcopy -R .note.gnu.build-id '%s'", f->debug, f->module);
	tell("objcopy --add-gnu-debuglink='%s' '%s' && printf x >>'%s'", f->debug, f->module, f->debug);
	f->build_id_size = 0;
	assert_exported_names_only(f, f->module);
}

static void module_of_another_build_gives_no_names(void **state)
{
	struct fixture *f = *state;
	static struct function functions[MOST];
	size_t count = functions_of(inlined_module, functions), n;

	f->build_id[0] ^= 1;
	for (size_t i = 0; i < count; i++) {
		const struct lt_symbol_frame *frame = lookup(f, inlined_module, functions[i].start, &n);

		assert_int_equal(n, 1);
		assert_null(frame->function);
		assert_null(frame->file);
		assert_int_equal(frame->start, 0);
	}
	assert_non_null(strstr(lt_symbols_module_note(f->symbols, inlined_module, f->build_id, f->build_id_size), "build-id"));
}

static void addresses_outside_code_have_no_name(void **state)
{
	struct fixture *f = *state;
	static const uint64_t offsets[] = {0, 1, 0x10, UINT32_MAX, INT64_MAX, UINT64_MAX - 1};

	for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
		size_t n;
		const struct lt_symbol_frame *frame = lookup(f, inlined_module, offsets[i] - 1, &n);

		assert_int_equal(n, 1);
		assert_null(frame->function);
		assert_null(frame->file);
	}
}

static void cut_module_does_no_harm(void **state)
{
	struct fixture *f = *state;
	struct stat status;

	tell("cp '%s' '%s'", inlined_module, f->module);
	assert_int_equal(stat(f->module, &status), 0);
	for (off_t size = status.st_size; (size -= status.st_size / 40) > 0;) {
		size_t n;

		assert_int_equal(truncate(f->module, size), 0);
		for (uint64_t address = 0x1000; address < 0x1400; address += 0x11)
			assert_true(lookup(f, f->module, address, &n) && n > 0);
		lt_symbols_free(f->symbols);
		f->symbols = NULL;
	}
}

/* What c++filt makes of the first `length` bytes of a symbol. */
static void demangle(const char *symbol, size_t length, char *name, size_t size)
{
	FILE *output = ask("printf '%%s' '%.*s' | c++filt", (int)length, symbol);

	assert_non_null(fgets(name, (int)size, output));
	name[strcspn(name, "\n")] = '\0';
	pclose(output);
}

/* Several symbols may begin at one place, as complete and base constructor do. With debug information, the compiler's clones
 * of a function (f.cold, f.constprop.0) have its name. */
static bool begins_here(const char *name, uint64_t start, const struct function *functions, size_t count, bool debug)
{
	for (size_t i = 0; i < count; i++) {
		const char *symbol = functions[i].name;
		char wanted[2048];

		if (functions[i].start != start)
			continue;
		demangle(symbol, debug ? strcspn(symbol, ".") : strlen(symbol), wanted, sizeof wanted);
		if (!strcmp(name, wanted))
			return true;
	}
	return false;
}

static void assert_cxx_names(struct fixture *f, const char *module, bool debug)
{
	static struct function functions[MOST];
	size_t count = functions_of(names_module, functions), mangled = 0;

	for (size_t i = 0; i < count; i++) {
		size_t n;
		const struct lt_symbol_frame *frames = lookup(f, module, functions[i].start, &n);

		assert_non_null(frames[n - 1].function);
		if (!begins_here(frames[n - 1].function, functions[i].start, functions, count, debug))
			fail_msg("%s has the name %s", functions[i].name, frames[n - 1].function);
		mangled += !strncmp(functions[i].name, "_Z", 2);
	}
	assert_true(mangled > 15);
}

static void names_are_those_of_cxxfilt(void **state)
{
	struct fixture *f = *state;

	f->build_id_size = 0;
	read_build_id(f, names_module);
	assert_cxx_names(f, names_module, true);
}

static void names_without_debug_information_too(void **state)
{
	struct fixture *f = *state;

	f->build_id_size = 0;
	read_build_id(f, names_module);
	tell("objcopy --strip-debug '%s' '%s'", names_module, f->module);
	assert_cxx_names(f, f->module, false);
}

/* The demangler hands over parts without bytes as NULL. */
static void name_with_an_empty_part_does_no_harm(void **state)
{
	assert_null(lt_demangle("_RC0"));
	(void)lt_demangle("_RB_0"); /* and returns where a name refers to itself */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(inlined_frames_are_those_of_addr2line),
		TEST(debug_file_is_found_by_build_id),
		TEST(debug_file_is_found_by_its_link),
		TEST(link_without_build_id_is_checked_by_checksum),
		TEST(stripped_function_has_no_name_but_its_start),
		TEST(debug_file_of_another_build_is_refused),
		TEST(checksum_that_differs_is_refused),
		TEST(module_of_another_build_gives_no_names),
		TEST(addresses_outside_code_have_no_name),
		TEST(cut_module_does_no_harm),
		cmocka_unit_test(name_with_an_empty_part_does_no_harm),
	};
	const struct CMUnitTest cxx_tests[] = {
		TEST(names_are_those_of_cxxfilt),
		TEST(names_without_debug_information_too),
	};
	int failed;

	if (argc < 2) {
		fprintf(stderr, "usage: test_symbols inlined.so [names.so]\n");
		return 2;
	}
	if (system("for c in addr2line c++filt nm objcopy objdump readelf; do command -v $c || exit 1; done >/dev/null"))
		return 77;
	inlined_module = realpath(argv[1], NULL);
	failed = cmocka_run_group_tests_name("symbols", tests, NULL, NULL);
	if (argc > 2) {
		names_module = realpath(argv[2], NULL);
		failed += cmocka_run_group_tests_name("symbols of C++", cxx_tests, NULL, NULL);
	}
	return failed;
}
