/* SPDX-License-Identifier: MIT
 *
 * Which site of one session is which of another.
 *
 * The key of a site is the sequence of its frames, inlined ones expanded, each as function and base name of the module, and
 * of its R calls with their namespaces. Lines, offsets, addresses, directories and kinds are not in it: they change with
 * every build or run. So sites of one function that differ by line alone are one row on both sides.
 *
 * A frame without a name is its offset if the module is of one build on both sides (the start of its function, if the unwind
 * table knows it: what a name would say), else the module alone.
 *
 * What has no equal key is looked at twice more, and joined where exactly one site of each side is left over:
 *  - by shape: frames of rebuilt modules count as their module, and no two names contradict each other. The usual way to fix a
 *    leak is to rebuild in place: the build of A is gone then, and with it all its names.
 *  - by the site's function and R calls: another optimisation level, and frames came or went by inlining or tail calls.
 */
#include <inttypes.h>
#include <string.h>

#include "diff.h"
#include "xalloc.h"

#define NO_MODULE "?"

struct key {
	uint32_t *words;
	size_t count, room;
};

static void push(struct key *key, uint32_t word)
{
	LT_GROW(key->words, key->count, key->room);
	key->words[key->count++] = word;
}

/* Length of a module's base name, and where it begins. A module that was replaced while mapped is still called by its name. */
static size_t base_name(const char *path, const char **base)
{
	static const char deleted[] = " (deleted)";
	const char *slash = strrchr(path, '/');
	size_t length;

	*base = slash ? slash + 1 : path;
	length = strlen(*base);
	if (length >= sizeof deleted && strcmp(*base + length - (sizeof deleted - 1), deleted) == 0)
		length -= sizeof deleted - 1;
	return length;
}

/* Length of a function's name without what compilers append to copies and parts of functions; also as demanglers put it. */
static size_t plain_length(const char *name)
{
	static const char *const suffixes[] = {".constprop", ".isra", ".part", ".cold", ".lto_priv", ".llvm", ".clone"};
	static const char clone[] = " [clone ";
	size_t length = strlen(name);
	const char *found = strstr(name, clone);

	if (found && found > name && name[length - 1] == ']')
		length = (size_t)(found - name);
	for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
		size_t size = strlen(suffixes[i]);

		for (found = strstr(name + 1, suffixes[i]); *name && found; found = strstr(found + 1, suffixes[i])) {
			if (found[size] && found[size] != '.')
				continue;
			if ((size_t)(found - name) < length)
				length = (size_t)(found - name);
			break;
		}
	}
	return length;
}

/* Two names as one word; with the NUL between them, none is another's. */
static uint32_t word(struct lt_diff *diff, const char *a, size_t a_length, const char *b, size_t b_length)
{
	char small[512];
	LT_AUTO_FREE char *large = a_length + b_length + 1 > sizeof small ? lt_xmalloc(a_length + b_length + 1) : NULL;
	char *bytes = large ? large : small;

	memcpy(bytes, a, a_length);
	bytes[a_length] = '\0';
	memcpy(bytes + a_length + 1, b, b_length);
	return lt_intern_string(diff->words, bytes, (uint32_t)(a_length + b_length + 1));
}

static uint32_t frame_word(struct lt_diff *diff, const struct lt_shown_frame *frame, bool rebuilt)
{
	const char *base, *offset;
	size_t length = base_name(frame->path, &base);

	if (frame->function)
		return word(diff, frame->function, plain_length(frame->function), base, length);
	if (!*frame->path)
		return word(diff, "", 0, NO_MODULE, strlen(NO_MODULE));
	/* Of the label the offset: its name of the module may be cut. */
	offset = strrchr(frame->label, '+');
	return rebuilt || !offset ? word(diff, "", 0, base, length) : word(diff, offset, strlen(offset), base, length);
}

/* A part that the compiler split off a function, called by what remained of it: in another build it is one function. */
static bool split_off(const struct lt_stack *stack, size_t i)
{
	const struct lt_shown_frame *frame = &stack->frames[i], *outer = frame + 1;
	size_t length;

	if (i + 1 >= stack->count || !frame->function || !outer->function || strcmp(frame->path, outer->path))
		return false;
	length = plain_length(frame->function);
	return frame->function[length] && length == plain_length(outer->function) &&
	       strncmp(frame->function, outer->function, length) == 0;
}

static void push_calls(struct lt_diff *diff, const struct lt_intern *intern, uint32_t r, struct key *key)
{
	push(key, 0);
	for (; r; r = intern->rframes[r].parent) {
		const struct lt_bytes *namespace = &intern->strings[intern->rframes[r].namespace];
		const struct lt_bytes *call = &intern->strings[intern->rframes[r].call];

		push(key, word(diff, call->text ? call->text : "", call->length, namespace->text ? namespace->text : "",
			       namespace->length));
	}
}

