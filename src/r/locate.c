/* SPDX-License-Identifier: MIT
 *
 * Finds R among the loaded objects: libR.so, also when opened RTLD_LOCAL, or an executable with R inside.
 *
 * Objects are asked in the order of dl_iterate_phdr(): the executable first, then its dependencies as they were loaded, which
 * is the order of the global scope; thus a variable of R that the executable holds by a copy relocation is found there, as R
 * itself finds it. The object of R is the one that defines the code, Rf_allocVector3().
 *
 * Invariants: all of lt_r but `layout` is complete before `layout` is stored.
 * Threads: lt_r_locate() and lt_r_unloaded() exclude each other by a flag; who comes second goes away. No lock of ours is
 * held over dl_iterate_phdr(), which takes the loader's.
 * Failure: no R; or R stacks are off, with a note that says why.
 */
#include "r/r.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#include "base/sys.h"
#include "base/text.h"
#include "r/runtime.h"
#include "r/version.h"

struct lt_r_runtime lt_r;

static char note[256];
static const char *note_published; /* stored with release, loaded with acquire: the text is complete then */
static int note_taken;
static int busy;

void lt_r_switch_off(const char *a, const char *b, const char *c)
{
	lt_store_release(&lt_r.layout, NULL);
	if (lt_exchange_acquire(&note_taken, 1)) /* no pair needed: only who gets 0 writes */
		return;

	struct lt_text text = LT_TEXT(note);
	lt_text_add(&text, a);
	if (b)
		lt_text_add(&text, b);
	if (c)
		lt_text_add(&text, c);
	lt_store_release(&note_published, note); /* pairs with lt_r_note() */
}

void lt_r_reset(void)
{
	lt_store_release(&lt_r.layout, NULL);
	lt_store_release(&lt_r.present, false);
	lt_store_release(&note_published, NULL);
	lt_store_release(&note_taken, 0);
	lt_r_stack_forget();
}

const char *lt_r_note(void)
{
	return lt_load_acquire(&note_published); /* pairs with lt_r_switch_off() */
}

bool lt_r_present(void)
{
	return lt_load_acquire(&lt_r.present); /* pairs with lt_r_locate() */
}

bool lt_r_calls_hooks(void)
{
	return lt_r_present() && lt_r.calls_hooks;
}

uintptr_t lt_r_address(void)
{
	return lt_r_present() ? lt_r.allocate_vector.address : 0;
}

uint32_t lt_r_version(void)
{
	return lt_r_present() ? lt_r.version : 0;
}

bool lt_r_mapped(const void *address, size_t size)
{
	static const uintptr_t page = 4096; /* a multiple of it on other CPUs: then more is asked than needed */
	uintptr_t from = (uintptr_t)address & ~(page - 1), to = (uintptr_t)address + size;
	unsigned char resident[64];

	if (to < from || to - from > sizeof(resident) * page)
		return false;
	/* mincore() says -ENOMEM where nothing is mapped. Where a filter forbids it (-EPERM, -ENOSYS), nobody can tell. */
	return lt_syscall6(SYS_mincore, (long)from, (long)(to - from), (long)resident, 0, 0, 0) != -ENOMEM;
}

struct variable {
	const char *name;
	size_t field; /* offset in struct lt_r_runtime */
	bool optional;
};

static const struct variable variables[] = {
	{ "R_GlobalContext", offsetof(struct lt_r_runtime, global_context), false },
	{ "R_BCNodeStackEnd", offsetof(struct lt_r_runtime, node_stack_end), false },
	{ "R_NilValue", offsetof(struct lt_r_runtime, nil), false },
	{ "R_BaseNamespace", offsetof(struct lt_r_runtime, base_namespace), false },
	{ "R_BaseEnv", offsetof(struct lt_r_runtime, base_environment), false },
	{ "R_GlobalEnv", offsetof(struct lt_r_runtime, global_environment), false },
	{ "R_EmptyEnv", offsetof(struct lt_r_runtime, empty_environment), false },
	{ "R_NamespaceRegistry", offsetof(struct lt_r_runtime, namespace_registry), false },
	/* for files and lines only */
	{ "R_InBCInterpreter", offsetof(struct lt_r_runtime, in_byte_code), true },
	{ "R_SrcfileSymbol", offsetof(struct lt_r_runtime, srcfile_symbol), true },
	{ "R_ClassSymbol", offsetof(struct lt_r_runtime, class_symbol), true },
	/* for what is garbage only */
	{ "R_PPStack", offsetof(struct lt_r_runtime, protect_stack), true },
	{ "R_PPStackTop", offsetof(struct lt_r_runtime, protect_top), true },
	{ "R_BCNodeStackTop", offsetof(struct lt_r_runtime, node_stack_top), true },
	{ "Rf_yylval", offsetof(struct lt_r_runtime, parsed), true },
};
enum { n_variables = sizeof(variables) / sizeof(*variables) };

struct search {
	bool found, serialize_found, calls_hooks;
	struct lt_r_object object, variables;
	struct lt_r_symbol allocate_vector, serialize, eval, apply_closure, read_and_eval;
	uintptr_t address[n_variables];
	char path[4096];
};

