/* SPDX-License-Identifier: MIT
 *
 * A reader of call frame information: finds the frame description entry of an address by the binary search table of
 * .eh_frame_hdr and runs its program, with the registers that matter here: the canonical frame address (CFA), rbp, and the
 * return address. Whatever it does not know exactly it calls unusual, and libunwind does that stack.
 *
 * Facts: DWARF 4, section 6.4; Linux Standard Base 5.0 Core, 10.6 (augmentations zPLRS, pointer encodings); the x86_64 psABI
 * (register numbers: 6 rbp, 7 rsp, 16 return address). _dl_find_object: glibc 2.35, lock-free, async-signal-safe.
 */
#include "trace/cfi.h"
#include "base/atomic.h"
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stddef.h>
#include <string.h>

#define REG_RBP 6
#define REG_RSP 7
#define REG_RA 16
#define STATES 8

#define ENC_ABSPTR 0x00
#define ENC_UDATA4 0x03
#define ENC_SDATA4 0x0b
#define ENC_PCREL 0x10
#define ENC_DATAREL 0x30

struct reader {
	const uint8_t *p, *end;
	bool bad;
};

static uint64_t take(struct reader *r, unsigned size)
{
	uint64_t value = 0;
	if ((size_t)(r->end - r->p) < size) {
		r->bad = true;
		r->p = r->end;
		return 0;
	}
	memcpy(&value, r->p, size);
	r->p += size;
	return value;
}

static uint64_t take_uleb(struct reader *r)
{
	uint64_t value = 0;
	for (unsigned shift = 0; shift < 64; shift += 7) {
		uint8_t byte = (uint8_t)take(r, 1);
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			break;
	}
	return value;
}

static int64_t take_sleb(struct reader *r)
{
	int64_t value = 0;
	unsigned shift = 0;
	uint8_t byte;
	do {
		byte = (uint8_t)take(r, 1);
		value |= (int64_t)((uint64_t)(byte & 0x7f) << shift);
		shift += 7;
	} while (byte & 0x80 && shift < 64);
	if (shift < 64 && byte & 0x40)
		value |= (int64_t)(UINT64_MAX << shift);
	return value;
}

/* The encodings that linkers produce on x86_64; others are bad. */
static uint64_t take_encoded(struct reader *r, uint8_t encoding)
{
	uint64_t at = (uintptr_t)r->p;
	switch (encoding) {
	case ENC_PCREL | ENC_SDATA4:
		return at + (uint64_t)(int64_t)(int32_t)take(r, 4);
	case ENC_SDATA4:
		return (uint64_t)(int64_t)(int32_t)take(r, 4);
	case ENC_UDATA4:
		return take(r, 4);
	case ENC_ABSPTR:
		return take(r, 8);
	case ENC_PCREL:
		return at + take(r, 8);
	default:
		r->bad = true;
		return 0;
	}
}

enum where { SAME, AT_CFA, EXPRESSION, UNDEFINED, ELSEWHERE };

struct state {
	uint64_t cfa_register;
	int64_t cfa_offset;
	const uint8_t *cfa_expression; /* NULL: register and offset */
	uint64_t cfa_expression_size;
	struct {
		enum where where;
		int64_t offset;
		const uint8_t *expression;
		uint64_t expression_size;
	} rbp, ra;
};

struct cie {
	uint64_t code_align;
	int64_t data_align;
	uint8_t fde_encoding;
	bool augmented, signal;
	const uint8_t *program, *program_end;
};

static bool read_cie(const uint8_t *p, struct cie *cie)
{
	uint32_t length;
	memcpy(&length, p, 4);
	if (!length || length == UINT32_MAX)
		return false;
	struct reader r = { .p = p + 4, .end = p + 4 + length };
	if (take(&r, 4) != 0)
		return false;
	uint8_t version = (uint8_t)take(&r, 1);
	const char *augmentation = (const char *)r.p;
	const uint8_t *nul = memchr(r.p, 0, (size_t)(r.end - r.p));
	if ((version != 1 && version != 3) || !nul)
		return false;
	r.p = nul + 1;
	cie->code_align = take_uleb(&r);
	cie->data_align = take_sleb(&r);
	uint64_t ra = version == 1 ? take(&r, 1) : take_uleb(&r);
	cie->fde_encoding = ENC_ABSPTR;
	cie->signal = false;
	cie->augmented = *augmentation == 'z';
	if (ra != REG_RA)
		return false;
	if (cie->augmented) {
		uint64_t size = take_uleb(&r);
		if (size > (size_t)(r.end - r.p))
			return false;
		const uint8_t *behind = r.p + size;
		for (const char *a = augmentation + 1; *a; a++) {
			if (*a == 'R') {
				cie->fde_encoding = (uint8_t)take(&r, 1);
			} else if (*a == 'P') {
				uint8_t encoding = (uint8_t)take(&r, 1);
				take_encoded(&r, encoding & 0x7f);
			} else if (*a == 'L') {
				take(&r, 1);
			} else if (*a == 'S') {
				cie->signal = true;
			} else if (*a != 'B') {
				return false;
			}
		}
		r.p = behind;
	} else if (*augmentation) {
		return false;
	}
	cie->program = r.p;
	cie->program_end = r.end;
	return !r.bad;
}