static uint32_t finish(struct lt_diff *diff, struct key *key)
{
	uint32_t id = 0;

	if (key->count)
		id = lt_intern_string(diff->words, (const char *)key->words, (uint32_t)(key->count * sizeof *key->words));
	free(key->words);
	return id;
}

/* By what rows are matched. `how`: with the names of all frames, or those of rebuilt modules as their module, or the function
 * alone. 0: the site has no such key. */
static uint32_t make_key(struct lt_diff *diff, unsigned side, uint32_t number, enum lt_match how)
{
	const struct lt_report *report = &diff->sides[side];
	const struct lt_intern *intern = report->merge->intern;
	const struct lt_site *site = &report->model->sites[number];
	const struct lt_shown_frame *function;
	bool rebuilt_seen = false;
	struct lt_stack stack;
	struct key key = {0};

	lt_stack_make(report->symbols, intern, site->native, &stack);
	function = lt_stack_function(&stack);
	push(&key, site->flags & LEAKTRACE_SITE_R_HEAP ? 1 : 0);
	if (how == LT_MATCH_FUNCTION) {
		if (function && function->function)
			push(&key, frame_word(diff, function, false));
	} else {
		uint32_t node = site->native;

		for (size_t i = 0; i < stack.count; i++) {
			bool rebuilt = diff->rebuilt[side][intern->frames[node].module];
			bool last = i + 1 == stack.count || stack.frames[i + 1].level != stack.frames[i].level;

			rebuilt_seen |= rebuilt;
			if (how == LT_MATCH_SHAPE && rebuilt) {
				const char *base;
				size_t length = base_name(stack.frames[i].path, &base);

				if (last)
					push(&key, word(diff, "", 0, base, length));
			} else if (!split_off(&stack, i)) {
				push(&key, frame_word(diff, &stack.frames[i], rebuilt));
			}
			if (last)
				node = intern->frames[node].parent;
		}
	}
	push_calls(diff, intern, site->r, &key);
	if ((how == LT_MATCH_FUNCTION && !(function && function->function)) || (how == LT_MATCH_SHAPE && !rebuilt_seen))
		key.count = 0;
	lt_stack_clear(&stack);
	return finish(diff, &key);
}

struct lt_diff_row *lt_match_row(struct lt_diff *diff, unsigned side, uint32_t site)
{
	uint32_t key = make_key(diff, side, site, LT_MATCH_STACK), hash = lt_hash_mix(key, 0), cursor = hash, id;

	while ((id = lt_index_next(&diff->index, hash, &cursor)))
		if (diff->rows[id - 1].key == key)
			return &diff->rows[id - 1];
	LT_GROW(diff->rows, diff->row_count, diff->room);
	diff->rows[diff->row_count++] = (struct lt_diff_row){.key = key};
	lt_index_add(&diff->index, hash, (uint32_t)diff->row_count);
	return &diff->rows[diff->row_count - 1];
}

/* Names of the frames of rebuilt modules, outermost function of each physical frame; NULL where there is none. */
static size_t rebuilt_names(const struct lt_diff *diff, unsigned side, const struct lt_diff_row *row, const char ***names)
{
	const struct lt_report *report = &diff->sides[side];
	const struct lt_intern *intern = report->merge->intern;
	uint32_t node = report->model->sites[row->half[side].site].native;
	struct lt_stack stack;
	size_t count = 0, room = 0;

	*names = NULL;
	lt_stack_make(report->symbols, intern, node, &stack);
	for (size_t i = 0; i < stack.count; i++) {
		if (i + 1 < stack.count && stack.frames[i + 1].level == stack.frames[i].level)
			continue;
		if (diff->rebuilt[side][intern->frames[node].module]) {
			LT_GROW(*names, count, room);
			(*names)[count++] = stack.frames[i].function;
		}
		node = intern->frames[node].parent;
	}
	lt_stack_clear(&stack);
	return count;
}

static bool names_agree(const struct lt_diff *diff, const struct lt_diff_row *a, const struct lt_diff_row *b)
{
	LT_AUTO_FREE const char **a_names = NULL;
	LT_AUTO_FREE const char **b_names = NULL;
	size_t count = rebuilt_names(diff, 0, a, &a_names);

	if (rebuilt_names(diff, 1, b, &b_names) != count)
		return false;
	for (size_t i = 0; i < count; i++) {
		size_t length;

		if (!a_names[i] || !b_names[i])
			continue;
		length = plain_length(a_names[i]);
		if (length != plain_length(b_names[i]) || strncmp(a_names[i], b_names[i], length))
			return false;
	}
	return true;
}

