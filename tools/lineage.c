/* SPDX-License-Identifier: MIT
 *
 * Lineage and ends; see the header for the rules.
 */
#include "lineage.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uthash.h>

#include "out.h"
#include "xalloc.h"

/* A child may have been seen to end a little before it started: clocks are set. */
#define CLOCK_SLACK_NS INT64_C(2000000000)

struct by_key {
	struct leaktrace_key key;
	uint32_t process;
	UT_hash_handle hh;
};

struct by_pid {
	struct {
		uint32_t machine; /* as much of it as is known of a dump that has hardly begun */
		uint32_t pid;
	} key;
	const struct lt_child_end *end; /* list of all with this PID */
	struct by_pid *next;
	UT_hash_handle hh;
};

uint64_t lt_lineage_hash(const char *host, const char *boot_id, uint64_t pid_namespace)
{
	char text[512];
	int length = snprintf(text, sizeof text, "%.255s%c%.128s%c%" PRIu64, host, 0, boot_id, 0, pid_namespace);
	uint64_t hash = UINT64_C(14695981039346656037);

	for (int i = 0; i < length; i++)
		hash = (hash ^ (unsigned char)text[i]) * UINT64_C(1099511628211);
	return hash;
}

uint64_t lt_lineage_machine(void)
{
	char host[256] = "", boot_id[128] = "";
	struct stat status;
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (!file)
		return 0;
	if (fgets(boot_id, sizeof boot_id, file))
		boot_id[strcspn(boot_id, "\n")] = '\0';
	fclose(file);
	if (!*boot_id || gethostname(host, sizeof host - 1) || stat("/proc/self/ns/pid", &status))
		return 0;
	return lt_lineage_hash(host, boot_id, status.st_ino);
}

/* The PID is taken, by a process of this start time that is no zombie. */
bool lt_lineage_runs(const struct leaktrace_key *key)
{
	char path[64], line[1024];
	const char *rest;
	unsigned long long start = 0;
	char state = 0;
	size_t length;
	FILE *file;

	snprintf(path, sizeof path, "/proc/%" PRIu32 "/stat", key->pid);
	file = fopen(path, "re");
	if (!file)
		return false;
	length = fread(line, 1, sizeof line - 1, file);
	fclose(file);
	line[length] = '\0';
	rest = strrchr(line, ')'); /* the name may hold anything */
	if (!rest || sscanf(rest + 1, " %c", &state) != 1)
		return false;
	rest += 2;
	for (int field = 3; field < 22; field++) {
		rest = strchr(rest, ' ');
		if (!rest)
			return false;
		rest++;
	}
	return sscanf(rest, "%llu", &start) == 1 && start == key->start && state != 'Z' && state != 'X';
}

static struct by_key *index_processes(const struct lt_merge *merge)
{
	struct by_key *index = NULL;

	for (uint32_t i = 0; i < merge->process_count; i++) {
		struct by_key *entry = lt_xcalloc(1, sizeof *entry);

		entry->key = merge->processes[i].record.key;
		entry->process = i;
		HASH_ADD(hh, index, key, sizeof entry->key, entry);
	}
	return index;
}

static uint32_t find(const struct by_key *index, const struct leaktrace_key *key)
{
	struct by_key *entry;

	if (lt_key_none(key))
		return LT_NO_PROCESS;
	HASH_FIND(hh, index, key, sizeof *key, entry);
	return entry ? entry->process : LT_NO_PROCESS;
}

static struct by_pid *index_child_ends(const struct lt_merge *merge)
{
	struct by_pid *index = NULL;

	for (size_t i = 0; i < merge->child_end_count; i++) {
		const struct lt_child_end *end = &merge->child_ends[i];
		struct by_pid *entry = lt_xcalloc(1, sizeof *entry), *first;

		entry->key.machine = (uint32_t)merge->processes[end->process].record.key.machine;
		entry->key.pid = end->pid;
		entry->end = end;
		HASH_FIND(hh, index, &entry->key, sizeof entry->key, first);
		if (first) {
			entry->next = first->next;
			first->next = entry;
		} else {
			HASH_ADD(hh, index, key, sizeof entry->key, entry);
		}
	}
	return index;
}

/* The parent that reaps is the parent's PID in whatever image; adopted orphans are reaped by others, so only the PID's being
 * the same and the time count. Of several, the first after the start: later ones are of a reused PID. */
static const struct lt_child_end *child_end(const struct by_pid *index, const struct leaktrace_process *record)
{
	const struct lt_child_end *best = NULL;
	struct by_pid *entry, lookup = {.key = {(uint32_t)record->key.machine, record->key.pid}};

	HASH_FIND(hh, index, &lookup.key, sizeof lookup.key, entry);
	for (; entry; entry = entry->next) {
		if (entry->end->time_ns < record->start_ns - CLOCK_SLACK_NS)
			continue;
		if (!best || entry->end->time_ns < best->time_ns ||
		    (entry->end->time_ns == best->time_ns && entry->end->status < best->status))
			best = entry->end;
	}
	return best;
}

