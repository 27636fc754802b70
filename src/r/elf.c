/* SPDX-License-Identifier: MIT
 *
 * Dynamic symbol tables in memory: DT_GNU_HASH, with DT_HASH as the fallback (musl, old linkers).
 *
 * Invariants: nothing is written; no call leaves this file but memory compares; the loader keeps these tables mapped and
 * unchanged for as long as the object is loaded. glibc relocates the pointers in the dynamic section, musl and read-only
 * sections do not: an address below the load bias is taken as relative to it.
 * Failure: a table that makes no sense is treated as empty.
 */
#include "r/elf.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#define SYMBOLS_MAX (1u << 20) /* an upper bound against damaged tables */

static uintptr_t relocated(const struct lt_r_object *object, uintptr_t pointer)
{
	return pointer < object->base ? pointer + object->base : pointer;
}

int lt_r_elf_open(const struct dl_phdr_info *info, struct lt_r_object *object)
{
	struct lt_r_object o = { .base = info->dlpi_addr, .start = UINTPTR_MAX, .text = UINTPTR_MAX };
	const ElfW(Dyn) *dynamic = NULL;

	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *header = &info->dlpi_phdr[i];
		uintptr_t start = o.base + header->p_vaddr, end = start + header->p_memsz;

		if (header->p_type == PT_DYNAMIC)
			dynamic = (const ElfW(Dyn) *)start;
		if (header->p_type != PT_LOAD)
			continue;
		if (start < o.start)
			o.start = start;
		if (end > o.end)
			o.end = end;
		if (header->p_flags & PF_W && o.data_count < sizeof(o.data) / sizeof(*o.data)) {
			o.data[o.data_count].start = start;
			o.data[o.data_count++].end = end;
		}
		if (!(header->p_flags & PF_X))
			continue;
		if (start < o.text)
			o.text = start;
		if (end > o.text_end)
			o.text_end = end;
	}
	if (!dynamic)
		return -ENOENT;
	for (; dynamic->d_tag != DT_NULL; dynamic++) {
		uintptr_t pointer = relocated(&o, dynamic->d_un.d_ptr);

		switch (dynamic->d_tag) {
		case DT_SYMTAB: o.symbols = (const void *)pointer; break;
		case DT_STRTAB: o.strings = (const void *)pointer; break;
		case DT_STRSZ: o.strings_size = dynamic->d_un.d_val; break;
		case DT_GNU_HASH: o.gnu_hash = (const void *)pointer; break;
		case DT_HASH: o.sysv_hash = (const void *)pointer; break;
		}
	}
	if (!o.symbols || !o.strings || !o.strings_size || (!o.gnu_hash && !o.sysv_hash))
		return -ENOENT;
	/* The vDSO and objects mapped by other means may have tables elsewhere: believe only what lies inside the object. */
	if ((uintptr_t)o.symbols < o.start || (uintptr_t)o.symbols >= o.end || (uintptr_t)o.strings < o.start ||
	    (uintptr_t)o.strings + o.strings_size > o.end)
		return -ENOENT;
	*object = o;
	return 0;
}

static bool defined(const ElfW(Sym) *symbol)
{
	unsigned type = symbol->st_info & 15u; /* the same in both ELF classes */

	return symbol->st_shndx != SHN_UNDEF && symbol->st_value && (type == STT_OBJECT || type == STT_FUNC || type == STT_NOTYPE);
}

static bool is_named(const struct lt_r_object *object, const ElfW(Sym) *symbol, const char *name)
{
	size_t length = strlen(name) + 1;

	return defined(symbol) && symbol->st_name + length <= object->strings_size &&
	       !memcmp(object->strings + symbol->st_name, name, length);
}

static const ElfW(Sym) *find_gnu(const struct lt_r_object *object, const char *name)
{
	const uint32_t *table = object->gnu_hash;
	uint32_t n_buckets = table[0], first = table[1], bloom_words = table[2], shift = table[3];
	const ElfW(Addr) *bloom = (const ElfW(Addr) *)(table + 4);
	const uint32_t *buckets = (const uint32_t *)(bloom + bloom_words), *chain = buckets + n_buckets;
	uint32_t hash = 5381;

	for (const unsigned char *c = (const unsigned char *)name; *c; c++)
		hash = hash * 33 + *c;
	if (!n_buckets || !bloom_words)
		return NULL;

	unsigned bits = 8 * sizeof(ElfW(Addr));
	ElfW(Addr) word = bloom[(hash / bits) % bloom_words];
	if (!(word >> (hash % bits) & word >> ((hash >> shift) % bits) & 1))
		return NULL;

	for (uint32_t i = buckets[hash % n_buckets]; i >= first && i < SYMBOLS_MAX; i++) {
		if ((chain[i - first] | 1) == (hash | 1) && is_named(object, &object->symbols[i], name))
			return &object->symbols[i];
		if (chain[i - first] & 1)
			break;
	}
	return NULL;
}

static const ElfW(Sym) *find_sysv(const struct lt_r_object *object, const char *name)
{
	const uint32_t *table = object->sysv_hash;
	uint32_t n_buckets = table[0], n_chain = table[1], hash = 0;
	const uint32_t *buckets = table + 2, *chain = buckets + n_buckets;

	for (const unsigned char *c = (const unsigned char *)name; *c; c++) {
		hash = (hash << 4) + *c;
		hash ^= (hash & 0xf0000000u) >> 24;
		hash &= 0x0fffffffu;
	}
	if (!n_buckets || n_chain > SYMBOLS_MAX)
		return NULL;
	for (uint32_t i = buckets[hash % n_buckets], steps = 0; i && i < n_chain && steps < n_chain; i = chain[i], steps++)
		if (is_named(object, &object->symbols[i], name))
			return &object->symbols[i];
	return NULL;
}

int lt_r_elf_find(const struct lt_r_object *object, const char *name, struct lt_r_symbol *symbol)
{
	const ElfW(Sym) *found = object->gnu_hash ? find_gnu(object, name) : find_sysv(object, name);

	if (!found)
		return -ENOENT;
	*symbol = (struct lt_r_symbol){ .address = object->base + found->st_value, .size = found->st_size };
	return 0;
}

/* DT_SYMTAB has no length of its own. */
static size_t count_symbols(const struct lt_r_object *object)
{
	if (object->sysv_hash)
		return object->sysv_hash[1];

	const uint32_t *table = object->gnu_hash;
	uint32_t n_buckets = table[0], first = table[1], last = 0;
	const uint32_t *buckets = (const uint32_t *)((const ElfW(Addr) *)(table + 4) + table[2]), *chain = buckets + n_buckets;

	for (uint32_t i = 0; i < n_buckets; i++)
		if (buckets[i] > last)
			last = buckets[i];
	if (last < first)
		return first;
	while (last < SYMBOLS_MAX && !(chain[last - first] & 1))
		last++;
	return (size_t)last + 1;
}

const char *lt_r_elf_enclosing(const struct lt_r_object *object, uintptr_t address)
{
	size_t n = count_symbols(object);

	for (size_t i = 0; i < n && i < SYMBOLS_MAX; i++) {
		const ElfW(Sym) *symbol = &object->symbols[i];

		if (defined(symbol) && address - (object->base + symbol->st_value) < symbol->st_size &&
		    symbol->st_name < object->strings_size)
			return object->strings + symbol->st_name;
	}
	return NULL;
}
