/* SPDX-License-Identifier: MIT
 *
 * An R module that holds src/r itself, and asks it in a copy of the process what of R's heap is garbage.
 *
 *   rheap_collect()        numbers: error, nodes, vector cells, live and garbage ranges, finalizers pending, microseconds,
 *                          private KiB that the copy made, its wait status
 *   rheap_compare()        the same after R_gc(), node by node: error, nodes that are live for R and for us, for R only but for the
 *                          symbol table's cells, for us only, those cells, vector cells that R and we count
 *   rheap_make(how)        an external pointer to a new block; how: 0 no finalizer, 1 a C finalizer
 *   rheap_raw()            a raw vector with the address of a new block in it
 *   rheap_where()          per block made: 0 no node holds it, 1 a live one, 2 garbage that waits for its finalizer; -1 freed
 */
#include "r/nodes.h"
#include "r/r.h"
#include "trace/intern.h"
#include <R.h>
#include <Rinternals.h>
#include <R_ext/GraphicsEngine.h>
#include <R_ext/GraphicsDevice.h>
#include <malloc.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BLOCKS = 1024, FACTS = 9, DEVICES = 64, MARKED_BY_R = 1 << 24 };

struct answer {
	double facts[FACTS];
	int where[BLOCKS];
};

static void *blocks[BLOCKS];
static int block_count;

/* There is no trie here: nobody asks for R stacks. */
uint32_t lt_intern_r(const struct lt_r_call *calls, unsigned n)
{
	return 0;
}

uint32_t lt_intern_r_call(uint32_t parent, const struct lt_r_call *call)
{
	return 0;
}

SEXP rheap_collect(void);
SEXP rheap_compare(void);
SEXP rheap_make(SEXP how);
SEXP rheap_raw(void);
SEXP rheap_where(void);

static double cells_of(const struct lt_r_node *node)
{
	int64_t length = node->vector.length;
	switch (lt_r_type_of(node)) {
	case LT_R_CHARS: length += 1; break;
	case LT_R_RAW: break;
	case LT_R_LOGICAL:
	case LT_R_INTEGER: length *= 4; break;
	case LT_R_COMPLEX: length *= 16; break;
	default: length *= 8;
	}
	return (double)((length + 7) / 8);
}

typedef void visit_fn(const struct lt_r_node *node, double cells, double *facts);

/* Large vectors that R has released are in no list any more. */
static void each_node(visit_fn *visit, double *facts)
{
	static const int small[] = { 0, 1, 2, 4, 8, 16 };
	const struct lt_r_heap *heap = lt_r_heap();
	for (unsigned c = 0; c < LT_R_SMALL_CLASSES; c++)
		for (const struct lt_r_page *page = heap->classes[c].pages; page; page = page->next) {
			unsigned size = lt_r_node_size(c), n = (LT_R_PAGE - sizeof *page) / size;
			for (const char *node = (const char *)(page + 1); n--; node += size)
				visit((const struct lt_r_node *)node, small[c], facts);
		}
	for (unsigned c = LT_R_SMALL_CLASSES; c < LT_R_CLASSES; c++) {
		const struct lt_r_class *class = &heap->classes[c];
		const struct lt_r_node *pegs[] = { class->old[0], class->old[1], class->new, class->old_to_new[0], class->old_to_new[1] };
		for (unsigned i = 0; i < 5; i++)
			for (const struct lt_r_node *node = pegs[i]->gc_next; node != pegs[i]; node = node->gc_next)
				visit(node, c == LT_R_LARGE_CLASS ? cells_of(node) : 0, facts);
	}
}

static bool is_ours(const struct lt_r_node *node)
{
	return lt_r_heap_marked(lt_r_heap(), (uintptr_t)node);
}

static void count(const struct lt_r_node *node, double cells, double *facts)
{
	if (is_ours(node)) {
		facts[1]++;
		facts[2] += cells;
	}
}

static bool is_symbol_cell(const struct lt_r_node *node)
{
	return lt_r_type_of(node) == LT_R_PAIRLIST && lt_r_heap_node(lt_r_heap(), (uintptr_t)node->list.car) &&
	       lt_r_type_of(node->list.car) == LT_R_SYMBOL && lt_r_type_of(node->list.tag) == LT_R_NIL &&
	       (lt_r_type_of(node->list.cdr) == LT_R_NIL || lt_r_type_of(node->list.cdr) == LT_R_PAIRLIST);
}

static void compare(const struct lt_r_node *node, double cells, double *facts)
{
	bool r = node->info & MARKED_BY_R, ours = is_ours(node);
	facts[1] += r && ours;
	facts[4] += r && !ours && is_symbol_cell(node);
	facts[2] += r && !ours && !is_symbol_cell(node);
	facts[3] += !r && ours;
	facts[5] += r ? cells : 0;
	facts[6] += ours ? cells : 0;
	if (getenv("RHEAP_VERBOSE") && r != ours && !is_symbol_cell(node))
		fprintf(stderr, "%s: type %d at %p\n", r ? "only R" : "only we", (int)lt_r_type_of(node), (const void *)node);
}

