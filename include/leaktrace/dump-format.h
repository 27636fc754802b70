/* SPDX-License-Identifier: MIT
 *
 * The on-disk format of a dump: the only contract between libleaktrace.so (writer) and leaktrace (reader).
 *
 * A dump is a header of one page, then chunks back to back, each a multiple of LEAKTRACE_CHUNK_ALIGN bytes. A chunk holds
 * `count` committed records of `record_size` bytes (STRINGS: `count` committed bytes); what lies behind them is garbage.
 * The writer stores a record first and then raises `count` with release order, so a dump is valid at every instant, also
 * when its writer was killed. All integers are in the byte order of the writer's CPU; `endian` tells.
 *
 * Three sorts of file share the format: the dump of one process image (its process record is in the header), the output
 * of `leaktrace merge` (flag MERGED; process records in PROCESSES chunks, and SITES, BLOCKS, EVENTS, INHERITED, VERDICTS
 * name theirs by `process`, an index over all PROCESSES records, 0 in the other sorts), and a snapshot (flag SNAPSHOT,
 * suffix .lts, beside the dump and named like it with `-` and a number before the suffix): the verdict on a process that went
 * on living, which holds VERDICTS, BLOCKS and STRINGS only; its sites are those of the dump with the same process key. Its
 * process record is the dump's at that moment, but for the strings, and blocks_generation is 0.
 *
 * References:
 *   string   u32: offset in the file divided by 8, of a struct leaktrace_string; 0 is "none".
 *   node     u32: index over all FRAMES (or RFRAMES) records; 0 is the root and has no record: records count from 1.
 *   module   u32: index over all MODULES records, counting from 1; 0 is "no module", the offset is then an address.
 *   site     u32: `id` of a SITES record in the same process.
 * `first` in a chunk's header is the index of its first record, so chunks of a type may lie in any order.
 *
 * Changelog (minor: what a reader may skip; major: what it may not):
 *   1.0  first version.
 *   1.1  leak kinds: VERDICTS chunks, leaktrace_block.flags, snapshot files (LEAKTRACE_HEADER_SNAPSHOT).
 *   1.2  sampling: figures of a process with LEAKTRACE_PROCESS_SAMPLED are scaled, see leaktrace_sample_weight(); of a site
 *        `sampled`, variance_blocks, variance_bytes. Recording switched on and off: LEAKTRACE_PROCESS_PAUSED, recorded_ns,
 *        recording_since_ns, LEAKTRACE_EVENT_START, LEAKTRACE_EVENT_STOP.
 *   1.3  option check: checked_stacks, wrong_stacks, checked_r_stacks, wrong_r_stacks of a process. The tracer's own memory:
 *        tracer_bytes at any time (before: at the end), tracer_peak_bytes, dump_bytes; of a verdict classifier_bytes.
 *   1.4  several records of one site, of which only the sums count: see struct leaktrace_site.
 */
#ifndef LEAKTRACE_DUMP_FORMAT_H
#define LEAKTRACE_DUMP_FORMAT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define LEAKTRACE_DUMP_MAGIC "LEAKTRC\n"
#define LEAKTRACE_DUMP_MAJOR 1
#define LEAKTRACE_DUMP_MINOR 4
#define LEAKTRACE_DUMP_ENDIAN 0x01020304u
#define LEAKTRACE_DUMP_SUFFIX ".ltd"
#define LEAKTRACE_SNAPSHOT_SUFFIX ".lts"
#define LEAKTRACE_HEADER_SIZE 4096
#define LEAKTRACE_CHUNK_ALIGN 4096
#define LEAKTRACE_CHUNK_MAGIC 0x4b4e4843u /* "CHNK" */
#define LEAKTRACE_EPOCHS 8
#define LEAKTRACE_BUILD_ID_MAX 32
/* No writer writes more, and readers take it for damage. */
#define LEAKTRACE_STACK_MAX 1024    /* frames */
#define LEAKTRACE_R_STACK_MAX 128   /* R calls */
#define LEAKTRACE_STRING_MAX 65536  /* bytes */
#define LEAKTRACE_NAME_MAX 4095     /* bytes of a module's path, of each string of an R call */

