/* SPDX-License-Identifier: MIT
 *
 * Symbols and unwind entries of one module, sorted once.
 *
 * Which name is right: the symbol whose [value, value + size) holds the address; the innermost, if several do. A symbol
 * without a size (assembler code) speaks only for the unwind entry that begins at its value. So a stripped library, of which
 * only the exported names are left, never lends a name to the hidden function behind an exported one. libdwfl's
 * dwfl_module_addrinfo() was turned down: it takes the nearest symbol before the address where sizes fail it.
 *
 * Which of several names at one address: one that is not local, with fewer leading underscores, global rather than weak,
 * shorter, first in the alphabet: malloc before __libc_malloc, strdup (weak) before __strdup. Mangled names' "_Z" does not
 * count as an underscore.
 *
 * The FDEs' ranges are read here since libdw's dwarf_frame_info() tells the range of a row, not of the entry. Pointer
 * encodings that linkers do not produce in .eh_frame are passed over.
 */
#include "symtab.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <gelf.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "xalloc.h"

static unsigned char leading_underscores(const char *name)
{
	size_t count = strspn(name, "_");

	if (count == 1 && (name[1] == 'Z' || name[1] == 'R'))
		return 0;
	return count > UCHAR_MAX ? UCHAR_MAX : (unsigned char)count;
}

/* Rank of a binding: local last, then weak. */
static int binding_rank(unsigned char binding)
{
	return binding == STB_LOCAL ? 2 : binding == STB_WEAK;
}

static int compare_entries(const void *left, const void *right)
{
	const struct lt_symtab_entry *a = left, *b = right;
	bool local_a = a->binding == STB_LOCAL, local_b = b->binding == STB_LOCAL;
	size_t length_a, length_b;

	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;
	if (local_a != local_b)
		return local_a ? 1 : -1;
	if (a->underscores != b->underscores)
		return a->underscores < b->underscores ? -1 : 1;
	if (binding_rank(a->binding) != binding_rank(b->binding))
		return binding_rank(a->binding) - binding_rank(b->binding);
	length_a = strlen(a->name);
	length_b = strlen(b->name);
	if (length_a != length_b)
		return length_a < length_b ? -1 : 1;
	return strcmp(a->name, b->name);
}

static void read_symbols(struct lt_symtab *symtab, Dwfl_Module *module, int machine)
{
	int count = dwfl_module_getsymtab(module);

	for (int i = 1; i < count; i++) {
		GElf_Sym symbol;
		GElf_Addr address;
		GElf_Word section;
		const char *name = dwfl_module_getsym_info(module, i, &symbol, &address, &section, NULL, NULL);
		int type;

		if (!name || !*name || section == SHN_UNDEF || section == SHN_ABS || section == SHN_COMMON)
			continue;
		type = GELF_ST_TYPE(symbol.st_info);
		if (type != STT_FUNC && type != STT_GNU_IFUNC && (type != STT_NOTYPE || name[0] == '$'))
			continue;
		if (machine == EM_ARM)
			address &= ~(GElf_Addr)1; /* set for Thumb code */
		if (!lt_symtab_is_code(symtab, address))
			continue;
		LT_GROW(symtab->entries, symtab->count, symtab->room);
		symtab->entries[symtab->count++] = (struct lt_symtab_entry){
			.start = address,
			.size = symbol.st_size <= UINT64_MAX - address ? symbol.st_size : 0,
			.name = name,
			.binding = GELF_ST_BIND(symbol.st_info),
			.underscores = leading_underscores(name),
		};
	}
	if (symtab->count)
		qsort(symtab->entries, symtab->count, sizeof *symtab->entries, compare_entries);
	for (size_t i = 0; i < symtab->count; i++)
		lt_ranges_add(&symtab->covered, symtab->entries[i].start, symtab->entries[i].start + symtab->entries[i].size, i);
	lt_ranges_sort(&symtab->covered);
}

/* One section of unwind entries in memory. */
struct unwind_section {
	const unsigned char *bytes, *end;
	uint64_t address;
	unsigned pointer_size;
};

static unsigned encoded_size(unsigned encoding, unsigned pointer_size)
{
	switch (encoding & 0x07) {
	case DW_EH_PE_absptr:
		return pointer_size;
	case DW_EH_PE_udata2:
		return 2;
	case DW_EH_PE_udata4:
		return 4;
	case DW_EH_PE_udata8:
		return 8;
	default:
		return 0; /* LEB128 */
	}
}