static int64_t scaled(struct reader *r, int64_t factor, const struct cie *cie)
{
	int64_t product;
	r->bad |= __builtin_mul_overflow(factor, cie->data_align, &product);
	return product;
}

static void set_rule(struct state *s, uint64_t reg, enum where where, int64_t offset)
{
	if (reg == REG_RBP) {
		s->rbp.where = where;
		s->rbp.offset = offset;
	} else if (reg == REG_RA) {
		s->ra.where = where;
		s->ra.offset = offset;
	}
}

/* Runs instructions until the location passes `pc`. `initial` is the state after the CIE's (NULL while running those). */
static bool run(const uint8_t *p, const uint8_t *end, const struct cie *cie, uint64_t location, uint64_t pc, struct state *s,
                const struct state *initial)
{
	struct reader r = { .p = p, .end = end };
	struct state stack[STATES];
	unsigned depth = 0;
	while (r.p < r.end && !r.bad) {
		uint8_t op = (uint8_t)take(&r, 1);
		uint64_t reg = op & 0x3f, advance = 0;
		switch (op >> 6) {
		case 1:
			advance = reg * cie->code_align;
			goto advanced;
		case 2:
			set_rule(s, reg, AT_CFA, scaled(&r, (int64_t)take_uleb(&r), cie));
			continue;
		case 3:
			goto restore;
		}
		switch (op) {
		case 0x00: /* nop */
			break;
		case 0x01: /* set_loc */
			location = take_encoded(&r, cie->fde_encoding);
			if (location > pc)
				return !r.bad;
			break;
		case 0x02: advance = take(&r, 1) * cie->code_align; goto advanced;
		case 0x03: advance = take(&r, 2) * cie->code_align; goto advanced;
		case 0x04: advance = take(&r, 4) * cie->code_align; goto advanced;
		case 0x05: /* offset_extended */
			reg = take_uleb(&r);
			set_rule(s, reg, AT_CFA, scaled(&r, (int64_t)take_uleb(&r), cie));
			break;
		case 0x11: /* offset_extended_sf */
			reg = take_uleb(&r);
			set_rule(s, reg, AT_CFA, scaled(&r, take_sleb(&r), cie));
			break;
		case 0x2f: /* GNU_negative_offset_extended */
			reg = take_uleb(&r);
			set_rule(s, reg, AT_CFA, scaled(&r, (int64_t)-take_uleb(&r), cie));
			break;
		case 0x06: /* restore_extended */
			reg = take_uleb(&r);
			goto restore;
		case 0x07: /* undefined */
			set_rule(s, take_uleb(&r), UNDEFINED, 0);
			break;
		case 0x08: /* same_value */
			set_rule(s, take_uleb(&r), SAME, 0);
			break;
		case 0x09: /* register */
			reg = take_uleb(&r);
			take_uleb(&r);
			set_rule(s, reg, ELSEWHERE, 0);
			break;
		case 0x14: /* val_offset */
		case 0x15: /* val_offset_sf */
			reg = take_uleb(&r);
			take_uleb(&r);
			set_rule(s, reg, ELSEWHERE, 0);
			break;
		case 0x0a: /* remember_state */
			if (depth == STATES)
				return false;
			stack[depth++] = *s;
			break;
		case 0x0b: /* restore_state */
			if (!depth)
				return false;
			*s = stack[--depth];
			break;
		case 0x0c: /* def_cfa */
			s->cfa_register = take_uleb(&r);
			s->cfa_offset = (int64_t)take_uleb(&r);
			s->cfa_expression = NULL;
			break;
		case 0x12: /* def_cfa_sf */
			s->cfa_register = take_uleb(&r);
			s->cfa_offset = scaled(&r, take_sleb(&r), cie);
			s->cfa_expression = NULL;
			break;
		case 0x0d: /* def_cfa_register */
			s->cfa_register = take_uleb(&r);
			s->cfa_expression = NULL;
			break;
		case 0x0e: /* def_cfa_offset */
			s->cfa_offset = (int64_t)take_uleb(&r);
			break;
		case 0x13: /* def_cfa_offset_sf */
			s->cfa_offset = scaled(&r, take_sleb(&r), cie);
			break;
		case 0x0f: /* def_cfa_expression */
		case 0x10: /* expression */
		case 0x16: { /* val_expression */
			reg = op == 0x0f ? 0 : take_uleb(&r);
			uint64_t size = take_uleb(&r);
			if (size > (size_t)(r.end - r.p))
				return false;
			if (op == 0x0f) {
				s->cfa_expression = r.p;
				s->cfa_expression_size = size;
			} else {
				set_rule(s, reg, op == 0x10 ? EXPRESSION : ELSEWHERE, 0);
				if (reg == REG_RBP) {
					s->rbp.expression = r.p;
					s->rbp.expression_size = size;
				}
			}
			r.p += size;
			break;
		}
		case 0x2e: /* GNU_args_size */
			take_uleb(&r);
			break;
		default:
			return false;
		}
		continue;
	restore:
		if (!initial)
			return false;
		if (reg == REG_RBP)
			s->rbp = initial->rbp;
		else if (reg == REG_RA)
			s->ra = initial->ra;
		continue;
	advanced:
		location += advance;
		if (location > pc)
			return !r.bad;
	}
	return !r.bad;
}