enum leaktrace_role {
	LEAKTRACE_ROLE_OTHER = 0,
	LEAKTRACE_ROLE_MASTER = 1, /* first traced image of the session (scope r: the first that holds R) */
	LEAKTRACE_ROLE_FORK = 2,   /* made by fork, not exec'd since */
	LEAKTRACE_ROLE_PSOCK = 3,  /* `.workRSOCK` or `MASTER=` in its command line */
};

enum leaktrace_end_kind {
	LEAKTRACE_END_NONE = 0, /* running, or killed: the reader finds out which */
	LEAKTRACE_END_EXIT = 1, /* exit() or return from main; end_code is the status */
	LEAKTRACE_END__EXIT = 2, /* _exit, _Exit, quick_exit; end_code is the status */
	LEAKTRACE_END_SIGNAL = 3, /* end_code is the signal's number */
	LEAKTRACE_END_EXEC = 4, /* replaced by another image in the same PID */
};

enum leaktrace_process_flag {
	LEAKTRACE_PROCESS_R = 1u << 0,             /* an R runtime was found in the image */
	LEAKTRACE_PROCESS_R_STACKS = 1u << 1,      /* R call stacks are recorded */
	LEAKTRACE_PROCESS_NATIVE_STACKS = 1u << 2, /* native stacks are recorded */
	LEAKTRACE_PROCESS_SAMPLED = 1u << 3,       /* figures are scaled samples of sample_bytes, see leaktrace_sample_weight() */
	LEAKTRACE_PROCESS_FORK_TASK = 1u << 4,     /* a forked worker that got no task by R_Unserialize: its whole life until
	                                              its R_Serialize is task 1; blocks of task 0 are that task's */
	LEAKTRACE_PROCESS_FULL = 1u << 5,          /* the file reached max_size, or the disk was full: see dropped_* */
	LEAKTRACE_PROCESS_BLOCKS_FINAL = 1u << 6,  /* the BLOCKS of blocks_generation were written at the process's end; without
	                                              it they are those of an earlier moment (the end of a task) */
	LEAKTRACE_PROCESS_INHERIT_LOST = 1u << 7,  /* the fork caught the live table in an update: what was inherited is unknown */
	LEAKTRACE_PROCESS_PAUSED = 1u << 8,        /* not recorded all the time: recorded_ns and recording_since_ns are valid */
	LEAKTRACE_PROCESS_STOPPED = 1u << 9,       /* recorded no further since a fault in the tracer's own frames (the stack was used
	                                              up) that a signal handler jumped out of: no blocks, no verdict */
};

/* Which process image: unique over hosts, boots, reuse of PIDs, and exec. All zero: none. */
struct leaktrace_key {
	uint64_t machine; /* hash of host name, boot id and PID name space */
	uint64_t start;   /* start time of the process in clock ticks since boot, field 22 of /proc/PID/stat */
	uint32_t pid;
	uint32_t image; /* 0, 1, 2 … for the traced images of one process, in the order of their exec */
};
static_assert(sizeof(struct leaktrace_key) == 24, "on-disk size");

/* All that is known of a process image. Counters are stored relaxed and may be one operation apart after a kill;
 * allocations and frees in total are the sums over SITES. In a SAMPLED process live_*, peak_live_bytes and inherited_* are
 * scaled; dropped_* count what was to be recorded, one by one; unknown_frees is 0. */