struct single {
	uint32_t key, side;
	size_t row;
};

static int compare_singles(const void *a, const void *b)
{
	const struct single *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return x->side < y->side ? -1 : x->side > y->side;
}

/* The half of A goes to the row of B; the row of A stays, empty, until all are joined. */
static void join(struct lt_diff *diff, enum lt_match how)
{
	struct single *singles = lt_xcalloc(diff->row_count + 1, sizeof *singles);
	size_t count = 0, next;

	for (size_t i = 0; i < diff->row_count; i++) {
		const struct lt_diff_row *row = &diff->rows[i];
		unsigned side = lt_diff_side(row);

		if (!row->half[side].sites || row->half[!side].sites)
			continue;
		singles[count] = (struct single){make_key(diff, side, row->half[side].site, how), side, i};
		count += singles[count].key ? 1 : 0;
	}
	qsort(singles, count, sizeof *singles, compare_singles);
	for (size_t i = 0; i < count; i = next) {
		for (next = i + 1; next < count && singles[next].key == singles[i].key; next++)
			;
		if (next - i == 2 && singles[i].side != singles[i + 1].side) {
			struct lt_diff_row *a = &diff->rows[singles[i].row], *b = &diff->rows[singles[i + 1].row];

			if (how == LT_MATCH_SHAPE && !names_agree(diff, a, b))
				continue;
			b->half[0] = a->half[0];
			b->match = how;
			memset(a->half, 0, sizeof a->half);
		}
	}
	free(singles);
}

void lt_match_join(struct lt_diff *diff)
{
	size_t kept = 0;

	join(diff, LT_MATCH_SHAPE);
	join(diff, LT_MATCH_FUNCTION);
	for (size_t i = 0; i < diff->row_count; i++)
		if (diff->rows[i].half[0].sites || diff->rows[i].half[1].sites)
			diff->rows[kept++] = diff->rows[i];
	diff->row_count = kept;
}

static bool same_base(const char *a, const char *b)
{
	const char *x, *y;
	size_t length = base_name(a, &x);

	return length && base_name(b, &y) == length && memcmp(x, y, length) == 0;
}

/* The module is on the other side, but no build of it is this one. One without a build-id is never known to be the same. */
static bool is_rebuilt(const struct lt_intern *intern, const struct lt_module *module, const struct lt_intern *other)
{
	bool found = false;

	for (uint32_t i = 1; i < other->module_count; i++) {
		const struct lt_module *candidate = &other->modules[i];

		if (!same_base(lt_intern_text(intern, module->path), lt_intern_text(other, candidate->path)))
			continue;
		if (module->build_id_size && module->build_id_size == candidate->build_id_size &&
		    memcmp(module->build_id, candidate->build_id, module->build_id_size) == 0)
			return false;
		found = true;
	}
	return found;
}

void lt_match_begin(struct lt_diff *diff, struct lt_notes *notes)
{
	for (unsigned side = 0; side < 2; side++) {
		const struct lt_intern *intern = diff->sides[side].merge->intern;

		diff->rebuilt[side] = lt_xcalloc(intern->module_count + 1, sizeof **diff->rebuilt);
		for (uint32_t i = 1; i < intern->module_count; i++) {
			const struct lt_module *module = &intern->modules[i];
			const char *path = lt_intern_text(intern, module->path), *why;

			if (!is_rebuilt(intern, module, diff->sides[!side].merge->intern))
				continue;
			diff->rebuilt[side][i] = true;
			why = lt_symbols_module_note(diff->sides[side].symbols, path, module->build_id, module->build_id_size);
			if (why)
				lt_note(notes, path, "was rebuilt between A and B; of the build in %c: %s", "AB"[side], why);
		}
	}
}

int lt_match_compare(const struct lt_diff *diff, uint32_t a, uint32_t b)
{
	const struct lt_bytes *x = &diff->words->strings[a], *y = &diff->words->strings[b];
	size_t size = sizeof(uint32_t), x_count = x->length / size, y_count = y->length / size;

	for (size_t i = 0; i < x_count && i < y_count; i++) {
		uint32_t p, q;
		int order;

		memcpy(&p, x->text + i * size, size);
		memcpy(&q, y->text + i * size, size);
		/* The first number says whether it is R's heap, and is no word. */
		order = i && p && q ? lt_intern_compare_strings(diff->words, p, q) : p < q ? -1 : p > q;
		if (order)
			return order;
	}
	return x_count < y_count ? -1 : x_count > y_count;
}
