/* SPDX-License-Identifier: MIT
 *
 * From address to DWARF scopes, in three steps: compilation unit, by the ranges of all units (read once; .debug_aranges are
 * optional and clang leaves them out); function, by the ranges of all functions of that unit (read on the first question
 * about it); inlined calls, by a walk through the function's own children. dwarf_getscopes() would walk the whole unit for
 * each address: a minute instead of a second for some C++ files.
 *
 * DWARF is input: depth of recursion is bounded, ranges outside the code are passed over, what cannot be read is not there.
 */
#include "scopes.h"

#include <dwarf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ranges.h"
#include "xalloc.h"

#define DEPTH_MAX 200

struct unit {
	Dwarf_Die die;  /* holds lines and files */
	Dwarf_Die tree; /* holds functions: differs from `die` for split DWARF */
	Dwarf_Die *functions;
	size_t function_count, function_room;
	struct lt_ranges ranges; /* value: index of the function */
	bool walked;
};

struct lt_scopes {
	const struct lt_symtab *symtab;
	Dwarf_Addr bias;
	struct unit *units;
	size_t count, room;
	struct lt_ranges ranges; /* value: index of the unit */
};

/* Adds all ranges of code that a DIE covers; returns how many there were. */
static size_t add_ranges(const struct lt_scopes *scopes, struct lt_ranges *ranges, Dwarf_Die *die, uint64_t value)
{
	Dwarf_Addr base, low, high;
	ptrdiff_t offset = 0;
	size_t added = 0;

	while ((offset = dwarf_ranges(die, offset, &base, &low, &high)) > 0) {
		if (low >= high || !lt_symtab_is_code(scopes->symtab, low + scopes->bias))
			continue;
		lt_ranges_add(ranges, low, high, value);
		added++;
	}
	return added;
}

static bool may_hold_functions(int tag)
{
	switch (tag) {
	case DW_TAG_subprogram: /* nested functions */
	case DW_TAG_lexical_block:
	case DW_TAG_namespace:
	case DW_TAG_module:
	case DW_TAG_class_type:
	case DW_TAG_structure_type:
	case DW_TAG_union_type:
	case DW_TAG_interface_type:
	case DW_TAG_enumeration_type: /* Rust */
	case DW_TAG_variant_part:
		return true;
	default:
		return false;
	}
}

static void collect_functions(const struct lt_scopes *scopes, struct unit *unit, Dwarf_Die *parent, unsigned depth)
{
	Dwarf_Die die;

	if (depth > DEPTH_MAX || dwarf_child(parent, &die))
		return;
	do {
		int tag = dwarf_tag(&die);

		if (tag == DW_TAG_subprogram && add_ranges(scopes, &unit->ranges, &die, unit->function_count)) {
			LT_GROW(unit->functions, unit->function_count, unit->function_room);
			unit->functions[unit->function_count++] = die;
		}
		if (may_hold_functions(tag) && dwarf_haschildren(&die))
			collect_functions(scopes, unit, &die, depth + 1);
	} while (!dwarf_siblingof(&die, &die));
}

static void walk_unit(const struct lt_scopes *scopes, struct unit *unit)
{
	if (unit->walked)
		return;
	unit->walked = true;
	collect_functions(scopes, unit, &unit->tree, 0);
	lt_ranges_sort(&unit->ranges);
}

static void add_unit(struct lt_scopes *scopes, Dwarf_Die *die, Dwarf_Die *tree)
{
	struct unit *unit;

	LT_GROW(scopes->units, scopes->count, scopes->room);
	unit = &scopes->units[scopes->count++];
	*unit = (struct unit){.die = *die, .tree = *tree};
	if (add_ranges(scopes, &scopes->ranges, die, scopes->count - 1))
		return;
	if (dwarf_hasattr(die, DW_AT_ranges) || dwarf_hasattr(die, DW_AT_low_pc)) {
		Dwarf_Addr high;

		/* A unit of data, or of code that was left out. A lone low_pc is only the base of its functions' ranges. */
		if (dwarf_hasattr(die, DW_AT_ranges) || !dwarf_highpc(die, &high))
			return;
	}
	walk_unit(scopes, unit);
	for (size_t i = 0; i < unit->ranges.count; i++)
		lt_ranges_add(&scopes->ranges, unit->ranges.items[i].low, unit->ranges.items[i].high, scopes->count - 1);
}

struct lt_scopes *lt_scopes_new(Dwarf *dwarf, Dwarf_Addr bias, const struct lt_symtab *symtab)
{
	struct lt_scopes *scopes = lt_xcalloc(1, sizeof *scopes);
	Dwarf_CU *cu = NULL;
	Dwarf_Half version;
	uint8_t type;
	Dwarf_Die die, split;

	scopes->symtab = symtab;
	scopes->bias = bias;
	while (dwarf_get_units(dwarf, cu, &cu, &version, &type, &die, &split) == 0) {
		if (type == DW_UT_compile && dwarf_tag(&die) == DW_TAG_compile_unit)
			add_unit(scopes, &die, &die);
		else if (type == DW_UT_skeleton)
			add_unit(scopes, &die, split.addr ? &split : &die);
	}
	lt_ranges_sort(&scopes->ranges);
	return scopes;
}

void lt_scopes_free(struct lt_scopes *scopes)
{
	if (!scopes)
		return;
	for (size_t i = 0; i < scopes->count; i++) {
		free(scopes->units[i].functions);
		lt_ranges_clear(&scopes->units[i].ranges);
	}
	free(scopes->units);
	lt_ranges_clear(&scopes->ranges);
	free(scopes);
}