struct leaktrace_process {
	struct leaktrace_key key;
	struct leaktrace_key parent;      /* nearest traced ancestor; for an exec'd image its predecessor in the same PID */
	struct leaktrace_key forked_from; /* the image that called fork, for role FORK */
	uint32_t ppid;                    /* parent's PID at the start of the image */
	uint32_t uid;
	uint32_t role;  /* enum leaktrace_role */
	uint32_t flags; /* enum leaktrace_process_flag */
	uint32_t exe, host, session, r_note; /* strings; r_note: why R stacks are off, for people */
	uint32_t cmdline;                    /* string: the arguments, each ended by a NUL byte (inside length) */
	uint32_t dir;                        /* string: the session's directory */
	int64_t start_ns, end_ns;            /* CLOCK_REALTIME, ns since 1970; end_ns 0: unknown */
	uint32_t end_kind; /* enum leaktrace_end_kind; stored last, with release order */
	int32_t end_code;
	uint32_t r_version;  /* 40202 is R 4.2.2; 0: no R */
	uint32_t depth;      /* option depth */
	uint64_t sample_bytes; /* option sample, at most LEAKTRACE_SAMPLE_MAX; 0: exact */
	uint64_t max_size;     /* option max_size, bytes */
	uint64_t first_site;   /* lowest site id of this image; a fork child's inherited blocks have lower ones */
	uint64_t tasks;        /* tasks completed (R_Serialize in a worker, leaktrace_task_end) */
	uint64_t live_blocks, live_bytes; /* born in this image and not yet freed */
	uint64_t peak_live_bytes;
	uint64_t peak_seq;     /* number of times live_bytes rose above its highest value so far; see struct leaktrace_site */
	uint64_t inherited_blocks, inherited_bytes;             /* live at the fork, born in an ancestor */
	uint64_t inherited_freed_blocks, inherited_freed_bytes; /* of these, freed here since */
	uint64_t dropped_allocations; /* not recorded: no room for the site, or in the live table */
	uint64_t dropped_blocks;      /* recorded in their site, but missing from BLOCKS */
	uint64_t unknown_frees;       /* frees of blocks never seen allocated */
	uint64_t max_rss;             /* bytes, ru_maxrss at the end; 0: unknown */
	uint64_t tracer_bytes;        /* memory that the tracer has mapped for itself, without the dump */
	uint32_t blocks_generation;   /* BLOCKS and INHERITED chunks of this generation are complete; 0: none yet */
	uint32_t boot_id;             /* string */
	uint64_t pid_namespace;       /* inode of the PID name space: a PID means something only inside it */
	uint64_t dropped_events;      /* no room for them, or too many while the tracer was interrupted */
	uint64_t recorded_ns;        /* in spans of recording that are over, ns */
	int64_t recording_since_ns;  /* start of the present one, CLOCK_REALTIME; 0: it is off */
	/* Option check: native stacks compared with libunwind's and how many differed; R stacks with those of full walks. */
	uint64_t checked_stacks, wrong_stacks;
	uint64_t checked_r_stacks, wrong_r_stacks;
	uint64_t tracer_peak_bytes;  /* the most that tracer_bytes was */
	uint64_t dump_bytes;         /* of the file: what is reserved, cut off at the end */
	uint64_t reserved[2];
};
static_assert(sizeof(struct leaktrace_process) == 384, "on-disk size");

struct leaktrace_header {
	char magic[8]; /* LEAKTRACE_DUMP_MAGIC, without its NUL */
	uint16_t major, minor;
	uint32_t endian;
	uint32_t header_size;  /* LEAKTRACE_HEADER_SIZE */
	uint32_t pointer_size; /* of the traced process, bytes */
	uint64_t committed;    /* bytes of the file that hold complete chunks (headers valid), from its start; release order */
	uint32_t flags;        /* enum leaktrace_header_flag */
	uint32_t chunks;       /* number of chunks below `committed`, informative */
	uint64_t reserved[8];
	struct leaktrace_process process; /* of a dump of one image, and of a snapshot; zero in a merged file */
};
static_assert(offsetof(struct leaktrace_header, committed) == 24, "on-disk offset");
static_assert(offsetof(struct leaktrace_header, process) == 104, "on-disk offset");
static_assert(sizeof(struct leaktrace_header) <= LEAKTRACE_HEADER_SIZE, "header fits its page");

