/* SPDX-License-Identifier: MIT
 *
 * Two sets of chunks in turn: a generation is written into the set that is not valid at the moment, then made valid by its
 * number in the process record. So at any instant one complete list is there, and repeated writing (a forked worker's, at the
 * end of each task) needs no more room than two lists.
 */
#include "dump/blocks.h"
#include "base/arena.h"
#include "base/options.h"
#include "base/atomic.h"
#include "base/sys.h"
#include "dump/dump.h"
#include "scan/scan.h"
#include "trace/intern.h"
#include "trace/live.h"
#include "trace/counters.h"
#include "trace/record.h"
#include <signal.h>
#include <string.h>

#define CHUNKS 4096
/* A chunk that does not fit into a segment leaves its rest unused: so with its header it is a part of one. */
#define BATCH_SMALL ((UINT64_C(32) << 10) - sizeof(struct leaktrace_chunk))
#define BATCH_LARGE ((UINT64_C(256) << 10) - sizeof(struct leaktrace_chunk)) /* for lists beyond 1 MiB, or they would be too many */

struct list {
	struct {
		struct leaktrace_chunk *chunk;
		uint64_t room; /* of so many records */
	} chunks[CHUNKS];
	uint32_t count; /* chunks there are */
	uint32_t used;  /* of these, in the present generation */
	uint64_t filled; /* records in the last one of these */
};

static struct list *lists[2][2]; /* [set][0 blocks, 1 inherited] */
static int busy;

struct writing {
	struct list *blocks;
	uint32_t generation;
	uint64_t left; /* estimate, for the size of the next chunk */
	uint64_t dropped;
	uint32_t first_site;
};

/* By ancestors' site id; and before a fork also by ours, for the child. `site` in them is the first id of the same stacks, where the
 * figures of all are. */
static struct {
	struct leaktrace_inherited *sites;
	uint32_t room;
	uint32_t known;    /* so many are right; 0: none, or no memory */
	uint32_t prepared; /* likewise, for the child of the fork that is under way */
} held;

static void *room(struct list *list, uint32_t type, uint32_t record_size, uint32_t generation, uint64_t records)
{
	for (;;) {
		if (list->used && list->filled < list->chunks[list->used - 1].room)
			return (char *)(list->chunks[list->used - 1].chunk + 1) + list->filled * record_size;
		if (list->used == list->count) {
			uint64_t bytes = (records ? records : 1) * record_size;
			if (list->count == CHUNKS)
				return NULL;
			uint64_t batch = bytes > UINT64_C(1) << 20 ? BATCH_LARGE : BATCH_SMALL;
			struct leaktrace_chunk *chunk = lt_dump_chunk(type, record_size, bytes < batch ? bytes : batch);
			if (!chunk)
				return NULL;
			list->chunks[list->count].chunk = chunk;
			list->chunks[list->count++].room = (bytes < batch ? bytes : batch) / record_size;
		}
		struct leaktrace_chunk *chunk = list->chunks[list->used++].chunk;
		list->filled = 0;
		lt_store_release(&chunk->count, 0); /* an old generation's chunk is empty before it is the new one's */
		lt_store_release(&chunk->generation, generation);
	}
}

static void commit(struct list *list)
{
	lt_store_release(&list->chunks[list->used - 1].chunk->count, ++list->filled); /* pairs with the reader of the file */
}

static bool write_block(const struct lt_block *block, void *arg)
{
	struct writing *w = arg;
	if (block->site < w->first_site) /* put back by a realloc that failed */
		return true;
	struct leaktrace_block *record =
		w->dropped ? NULL : room(w->blocks, LEAKTRACE_CHUNK_BLOCKS, sizeof *record, w->generation, w->left);
	if (!record) {
		w->dropped++;
		return true;
	}
	*record = (struct leaktrace_block){
		.address = block->address, .size = block->size, .site = block->site, .task = block->task,
	};
	commit(w->blocks);
	if (w->left)
		w->left--;
	return true;
}

static bool make_lists(unsigned set)
{
	for (unsigned i = 0; i < 2; i++) {
		if (!lists[set][i])
			lists[set][i] = lt_map(sizeof *lists[set][i]);
		if (!lists[set][i])
			return false;
		lists[set][i]->used = 0;
	}
	return true;
}

uint64_t lt_blocks_room(void)
{
	uint64_t bytes = lt_load_relaxed(&lt_process->live_blocks) * sizeof(struct leaktrace_block);
	return bytes + bytes / 64 + 65536;
}