static void set_name(struct lt_scope_frame *frame, Dwarf_Die *die)
{
	Dwarf_Attribute attribute;

	if (dwarf_attr_integrate(die, DW_AT_linkage_name, &attribute) ||
	    dwarf_attr_integrate(die, DW_AT_MIPS_linkage_name, &attribute))
		frame->name = dwarf_formstring(&attribute);
	frame->linkage = frame->name;
	if (!frame->name)
		frame->name = dwarf_diename(die);
}

static void set_file(struct lt_scope_frame *frame, struct unit *unit, const char *file)
{
	Dwarf_Attribute attribute;
	const char *dir;

	frame->file = file;
	if (!file || file[0] == '/' || !dwarf_attr(&unit->die, DW_AT_comp_dir, &attribute))
		return;
	/* Distributions map theirs to "./elf", which `file` has in it already. */
	dir = dwarf_formstring(&attribute);
	if (dir && dir[0] == '/')
		frame->dir = dir;
}

/* Where the code that was inlined as `die` was called. */
static void set_call_site(struct lt_scope_frame *frame, struct unit *unit, Dwarf_Die *die)
{
	Dwarf_Attribute attribute;
	Dwarf_Word number;
	Dwarf_Files *files;
	size_t count;

	if (dwarf_attr(die, DW_AT_call_file, &attribute) && !dwarf_formudata(&attribute, &number) &&
	    !dwarf_getsrcfiles(&unit->die, &files, &count) && number < count)
		set_file(frame, unit, dwarf_filesrc(files, number, NULL, NULL));
	if (frame->file && dwarf_attr(die, DW_AT_call_line, &attribute) && !dwarf_formudata(&attribute, &number) &&
	    number <= INT32_MAX)
		frame->line = (unsigned)number;
}

static void set_line(struct lt_scope_frame *frame, struct unit *unit, Dwarf_Addr address)
{
	Dwarf_Line *line = dwarf_getsrc_die(&unit->die, address);
	int number;

	if (!line)
		return;
	set_file(frame, unit, dwarf_linesrc(line, NULL, NULL));
	if (frame->file && !dwarf_lineno(line, &number) && number > 0)
		frame->line = (unsigned)number;
}

/* Follows the inlined calls around the address from `parent` inwards; fills `dies`, outermost first. */
static size_t find_inlined(Dwarf_Die *parent, Dwarf_Addr address, Dwarf_Die *dies, size_t count, size_t max, unsigned depth)
{
	Dwarf_Die die;

	if (depth > DEPTH_MAX || count == max || dwarf_child(parent, &die))
		return count;
	do {
		int tag = dwarf_tag(&die);
		bool located;
		size_t inside;

		if (tag != DW_TAG_inlined_subroutine && tag != DW_TAG_lexical_block && tag != DW_TAG_try_block &&
		    tag != DW_TAG_catch_block)
			continue;
		located = dwarf_hasattr(&die, DW_AT_ranges) || dwarf_hasattr(&die, DW_AT_low_pc);
		if (located ? dwarf_haspc(&die, address) <= 0 : tag == DW_TAG_inlined_subroutine)
			continue;
		if (tag == DW_TAG_inlined_subroutine) {
			dies[count] = die;
			return find_inlined(&die, address, dies, count + 1, max, depth + 1);
		}
		inside = find_inlined(&die, address, dies, count, max, depth + 1);
		/* Not found: a sibling may hold the call all the same, be it that this block has no addresses of its own, or
		 * that blocks overlap, as link-time optimisation leaves them. */
		if (inside > count)
			return inside;
	} while (!dwarf_siblingof(&die, &die));
	return count;
}

/* Of a function in pieces (hot and cold) the first piece is the one that is called. */
static int entry_point(Dwarf_Die *function, Dwarf_Addr *start)
{
	Dwarf_Addr base, end;

	if (!dwarf_entrypc(function, start))
		return 0;
	return dwarf_ranges(function, 0, &base, start, &end) > 0 ? 0 : -ENOENT;
}

size_t lt_scopes_find(struct lt_scopes *scopes, uint64_t address, struct lt_scope_frame frames[LT_SCOPE_FRAMES],
		      uint64_t *entry)
{
	Dwarf_Addr local = address - scopes->bias, start;
	const struct lt_range *range = lt_ranges_find(&scopes->ranges, local);
	Dwarf_Die inlined[LT_SCOPE_FRAMES - 1];
	Dwarf_Die *function;
	struct unit *unit;
	size_t count = 0;

	*entry = 0;
	if (!range)
		return 0;
	unit = &scopes->units[range->value];
	memset(frames, 0, LT_SCOPE_FRAMES * sizeof *frames);
	set_line(&frames[0], unit, local);
	walk_unit(scopes, unit);
	range = lt_ranges_find(&unit->ranges, local);
	if (!range)
		return frames[0].file ? 1 : 0;
	function = &unit->functions[range->value];
	count = find_inlined(function, local, inlined, 0, LT_SCOPE_FRAMES - 1, 0);
	for (size_t i = 0; i < count; i++) {
		set_name(&frames[i], &inlined[count - 1 - i]);
		set_call_site(&frames[i + 1], unit, &inlined[count - 1 - i]);
	}
	set_name(&frames[count], function);
	if (!entry_point(function, &start))
		*entry = start + scopes->bias;
	return count + 1;
}