enum leaktrace_header_flag {
	LEAKTRACE_HEADER_MERGED = 1u << 0,
	LEAKTRACE_HEADER_SNAPSHOT = 1u << 1,
};

enum leaktrace_chunk_type {
	LEAKTRACE_CHUNK_FREE = 0,      /* room without contents: skip */
	LEAKTRACE_CHUNK_STRINGS = 1,   /* struct leaktrace_string, each 8-byte aligned; record_size 1, count in bytes */
	LEAKTRACE_CHUNK_MODULES = 2,   /* struct leaktrace_module */
	LEAKTRACE_CHUNK_FRAMES = 3,    /* struct leaktrace_frame */
	LEAKTRACE_CHUNK_RFRAMES = 4,   /* struct leaktrace_rframe */
	LEAKTRACE_CHUNK_SITES = 5,     /* struct leaktrace_site */
	LEAKTRACE_CHUNK_BLOCKS = 6,    /* struct leaktrace_block: live when the generation was written, or at the verdict */
	LEAKTRACE_CHUNK_INHERITED = 7, /* struct leaktrace_inherited: per ancestor's site, what this process still holds */
	LEAKTRACE_CHUNK_EVENTS = 8,    /* struct leaktrace_event */
	LEAKTRACE_CHUNK_PROCESSES = 9, /* struct leaktrace_process; only in a merged file */
	LEAKTRACE_CHUNK_VERDICTS = 16, /* struct leaktrace_verdict: classifications of the live blocks */
	/* reserved for later versions: 17 SAMPLES, 18 RHEAP */
};

struct leaktrace_chunk {
	uint32_t magic; /* LEAKTRACE_CHUNK_MAGIC */
	uint32_t type;  /* enum leaktrace_chunk_type */
	uint64_t size;  /* bytes, this header included */
	uint32_t record_size;
	uint32_t generation; /* BLOCKS, INHERITED: counts if equal to the process's blocks_generation; BLOCKS also to a verdict's */
	uint64_t first;      /* index of the first record (FRAMES, RFRAMES, MODULES: from 1; else from 0) */
	uint64_t count;      /* committed records (STRINGS: bytes); release order */
	uint64_t reserved;
};
static_assert(sizeof(struct leaktrace_chunk) == 48, "on-disk size");

/* Followed by `length` bytes and a NUL, padded with zeros to a multiple of 8. */
struct leaktrace_string {
	uint32_t length;
	char bytes[];
};

enum leaktrace_module_flag {
	LEAKTRACE_MODULE_R = 1u << 0,      /* holds the R runtime (libR.so, or the executable) */
	LEAKTRACE_MODULE_TRACER = 1u << 1, /* libleaktrace.so itself */
	LEAKTRACE_MODULE_MAIN = 1u << 2,   /* the executable */
	LEAKTRACE_MODULE_VDSO = 1u << 3,
};

/* A loaded object; loaded again after dlclose it may take up its old record. */
struct leaktrace_module {
	uint64_t base;       /* load bias: address = base + offset; offsets are the ELF file's own virtual addresses */
	uint64_t start, end; /* addresses that it covered */
	int64_t load_ns, unload_ns; /* CLOCK_REALTIME; load_ns: when first seen; unload_ns 0: still there */
	uint32_t path;       /* string, absolute */
	uint32_t flags;      /* enum leaktrace_module_flag */
	uint32_t build_id_size; /* bytes; 0: none */
	uint32_t reserved;
	uint8_t build_id[LEAKTRACE_BUILD_ID_MAX];
};
static_assert(sizeof(struct leaktrace_module) == 88, "on-disk size");

