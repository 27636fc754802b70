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
 * For the kept stack: the context's srcref and code object are compared by stack.c; the words are all that is read on the way
 * from there to line and file name. Of code without sources, that is nothing.
 *
 * Everything is read raw: no promise is forced, no method of an ALTREP object is run, no active binding is called.
 * Threads: R's main thread only. Failure: no file, line 0.
 */
#include <string.h>

#include "r/watch.h"

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

static const struct lt_r_node *find_attribute(const struct lt_r_node *node, const struct lt_r_node *name,
                                              struct lt_r_watch *watch)
{
	const struct lt_r_node *const *next = &node->attributes;

	for (unsigned i = 0; i < ATTRIBUTES_MAX && lt_r_is(*next, LT_R_PAIRLIST); i++, next = &(*next)->list.cdr) {
		lt_r_watch(watch, next);
		lt_r_watch(watch, &(*next)->list.tag);
		if ((*next)->list.tag == name) {
			lt_r_watch(watch, &(*next)->list.car);
			return (*next)->list.car;
		}
	}
	lt_r_watch(watch, next);
	return NULL;
}

static const char *first_string(const struct lt_r_node *strings, struct lt_r_watch *watch)
{
	if (!lt_r_is_plain(strings, LT_R_STRINGS) || strings->vector.length < 1 || !lt_r_is(lt_r_element(strings, 0), LT_R_CHARS))
		return NULL;

	const char *chars = lt_r_chars(lt_r_element(strings, 0));
	lt_r_watch(watch, (const char *)strings + LT_R_VECTOR_DATA);
	for (size_t i = 0, size = watch ? strlen(chars) + 1 : 0; i < size; i += 8)
		lt_r_watch(watch, chars + i);
	return chars;
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

static const char *find_filename(const struct lt_r_node *srcfile, struct lt_r_watch *watch)
{
	static const char name[] = "filename";

	if (!lt_r_is(srcfile, LT_R_ENVIRONMENT))
		return NULL;

	const struct lt_r_node *table = srcfile->environment.hash_table, *const *next = &srcfile->environment.frame;
	lt_r_watch(watch, &srcfile->environment.hash_table);
	if (lt_r_is_plain(table, LT_R_LIST)) {
		if (!table->vector.length)
			goto unknown;
		next = (const void *)((const char *)table + LT_R_VECTOR_DATA + hash_name(name) % table->vector.length * 8);
	}
	for (unsigned i = 0; i < CELLS_MAX && lt_r_is(*next, LT_R_PAIRLIST); i++, next = &(*next)->list.cdr) {
		const struct lt_r_node *cell = *next;
		const char *tag = lt_r_symbol_name(cell->list.tag);

		lt_r_watch(watch, next);
		lt_r_watch(watch, &cell->list.tag);
		if (!tag || strcmp(tag, name))
			continue;
		if (!lt_r_is_ordinary_binding(cell))
			break;

		const struct lt_r_node *value = cell->list.car;
		lt_r_watch(watch, &cell->list.car);
		if (lt_r_is(value, LT_R_PROMISE)) {
			lt_r_watch(watch, &value->promise.value);
			value = value->info >> 48 ? NULL : value->promise.value;
		}
		const char *file = first_string(value, watch);
		if (!file)
			break;
		return file;
	}
unknown:
	lt_r_watch_in_vain(watch);
	return NULL;
}

static bool is_table(const struct lt_r_node *constant)
{
	if (!lt_r_is_plain(constant, LT_R_INTEGER))
		return false;

	const char *class = first_string(find_attribute(constant, *lt_r.class_symbol, NULL), NULL);
	return class && !strcmp(class, "srcrefsIndex");
}

/* The srcref of the position in byte code at which `context` began; NULL: none. */
static const struct lt_r_node *find_in_byte_code(const char *context, const struct lt_r_layout *layout, uintptr_t low,
                                                 uintptr_t high, struct lt_r_watch *watch)
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
	if (sourceless[slot].body == body && sourceless[slot].last == table && lt_likely(!lt_r.judging))
		return NULL;
	if (!is_table(table)) {
		if (lt_likely(!lt_r.judging)) {
			sourceless[slot].body = body;
			sourceless[slot].last = table;
		}
		return NULL;
	}
	lt_r_watch(watch, &body->list.car);
	lt_r_watch(watch, &body->list.cdr);
	lt_r_watch(watch, &constants->vector.length);
	lt_r_watch(watch, (const char *)constants + LT_R_VECTOR_DATA + (constants->vector.length - 1) * 8);
	if (!lt_r_is_plain(code, LT_R_INTEGER))
		return NULL;

	/* Positions count in 8-byte words (threaded code). 4.4 keeps the position in the context; before, and where it is 0,
	 * the context points to the interpreter's own variable. */
	int64_t at = layout->relpc ? (int64_t)(intptr_t)lt_r_field(context, layout->relpc) : 0;
	if (layout->relpc)
		lt_r_watch(watch, context + layout->relpc);
	if (at <= 0) {
		uintptr_t variable = (uintptr_t)lt_r_field(context, layout->bcpc);

		lt_r_watch(watch, context + layout->bcpc);
		if (variable & 7 || variable <= low || variable >= high)
			return NULL;
		lt_r_watch(watch, (const void *)variable);
		at = (*(const intptr_t *)variable - (intptr_t)((const char *)code + LT_R_VECTOR_DATA)) / 8;
	}
	if (at < 0 || at >= table->vector.length)
		return NULL;

	int index = lt_r_integer(table, at);
	lt_r_watch(watch, (const char *)table + LT_R_VECTOR_DATA + at * 4);
	if (index < 0 || index >= constants->vector.length)
		return NULL;
	lt_r_watch(watch, (const char *)constants + LT_R_VECTOR_DATA + (int64_t)index * 8);
	return lt_r_element(constants, index);
}

void lt_r_source_of(const char *context, const struct lt_r_layout *layout, uintptr_t low, uintptr_t high, const char **file,
                    uint32_t *line, struct lt_r_watch *watch)
{
	const struct lt_r_node *srcref = lt_r_field(context, layout->srcref);

	*file = NULL;
	*line = 0;
	if (!srcref || srcref == *lt_r.nil || !lt_r.in_byte_code || !lt_r.srcfile_symbol || !lt_r.class_symbol)
		return;
	if (srcref == *lt_r.in_byte_code)
		srcref = find_in_byte_code(context, layout, low, high, watch);
	if (!lt_r_is_plain(srcref, LT_R_INTEGER) || srcref->vector.length < 4 || lt_r_integer(srcref, 0) <= 0)
		return;
	*line = (uint32_t)lt_r_integer(srcref, 0);
	lt_r_watch(watch, (const char *)srcref + LT_R_VECTOR_DATA);

	const struct lt_r_node *srcfile = find_attribute(srcref, *lt_r.srcfile_symbol, watch);
	if (watch && srcfile && lt_r_is_watched(watch, srcfile)) {
		*file = find_filename(srcfile, NULL);
	} else {
		*file = find_filename(srcfile, watch);
		if (watch && *file)
			watch->kept->file = srcfile;
	}
}