/* Reads an encoded pointer at `place`, without its base. False: not of a kind that is known here. */
static bool read_encoded(const unsigned char *place, const unsigned char *end, unsigned encoding, unsigned pointer_size,
			 uint64_t *value)
{
	unsigned size = encoded_size(encoding, pointer_size);
	bool is_signed = encoding & DW_EH_PE_signed;
	uint16_t half;
	uint32_t word;

	if (!size || (size_t)(end - place) < size)
		return false;
	switch (size) {
	case 2:
		memcpy(&half, place, sizeof half);
		*value = is_signed ? (uint64_t)(int64_t)(int16_t)half : half;
		return true;
	case 4:
		memcpy(&word, place, sizeof word);
		*value = is_signed ? (uint64_t)(int64_t)(int32_t)word : word;
		return true;
	default:
		memcpy(value, place, sizeof *value);
		return true;
	}
}

/* How the FDEs of a CIE write their addresses; DW_EH_PE_omit: in a way not known here. */
static unsigned fde_encoding(const Dwarf_CIE *cie, unsigned pointer_size)
{
	const unsigned char *data = cie->augmentation_data;
	const unsigned char *end = data ? data + cie->augmentation_data_size : NULL;
	const char *letter = cie->augmentation;

	if (!letter || *letter != 'z')
		return letter && *letter ? DW_EH_PE_omit : DW_EH_PE_absptr;
	while (*++letter) {
		unsigned size;

		switch (*letter) {
		case 'R':
			return data < end ? *data : DW_EH_PE_omit;
		case 'L':
			data++;
			break;
		case 'P':
			if (data >= end || *data == DW_EH_PE_aligned || !(size = encoded_size(*data, pointer_size)))
				return DW_EH_PE_omit;
			data += 1 + size;
			break;
		case 'S': /* signal frame */
		case 'B': /* AArch64 pointer authentication */
		case 'G':
			break;
		default:
			return DW_EH_PE_omit;
		}
	}
	return DW_EH_PE_absptr;
}

static void add_fde(struct lt_symtab *symtab, const struct unwind_section *section, const Dwarf_FDE *fde, unsigned encoding)
{
	uint64_t low, length;
	unsigned size = encoded_size(encoding, section->pointer_size);
	unsigned base = encoding & 0x70;

	if (encoding == DW_EH_PE_omit || encoding & DW_EH_PE_indirect || (base && base != DW_EH_PE_pcrel))
		return;
	if (fde->start < section->bytes || fde->end > section->end || fde->start > fde->end ||
	    !read_encoded(fde->start, fde->end, encoding, section->pointer_size, &low) ||
	    !read_encoded(fde->start + size, fde->end, encoding & 0x07, section->pointer_size, &length))
		return;
	if (base)
		low += section->address + (uint64_t)(fde->start - section->bytes);
	if (section->pointer_size == 4)
		low &= UINT32_MAX;
	if (low && length <= UINT64_MAX - low && lt_symtab_is_code(symtab, low))
		lt_ranges_add(&symtab->unwind, low, low + length, 0);
}

static void read_entries(struct lt_symtab *symtab, const struct unwind_section *section, Elf_Data *data,
			 const unsigned char ident[])
{
	Dwarf_Off offset = 0, next, cie_offset = 0;
	unsigned encoding = DW_EH_PE_omit;
	bool cie_known = false;
	Dwarf_CFI_Entry entry;
	int result;

	while ((result = dwarf_next_cfi(ident, data, true, offset, &next, &entry)) != 1) {
		if (next <= offset || next == (Dwarf_Off)-1)
			break; /* damaged: no way on */
		if (!result && !dwarf_cfi_cie_p(&entry)) {
			Dwarf_Off cie_next;
			Dwarf_CFI_Entry cie;

			if (!cie_known || cie_offset != entry.fde.CIE_pointer) {
				cie_offset = entry.fde.CIE_pointer;
				cie_known = true;
				encoding = DW_EH_PE_omit;
				if (!dwarf_next_cfi(ident, data, true, cie_offset, &cie_next, &cie) && dwarf_cfi_cie_p(&cie))
					encoding = fde_encoding(&cie.cie, section->pointer_size);
			}
			add_fde(symtab, section, &entry.fde, encoding);
		}
		offset = next;
	}
	lt_ranges_sort(&symtab->unwind);
}