/* A node of the trie of native stacks: a frame, and in `parent` the rest of the stack outwards. */
struct leaktrace_frame {
	uint64_t offset; /* of the return address in the module: look up offset - 1 */
	uint32_t parent;
	uint32_t module;
};
static_assert(sizeof(struct leaktrace_frame) == 16, "on-disk size");

/* A node of the trie of R call stacks. */
struct leaktrace_rframe {
	uint32_t parent;
	uint32_t call;      /* string: name of the function called, as R's traceback() begins: `f`; `pkg::f` gives `f` */
	uint32_t namespace; /* string: the function's name space; 0: global environment or unknown */
	uint32_t file;      /* string: where the call stands in the source; 0: R kept none */
	uint32_t line;      /* 0: unknown */
	uint32_t reserved;
};
static_assert(sizeof(struct leaktrace_rframe) == 24, "on-disk size");

enum leaktrace_site_flag {
	LEAKTRACE_SITE_R_HEAP = 1u << 0, /* taken by R's own allocator: pages of small nodes, large vectors */
	LEAKTRACE_SITE_CUT = 1u << 1,    /* the native stack was cut at option depth: frames towards main are missing */
	LEAKTRACE_SITE_R_CUT = 1u << 2,  /* likewise the R stack */
	LEAKTRACE_SITE_BUSY = 1u << 31,  /* one of several writers is changing it: after a kill its figures may be one block apart */
};

/* An allocation site: one (native stack, R stack) of one process, with its counters. realloc counts as a free and an
 * allocation, as in Valgrind.
 * In the dump of an image with several threads there may be several records with the same `native` and `r`, one for each of some
 * threads. Their sum is the site; a single one's figures may be negative, as numbers modulo 2^64, for a thread counts what it frees in a
 * record of its own. (Of peak_* that is the sum of what is live at the peak in each; of epoch[], when they have the same width.) A site
 * has any of their ids.
 * live blocks = allocations - frees, live bytes = allocated_bytes - freed_bytes.
 * live at the process's peak: peak_blocks, peak_bytes if peak_seen == process.peak_seq, else the present live figures.
 * Live by birth: blocks born outside any task are in startup_*, those of task t (from 1) in epoch[(t-1) >> epoch_shift].
 * In a SAMPLED process a recorded block of s bytes counts as w = leaktrace_sample_weight(s, sample_bytes) blocks and s*w bytes
 * in all of these; `sampled` and variance_* are 0 in others. */
struct leaktrace_site {
	uint32_t id;
	uint32_t process; /* merged files; in others whose record it is, if not the same in all of them: there may be several of a site */
	uint32_t native;  /* node of the innermost frame: the return address into the caller of malloc */
	uint32_t r;       /* node of the innermost R call; 0: none */
	uint32_t flags;   /* enum leaktrace_site_flag */
	uint32_t epoch_shift;
	uint64_t allocations, allocated_bytes, frees, freed_bytes;
	uint64_t temporary; /* freed by their thread before its next allocation */
	uint64_t peak_seen, peak_blocks, peak_bytes;
	uint64_t startup_blocks, startup_bytes;
	struct {
		uint64_t blocks, bytes;
	} epoch[LEAKTRACE_EPOCHS];
	uint64_t sampled; /* allocations that were recorded, each counted once */
	/* Of the live figures: sums of leaktrace_sample_variance_*() over the recorded blocks that live. */
	uint64_t variance_blocks, variance_bytes;
};
static_assert(offsetof(struct leaktrace_site, sampled) == 232, "on-disk offset");
static_assert(sizeof(struct leaktrace_site) == 256, "on-disk size");

/* Leak kinds, in Valgrind's words. */
enum leaktrace_kind {
	LEAKTRACE_KIND_UNKNOWN = 0,
	LEAKTRACE_KIND_DEFINITE = 1,  /* nothing points to it */
	LEAKTRACE_KIND_INDIRECT = 2,  /* only lost blocks point to it */
	LEAKTRACE_KIND_POSSIBLE = 3,  /* only interior pointers lead to it, or blocks that are possible themselves */
	LEAKTRACE_KIND_REACHABLE = 4,
};
#define LEAKTRACE_KINDS 5

