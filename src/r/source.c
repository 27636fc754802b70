/* SPDX-License-Identifier: MIT
 *
 * Where in the source does a call stand?
 *
 * The context of a call keeps the srcref that was current when it began, that is the caller's. If the caller is byte code, the
 * context keeps a marker in its place, and the caller's code object and position instead: the last constants of the code are
 * tables, one of expressions and behind it (if the source was kept) one of srcrefs, that map a position to the index of a
 * constant.
 * A srcref is an integer vector, first the line, with its file in the attribute "srcfile": an environment with a variable
 * "filename".
 *
 * Everything is read raw: no promise is forced, no method of an ALTREP object is run, no active binding is called.
 * Threads: R's main thread only. Failure: no file, line 0.
 */
#include <string.h>

#include "r/runtime.h"

enum {
	ATTRIBUTES_MAX = 16,
	CELLS_MAX = 1000,
	SOURCELESS = 64, /* a power of two */
};

/* Code objects without a table of srcrefs, with their last constant: most of all code. If both addresses were used anew for
 * code that has one, a line would go missing; a wrong one can't come of it. */
static struct {
	const struct lt_r_node *body, *last;
} sourceless[SOURCELESS];

static const struct lt_r_node *find_attribute(const struct lt_r_node *node, const struct lt_r_node *name)
{
	const struct lt_r_node *cell = node->attributes;

	for (unsigned i = 0; i < ATTRIBUTES_MAX && lt_r_is(cell, LT_R_PAIRLIST); i++, cell = cell->list.cdr)
		if (cell->list.tag == name)
			return cell->list.car;
	return NULL;
}

static const char *first_string(const struct lt_r_node *strings)
{
	if (!lt_r_is_plain(strings, LT_R_STRINGS) || strings->vector.length < 1)
		return NULL;
	return lt_r_is(lt_r_element(strings, 0), LT_R_CHARS) ? lt_r_chars(lt_r_element(strings, 0)) : NULL;
}

/* R hashes the names of variables by P. J. Weinberger's function. */
static uint32_t hash_name(const char *name)
{
	uint32_t hash = 0;

	for (; *name; name++) {
		hash = (hash << 4) + (uint32_t)*name;
		hash ^= (hash & 0xf0000000u) >> 24;
		hash &= 0x0fffffffu;
	}
	return hash;
}

static const char *find_filename(const struct lt_r_node *srcfile)
{
	static const char name[] = "filename";

	if (!lt_r_is(srcfile, LT_R_ENVIRONMENT))
		return NULL;

	const struct lt_r_node *table = srcfile->environment.hash_table, *cell = srcfile->environment.frame;
	if (lt_r_is_plain(table, LT_R_LIST)) {
		if (!table->vector.length)
			return NULL;
		cell = lt_r_element(table, hash_name(name) % table->vector.length);
	}
	for (unsigned i = 0; i < CELLS_MAX && lt_r_is(cell, LT_R_PAIRLIST); i++, cell = cell->list.cdr) {
		const char *tag = lt_r_symbol_name(cell->list.tag);

		if (!tag || strcmp(tag, name))
			continue;
		if (!lt_r_is_ordinary_binding(cell))
			return NULL;

		const struct lt_r_node *value = cell->list.car;
		if (lt_r_is(value, LT_R_PROMISE))
			value = value->info >> 48 ? NULL : value->promise.value;
		return first_string(value);
	}
	return NULL;
}

static bool is_table(const struct lt_r_node *constant)
{
	if (!lt_r_is_plain(constant, LT_R_INTEGER))
		return false;

	const char *class = first_string(find_attribute(constant, *lt_r.class_symbol));
	return class && !strcmp(class, "srcrefsIndex");
}

/* The srcref of the position in byte code at which `context` began; NULL: none. */
static const struct lt_r_node *find_in_byte_code(const char *context, const struct lt_r_layout *layout, uintptr_t low,
                                                 uintptr_t high)
{
	const struct lt_r_node *body = lt_r_field(context, layout->bcbody);
	if (!lt_r_is(body, LT_R_BYTE_CODE))
		return NULL;

	/* The byte compiler's commitlocs() adds the tables when all else is there, and that of srcrefs last. */
	const struct lt_r_node *code = body->list.car, *constants = body->list.cdr;
	if (!lt_r_is_plain(constants, LT_R_LIST) || !constants->vector.length)
		return NULL;

	const struct lt_r_node *table = lt_r_element(constants, constants->vector.length - 1);
	unsigned slot = ((uintptr_t)body >> 3) % SOURCELESS;
	if (sourceless[slot].body == body && sourceless[slot].last == table)
		return NULL;
	if (!is_table(table)) {
		sourceless[slot].body = body;
		sourceless[slot].last = table;
		return NULL;
	}
	if (!lt_r_is_plain(code, LT_R_INTEGER))
		return NULL;

	/* Positions count in 8-byte words (threaded code). 4.4 keeps the position in the context; before, and where it is 0,
	 * the context points to the interpreter's own variable. */
	int64_t at = layout->relpc ? (int64_t)(intptr_t)lt_r_field(context, layout->relpc) : 0;
	if (at <= 0) {
		uintptr_t variable = (uintptr_t)lt_r_field(context, layout->bcpc);

		if (variable & 7 || variable <= low || variable >= high)
			return NULL;
		at = (*(const intptr_t *)variable - (intptr_t)((const char *)code + LT_R_VECTOR_DATA)) / 8;
	}
	if (at < 0 || at >= table->vector.length)
		return NULL;

	int index = lt_r_integer(table, at);
	if (index < 0 || index >= constants->vector.length)
		return NULL;
	return lt_r_element(constants, index);
}

void lt_r_source_of(const char *context, const struct lt_r_layout *layout, uintptr_t low, uintptr_t high, const char **file,
                    uint32_t *line)
{
	const struct lt_r_node *srcref = lt_r_field(context, layout->srcref);

	*file = NULL;
	*line = 0;
	if (!srcref || srcref == *lt_r.nil || !lt_r.in_byte_code || !lt_r.srcfile_symbol || !lt_r.class_symbol)
		return;
	if (srcref == *lt_r.in_byte_code)
		srcref = find_in_byte_code(context, layout, low, high);
	if (!lt_r_is_plain(srcref, LT_R_INTEGER) || srcref->vector.length < 4 || lt_r_integer(srcref, 0) <= 0)
		return;
	*line = (uint32_t)lt_r_integer(srcref, 0);
	*file = find_filename(find_attribute(srcref, *lt_r.srcfile_symbol));
}