void lt_blocks_write(bool final, bool patient, bool listed)
{
	struct leaktrace_process *process = lt_process;
	uint64_t all = ~UINT64_C(0), before;
	if (!lt_dump_open() || lt_exchange_acquire(&busy, 1)) /* pairs with the store at the end */
		return;
	lt_count_settle();
	struct writing w = { .generation = process->blocks_generation + 1, .first_site = lt_site_first() };
	unsigned set = w.generation & 1;
	/* A fatal signal waits until the list is complete. */
	lt_syscall6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&before, 8, 0, 0);
	if (!make_lists(set))
		goto out;
	w.blocks = lists[set][0];
	w.left = process->live_blocks;
	if (listed)
		w.dropped += lt_live_visit_own(patient, write_block, &w);
	else
		w.dropped = process->live_blocks;
	for (uint32_t site = 1; site < held.known; site++) {
		if (!lt_load_relaxed(&held.sites[site].blocks))
			continue;
		struct leaktrace_inherited *record =
			room(lists[set][1], LEAKTRACE_CHUNK_INHERITED, sizeof *record, w.generation, w.first_site - site);
		if (!record)
			break;
		*record = held.sites[site];
		record->site = site;
		commit(lists[set][1]);
	}
	lt_store_relaxed(&process->dropped_blocks, w.dropped);
	if (final)
		__atomic_fetch_or(&process->flags, LEAKTRACE_PROCESS_BLOCKS_FINAL, __ATOMIC_RELAXED);
	lt_store_release(&process->blocks_generation, w.generation); /* pairs with the reader of the file */
out:
	lt_store_release(&busy, 0); /* pairs with the exchange at the start */
	lt_syscall6(SYS_rt_sigprocmask, SIG_SETMASK, (long)&before, 0, 8, 0, 0);
}

uint64_t lt_blocks_write_verdict(const struct lt_scan_block *blocks, size_t n, uint32_t first_site, uint32_t generation)
{
	uint64_t dropped = 0;
	struct list *list = make_lists(generation & 1) ? lists[generation & 1][0] : NULL;
	for (size_t i = 0; i < n; i++) {
		if (blocks[i].site < first_site)
			continue;
		struct leaktrace_block *record =
			list && !dropped ? room(list, LEAKTRACE_CHUNK_BLOCKS, sizeof *record, generation, n - i) : NULL;
		if (!record) {
			dropped++;
			continue;
		}
		*record = (struct leaktrace_block){
			.address = blocks[i].address, .size = blocks[i].size, .site = blocks[i].site, .task = blocks[i].task,
			.flags = blocks[i].kind | blocks[i].flags,
		};
		commit(list);
	}
	return dropped;
}

static bool make_room(uint32_t sites)
{
	if (sites <= held.room)
		return true;
	uint32_t room = sites + sites / 4;
	struct leaktrace_inherited *more = lt_map(room * sizeof *more);
	if (!more)
		return false;
	if (held.known)
		memcpy(more, held.sites, held.known * sizeof *more);
	lt_unmap(held.sites, held.room * sizeof *held.sites);
	held.sites = more;
	held.room = room;
	return true;
}

void lt_blocks_fork_prepare(void)
{
	uint32_t first = lt_site_first(), next = lt_site_next();
	held.prepared = 0;
	if ((first > 1 && held.known != first) || !make_room(next))
		return;
	for (uint32_t id = first; id < next; id++) {
		const struct leaktrace_site *site = lt_site(id);
		held.sites[id] = (struct leaktrace_inherited){ .site = id };
		if (!site)
			continue;
		uint32_t sum = held.sites[id].site = lt_site_first_of(id);
		held.sites[sum].blocks += site->allocations - site->frees;
		held.sites[sum].bytes += site->allocated_bytes - site->freed_bytes;
	}
	held.prepared = next;
}

void lt_blocks_fork_parent(void)
{
	held.prepared = 0;
}

static bool count_held(const struct lt_block *block, void *arg)
{
	uint64_t weight = leaktrace_sample_weight(block->size, lt_options.sample);
	if (block->site < held.known) {
		held.sites[block->site].blocks += weight;
		held.sites[block->site].bytes += weight * block->size;
	}
	return true;
}

void lt_blocks_inherited_free(uint32_t site, uint64_t blocks, uint64_t bytes)
{
	if (site >= held.known)
		return;
	site = held.sites[site].site;
	lt_sub_relaxed(&held.sites[site].blocks, blocks);
	lt_sub_relaxed(&held.sites[site].bytes, bytes);
}

void lt_blocks_begin_file(void)
{
	busy = 0;
	for (unsigned i = 0; i < 4; i++)
		if (lists[i / 2][i % 2])
			lists[i / 2][i % 2]->count = lists[i / 2][i % 2]->used = 0;
}

void lt_blocks_fork_child(bool prepared)
{
	uint32_t first = lt_site_first();
	lt_blocks_begin_file();
	held.known = 0;
	if (prepared && held.prepared == first) {
		held.known = first;
	} else if (first > 1 && make_room(first)) {
		held.known = first;
		for (uint32_t id = 0; id < first; id++)
			held.sites[id] = (struct leaktrace_inherited){ .site = id };
		lt_live_visit(true, count_held, NULL);
	}
	held.prepared = 0;
}