enum leaktrace_block_flag {
	LEAKTRACE_BLOCK_KIND = 7u,           /* mask: enum leaktrace_kind; 0 in a process's own list of blocks */
	LEAKTRACE_BLOCK_R_GARBAGE = 1u << 3, /* reachable, but only from R objects that are garbage and wait for their finalizer: R
	                                        would run it at its next collection (an external pointer's, as a rule) */
	LEAKTRACE_BLOCK_INTERIOR = 1u << 4,  /* reachable by one of memcheck's heuristics for interior pointers */
};

struct leaktrace_block {
	uint64_t address;
	uint64_t size; /* bytes, as asked for; in a SAMPLED process it stands for leaktrace_sample_weight() blocks of this size */
	uint32_t site;
	uint32_t task; /* 0: outside any task */
	uint32_t process; /* merged files only */
	uint32_t flags;   /* enum leaktrace_block_flag */
};
static_assert(sizeof(struct leaktrace_block) == 32, "on-disk size");

enum leaktrace_trigger {
	LEAKTRACE_TRIGGER_END = 1,     /* the image ended, see its end_kind */
	LEAKTRACE_TRIGGER_TASK = 2,    /* a forked worker's task ended */
	LEAKTRACE_TRIGGER_API = 3,     /* leaktrace_snapshot() */
	LEAKTRACE_TRIGGER_COMMAND = 4, /* leaktrace snapshot PID */
	LEAKTRACE_TRIGGER_KILL = 5,    /* a relative was about to kill it */
};

enum leaktrace_verdict_state { /* 0: withdrawn, for the exec that ended the image has failed */
	LEAKTRACE_VERDICT_RUNNING = 1, /* while the process classifier_pid lives; dead: failed */
	LEAKTRACE_VERDICT_DONE = 2,
	LEAKTRACE_VERDICT_FAILED = 3, /* note says why */
};

enum leaktrace_verdict_flag {
	LEAKTRACE_VERDICT_R_EXACT = 1u << 0, /* of R's heap only nodes that R can still get at were scanned; without it R's pages
	                                        were scanned as any other memory */
};

/* A classification. Its blocks are the BLOCKS of its generation in the same file, of those born in this image; they count when
 * state is DONE. In a process's dump it is the one on its end. A merged file has one for each process, generation 1. */
struct leaktrace_verdict {
	int64_t time_ns;  /* CLOCK_REALTIME: when the program was stopped for it; the blocks are those live then */
	int64_t pause_ns; /* how long the program stood still for it; 0: the classifier was done before the program could tell */
	int64_t work_ns;  /* from the beginning of the pause until it was done, a wait for its turn included; 0: not known */
	uint32_t trigger; /* enum leaktrace_trigger */
	uint32_t state;   /* enum leaktrace_verdict_state; stored last, with release order */
	uint32_t generation;
	uint32_t classifier_pid;   /* 0: it has not begun yet, or nothing was live */
	uint64_t classifier_start; /* its start time in clock ticks since boot */
	uint32_t label, note;      /* strings */
	uint32_t flags;            /* enum leaktrace_verdict_flag */
	uint32_t process;          /* merged files only */
	uint64_t dropped_blocks;   /* live, but not in BLOCKS: there was no room for them, or they could not be listed */
	uint64_t scanned_bytes;    /* memory looked at for pointers */
	struct {
		uint64_t blocks, bytes;
	} kinds[LEAKTRACE_KINDS]; /* by enum leaktrace_kind, of blocks born in this image; scaled in a SAMPLED process */
	uint64_t classifier_bytes; /* the most memory that the classifier mapped for itself; the copy of the process apart */
	uint64_t reserved[5];
};
static_assert(sizeof(struct leaktrace_verdict) == 208, "on-disk size");