static void look_for_blocks(const struct lt_r_ranges *ranges, int state, int *where)
{
	for (size_t i = 0; i < ranges->count; i++)
		for (void **word = (void **)ranges->all[i].low; word < (void **)ranges->all[i].high; word++)
			for (int b = 0; b < block_count; b++)
				if (blocks[b] && *word == blocks[b] && !where[b])
					where[b] = state;
}

static double private_kib(void)
{
	char line[256];
	double kib = 0;
	FILE *file = fopen("/proc/self/smaps_rollup", "r");
	while (file && fgets(line, sizeof line, file))
		if (!strncmp(line, "Private_Dirty:", 14))
			kib = atof(line + 14);
	if (file)
		fclose(file);
	return kib;
}

/* The tracer knows all blocks; these are enough here. */
static size_t device_block(uintptr_t address, void *arg)
{
	for (int i = 0; i < DEVICES; i++) {
		pGEDevDesc device = GEgetDevice(i);
		if (i && device && (address == (uintptr_t)device || address == (uintptr_t)device->dev))
			return malloc_usable_size((void *)address); /* device 0 is static */
	}
	return 0;
}

static void in_copy(struct answer *answer)
{
	struct lt_r_collection c = { .block = device_block };
	struct timespec begin, end;
	double before = private_kib();
	clock_gettime(CLOCK_MONOTONIC, &begin);
	answer->facts[0] = lt_r_collect(&c);
	clock_gettime(CLOCK_MONOTONIC, &end);
	answer->facts[6] = (double)(end.tv_sec - begin.tv_sec) * 1e6 + (double)(end.tv_nsec - begin.tv_nsec) / 1e3;
	answer->facts[7] = private_kib() - before;
	if (answer->facts[0] != 0)
		return;
	each_node(count, answer->facts);
	answer->facts[3] = (double)c.live.count;
	answer->facts[4] = (double)c.garbage.count;
	answer->facts[5] = (double)c.pending;
	look_for_blocks(&c.live, 1, answer->where);
	look_for_blocks(&c.garbage, 2, answer->where);
	lt_r_collect_end(&c);
}

static void compare_in_copy(struct answer *answer)
{
	struct lt_r_collection c = { .block = device_block };
	answer->facts[0] = lt_r_collect(&c);
	if (answer->facts[0] == 0)
		each_node(compare, answer->facts);
}

/* As the tracer does it: raw, so that no atfork handler runs. */
static struct answer ask(void (*work)(struct answer *answer))
{
	struct answer *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), answer;
	int status = -1;
	lt_r_locate();
	long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (!pid) {
		work(shared);
		syscall(SYS_exit_group, 0);
	}
	waitpid((pid_t)pid, &status, 0);
	answer = *shared;
	answer.facts[8] = status;
	munmap(shared, sizeof *shared);
	return answer;
}

static SEXP numbers(struct answer answer)
{
	SEXP result = PROTECT(allocVector(REALSXP, FACTS));
	memcpy(REAL(result), answer.facts, sizeof answer.facts);
	UNPROTECT(1);
	return result;
}

SEXP rheap_collect(void)
{
	return numbers(ask(in_copy));
}

SEXP rheap_compare(void)
{
	R_gc();
	return numbers(ask(compare_in_copy));
}

static void finalize(SEXP pointer)
{
	void *block = R_ExternalPtrAddr(pointer);
	for (int b = 0; b < block_count; b++)
		if (blocks[b] == block)
			blocks[b] = NULL;
	free(block);
	R_ClearExternalPtr(pointer);
}

SEXP rheap_make(SEXP how)
{
	if (block_count == BLOCKS)
		error("too many");
	void *block = blocks[block_count++] = calloc(1, 48);
	SEXP pointer = PROTECT(R_MakeExternalPtr(block, R_NilValue, R_NilValue));
	if (asInteger(how) == 1)
		R_RegisterCFinalizerEx(pointer, finalize, FALSE);
	UNPROTECT(1);
	return pointer;
}

SEXP rheap_raw(void)
{
	if (block_count == BLOCKS)
		error("too many");
	void *block = blocks[block_count++] = calloc(1, 48);
	SEXP raw = allocVector(RAWSXP, 200);
	memset(RAW(raw), 0, 200);
	memcpy(RAW(raw) + 64, &block, sizeof block);
	return raw;
}

SEXP rheap_where(void)
{
	struct answer answer = ask(in_copy);
	SEXP result = PROTECT(allocVector(INTSXP, block_count));
	for (int b = 0; b < block_count; b++)
		INTEGER(result)[b] = blocks[b] ? answer.where[b] : -1;
	UNPROTECT(1);
	return result;
}
