/* SPDX-License-Identifier: MIT
 *
 * Which rule a site falls under, and the rows of a model without those that fall under one.
 *
 * Sites share frames, so what a frame matches is found out once and kept by the frame's number in the trie: a number of a
 * rule for the user's rules, one for the built-in list. The latter is asked by module first, so that with no rules of the
 * user only frames of a few system libraries are ever looked up.
 */
#include <string.h>

#include "rank.h"
#include "report.h"
#include "suppress.h"
#include "xalloc.h"

/* Where memory comes from in the end: their frames inside of any function say nothing about who called. */
static const char *const runtime[] = {"^libc.so.", "^libc-2.", "^ld-linux", "^ld-2.", "^libstdc++.so", "^libpthread",
				      "^libleaktrace.so"};

#define UNSEEN (-2)
#define NO_RULE (-1)

struct lt_suppress_cache {
	struct lt_suppressions *suppressions;
	struct lt_symbols *symbols;
	const struct lt_intern *intern;
	int *user, *builtin; /* by frame: index of the first rule that it matches, by itself */
	int *calls;          /* the same for R calls */
	bool has_leak, has_r, has_builtin;
};

static const char *module_path(const struct lt_intern *intern, uint32_t node)
{
	return lt_intern_text(intern, intern->modules[intern->frames[node].module].path);
}