/* What a fork child still holds of its ancestors' blocks: `site` is an id in the image that made the block. That is
 * forked_from if site >= its first_site, else forked_from's forked_from, and so on. */
struct leaktrace_inherited {
	uint64_t blocks, bytes; /* scaled in a SAMPLED process */
	uint32_t site;
	uint32_t process; /* merged files only */
};
static_assert(sizeof(struct leaktrace_inherited) == 24, "on-disk size");

enum leaktrace_event_type {
	LEAKTRACE_EVENT_FORK = 1,       /* pid: child; from here on it has a dump of its own */
	LEAKTRACE_EVENT_CHILD_END = 2,  /* pid: child; value: its wait status, as waitpid() gives it */
	LEAKTRACE_EVENT_MARK = 3,       /* text: label of leaktrace_mark() */
	LEAKTRACE_EVENT_EXEC_FAILED = 4, /* value: errno; the image went on */
	LEAKTRACE_EVENT_NOTE = 5,       /* text: a problem of the tracer, for people */
	LEAKTRACE_EVENT_START = 6,      /* recording was switched on; */
	LEAKTRACE_EVENT_STOP = 7,       /* off */
};

struct leaktrace_event {
	int64_t time_ns; /* CLOCK_REALTIME */
	int64_t value;
	uint32_t type; /* enum leaktrace_event_type */
	uint32_t pid;
	uint32_t text;    /* string */
	uint32_t process; /* merged files only */
};
static_assert(sizeof(struct leaktrace_event) == 32, "on-disk size");

/* Sampling. Of a process with sample_bytes T a block of s bytes (0 counts as 1) is recorded with probability 1/w, w an integer:
 * 1 if s >= T, else the least that is not below 1/(1 - exp(-s/T)). So it is a Poisson process over bytes, one point in T on
 * average, thinned out a little where a block's own weight is no integer. A recorded block counts as w blocks of s bytes: sums
 * are integers and without bias, and what an allocation added its free takes away again, by its size alone.
 *
 * Both sides must agree on each bit, and one of them has no floating point. For x = s/T
 *   1/(1 - exp(-x)) = 1/x + 1/2 + g(x),  g(x) = x/12 - x^3/720 + x^5/30240 - x^7/1209600 + x^9/47900160 - ...
 * where 0 < g(x) < 1/12 for x < 1. 1/x + 1/2 is the fraction (2T + s)/2s, taken exactly; g is good to 2^-30. */
#define LEAKTRACE_SAMPLE_MAX (UINT64_C(1) << 40) /* largest T; a larger one counts as this */

/* a/b in units of 2^-32, rounded down; a <= b < 2^48. */
static inline uint64_t leaktrace_sample_ratio(uint64_t a, uint64_t b)
{
	uint64_t high = (a << 16) / b, rest = (a << 16) % b;

	return high << 16 | (rest << 16) / b;
}

/* g(s/T) in units of 2^-32. */
static inline uint64_t leaktrace_sample_series(uint64_t size, uint64_t sample_bytes)
{
	uint64_t x = leaktrace_sample_ratio(size, sample_bytes), square = x * x >> 32, sum = 90;

	sum = 3551 - (square * sum >> 32);
	sum = 142029 - (square * sum >> 32);
	sum = 5965232 - (square * sum >> 32);
	sum = 357913941 - (square * sum >> 32);
	return x * sum >> 32;
}

