/* SPDX-License-Identifier: MIT
 *
 * A table of all modules ever seen, and an array of the loaded ones sorted by address. The loader's list is copied inside
 * dl_iterate_phdr's callback into a buffer of the caller's and merged afterwards under modules_lock (rank 1), for the
 * callback runs under the loader's lock. Two scans may overlap: dlpi_adds + dlpi_subs orders them, an older one is dropped.
 *
 * A module that is loaded again (same path and build-id) takes up its old record with its new address, so that
 * dlopen/dlclose in a loop needs no more room and its stacks are the same ones.
 */
#include "trace/modules.h"
#include "base/arena.h"
#include "base/lock.h"
#include "base/text.h"
#include "dump/dump.h"
#include "trace/intern.h"
#include <elf.h>
#include <limits.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>

#define MODULES_MAX 8192
#define SCAN_BYTES (UINT64_C(1) << 20)

struct module {
	uint64_t base, start, end;
	struct leaktrace_module *record; /* in the dump; NULL: no room */
	const char *path;
	uint32_t index; /* in the dump, from 1; 0: no room */
	uint32_t flags;
	uint32_t build_id_size;
	uint8_t build_id[LEAKTRACE_BUILD_ID_MAX];
	bool loaded, seen;
	int64_t load_ns;
};

/* One entry of a scan; the path follows, padded to 8 bytes. */
struct found {
	uint64_t base, start, end;
	uint32_t size, flags;
	uint32_t build_id_size;
	uint8_t build_id[LEAKTRACE_BUILD_ID_MAX];
	char path[];
};

struct scan {
	char *buffer;
	size_t used;
	unsigned long long version;
	unsigned count;
	bool cut;
};

uint32_t lt_code_unsure;

static struct lt_lock modules_lock;
static struct module *modules; /* MODULES_MAX of them, touched as needed */
static unsigned module_count;
static uint16_t sorted[MODULES_MAX];
static unsigned sorted_count;
static unsigned long long applied_version;
static uintptr_t r_address;
static struct lt_records records = { .type = LEAKTRACE_CHUNK_MODULES,
	                             .record_size = sizeof(struct leaktrace_module),
	                             .chunk_size = 16384,
	                             .next = 1 };

static void read_build_id(const struct dl_phdr_info *info, const ElfW(Phdr) *note, struct found *found)
{
	const char *p = (const char *)(info->dlpi_addr + note->p_vaddr), *end = p + note->p_memsz;
	while (p + sizeof(ElfW(Nhdr)) <= end) {
		const ElfW(Nhdr) *header = (const void *)p;
		const char *name = p + sizeof *header;
		size_t name_size = (header->n_namesz + 3u) & ~3u, size = (header->n_descsz + 3u) & ~3u;
		if (name_size > (size_t)(end - name) || size > (size_t)(end - name) - name_size)
			return;
		if (header->n_type == NT_GNU_BUILD_ID && header->n_namesz == 4 && !memcmp(name, "GNU", 4) &&
		    header->n_descsz <= LEAKTRACE_BUILD_ID_MAX) {
			found->build_id_size = header->n_descsz;
			memcpy(found->build_id, name + name_size, header->n_descsz);
			return;
		}
		p = name + name_size + size;
	}
}

static bool is_mapped(const struct dl_phdr_info *info, const ElfW(Phdr) *part)
{
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *load = &info->dlpi_phdr[i];
		if (load->p_type == PT_LOAD && part->p_vaddr >= load->p_vaddr &&
		    part->p_vaddr + part->p_memsz <= load->p_vaddr + load->p_filesz)
			return true;
	}
	return false;
}

