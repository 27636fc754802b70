/* SPDX-License-Identifier: MIT
 *
 * Words of the traced program and what they were, in pairs, as trace/shapes.h compares them.
 */
#ifndef LT_PAIR_H
#define LT_PAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lt_word_pair {
	_Alignas(16) const uintptr_t *at[2];
	uintptr_t value[2];
};

/* A list that is being written; of less than `room` words. */
struct lt_words {
	struct lt_word_pair *pairs;
	size_t count, room;
};

/* False: no room. */
static inline bool lt_words_put(struct lt_words *words, const void *at, uintptr_t value)
{
	size_t i = words->count;
	if (i == words->room)
		return false;
	words->pairs[i / 2].at[i % 2] = at;
	words->pairs[i / 2].value[i % 2] = value;
	words->count++;
	return true;
}

/* Makes their number even, and at least `least`, by repeating one. */
static inline void lt_words_fill(struct lt_words *words, size_t least)
{
	while (words->count % 2 || words->count < least)
		lt_words_put(words, words->pairs[0].at[0], words->pairs[0].value[0]);
}

#endif