static const char *module_name(const struct lt_intern *intern, uint32_t node)
{
	const char *path = module_path(intern, node), *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static const struct lt_symbol_frame *look_up(struct lt_suppress_cache *cache, uint32_t node, size_t *n)
{
	const struct lt_intern *intern = cache->intern;
	const struct lt_module *module = &intern->modules[intern->frames[node].module];

	*n = 0;
	if (!intern->frames[node].module)
		return NULL;
	return lt_symbols_lookup(cache->symbols, lt_intern_text(intern, module->path), module->build_id, module->build_id_size,
				 intern->frames[node].offset, n);
}

static int match_user(struct lt_suppress_cache *cache, uint32_t node)
{
	const char *path = module_path(cache->intern, node);
	size_t n;
	const struct lt_symbol_frame *frames = look_up(cache, node, &n);

	/* Inlined functions are frames too: the innermost first. */
	for (size_t i = 0; i < (n ? n : 1); i++) {
		const char *function = n ? frames[i].function : NULL, *file = n ? frames[i].file : NULL;

		for (size_t j = 0; j < cache->suppressions->count; j++) {
			const struct lt_suppression *rule = &cache->suppressions->rules[j];

			if (rule->type == LT_RULE_LEAK &&
			    (lt_suppress_pattern(rule->pattern, path) || lt_suppress_pattern(rule->pattern, function) ||
			     lt_suppress_pattern(rule->pattern, file)))
				return (int)j;
		}
	}
	return NO_RULE;
}

static bool match_function(struct lt_suppress_cache *cache, uint32_t node, const char *pattern)
{
	size_t n;
	const struct lt_symbol_frame *frames = look_up(cache, node, &n);

	for (size_t i = 0; i < n; i++)
		if (lt_suppress_pattern(pattern, frames[i].function))
			return true;
	return false;
}

/* Module, function and caller; what lies inside differs from stack to stack. Of one frame the first entry counts, so two
 * entries for one function are told apart by their callers only. */
static int match_builtin(struct lt_suppress_cache *cache, uint32_t node)
{
	const char *module = module_name(cache->intern, node);
	uint32_t outer = cache->intern->frames[node].parent;

	for (size_t j = 0; j < cache->suppressions->count; j++) {
		const struct lt_builtin *entry = cache->suppressions->rules[j].builtin;

		if (!entry || !lt_suppress_pattern(entry->module, module))
			continue;
		if (entry->caller && (!outer || !lt_suppress_pattern(entry->caller, module_name(cache->intern, outer))))
			continue;
		if (!entry->function || match_function(cache, node, entry->function))
			return (int)j;
	}
	return NO_RULE;
}

static bool match_any(const char *patterns, const char *text)
{
	LT_AUTO_FREE char *copy = lt_xstrdup(patterns);
	char *rest = copy, *pattern;

	while ((pattern = strsep(&rest, " ")))
		if (*pattern && lt_suppress_pattern(pattern, text))
			return true;
	return false;
}

static bool is_runtime(const char *module)
{
	for (size_t i = 0; i < sizeof runtime / sizeof *runtime; i++)
		if (lt_suppress_pattern(runtime[i], module))
			return true;
	return false;
}

/* No frame between the allocation and `node` is somebody else's. */
static bool inside_is_own(const struct lt_intern *intern, const struct lt_builtin *entry, uint32_t native, uint32_t node)
{
	for (uint32_t inner = native; inner != node; inner = intern->frames[inner].parent) {
		const char *module = module_name(intern, inner);

		if (!lt_suppress_pattern(entry->module, module) && !is_runtime(module) &&
		    !(entry->inner && match_any(entry->inner, module)))
			return false;
	}
	return true;
}

static int match_call(struct lt_suppress_cache *cache, uint32_t r)
{
	const struct lt_rnode *node = &cache->intern->rframes[r];
	const char *namespace = lt_intern_text(cache->intern, node->namespace);
	LT_AUTO_FREE char *call = lt_xasprintf("%s%s%s", namespace, *namespace ? "::" : "",
					       lt_intern_text(cache->intern, node->call));

	for (size_t j = 0; j < cache->suppressions->count; j++) {
		const struct lt_suppression *rule = &cache->suppressions->rules[j];

		if (rule->type == LT_RULE_R && lt_suppress_pattern(rule->pattern, call))
			return (int)j;
	}
	return NO_RULE;
}

static int *new_answers(uint32_t count)
{
	int *answers = lt_xcalloc(count ? count : 1, sizeof *answers);

	for (uint32_t i = 0; i < count; i++)
		answers[i] = UNSEEN;
	return answers;
}

struct lt_suppress_cache *lt_suppress_cache_new(struct lt_suppressions *suppressions, struct lt_symbols *symbols,
						const struct lt_intern *intern)
{
	struct lt_suppress_cache *cache = lt_xcalloc(1, sizeof *cache);

	*cache = (struct lt_suppress_cache){.suppressions = suppressions, .symbols = symbols, .intern = intern};
	for (size_t i = 0; i < suppressions->count; i++) {
		cache->has_leak |= suppressions->rules[i].type == LT_RULE_LEAK;
		cache->has_r |= suppressions->rules[i].type == LT_RULE_R;
		cache->has_builtin |= suppressions->rules[i].type == LT_RULE_BUILTIN;
	}
	cache->user = new_answers(intern->frame_count);
	cache->builtin = new_answers(intern->frame_count);
	cache->calls = new_answers(intern->rframe_count);
	return cache;
}

void lt_suppress_cache_free(struct lt_suppress_cache *cache)
{
	if (!cache)
		return;
	free(cache->user);
	free(cache->builtin);
	free(cache->calls);
	free(cache);
}

struct lt_suppression *lt_suppress_cache_match(struct lt_suppress_cache *cache, uint32_t native, uint32_t r, enum lt_kind kind,
					       bool builtin)
{
	const struct lt_intern *intern = cache->intern;
	struct lt_suppression *rules = cache->suppressions->rules;

	if (!(LT_KINDS_LEAKS & LT_KIND_BIT(kind)))
		return NULL;
	for (uint32_t node = native; node && cache->has_leak; node = intern->frames[node].parent) {
		if (cache->user[node] == UNSEEN)
			cache->user[node] = match_user(cache, node);
		if (cache->user[node] != NO_RULE)
			return &rules[cache->user[node]];
	}
	for (uint32_t node = r; node && cache->has_r; node = intern->rframes[node].parent) {
		if (cache->calls[node] == UNSEEN)
			cache->calls[node] = match_call(cache, node);
		if (cache->calls[node] != NO_RULE)
			return &rules[cache->calls[node]];
	}
	for (uint32_t node = native; node && builtin && cache->has_builtin; node = intern->frames[node].parent) {
		const struct lt_builtin *entry;

		if (cache->builtin[node] == UNSEEN)
			cache->builtin[node] = match_builtin(cache, node);
		if (cache->builtin[node] == NO_RULE)
			continue;
		entry = rules[cache->builtin[node]].builtin;
		if (entry->kinds & LT_KIND_BIT(kind) && inside_is_own(intern, entry, native, node))
			return &rules[cache->builtin[node]];
	}
	return NULL;
}

/* What is kept by design is kept once. A site that grows with each task leaks, whatever the function is called; and R's heap
 * is no leak to begin with. */
static bool builtin_counts(const struct lt_model *model, const struct lt_row *row)
{
	return !lt_row_r_heap(model, row) && !(lt_growth_bytes(&model->sites[row->site].growth) > 0);
}

static void hit(struct lt_model *model, struct lt_suppression *rule, const struct lt_row *row)
{
	rule->sites++;
	rule->hits.bytes = lt_add(rule->hits.bytes, row->live.bytes);
	rule->hits.blocks = lt_add(rule->hits.blocks, row->live.blocks);
	lt_estimate_add(&model->totals[LT_KIND_SUPPRESSED], &row->live);
}

void lt_suppress_rows(struct lt_suppressions *suppressions, struct lt_symbols *symbols, struct lt_model *model)
{
	struct lt_suppress_cache *cache;
	uint32_t *ranks; /* new ones, by old index; 0: suppressed */
	size_t kept = 0, blocks = 0;

	if (!suppressions->count || !model->row_count)
		return;
	cache = lt_suppress_cache_new(suppressions, symbols, model->merge->intern);
	ranks = lt_xcalloc(model->row_count, sizeof *ranks);
	for (size_t i = 0; i < model->row_count; i++) {
		const struct lt_row row = model->rows[i];
		const struct lt_site *site = &model->sites[row.site];
		struct lt_suppression *rule = lt_suppress_cache_match(cache, site->native, site->r, row.kind,
								      builtin_counts(model, &row));

		lt_report_progress(i + 1, model->row_count);
		if (rule) {
			hit(model, rule, &row);
			continue;
		}
		ranks[i] = (uint32_t)kept + 1;
		model->rows[kept] = row;
		model->rows[kept].rank = ranks[i];
		kept++;
	}
	model->row_count = kept;
	lt_rank_totals(model);
	/* They are in the order of their rows, which stays as it was. */
	for (size_t i = 0; i < model->block_count; i++) {
		struct lt_live_block block = model->blocks[i];

		if (!ranks[block.site])
			continue;
		block.site = ranks[block.site] - 1;
		model->blocks[blocks++] = block;
	}
	model->block_count = blocks;
	free(ranks);
	lt_suppress_cache_free(cache);
}
