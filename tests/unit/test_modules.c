/* SPDX-License-Identifier: MIT
 *
 * The loaded objects, while libraries come and go. Arguments: two shared objects of the same layout (of tests/targets).
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/auxv.h>

#include <cmocka.h>

#include <elfutils/libdwelf.h>
#include <libelf.h>

#include "tracer.h"

static char first_path[PATH_MAX], second_path[PATH_MAX];

/* What a test has open. */
static void *opened[2];

static int set_up(void **state)
{
	lt_modules_scan();
	return tracer_set_up(state);
}

static int tear_down(void **state)
{
	for (unsigned i = 0; i < 2; i++)
		if (opened[i])
			dlclose(opened[i]);
	opened[0] = opened[1] = NULL;
	lt_modules_scan();
	return tracer_tear_down(state);
}

/* Loads and returns the address of its function. */
static uintptr_t load(unsigned which)
{
	opened[which] = dlopen(which ? second_path : first_path, RTLD_NOW | RTLD_LOCAL);
	assert_non_null(opened[which]);
	return (uintptr_t)dlsym(opened[which], which ? "plugin_second" : "plugin_first");
}

static void unload(unsigned which)
{
	assert_int_equal(dlclose(opened[which]), 0);
	opened[which] = NULL;
}

static uintptr_t base_of(void *handle)
{
	struct link_map *map;

	assert_int_equal(dlinfo(handle, RTLD_DI_LINKMAP, &map), 0);
	return map->l_addr;
}

static uint32_t find(uintptr_t address)
{
	uint64_t offset;

	return lt_modules_find(address, &offset);
}

/* As it stands in the file; its path, if wanted. */
static struct leaktrace_module record_of(const struct tracer *tracer, uint32_t index, char path[PATH_MAX])
{
	struct view view = view_of(tracer);
	const struct leaktrace_module *found = view_record(&view, LEAKTRACE_CHUNK_MODULES, index);

	assert_non_null(found);
	const struct leaktrace_module module = *found;
	if (path)
		strcpy(path, view_string(&view, module.path)->bytes);
	view_free(&view);
	return module;
}

static void executable_is_the_first_module(void **state)
{
	char path[PATH_MAX], exe[PATH_MAX];
	uint32_t index = find((uintptr_t)&executable_is_the_first_module);
	struct leaktrace_module module = record_of(*state, index, path);

	assert_int_equal(index, 1);
	exe[readlink("/proc/self/exe", exe, sizeof exe - 1)] = '\0';
	assert_string_equal(path, exe);
	assert_true(module.flags & LEAKTRACE_MODULE_MAIN);
	assert_true(module.flags & LEAKTRACE_MODULE_TRACER); /* linked into it here */
	assert_false(module.flags & (LEAKTRACE_MODULE_VDSO | LEAKTRACE_MODULE_R));
}

static void address_of_a_library_has_its_offset_in_the_file(void **state)
{
	char path[PATH_MAX];
	uint64_t offset;
	uintptr_t address = load(0);
	uint32_t index = lt_modules_find(address, &offset);
	struct leaktrace_module module = record_of(*state, index, path);

	assert_int_not_equal(index, 0);
	assert_int_equal(offset, address - base_of(opened[0]));
	assert_int_equal(module.base, base_of(opened[0]));
	assert_true(module.start <= address && address < module.end);
	assert_string_equal(path, first_path);
	assert_int_equal(module.unload_ns, 0);
	assert_true(module.load_ns > 0);
	assert_int_equal(module.flags, 0);
}

static void address_outside_of_all_has_no_module(void **state)
{
	uint64_t offset = 0;
	int here;

	assert_int_equal(lt_modules_find((uintptr_t)&here, &offset), 0);
	assert_int_equal(offset, (uintptr_t)&here);
	assert_int_equal(lt_modules_find(16, &offset), 0);
	assert_int_equal(offset, 16);
	assert_int_equal(lt_modules_find(UINTPTR_MAX, &offset), 0);
	assert_true(offset == UINTPTR_MAX);
}