static int visit(struct dl_phdr_info *info, size_t size, void *argument)
{
	struct search *search = argument;
	struct lt_r_object object;
	struct lt_r_symbol symbol, code;

	(void)size;
	if (lt_r_elf_open(info, &object))
		return 0;
	for (unsigned i = 0; i < n_variables; i++)
		if (!search->address[i] && !lt_r_elf_find(&object, variables[i].name, &symbol)) {
			search->address[i] = symbol.address;
			if (!search->variables.end)
				search->variables = object;
		}
	if (!search->serialize_found && !lt_r_elf_find(&object, "R_Serialize", &symbol)) {
		search->serialize_found = true;
		search->calls_hooks = (uintptr_t)&lt_r - object.start < object.end - object.start;
	}
	if (search->found || lt_r_elf_find(&object, "Rf_allocVector3", &code) || !code.size ||
	    lt_r_elf_find(&object, "R_GlobalContext", &symbol))
		return 0;

	search->found = true;
	search->object = object;
	search->allocate_vector = code;
	lt_r_elf_find(&object, "R_Serialize", &search->serialize);
	lt_r_elf_find(&object, "Rf_eval", &search->eval);
	lt_r_elf_find(&object, "Rf_applyClosure", &search->apply_closure);
	lt_r_elf_find(&object, "Rf_ReplIteration", &search->read_and_eval);

	struct lt_text path = LT_TEXT(search->path);
	lt_text_add(&path, info->dlpi_name && *info->dlpi_name ? info->dlpi_name : "");
	return 0;
}

static void add_version(struct lt_text *text, uint32_t version)
{
	lt_text_add_decimal(text, version / 10000);
	lt_text_add(text, ".");
	lt_text_add_decimal(text, version / 100 % 100);
	lt_text_add(text, ".");
	lt_text_add_decimal(text, version % 100);
}

/* Returns the layout, NULL when R stacks were switched off. */
static const struct lt_r_layout *choose_layout(uint32_t code, uint32_t file)
{
	char words[80];
	struct lt_text text = LT_TEXT(words);

	if (!code && !file) {
		lt_r_switch_off("R's version could not be found out", NULL, NULL);
		return NULL;
	}
	add_version(&text, code ? code : file);
	if (code && file && code / 100 != file / 100) {
		lt_text_add(&text, ", its package base is of ");
		add_version(&text, file);
		lt_r_switch_off("the loaded R says that it is R ", words, NULL);
		return NULL;
	}

	const struct lt_r_layout *layout = lt_r_layout_of(code ? code : file);
	if (!layout)
		lt_r_switch_off("the layout of R ", words, " is not known here (known: 3.6 to 4.5 on x86_64)");
	return layout;
}

static uintptr_t find_stack_top(void)
{
	/* The kernel puts the executable's name at the very top of the first thread's stack, and 16 random bytes near it. */
	uintptr_t top = getauxval(AT_EXECFN);

	return top ? top : getauxval(AT_RANDOM);
}

static void adopt(struct search *search)
{
	if (!*search->path) { /* the executable has no name in the loader's list */
		long n = lt_sys_readlink("/proc/self/exe", search->path, sizeof(search->path) - 1);

		search->path[n > 0 ? n : 0] = 0;
	}

	uint32_t code = 0;
	if (search->serialize.address && search->serialize.size <= 1 << 20)
		code = lt_r_version_in_code((const unsigned char *)search->serialize.address, search->serialize.size);
	uint32_t file = lt_r_version_in_home(search->path, getenv("R_HOME"));

	lt_r.version = code ? code : file;
	lt_r.object = search->object;
	lt_r.variables_object = search->variables.end ? search->variables : search->object;
	lt_r.allocate_vector = search->allocate_vector;
	lt_r.evaluator = (struct lt_r_evaluator){
		.eval = search->eval.address, .apply_closure = search->apply_closure.address, .read_and_eval = search->read_and_eval.address,
	};
	lt_r.calls_hooks = search->calls_hooks;
	lt_r.stack_top = find_stack_top();
	lt_r.probation = LT_R_PROBATION;
	lt_r.node_limit = 0;

	const char *missing = NULL;
	for (unsigned i = 0; i < n_variables; i++) {
		memcpy((char *)&lt_r + variables[i].field, &search->address[i], sizeof(uintptr_t));
		if (!search->address[i] && !variables[i].optional)
			missing = variables[i].name;
	}
	lt_store_release(&lt_r.present, true); /* pairs with lt_r_present() */
	if (missing)
		lt_r_switch_off("this R does not export ", missing, NULL);
	else if (!lt_r.stack_top)
		lt_r_switch_off("the kernel did not tell where the stack begins", NULL, NULL);
	else
		lt_store_release(&lt_r.layout, choose_layout(code, file)); /* pairs with lt_r_calls() */
}

bool lt_r_locate(void)
{
	static struct search search; /* too large for a stack that belongs to the program */

	if (lt_r_present())
		return true;
	if (lt_exchange_acquire(&busy, 1)) /* pairs with the release below */
		return false;
	memset(&search, 0, sizeof(search));
	dl_iterate_phdr(visit, &search);
	if (search.found)
		adopt(&search);
	lt_store_release(&busy, 0);
	return lt_r_present();
}

static int still_there(struct dl_phdr_info *info, size_t size, void *argument)
{
	(void)size;
	(void)argument;
	return info->dlpi_addr == lt_r.object.base;
}

void lt_r_unloaded(void)
{
	if (!lt_r_present() || lt_exchange_acquire(&busy, 1)) /* pairs with the release below */
		return;
	if (!dl_iterate_phdr(still_there, NULL))
		lt_r_reset();
	lt_store_release(&busy, 0);
}