static void read_unwind(struct lt_symtab *symtab, Elf *elf, const GElf_Ehdr *header)
{
	const unsigned native = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB;
	Elf_Scn *scn = NULL;
	size_t names;

	if (header->e_ident[EI_DATA] != native || elf_getshdrstrndx(elf, &names))
		return;
	while ((scn = elf_nextscn(elf, scn))) {
		GElf_Shdr section;
		const char *name;
		Elf_Data *data;

		if (!gelf_getshdr(scn, &section) || section.sh_type == SHT_NOBITS || section.sh_flags & SHF_COMPRESSED)
			continue;
		name = elf_strptr(elf, names, section.sh_name);
		if (!name || strcmp(name, ".eh_frame"))
			continue;
		data = elf_rawdata(scn, NULL);
		if (data && data->d_buf && data->d_size) {
			struct unwind_section unwind = {
				.bytes = data->d_buf,
				.end = (unsigned char *)data->d_buf + data->d_size,
				.address = section.sh_addr,
				.pointer_size = header->e_ident[EI_CLASS] == ELFCLASS32 ? 4 : 8,
			};

			read_entries(symtab, &unwind, data, header->e_ident);
		}
		return;
	}
}

static void read_segments(struct lt_symtab *symtab, Elf *elf)
{
	size_t count;

	if (elf_getphdrnum(elf, &count))
		return;
	for (size_t i = 0; i < count && i < INT_MAX; i++) {
		GElf_Phdr segment;

		if (!gelf_getphdr(elf, (int)i, &segment))
			break;
		if (segment.p_type == PT_LOAD && segment.p_flags & PF_X && segment.p_memsz <= UINT64_MAX - segment.p_vaddr)
			lt_ranges_add(&symtab->code, segment.p_vaddr, segment.p_vaddr + segment.p_memsz, 0);
	}
	lt_ranges_sort(&symtab->code);
}

void lt_symtab_init(struct lt_symtab *symtab, Dwfl_Module *module)
{
	GElf_Addr bias;
	GElf_Ehdr header;
	Elf *elf = dwfl_module_getelf(module, &bias);

	*symtab = (struct lt_symtab){0};
	if (!elf || bias || !gelf_getehdr(elf, &header))
		return;
	read_segments(symtab, elf);
	read_symbols(symtab, module, header.e_machine);
	read_unwind(symtab, elf, &header);
}

void lt_symtab_clear(struct lt_symtab *symtab)
{
	free(symtab->entries);
	lt_ranges_clear(&symtab->covered);
	lt_ranges_clear(&symtab->unwind);
	lt_ranges_clear(&symtab->code);
	*symtab = (struct lt_symtab){0};
}

bool lt_symtab_is_code(const struct lt_symtab *symtab, uint64_t address)
{
	return lt_ranges_find(&symtab->code, address);
}

uint64_t lt_symtab_unwind_start(const struct lt_symtab *symtab, uint64_t address)
{
	const struct lt_range *found = lt_ranges_find(&symtab->unwind, address);

	return found ? found->low : 0;
}

/* Index of the first entry at or after this start. */
static size_t first_at(const struct lt_symtab *symtab, uint64_t start)
{
	size_t low = 0, high = symtab->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (symtab->entries[middle].start < start)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const char *lt_symtab_name_at(const struct lt_symtab *symtab, uint64_t start)
{
	size_t i = first_at(symtab, start);

	return i < symtab->count && symtab->entries[i].start == start ? symtab->entries[i].name : NULL;
}

const char *lt_symtab_name(const struct lt_symtab *symtab, uint64_t address)
{
	const struct lt_range *found = lt_ranges_find(&symtab->covered, address);
	uint64_t start;

	if (found) {
		/* Names at one start may differ in size; among those that hold the address the order of names decides. */
		for (size_t i = first_at(symtab, found->low); i < symtab->count; i++) {
			const struct lt_symtab_entry *entry = &symtab->entries[i];

			if (entry->start != found->low)
				break;
			if (address - entry->start < entry->size)
				return entry->name;
		}
	}
	start = lt_symtab_unwind_start(symtab, address);
	return start ? lt_symtab_name_at(symtab, start) : NULL;
}

const char *lt_symtab_public_name(const struct lt_symtab *symtab, uint64_t start, const char *internal)
{
	size_t internal_length = strlen(internal);

	if (!leading_underscores(internal))
		return NULL;
	for (size_t i = first_at(symtab, start); i < symtab->count; i++) {
		const struct lt_symtab_entry *entry = &symtab->entries[i];
		size_t length = strcspn(entry->name, "@");

		if (entry->start != start)
			break;
		if (entry->binding == STB_LOCAL || entry->underscores || !length || length >= internal_length)
			continue;
		if (!strncmp(internal + internal_length - length, entry->name, length) &&
		    internal[internal_length - length - 1] == '_')
			return entry->name;
	}
	return NULL;
}