static int on_object(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct scan *scan = arg;
	if (size >= offsetof(struct dl_phdr_info, dlpi_subs) + sizeof info->dlpi_subs)
		scan->version = info->dlpi_adds + info->dlpi_subs;
	size_t room = SCAN_BYTES - scan->used;
	if (room < sizeof(struct found) + PATH_MAX + 8) {
		scan->cut = true;
		return 0;
	}
	struct found *found = (void *)(scan->buffer + scan->used);
	memset(found, 0, sizeof *found);
	struct lt_text path = { .bytes = found->path, .size = PATH_MAX };
	found->path[0] = '\0';
	found->base = info->dlpi_addr;
	found->start = UINT64_MAX;
	const void *self = (const void *)&on_object;
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &info->dlpi_phdr[i];
		uint64_t start = info->dlpi_addr + part->p_vaddr;
		if (part->p_type == PT_LOAD) {
			if (start < found->start)
				found->start = start;
			if (start + part->p_memsz > found->end)
				found->end = start + part->p_memsz;
			if ((uintptr_t)self - start < part->p_memsz)
				found->flags |= LEAKTRACE_MODULE_TRACER;
		} else if (part->p_type == PT_NOTE && !found->build_id_size && is_mapped(info, part)) {
			read_build_id(info, part, found);
		}
	}
	if (!found->end)
		return 0;
	if (!scan->count) { /* the loader's first object is the executable */
		const char *name;
		found->flags |= LEAKTRACE_MODULE_MAIN;
		long n = lt_sys_readlink("/proc/self/exe", found->path, PATH_MAX - 1);
		if (n > 0) {
			path.length = (size_t)n;
			found->path[n] = '\0';
		} else if ((name = (const char *)getauxval(AT_EXECFN)) && *name == '/') { /* no /proc */
			lt_text_add(&path, name);
		}
	} else if (info->dlpi_name[0] == '/') {
		lt_text_add(&path, info->dlpi_name);
	} else if (strchr(info->dlpi_name, '/')) {
		char cwd[PATH_MAX];
		if (lt_sys_getcwd(cwd, sizeof cwd) > 0) {
			lt_text_add(&path, cwd);
			lt_text_add(&path, "/");
		}
		lt_text_add(&path, info->dlpi_name);
	} else {
		if (!info->dlpi_name[0] || !strncmp(info->dlpi_name, "linux-", 6))
			found->flags |= LEAKTRACE_MODULE_VDSO;
		lt_text_add(&path, found->flags & LEAKTRACE_MODULE_VDSO ? "[vdso]" : info->dlpi_name);
	}
	found->size = (uint32_t)((sizeof *found + path.length + 1 + 7) & ~(size_t)7);
	scan->used += found->size;
	scan->count++;
	return 0;
}

/* Under modules_lock, but the dump and the interned strings have locks of higher rank. */
static void write_record(struct module *m)
{
	uint32_t path = lt_intern_string(m->path, strnlen(m->path, LEAKTRACE_NAME_MAX));
	struct leaktrace_module *record = lt_dump_append(&records);
	m->record = NULL;
	m->index = 0;
	if (!record)
		return;
	*record = (struct leaktrace_module){
		.base = m->base, .start = m->start, .end = m->end, .load_ns = m->load_ns,
		.path = path, .flags = m->flags, .build_id_size = m->build_id_size,
	};
	memcpy(record->build_id, m->build_id, sizeof record->build_id);
	m->record = record;
	m->index = (uint32_t)records.next;
	lt_dump_commit(&records);
}

static struct module *match(const struct found *found, bool loaded)
{
	for (unsigned i = 0; i < module_count; i++) {
		struct module *m = &modules[i];
		if (m->loaded == loaded && (!loaded || m->start == found->start) && m->build_id_size == found->build_id_size &&
		    !memcmp(m->build_id, found->build_id, found->build_id_size) && !strcmp(m->path, found->path))
			return m;
	}
	return NULL;
}

static void take_up(const struct found *found)
{
	struct module *m = match(found, true);
	if (m) {
		m->seen = true;
		return;
	}
	int64_t now = lt_sys_clock(CLOCK_REALTIME);
	m = match(found, false);
	if (!m) {
		size_t length = strlen(found->path) + 1;
		char *path = lt_arena_alloc(length);
		if (module_count == MODULES_MAX || !path)
			return;
		m = &modules[module_count++];
		memcpy(path, found->path, length);
		m->path = path;
		m->build_id_size = found->build_id_size;
		memcpy(m->build_id, found->build_id, sizeof m->build_id);
		m->load_ns = now;
	}
	m->base = found->base;
	m->start = found->start;
	m->end = found->end;
	m->flags = found->flags | (r_address - m->start < m->end - m->start ? LEAKTRACE_MODULE_R : 0);
	m->loaded = m->seen = true;
	if (m->record) {
		m->record->base = m->base;
		m->record->start = m->start;
		m->record->end = m->end;
		m->record->unload_ns = 0;
	} else {
		write_record(m);
	}
}