static void modules_end_where_the_next_byte_is_no_longer_theirs(void **state)
{
	uintptr_t address = load(0);
	uint32_t index = find(address);
	struct leaktrace_module module = record_of(*state, index, NULL);

	assert_int_equal(find(module.start), index);
	assert_int_equal(find(module.end - 1), index);
	assert_int_not_equal(find(module.start - 1), index);
	assert_int_not_equal(find(module.end), index);
}

static void scan_tells_of_unloading_only(void **state)
{
	assert_false(lt_modules_scan());
	load(0);
	assert_false(lt_modules_scan());
	load(1);
	assert_false(lt_modules_scan());
	unload(0);
	assert_true(lt_modules_scan());
	assert_false(lt_modules_scan());
}

static void unloaded_module_is_found_no_more_and_its_record_says_when(void **state)
{
	uintptr_t address = load(0);
	uint32_t index = find(address);

	unload(0);
	lt_modules_scan();
	struct leaktrace_module module = record_of(*state, index, NULL);
	assert_int_equal(find(address), 0);
	assert_true(module.unload_ns >= module.load_ns);
}

static void module_that_comes_back_takes_up_its_record(void **state)
{
	uint32_t index = find(load(0));

	for (unsigned i = 0; i < 20; i++) {
		unload(0);
		lt_modules_scan();
		assert_int_equal(find(load(0)), index);
		assert_int_equal(record_of(*state, index, NULL).unload_ns, 0);
		assert_int_equal(record_of(*state, index, NULL).base, base_of(opened[0]));
	}
}

static void another_library_at_the_same_address_is_another_module(void **state)
{
	uintptr_t address = load(0), base = base_of(opened[0]);
	uint32_t index = find(address), other;
	char path[PATH_MAX];

	unload(0);
	lt_modules_scan();
	address = load(1);
	lt_modules_scan();
	other = find(address);
	assert_int_equal(base_of(opened[1]), base); /* else this test shows nothing */
	assert_int_not_equal(other, index);
	record_of(*state, other, path);
	assert_string_equal(path, second_path);
	assert_true(record_of(*state, index, path).unload_ns > 0);
	assert_string_equal(path, first_path);
}

static void copy_of_a_library_is_another_module(void **state)
{
	const struct tracer *tracer = *state;
	uint32_t index = find(load(0)), other;
	char *path = db_path(tracer->directory, "copy.so");
	size_t size;
	unsigned char *bytes = db_slurp(first_path, &size);

	db_spit(path, bytes, size);
	free(bytes);
	unload(0);
	lt_modules_scan();
	opened[0] = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	free(path);
	assert_non_null(opened[0]);
	other = find((uintptr_t)dlsym(opened[0], "plugin_first"));
	assert_int_not_equal(other, 0);
	assert_int_not_equal(other, index);
}

/* With no look at the loader's list in between. */
static void library_that_replaced_another_unseen_is_another_module(void **state)
{
	uintptr_t address = load(0), base = base_of(opened[0]);
	uint32_t index = find(address);

	unload(0);
	address = load(1);
	assert_true(lt_modules_scan());
	assert_int_equal(base_of(opened[1]), base);
	assert_int_not_equal(find(address), index);
	assert_int_not_equal(find(address), 0);
	assert_true(record_of(*state, index, NULL).unload_ns > 0);
}

static void build_id_is_the_files(void **state)
{
	uint32_t index = find(load(0));
	struct leaktrace_module module = record_of(*state, index, NULL);
	const void *wanted;
	int fd = open(first_path, O_RDONLY);

	elf_version(EV_CURRENT);
	Elf *elf = elf_begin(fd, ELF_C_READ, NULL);
	ssize_t size = dwelf_elf_gnu_build_id(elf, &wanted);
	bool same = size <= 0 || !memcmp(module.build_id, wanted, (size_t)size);
	elf_end(elf);
	close(fd);
	assert_int_equal(module.build_id_size, size > 0 ? size : 0);
	assert_true(same);
}