/* DW_OP_breg6 (rbp) offset, then DW_OP_deref or nothing: what gcc emits where it realigns the stack. */
static bool is_rbp_based(const uint8_t *expression, uint64_t size, bool deref, int64_t *offset)
{
	struct reader r = { .p = expression, .end = expression + size };
	if (take(&r, 1) != 0x76)
		return false;
	*offset = take_sleb(&r);
	if (deref && take(&r, 1) != 0x06)
		return false;
	return !r.bad && r.p == r.end;
}

/* What linkers write for a procedure linkage table: rsp + 8 + ((rip & 15) >= N) * 8, where an entry has pushed its number when N bytes of it have run. */
static bool is_plt(const uint8_t *expression, uint64_t size, uintptr_t pc, int64_t *offset)
{
	static const uint8_t before[] = { 0x77, 8, 0x80, 0, 0x3f, 0x1a }, after[] = { 0x2a, 0x33, 0x24, 0x22 };
	if (size != sizeof before + 1 + sizeof after || memcmp(expression, before, sizeof before) ||
	    memcmp(expression + sizeof before + 1, after, sizeof after))
		return false;
	uint8_t pushed = expression[sizeof before]; /* DW_OP_lit0 to lit15 */
	*offset = 8 + 8 * ((pc & 15) >= (uintptr_t)pushed - 0x30);
	return pushed >= 0x30 && pushed <= 0x3f;
}

static struct lt_rule simplify(const struct state *s, uintptr_t pc)
{
	struct lt_rule rule = { .kind = LT_RULE_UNUSUAL };
	int64_t offset = s->cfa_offset, rbp_offset = 0;
	if (s->ra.where == UNDEFINED)
		return (struct lt_rule){ .kind = LT_RULE_END };
	if (s->ra.where != AT_CFA || s->ra.offset != -8)
		return rule;
	enum lt_rule_kind kind;
	if (s->cfa_expression && is_plt(s->cfa_expression, s->cfa_expression_size, pc, &offset)) {
		kind = LT_RULE_RSP;
	} else if (s->cfa_expression) {
		if (!is_rbp_based(s->cfa_expression, s->cfa_expression_size, true, &offset))
			return rule;
		kind = LT_RULE_RBP_DEREF;
	} else if (s->cfa_register == REG_RSP) {
		kind = LT_RULE_RSP;
	} else if (s->cfa_register == REG_RBP) {
		kind = LT_RULE_RBP;
	} else {
		return rule;
	}
	enum lt_rbp_kind rbp = LT_RBP_SAME;
	if (s->rbp.where == AT_CFA) {
		rbp = LT_RBP_AT_CFA;
		rbp_offset = s->rbp.offset;
	} else if (s->rbp.where == EXPRESSION) {
		if (!is_rbp_based(s->rbp.expression, s->rbp.expression_size, false, &rbp_offset))
			return rule;
		rbp = LT_RBP_AT_RBP;
	} else if (s->rbp.where == ELSEWHERE) {
		return rule;
	}
	if (offset != (int32_t)offset || rbp_offset != (int16_t)rbp_offset)
		return rule;
	return (struct lt_rule){ .kind = (uint8_t)kind, .offset = (int32_t)offset, .rbp = (uint8_t)rbp,
		                 .rbp_offset = (int16_t)rbp_offset };
}