static void set_code(struct lt_process *process, int code)
{
	process->has_code = true;
	process->end_code = code;
}

static void resolve_end(struct lt_process *process, bool successor, const struct lt_child_end *seen, uint64_t machine)
{
	const struct leaktrace_process *record = &process->record;
	int status;

	process->end_ns = record->end_ns > 0 ? record->end_ns : 0;
	switch (record->end_kind) {
	case LEAKTRACE_END_EXIT:
		process->end = LT_END_EXIT;
		set_code(process, record->end_code);
		return;
	case LEAKTRACE_END__EXIT:
		process->end = LT_END__EXIT;
		set_code(process, record->end_code);
		return;
	case LEAKTRACE_END_SIGNAL:
		process->end = LT_END_SIGNAL;
		set_code(process, record->end_code);
		return;
	case LEAKTRACE_END_EXEC:
		process->end = LT_END_EXEC;
		return;
	default:
		break;
	}
	if (successor) {
		process->end = LT_END_EXEC;
		return;
	}
	if (seen) {
		status = (int)seen->status;
		if (!process->end_ns)
			process->end_ns = seen->time_ns;
		if (WIFSIGNALED(status)) {
			process->end = LT_END_SIGNAL;
			set_code(process, WTERMSIG(status));
		} else {
			process->end = LT_END_UNKNOWN;
			if (WIFEXITED(status))
				set_code(process, WEXITSTATUS(status));
		}
		return;
	}
	process->end = machine && (uint32_t)machine == (uint32_t)record->key.machine && lt_lineage_runs(&record->key) ? LT_END_RUNNING : LT_END_UNKNOWN;
}

void lt_lineage_resolve(struct lt_merge *merge)
{
	struct by_key *keys = index_processes(merge), *key, *next_key;
	struct by_pid *ends = index_child_ends(merge), *end, *next_end;
	bool *successors = lt_xcalloc(merge->process_count, sizeof *successors);
	uint64_t machine = lt_lineage_machine();

	for (uint32_t i = 0; i < merge->process_count; i++) {
		struct lt_process *process = &merge->processes[i];
		const struct leaktrace_process *record = &process->record;

		process->parent = find(keys, &record->parent);
		process->forked_from = find(keys, &record->forked_from);
		if (process->parent == i)
			process->parent = LT_NO_PROCESS;
		if (process->forked_from == i)
			process->forked_from = LT_NO_PROCESS;
		for (uint32_t image = record->key.image; image-- > 0;) {
			struct leaktrace_key earlier = record->key;
			uint32_t found;

			earlier.image = image;
			found = find(keys, &earlier);
			if (found != LT_NO_PROCESS) {
				successors[found] = true;
				break;
			}
			if (record->key.image - image > 64) /* damaged: nobody execs so often untraced in between */
				break;
		}
	}
	for (uint32_t i = 0; i < merge->process_count; i++) {
		struct lt_process *process = &merge->processes[i];

		resolve_end(process, successors[i], child_end(ends, &process->record), machine);
	}
	free(successors);
	HASH_ITER(hh, keys, key, next_key) {
		HASH_DEL(keys, key);
		free(key);
	}
	HASH_ITER(hh, ends, end, next_end) {
		HASH_DEL(ends, end);
		while (end) {
			struct by_pid *next = end->next;

			free(end);
			end = next;
		}
	}
}

const char *lt_lineage_role(const struct lt_process *process)
{
	switch (process->record.role) {
	case LEAKTRACE_ROLE_MASTER: return "master";
	case LEAKTRACE_ROLE_FORK: return "fork";
	case LEAKTRACE_ROLE_PSOCK: return "psock";
	default: return "other";
	}
}

void lt_lineage_describe(const struct lt_process *process, char *buffer, size_t size)
{
	char number[LT_OUT_NUMBER];

	switch (process->end) {
	case LT_END_EXIT:
		snprintf(buffer, size, "exit %d", process->end_code);
		break;
	case LT_END__EXIT:
		snprintf(buffer, size, "_exit %d", process->end_code);
		break;
	case LT_END_SIGNAL:
		snprintf(buffer, size, "killed by %s", lt_out_signal(number, process->end_code));
		break;
	case LT_END_EXEC:
		snprintf(buffer, size, "exec");
		break;
	case LT_END_RUNNING:
		snprintf(buffer, size, "running");
		break;
	default:
		if (process->has_code)
			snprintf(buffer, size, "status %d, unseen", process->end_code);
		else
			snprintf(buffer, size, "unknown");
	}
}
