/* SPDX-License-Identifier: MIT
 *
 * To which package does a function belong?
 *
 * From the closure's environment outwards: the environment whose enclosure's enclosure is base's is a package's name space
 * (what lies between are its imports), if R's registry of name spaces holds it. The registry gives the name as a symbol.
 * Unlike the value of `.__NAMESPACE__.`, a symbol never goes away.
 *
 * A small cache tells in which bucket of the registry an environment was found. It is only a hint: the bucket's cells are
 * alive, since the registry is, and one of them must still hold that very environment; so a name space that was unloaded, and
 * whose address serves another one now, can't be taken for it.
 *
 * For the kept stack: the closure's environment is compared by stack.c; the words are the enclosures up to one that is never
 * freed (base's, the global one), or to a name space, whose words are the cells of the registry up to its own.
 *
 * Threads: R's main thread only. Failure: NULL.
 */
#include "r/watch.h"

enum {
	ENCLOSURES_MAX = 64,
	CELLS_MAX = 10000,
	CACHE = 32, /* a power of two */
};

static struct {
	const struct lt_r_node *environment;
	int64_t bucket;
} cache[CACHE];

static const char *find_in_cells(const struct lt_r_node *cell, const struct lt_r_node *environment)
{
	for (unsigned i = 0; i < CELLS_MAX && lt_r_is(cell, LT_R_PAIRLIST); i++, cell = cell->list.cdr)
		if (cell->list.car == environment && lt_r_is_ordinary_binding(cell))
			return lt_r_symbol_name(cell->list.tag);
	return NULL;
}

/* `environment` is bound in one of the cells that begin at *first. */
static void watch_cells(const struct lt_r_node *const *first, const struct lt_r_node *environment, struct lt_r_watch *watch)
{
	for (;; first = &(*first)->list.cdr) {
		lt_r_watch(watch, first);
		lt_r_watch(watch, &(*first)->list.car);
		if ((*first)->list.car == environment || watch->fickle)
			return;
	}
}

static void watch_registered(const struct lt_r_node *const *first, const struct lt_r_node *environment, struct lt_r_watch *watch)
{
	if (!watch || lt_r_is_watched(watch, environment))
		return;
	lt_r_watch(watch, &(*lt_r.namespace_registry)->environment.hash_table);
	watch_cells(first, environment, watch);
	watch->kept->space = environment;
}

static inline const struct lt_r_node *const *bucket_of(const struct lt_r_node *table, int64_t i)
{
	return &((const struct lt_r_node *const *)((const char *)table + LT_R_VECTOR_DATA))[i];
}

static const char *find_registered(const struct lt_r_node *environment, struct lt_r_watch *watch)
{
	const struct lt_r_node *registry = *lt_r.namespace_registry;

	if (!lt_r_is(registry, LT_R_ENVIRONMENT))
		return NULL;

	const struct lt_r_node *table = registry->environment.hash_table;
	if (!lt_r_is_plain(table, LT_R_LIST)) {
		lt_r_watch_in_vain(watch);
		return find_in_cells(registry->environment.frame, environment);
	}

	unsigned slot = ((uintptr_t)environment >> 3) * 0x9e3779b1u >> 27 & (CACHE - 1);
	const char *name;
	if (cache[slot].environment == environment && cache[slot].bucket < table->vector.length && lt_likely(!lt_r.judging)) {
		name = find_in_cells(lt_r_element(table, cache[slot].bucket), environment);
		if (lt_likely(name)) {
			watch_registered(bucket_of(table, cache[slot].bucket), environment, watch);
			return name;
		}
	}
	for (int64_t i = 0; i < table->vector.length; i++) {
		name = find_in_cells(lt_r_element(table, i), environment);
		if (!name)
			continue;
		if (lt_likely(!lt_r.judging)) {
			cache[slot].environment = environment;
			cache[slot].bucket = i;
		}
		watch_registered(bucket_of(table, i), environment, watch);
		return name;
	}
	lt_r_watch_in_vain(watch);
	return NULL;
}

const char *lt_r_namespace_of(const struct lt_r_node *function, struct lt_r_watch *watch)
{
	if (!lt_r_is(function, LT_R_CLOSURE))
		return "base"; /* .Internal and .Primitive: eval() makes such contexts */

	const struct lt_r_node *base = *lt_r.base_namespace;
	const struct lt_r_node *environment = function->closure.environment;
	for (unsigned i = 0; i < ENCLOSURES_MAX; i++) {
		if (environment == base || environment == *lt_r.base_environment)
			return "base";
		if (environment == *lt_r.global_environment || environment == *lt_r.empty_environment)
			return NULL;
		if (!lt_r_is(environment, LT_R_ENVIRONMENT))
			break;

		const struct lt_r_node *enclosure = environment->environment.enclosure;
		/* A name space is always hashed; environments of calls, which are far more, never are. */
		if (lt_r_is(enclosure, LT_R_ENVIRONMENT) && enclosure->environment.enclosure == base &&
		    environment->environment.hash_table != *lt_r.nil) {
			const char *name = find_registered(environment, watch);
			if (name)
				return name;
		}
		lt_r_watch(watch, &environment->environment.enclosure);
		environment = enclosure;
	}
	lt_r_watch_in_vain(watch);
	return NULL;
}