static struct lt_rule from_fde(const uint8_t *fde, uintptr_t pc)
{
	const struct lt_rule unusual = { .kind = LT_RULE_UNUSUAL }, unknown = { .kind = LT_RULE_UNKNOWN };
	uint32_t length, cie_pointer;
	memcpy(&length, fde, 4);
	memcpy(&cie_pointer, fde + 4, 4);
	if (!length || length == UINT32_MAX || !cie_pointer)
		return unusual;
	struct cie cie;
	if (!read_cie(fde + 4 - cie_pointer, &cie))
		return unusual;
	struct reader r = { .p = fde + 8, .end = fde + 4 + length };
	uint64_t start = take_encoded(&r, cie.fde_encoding);
	uint64_t size = take_encoded(&r, cie.fde_encoding & 0x0f);
	if (r.bad)
		return unusual;
	if (pc - start >= size)
		return unknown;
	if (cie.signal)
		return (struct lt_rule){ .kind = LT_RULE_SIGNAL };
	if (cie.augmented) {
		uint64_t skip = take_uleb(&r);
		if (skip > (size_t)(r.end - r.p))
			return unusual;
		r.p += skip;
	}
	struct state state = { .cfa_register = UINT64_MAX };
	if (!run(cie.program, cie.program_end, &cie, 0, UINT64_MAX, &state, NULL))
		return unusual;
	const struct state initial = state;
	if (!run(r.p, r.end, &cie, start, pc, &state, &initial))
		return unusual;
	return simplify(&state, pc);
}

struct entry {
	int32_t start, fde; /* from the header */
};

/* .eh_frame_hdr in the form that every linker writes: a table sorted by address, offsets relative to the header. */
static const struct entry *find_table(const uint8_t *header, uint64_t *count)
{
	struct reader r = { .p = header + 4, .end = header + 24 };
	if (header[0] != 1 || header[2] == 0xff || header[3] != (ENC_DATAREL | ENC_SDATA4))
		return NULL;
	take_encoded(&r, header[1]);
	*count = take_encoded(&r, header[2]);
	return r.bad || !*count ? NULL : (const void *)r.p;
}

static const struct entry *find_entry(const uint8_t *header, uintptr_t pc)
{
	uint64_t count;
	const struct entry *table = find_table(header, &count);
	if (!table)
		return NULL;
	int64_t wanted = (int64_t)(pc - (uintptr_t)header);
	uint64_t low = 0, high = count;
	while (low < high) {
		uint64_t middle = (low + high) / 2;
		if (table[middle].start <= wanted)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? &table[low - 1] : NULL;
}

static const uint8_t *find_fde(const uint8_t *header, uintptr_t pc)
{
	const struct entry *entry = find_entry(header, pc);
	return entry ? header + entry->fde : NULL;
}

#if __GLIBC_PREREQ(2, 35)
#pragma weak _dl_find_object
#endif

struct search {
	uintptr_t pc;
	const uint8_t *header;
};

static int on_object(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct search *search = arg;
	const uint8_t *header = NULL;
	bool inside = false;
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &info->dlpi_phdr[i];
		if (part->p_type == PT_GNU_EH_FRAME)
			header = (const uint8_t *)(info->dlpi_addr + part->p_vaddr);
		else if (part->p_type == PT_LOAD && search->pc - (info->dlpi_addr + part->p_vaddr) < part->p_memsz)
			inside = true;
	}
	if (inside)
		search->header = header;
	return inside;
}

static const uint8_t *find_header(uintptr_t pc)
{
	struct search search = { .pc = pc };
#if __GLIBC_PREREQ(2, 35)
	if (lt_likely(_dl_find_object)) {
		struct dl_find_object object;
		return _dl_find_object((void *)pc, &object) == 0 ? object.dlfo_eh_frame : NULL;
	}
#endif
	dl_iterate_phdr(on_object, &search);
	return search.header;
}

const void *lt_cfi_header(uintptr_t pc, const void **table, uint64_t *count)
{
	const uint8_t *header = find_header(pc);
	return header && (*table = find_table(header, count)) ? header : NULL;
}

struct lt_rule lt_cfi_rule(uintptr_t pc)
{
	const uint8_t *header = find_header(pc), *fde = header ? find_fde(header, pc) : NULL;
	return fde ? from_fde(fde, pc) : (struct lt_rule){ .kind = LT_RULE_UNKNOWN };
}

uintptr_t lt_cfi_function(uintptr_t pc)
{
	const uint8_t *header = find_header(pc);
	const struct entry *entry = header ? find_entry(header, pc) : NULL;
	return entry ? (uintptr_t)header + (uintptr_t)(intptr_t)entry->start : 0;
}