/* w. 1 where sample_bytes is 0: all is recorded. */
static inline uint64_t leaktrace_sample_weight(uint64_t size, uint64_t sample_bytes)
{
	uint64_t weight, gap;

	size = size ? size : 1;
	sample_bytes = sample_bytes < LEAKTRACE_SAMPLE_MAX ? sample_bytes : LEAKTRACE_SAMPLE_MAX;
	if (size >= sample_bytes)
		return 1;
	weight = (2 * sample_bytes + size) / (2 * size) + 1;
	/* From 1/x + 1/2 up to this integer, in units of 2s: mostly more than any g(x). */
	gap = 2 * size * weight - (2 * sample_bytes + size);
	if (4 * gap >= size)
		return weight;
	return weight + (leaktrace_sample_series(size, sample_bytes) > leaktrace_sample_ratio(gap, 2 * size));
}

/* The points of the Poisson process hit a block with probability p = 1 - exp(-s/T); of those it hits, (1/p)/w are to be kept:
 * those for which 32 random bits are below this number, which is at most 2^32. */
static inline uint64_t leaktrace_sample_thinning(uint64_t size, uint64_t sample_bytes)
{
	uint64_t weight = leaktrace_sample_weight(size, sample_bytes), gap, units, above;

	size = size ? size : 1;
	sample_bytes = sample_bytes < LEAKTRACE_SAMPLE_MAX ? sample_bytes : LEAKTRACE_SAMPLE_MAX;
	if (size >= sample_bytes)
		return UINT64_C(1) << 32;
	/* w - 1/p, in units of 2^-32. */
	gap = 2 * size * weight - (2 * sample_bytes + size);
	units = ((gap / (2 * size)) << 32) + leaktrace_sample_ratio(gap % (2 * size), 2 * size);
	above = leaktrace_sample_series(size, sample_bytes);
	above = units > above ? units - above : 0;
	return (UINT64_C(1) << 32) - (above + weight / 2) / weight;
}

/* What a recorded block adds to the variance of a number of blocks: w*(w-1), at most 2^56. */
static inline uint64_t leaktrace_sample_variance_blocks(uint64_t weight)
{
	return weight < UINT64_C(1) << 28 ? weight * (weight - 1) : UINT64_C(1) << 56;
}

/* variance_bytes is in squares of so many bytes. */
static inline uint64_t leaktrace_sample_unit(uint64_t sample_bytes)
{
	sample_bytes = sample_bytes < LEAKTRACE_SAMPLE_MAX ? sample_bytes : LEAKTRACE_SAMPLE_MAX;
	return sample_bytes >> 10 ? sample_bytes >> 10 : 1;
}

/* To that of a number of bytes: s*w * s*(w-1), below 2^24 units. */
static inline uint64_t leaktrace_sample_variance_bytes(uint64_t size, uint64_t weight, uint64_t sample_bytes)
{
	uint64_t unit = leaktrace_sample_unit(sample_bytes);

	return (size * weight / unit) * (size * (weight - 1) / unit);
}

/* Of a chunk of this type: the size of a record in this version; a later minor one has larger ones. 0: the type is unknown to it. */
static inline size_t leaktrace_record_size(uint32_t type)
{
	switch (type) {
	case LEAKTRACE_CHUNK_STRINGS: return 1;
	case LEAKTRACE_CHUNK_MODULES: return sizeof(struct leaktrace_module);
	case LEAKTRACE_CHUNK_FRAMES: return sizeof(struct leaktrace_frame);
	case LEAKTRACE_CHUNK_RFRAMES: return sizeof(struct leaktrace_rframe);
	case LEAKTRACE_CHUNK_SITES: return sizeof(struct leaktrace_site);
	case LEAKTRACE_CHUNK_BLOCKS: return sizeof(struct leaktrace_block);
	case LEAKTRACE_CHUNK_INHERITED: return sizeof(struct leaktrace_inherited);
	case LEAKTRACE_CHUNK_EVENTS: return sizeof(struct leaktrace_event);
	case LEAKTRACE_CHUNK_VERDICTS: return sizeof(struct leaktrace_verdict);
	case LEAKTRACE_CHUNK_PROCESSES: return sizeof(struct leaktrace_process);
	default: return 0;
	}
}

#endif