static void sort_loaded(void)
{
	sorted_count = 0;
	for (unsigned i = 0; i < module_count; i++) {
		if (!modules[i].loaded)
			continue;
		unsigned j = sorted_count++;
		for (; j && modules[sorted[j - 1]].start > modules[i].start; j--)
			sorted[j] = sorted[j - 1];
		sorted[j] = (uint16_t)i;
	}
}

bool lt_modules_scan(void)
{
	struct scan scan = { .buffer = lt_map(SCAN_BYTES) };
	bool unloaded = false;
	if (!scan.buffer)
		return true; /* caches might be stale */
	dl_iterate_phdr(on_object, &scan);
	lt_lock(&modules_lock);
	if (!modules)
		modules = lt_map(MODULES_MAX * sizeof *modules);
	if (modules && scan.version >= applied_version) {
		applied_version = scan.version;
		for (unsigned i = 0; i < module_count; i++)
			modules[i].seen = scan.cut;
		int64_t now = lt_sys_clock(CLOCK_REALTIME);
		/* First what went, then what came: it may be at the same place. */
		for (size_t at = 0; at < scan.used; at += ((struct found *)(void *)(scan.buffer + at))->size) {
			struct module *m = match((void *)(scan.buffer + at), true);
			if (m)
				m->seen = true;
		}
		for (unsigned i = 0; i < module_count; i++) {
			struct module *m = &modules[i];
			if (m->loaded && !m->seen) {
				m->loaded = false;
				unloaded = true;
				if (m->record)
					m->record->unload_ns = now;
			}
		}
		for (size_t at = 0; at < scan.used; at += ((struct found *)(void *)(scan.buffer + at))->size)
			take_up((void *)(scan.buffer + at));
		sort_loaded();
	}
	lt_unlock(&modules_lock);
	lt_unmap(scan.buffer, SCAN_BYTES);
	return unloaded;
}

struct counts {
	unsigned long long adds, subs;
};

static int take_counts(struct dl_phdr_info *info, size_t size, void *arg)
{
	if (size >= offsetof(struct dl_phdr_info, dlpi_subs) + sizeof info->dlpi_subs)
		*(struct counts *)arg = (struct counts){ info->dlpi_adds, info->dlpi_subs };
	return 1;
}

uint64_t lt_modules_unloads(void)
{
	struct counts counts = { 0 };
	dl_iterate_phdr(take_counts, &counts);
	return counts.subs;
}

void lt_modules_refresh(void)
{
	struct counts counts = { 0 };
	dl_iterate_phdr(take_counts, &counts);
	lt_lock(&modules_lock);
	bool current = counts.adds + counts.subs <= applied_version;
	lt_unlock(&modules_lock);
	if (!current)
		lt_modules_scan();
}

/* Mostly it is the one before: calls within a library. */
static const struct module *find_loaded(uintptr_t address)
{
	static const struct module *last;
	unsigned low = 0, high = sorted_count;
	if (last && last->loaded && address - last->start < last->end - last->start)
		return last;
	while (low < high) {
		unsigned middle = (low + high) / 2;
		const struct module *m = &modules[sorted[middle]];
		if (address < m->start)
			high = middle;
		else if (address >= m->end)
			low = middle + 1;
		else
			return last = m;
	}
	return NULL;
}

uint32_t lt_modules_find(uintptr_t address, uint64_t *offset)
{
	for (unsigned attempt = 0; attempt < 2; attempt++) {
		lt_lock(&modules_lock);
		const struct module *m = find_loaded(address);
		uint32_t index = m ? m->index : 0;
		uint64_t base = m ? m->base : 0;
		lt_unlock(&modules_lock);
		if (m) {
			*offset = index ? address - base : address;
			return index;
		}
		if (!attempt)
			lt_modules_scan();
	}
	*offset = address;
	return 0;
}

void lt_modules_mark_r(uintptr_t address)
{
	lt_lock(&modules_lock);
	r_address = address;
	for (unsigned i = 0; i < module_count; i++) {
		struct module *m = &modules[i];
		if (m->loaded && address - m->start < m->end - m->start) {
			m->flags |= LEAKTRACE_MODULE_R;
			if (m->record)
				m->record->flags = m->flags;
		}
	}
	lt_unlock(&modules_lock);
}

void lt_modules_fork_child(void)
{
	modules_lock.held = 0;
	records.chunk = NULL;
	records.next = 1;
	for (unsigned i = 0; i < module_count; i++) {
		modules[i].record = NULL;
		modules[i].index = 0;
		if (modules[i].loaded)
			write_record(&modules[i]);
	}
}
