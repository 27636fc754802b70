/* SPDX-License-Identifier: MIT
 *
 * The dynamic symbols of a loaded object, read from its memory image.
 *
 * This is used in place of dlsym(): a lookup by dlsym may allocate, overwrites what the program would get from dlerror(), and
 * does not see objects that were opened RTLD_LOCAL. Sizes of symbols, which dlsym does not tell either, come for free.
 */
#ifndef LT_R_ELF_H
#define LT_R_ELF_H

#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lt_r_object {
	uintptr_t base;             /* load bias */
	uintptr_t start, end;       /* all its segments */
	uintptr_t text, text_end;   /* executable segments */
	struct {
		uintptr_t start, end;
	} data[4];                  /* writable segments, .bss included; there may be nothing between them */
	unsigned data_count;
	const ElfW(Sym) *symbols;
	const char *strings;
	size_t strings_size;
	const uint32_t *gnu_hash;   /* either may be NULL */
	const uint32_t *sysv_hash;
};

struct lt_r_symbol {
	uintptr_t address;
	size_t size; /* 0: not known */
};

/* Fills *object from what dl_iterate_phdr() tells. Returns 0, -ENOENT if it has no dynamic symbols. */
int lt_r_elf_open(const struct dl_phdr_info *info, struct lt_r_object *object);

/* A symbol that the object itself defines. Returns 0, -ENOENT. */
int lt_r_elf_find(const struct lt_r_object *object, const char *name, struct lt_r_symbol *symbol);

/* The defined symbol whose [address, address + size) holds `address`; its name (in the object) and NULL if there is none. */
const char *lt_r_elf_enclosing(const struct lt_r_object *object, uintptr_t address);

#endif