static void relative_path_is_made_absolute(void **state)
{
	char path[PATH_MAX], wanted[PATH_MAX], cwd[PATH_MAX], relative[PATH_MAX];
	const char *slash = strrchr(first_path, '/');

	assert_non_null(getcwd(cwd, sizeof cwd));
	snprintf(wanted, sizeof wanted, "%.*s", (int)(slash - first_path), first_path);
	snprintf(relative, sizeof relative, ".%s", slash);
	assert_int_equal(chdir(wanted), 0);
	opened[0] = dlopen(relative, RTLD_NOW | RTLD_LOCAL);
	uint32_t index = opened[0] ? find((uintptr_t)dlsym(opened[0], "plugin_first")) : 0;
	int error = chdir(cwd);
	assert_int_equal(error, 0);
	record_of(*state, index, path);
	assert_int_equal(path[0], '/');
	assert_int_equal(access(path, R_OK), 0);
	assert_string_equal(strrchr(path, '/'), slash);
}

static void vdso_is_a_module_without_a_file(void **state)
{
	uintptr_t address = getauxval(AT_SYSINFO_EHDR);
	char path[PATH_MAX];

	if (!address)
		return; /* a kernel, or an emulator, without one */
	struct leaktrace_module module = record_of(*state, find(address), path);
	assert_true(module.flags & LEAKTRACE_MODULE_VDSO);
	assert_string_equal(path, "[vdso]");
}

static void module_that_holds_r_is_marked(void **state)
{
	uintptr_t address = load(0);
	uint32_t index = find(address);

	lt_modules_mark_r(address);
	assert_int_equal(record_of(*state, index, NULL).flags, LEAKTRACE_MODULE_R);
	assert_false(record_of(*state, 1, NULL).flags & LEAKTRACE_MODULE_R);
	lt_modules_mark_r(0);
}

static void fork_child_writes_the_modules_that_are_loaded(void **state)
{
	struct tracer *tracer = *state;
	uintptr_t address = load(0);
	char path[PATH_MAX];

	find(load(1));
	find(address);
	unload(1);
	lt_modules_scan();
	tracer_end(tracer);
	tracer_start(tracer, MAX_SIZE);
	struct view view = view_of(tracer);
	uint64_t count = view_count(&view, LEAKTRACE_CHUNK_MODULES);
	for (uint64_t i = 1; i <= count; i++) {
		const struct leaktrace_module *module = view_record(&view, LEAKTRACE_CHUNK_MODULES, i);

		assert_non_null(module);
		assert_string_not_equal(view_string(&view, module->path)->bytes, second_path);
		assert_int_equal(module->unload_ns, 0);
	}
	view_free(&view);
	record_of(tracer, find(address), path);
	assert_string_equal(path, first_path);
}

static void full_dump_leaves_addresses_as_they_are(void **state)
{
	uint64_t offset;

	tracer_fill();
	lt_modules_fork_child(); /* none has a record any more, nor room for one */
	uintptr_t address = load(0);
	assert_int_equal(lt_modules_find(address, &offset), 0);
	assert_int_equal(offset, address);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
	if (argc != 3 || !realpath(argv[1], first_path) || !realpath(argv[2], second_path))
		return 2;

	const struct CMUnitTest tests[] = {
		TEST(executable_is_the_first_module),
		TEST(address_of_a_library_has_its_offset_in_the_file),
		TEST(address_outside_of_all_has_no_module),
		TEST(modules_end_where_the_next_byte_is_no_longer_theirs),
		TEST(scan_tells_of_unloading_only),
		TEST(unloaded_module_is_found_no_more_and_its_record_says_when),
		TEST(module_that_comes_back_takes_up_its_record),
		TEST(another_library_at_the_same_address_is_another_module),
		TEST(copy_of_a_library_is_another_module),
		TEST(library_that_replaced_another_unseen_is_another_module),
		TEST(build_id_is_the_files),
		TEST(relative_path_is_made_absolute),
		TEST(vdso_is_a_module_without_a_file),
		TEST(module_that_holds_r_is_marked),
		TEST(fork_child_writes_the_modules_that_are_loaded),
		TEST(full_dump_leaves_addresses_as_they_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
