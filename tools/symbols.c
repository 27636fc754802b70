/* SPDX-License-Identifier: MIT
 *
 * The symbolizer: DWARF where there is some, else symbols, else the unwind table; see symbols.h for what is promised.
 *
 * Three tables: modules by (build-id, path), answers by (module, offset), strings by content. Answers and strings live in an
 * arena until the end; they are small, and callers keep pointers. What is large, the open modules with their debug
 * information (each a Dwfl of its own), is limited to OPEN_MAX: the one used longest ago is closed, and opened again when
 * asked for. A module that cannot be opened is remembered with the reason and not tried again.
 *
 * Debug information and symbol tables are mapped by libelf. A file that is cut in place while the tool reads it can end the
 * tool by SIGBUS; package managers replace files by rename, which does no harm.
 */
#include "symbols.h"

#include <elfutils/libdwfl.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "debug-file.h"
#include "demangle.h"
#include "scopes.h"
#include "symtab.h"
#include "xalloc.h"

#define uthash_malloc(size) lt_xmalloc(size)
#include <uthash.h>

#define OPEN_MAX_MODULES 64
#define ARENA_BLOCK (64u << 10)

struct module {
	UT_hash_handle hh;
	char *path; /* inside key */
	char *note; /* NULL: none */
	bool failed;
	bool debug_found; /* libdwfl was given the debug file: its next question is about a shared part of that (dwz) */
	uint32_t number;
	uint64_t last_use;
	struct lt_symbols *symbols;
	/* of an open module */
	Dwfl *dwfl;
	struct lt_symtab symtab;
	struct lt_scopes *scopes;
	size_t build_id_size;
	size_t key_size;
	uint8_t key[]; /* build-id, path with its NUL */
};

struct answer {
	UT_hash_handle hh;
	struct answer_key {
		uint64_t offset, module;
	} key;
	size_t count;
	struct lt_symbol_frame frames[];
};

struct string {
	UT_hash_handle hh;
	char text[];
};

struct arena_block {
	struct arena_block *next;
	size_t used;
	max_align_t bytes[];
};

struct lt_symbols {
	struct lt_debug_dirs dirs;
	Dwfl_Callbacks callbacks;
	struct module *modules;
	struct answer *answers;
	struct string *strings;
	struct arena_block *arena;
	uint32_t module_count;
	unsigned open_count;
	uint64_t clock;
};

static const struct lt_symbol_frame unknown;

