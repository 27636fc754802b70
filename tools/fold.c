/* SPDX-License-Identifier: MIT
 *
 * Each thread counts in records of its own, also frees of what another one allocated. So a single record's live figures may be
 * negative, as numbers modulo 2^64, and only the sums mean anything. They are exact where the process has ended or stands still; of one
 * that runs, the records were read one after another, and a sum may come out negative after all: then it is taken for 0.
 *
 * The records that were added to others stay, with nothing in them, for what a fork child inherited may be listed by their ids.
 */
#include "fold.h"

#include <string.h>

#include "xalloc.h"

struct alias {
	uint32_t id, first;
};

struct lt_fold {
	struct alias *aliases; /* sorted by id */
	size_t count, room;
};

/* The first record of a pair of stacks. */
struct place {
	unsigned char *record; /* NULL: none yet */
	size_t size;
	uint32_t native, r;
	bool several;
};

static void get(const struct place *place, struct leaktrace_site *site)
{
	memset(site, 0, sizeof *site);
	memcpy(site, place->record, place->size);
}

static void put(const struct place *place, const struct leaktrace_site *site)
{
	memcpy(place->record, site, place->size);
}

/* The peak's figures are those that are noted. */
static void note_peak(struct leaktrace_site *site, uint64_t peak_seq)
{
	if (site->peak_seen == peak_seq)
		return;
	site->peak_seen = peak_seq;
	site->peak_blocks = site->allocations - site->frees;
	site->peak_bytes = site->allocated_bytes - site->freed_bytes;
}

static void widen(struct leaktrace_site *site, uint32_t shift)
{
	uint32_t more = shift - site->epoch_shift;

	if (!more)
		return;
	for (uint32_t e = 0; e < LEAKTRACE_EPOCHS; e++) {
		uint32_t to = more < 32 ? e >> more : 0;
		uint64_t blocks = site->epoch[e].blocks, bytes = site->epoch[e].bytes;

		site->epoch[e].blocks = site->epoch[e].bytes = 0;
		site->epoch[to].blocks += blocks;
		site->epoch[to].bytes += bytes;
	}
	site->epoch_shift = shift;
}

static void add(struct leaktrace_site *sum, struct leaktrace_site *site)
{
	uint32_t shift = sum->epoch_shift > site->epoch_shift ? sum->epoch_shift : site->epoch_shift;

	widen(sum, shift);
	widen(site, shift);
	for (unsigned e = 0; e < LEAKTRACE_EPOCHS; e++) {
		sum->epoch[e].blocks += site->epoch[e].blocks;
		sum->epoch[e].bytes += site->epoch[e].bytes;
	}
	sum->flags |= site->flags;
	sum->allocations += site->allocations;
	sum->allocated_bytes += site->allocated_bytes;
	sum->frees += site->frees;
	sum->freed_bytes += site->freed_bytes;
	sum->temporary += site->temporary;
	sum->peak_blocks += site->peak_blocks;
	sum->peak_bytes += site->peak_bytes;
	sum->startup_blocks += site->startup_blocks;
	sum->startup_bytes += site->startup_bytes;
	sum->sampled += site->sampled;
	sum->variance_blocks += site->variance_blocks;
	sum->variance_bytes += site->variance_bytes;
}

static void at_least_0(uint64_t *figure)
{
	if ((int64_t)*figure < 0)
		*figure = 0;
}

static void settle(const struct place *place)
{
	struct leaktrace_site site;

	get(place, &site);
	at_least_0(&site.peak_blocks);
	at_least_0(&site.peak_bytes);
	at_least_0(&site.startup_blocks);
	at_least_0(&site.startup_bytes);
	at_least_0(&site.variance_blocks);
	at_least_0(&site.variance_bytes);
	for (unsigned e = 0; e < LEAKTRACE_EPOCHS; e++) {
		at_least_0(&site.epoch[e].blocks);
		at_least_0(&site.epoch[e].bytes);
	}
	put(place, &site);
}

static struct place *find(struct place *places, size_t mask, const struct leaktrace_site *site)
{
	size_t i = (((uint64_t)site->native << 32 | site->r) * 0x9e3779b97f4a7c15ULL) >> 20 & mask;

	while (places[i].record && (places[i].native != site->native || places[i].r != site->r))
		i = (i + 1) & mask;
	return &places[i];
}

/* Their number; *several: they are not all of one thread. */
static size_t count_records(const struct lt_dump *dump, bool *several)
{
	size_t count = 0;
	uint32_t thread = 0;

	*several = false;
	LT_DUMP_EACH(dump, LEAKTRACE_CHUNK_SITES, chunk) {
		for (uint64_t i = 0; chunk->data && i < chunk->count; i++) {
			struct leaktrace_site site;

			lt_chunk_record(chunk, i, &site, sizeof site);
			*several |= count++ && site.process != thread;
			thread = site.process;
		}
	}
	return count;
}

static void fold_record(struct lt_fold *fold, struct place *places, size_t mask, struct place *record, uint64_t peak_seq)
{
	struct leaktrace_site site, sum;
	struct place *place;

	get(record, &site);
	note_peak(&site, peak_seq);
	place = find(places, mask, &site);
	if (!place->record) {
		put(record, &site);
		*place = *record;
		place->native = site.native;
		place->r = site.r;
		return;
	}
	get(place, &sum);
	LT_GROW(fold->aliases, fold->count, fold->room);
	fold->aliases[fold->count++] = (struct alias){.id = site.id, .first = sum.id};
	add(&sum, &site);
	put(place, &sum);
	place->several = true;
	site = (struct leaktrace_site){.id = site.id, .process = site.process, .native = site.native, .r = site.r, .flags = site.flags,
				       .peak_seen = peak_seq};
	put(record, &site);
}

static int by_id(const void *a, const void *b)
{
	const struct alias *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

struct lt_fold *lt_fold_new(struct lt_dump *dump, const struct leaktrace_process *process)
{
	bool several;
	size_t count = count_records(dump, &several), slots = 64;
	struct lt_fold *fold;
	struct place *places;

	if (dump->header.flags & LEAKTRACE_HEADER_MERGED || !several)
		return NULL;
	while (slots < 2 * count)
		slots *= 2;
	fold = lt_xcalloc(1, sizeof *fold);
	places = lt_xcalloc(slots, sizeof *places);
	LT_DUMP_EACH(dump, LEAKTRACE_CHUNK_SITES, chunk) {
		struct place record = {.size = chunk->record_size < sizeof(struct leaktrace_site) ? chunk->record_size :
					       sizeof(struct leaktrace_site)};

		for (uint64_t i = 0; chunk->data && i < chunk->count; i++) {
			record.record = chunk->data + i * chunk->record_size;
			fold_record(fold, places, slots - 1, &record, process->peak_seq);
		}
	}
	for (size_t i = 0; i < slots; i++)
		if (places[i].several)
			settle(&places[i]);
	free(places);
	if (fold->count)
		qsort(fold->aliases, fold->count, sizeof *fold->aliases, by_id);
	return fold;
}

void lt_fold_free(struct lt_fold *fold)
{
	if (!fold)
		return;
	free(fold->aliases);
	free(fold);
}

uint32_t lt_fold_site(const struct lt_fold *fold, uint32_t id)
{
	const struct alias key = {.id = id}, *found;

	if (!fold || !fold->count)
		return id;
	found = bsearch(&key, fold->aliases, fold->count, sizeof *fold->aliases, by_id);
	return found ? found->first : id;
}