static void *arena_take(struct lt_symbols *symbols, size_t size)
{
	struct arena_block *block = symbols->arena;
	size_t room = size > ARENA_BLOCK ? size : ARENA_BLOCK;
	void *taken;

	size = (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
	if (!block || block->used + size > ARENA_BLOCK) {
		block = lt_xmalloc(sizeof *block + room + sizeof(max_align_t));
		block->next = symbols->arena;
		block->used = 0;
		symbols->arena = block;
	}
	taken = (char *)block->bytes + block->used;
	block->used += size;
	return taken;
}

static const char *intern(struct lt_symbols *symbols, const char *text, size_t length)
{
	struct string *string;

	HASH_FIND(hh, symbols->strings, text, length, string);
	if (string)
		return string->text;
	string = arena_take(symbols, sizeof *string + length + 1);
	memcpy(string->text, text, length);
	string->text[length] = '\0';
	HASH_ADD_KEYPTR(hh, symbols->strings, string->text, length, string);
	return string->text;
}

static const char *intern_name(struct lt_symbols *symbols, const char *name)
{
	char *plain LT_AUTO_FREE = NULL;
	char *demangled LT_AUTO_FREE = NULL;
	const char *version;

	if (!name || !*name)
		return NULL;
	/* The version of a versioned symbol: name@VERSION, name@@VERSION */
	version = strchr(name, '@');
	if (version && version != name) {
		plain = lt_xstrdup(name);
		plain[version - name] = '\0';
		name = plain;
	}
	demangled = lt_demangle(name);
	if (demangled)
		name = demangled;
	return intern(symbols, name, strlen(name));
}

static int find_debug_file(Dwfl_Module *dwfl_module, void **userdata, const char *name, Dwarf_Addr base, const char *file,
			   const char *link, GElf_Word checksum, char **found)
{
	struct module *module = *userdata;
	int fd = -ENOENT;

	/* libdw looks for a dwz file next to the debug file by itself. */
	if (!module || module->debug_found)
		return -1;
	if (module->build_id_size)
		fd = lt_debug_file_by_build_id(&module->symbols->dirs, module->key, module->build_id_size, found);
	if (fd < 0 && link)
		fd = lt_debug_file_by_link(&module->symbols->dirs, module->path, link, checksum, module->key,
					   module->build_id_size, found);
	if (fd < 0)
		return -1;
	module->debug_found = true;
	return fd;
}

static int find_no_elf(Dwfl_Module *dwfl_module, void **userdata, const char *name, Dwarf_Addr base, char **file, Elf **elf)
{
	return -1;
}

struct lt_symbols *lt_symbols_new(void)
{
	struct lt_symbols *symbols = lt_xcalloc(1, sizeof *symbols);

	lt_debug_dirs_init(&symbols->dirs);
	symbols->callbacks.find_elf = find_no_elf;
	symbols->callbacks.find_debuginfo = find_debug_file;
	symbols->callbacks.section_address = dwfl_offline_section_address;
	return symbols;
}

static void close_module(struct lt_symbols *symbols, struct module *module)
{
	if (!module->dwfl)
		return;
	lt_scopes_free(module->scopes);
	module->scopes = NULL;
	lt_symtab_clear(&module->symtab);
	dwfl_end(module->dwfl);
	module->dwfl = NULL;
	module->debug_found = false;
	symbols->open_count--;
}

void lt_symbols_free(struct lt_symbols *symbols)
{
	struct module *module, *next;

	if (!symbols)
		return;
	HASH_ITER(hh, symbols->modules, module, next) {
		close_module(symbols, module);
		HASH_DEL(symbols->modules, module);
		free(module->note);
		free(module);
	}
	/* Elements are in the arena. */
	HASH_CLEAR(hh, symbols->answers);
	HASH_CLEAR(hh, symbols->strings);
	while (symbols->arena) {
		struct arena_block *block = symbols->arena;

		symbols->arena = block->next;
		free(block);
	}
	lt_debug_dirs_clear(&symbols->dirs);
	free(symbols);
}

static void close_oldest(struct lt_symbols *symbols)
{
	struct module *oldest = NULL;

	for (struct module *module = symbols->modules; module; module = module->hh.next)
		if (module->dwfl && (!oldest || module->last_use < oldest->last_use))
			oldest = module;
	if (oldest)
		close_module(symbols, oldest);
}

static void set_note(struct module *module, char *note)
{
	free(module->note);
	module->note = note;
}

/* A descriptor of the module itself or, where that is gone, of its debug file; notes what is wrong. */
static int open_file(struct lt_symbols *symbols, struct module *module)
{
	char *found LT_AUTO_FREE = NULL;
	const char *reason;
	int fd = lt_debug_file_module(module->path, module->key, module->build_id_size);
	int debug_fd;

	if (fd >= 0) {
		if (!module->build_id_size)
			set_note(module, lt_xstrdup("has no build-id: names are right if the file is the one that ran"));
		return fd;
	}
	reason = fd == -ESTALE	? "is another file now (its build-id differs from that of the run)"
		 : fd == -ENOEXEC ? "is not an ELF file that can be loaded"
				  : strerror(-fd);
	if (module->path[0] != '/')
		reason = "is no file";
	debug_fd = module->build_id_size
			   ? lt_debug_file_by_build_id(&symbols->dirs, module->key, module->build_id_size, &found)
			   : -ENOENT;
	if (debug_fd < 0)
		set_note(module, lt_xasprintf("%s: no names", reason));
	else
		set_note(module, lt_xasprintf("%s: names are from %s", reason, found));
	return debug_fd;
}

static void open_module(struct lt_symbols *symbols, struct module *module)
{
	Dwfl_Module *dwfl_module = NULL;
	Dwarf_Addr bias;
	Dwarf *dwarf;
	void **userdata;
	int fd;

	if (symbols->open_count >= OPEN_MAX_MODULES)
		close_oldest(symbols);
	fd = open_file(symbols, module);
	while ((fd == -EMFILE || fd == -ENFILE) && symbols->open_count) {
		close_oldest(symbols);
		fd = open_file(symbols, module);
	}
	if (fd < 0) {
		module->failed = true;
		return;
	}
	module->dwfl = dwfl_begin(&symbols->callbacks);
	if (module->dwfl) {
		symbols->open_count++;
		dwfl_report_begin(module->dwfl);
		dwfl_module = dwfl_report_elf(module->dwfl, module->path, module->path, fd, 0, true);
		dwfl_report_end(module->dwfl, NULL, NULL);
	}
	if (!dwfl_module) {
		close(fd);
		close_module(symbols, module);
		set_note(module, lt_xstrdup("cannot be read as an ELF file: no names"));
		module->failed = true;
		return;
	}
	dwfl_module_info(dwfl_module, &userdata, NULL, NULL, NULL, NULL, NULL, NULL);
	*userdata = module;
	/* Debug information first: the symbol table is taken from the debug file then. */
	dwarf = dwfl_module_getdwarf(dwfl_module, &bias);
	lt_symtab_init(&module->symtab, dwfl_module);
	if (dwarf)
		module->scopes = lt_scopes_new(dwarf, bias, &module->symtab);
}

static struct module *get_module(struct lt_symbols *symbols, const char *path, const uint8_t *build_id, size_t build_id_size)
{
	size_t path_size = strlen(path) + 1, size = build_id_size + path_size;
	struct module *module, *found;

	module = lt_xcalloc(1, sizeof *module + size);
	if (build_id_size)
		memcpy(module->key, build_id, build_id_size);
	memcpy(module->key + build_id_size, path, path_size);
	HASH_FIND(hh, symbols->modules, module->key, size, found);
	if (found) {
		free(module);
		module = found;
	} else {
		module->path = (char *)module->key + build_id_size;
		module->build_id_size = build_id_size;
		module->key_size = size;
		module->number = symbols->module_count++;
		module->symbols = symbols;
		HASH_ADD_KEYPTR(hh, symbols->modules, module->key, size, module);
	}
	module->last_use = ++symbols->clock;
	return module;
}

/* The name of the function itself, by its DWARF frame and the symbols at its entry. */
static const char *function_name(struct lt_symbols *symbols, const struct module *module, const struct lt_scope_frame *frame,
				 uint64_t entry, uint64_t address)
{
	const char *symbol;

	if (!frame->name)
		return intern_name(symbols, lt_symtab_name(&module->symtab, address));
	/* Some compilers leave out linkage names: "size" for a::b::size(). */
	if (!frame->linkage && entry) {
		symbol = lt_symtab_name_at(&module->symtab, entry);
		if (symbol && symbol[0] == '_' && (symbol[1] == 'Z' || symbol[1] == 'R'))
			return intern_name(symbols, symbol);
	}
	symbol = entry ? lt_symtab_public_name(&module->symtab, entry, frame->name) : NULL;
	return intern_name(symbols, symbol ? symbol : frame->name);
}

/* "/src/build" and "../lib/x.c" give "/src/lib/x.c", without asking the disk: the sources need not be here. */
static const char *file_name(struct lt_symbols *symbols, const struct lt_scope_frame *scope)
{
	char *path LT_AUTO_FREE = scope->dir ? lt_xasprintf("%s/%s", scope->dir, scope->file) : lt_xstrdup(scope->file);
	char *out = path;

	for (const char *in = path; *in;) {
		size_t length = strcspn(in, "/"), slash = in[length] == '/';
		char *before;

		if (length == 1 && in[0] == '.' && slash) {
			in += 2;
			continue;
		}
		if (length == 0 && slash && out > path) { /* "//" */
			in++;
			continue;
		}
		if (length == 2 && in[0] == '.' && in[1] == '.' && slash && out > path + 1) {
			for (before = out - 1; before > path && before[-1] != '/'; before--)
				;
			if (strncmp(before, "../", 3)) {
				out = before;
				in += 3;
				continue;
			}
		}
		memmove(out, in, length + slash);
		out += length + slash;
		in += length + slash;
	}
	return intern(symbols, path, (size_t)(out - path));
}

static struct answer *make_answer(struct lt_symbols *symbols, struct module *module, const struct answer_key *key)
{
	struct lt_scope_frame scopes[LT_SCOPE_FRAMES];
	uint64_t address = key->offset - 1, entry = 0;
	size_t count = 0;
	struct answer *answer;
	struct lt_symbol_frame *last;

	if (module->scopes && lt_symtab_is_code(&module->symtab, address))
		count = lt_scopes_find(module->scopes, address, scopes, &entry);
	if (!count) {
		memset(scopes, 0, sizeof *scopes);
		count = 1;
	}
	answer = arena_take(symbols, sizeof *answer + count * sizeof *answer->frames);
	memset(answer, 0, sizeof *answer + count * sizeof *answer->frames);
	answer->key = *key;
	answer->count = count;
	for (size_t i = 0; i < count; i++) {
		struct lt_symbol_frame *frame = &answer->frames[i];

		frame->inlined = i + 1 < count;
		if (frame->inlined)
			frame->function = intern_name(symbols, scopes[i].name);
		else if (lt_symtab_is_code(&module->symtab, address))
			frame->function = function_name(symbols, module, &scopes[i], entry, address);
		if (scopes[i].file)
			frame->file = file_name(symbols, &scopes[i]);
		frame->line = scopes[i].line;
	}
	last = &answer->frames[count - 1];
	if (!last->function)
		last->start = lt_symtab_unwind_start(&module->symtab, address);
	HASH_ADD(hh, symbols->answers, key, sizeof answer->key, answer);
	return answer;
}

const struct lt_symbol_frame *lt_symbols_lookup(struct lt_symbols *symbols, const char *path, const uint8_t *build_id,
						size_t build_id_size, uint64_t offset, size_t *n)
{
	struct answer_key key = {.offset = offset};
	struct answer *answer;
	struct module *module;

	*n = 1;
	if (!path || !offset)
		return &unknown;
	module = get_module(symbols, path, build_id, build_id_size);
	if (module->failed)
		return &unknown;
	key.module = module->number;
	HASH_FIND(hh, symbols->answers, &key, sizeof key, answer);
	if (!answer) {
		if (!module->dwfl)
			open_module(symbols, module);
		if (module->failed)
			return &unknown;
		answer = make_answer(symbols, module, &key);
	}
	*n = answer->count;
	return answer->frames;
}

const char *lt_symbols_module_note(struct lt_symbols *symbols, const char *path, const uint8_t *build_id, size_t build_id_size)
{
	struct module *module;

	if (!path)
		return "has no path: no names";
	module = get_module(symbols, path, build_id, build_id_size);
	if (!module->failed && !module->dwfl && !module->note)
		open_module(symbols, module);
	return module->note;
}
