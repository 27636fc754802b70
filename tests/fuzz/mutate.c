/* SPDX-License-Identifier: MIT
 *
 * Changes packed dumps without breaking what holds them together: items stay items, records whole, fields fields. Half of the
 * changes give a field a value that means something: a limit, another field's value, a reference to a record or string that is
 * there.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "packed.h"

#define ITEMS_MOST 64

struct items {
	struct packed_item items[ITEMS_MOST];
	unsigned count;
};

static uint64_t state;

static uint64_t next_random(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static size_t below(size_t most)
{
	return most ? next_random() % most : 0;
}

static void parse(const uint8_t *data, size_t size, struct items *items)
{
	size_t at = PACKED_CHOICES;

	items->count = 0;
	while (items->count < ITEMS_MOST && packed_next(data, size, &at, &items->items[items->count]))
		items->count++;
}

/* Writes them anew; returns the size. What has no room is left out. */
static size_t write_all(const uint8_t choices[PACKED_CHOICES], const struct items *items, uint8_t *out, size_t most)
{
	size_t size = PACKED_CHOICES;

	memcpy(out, choices, PACKED_CHOICES);
	for (unsigned i = 0; i < items->count; i++) {
		const struct packed_item *item = &items->items[i];
		size_t more = packed_put(out, size, most, item->op, item->argument, item->bytes, item->size);

		size = more ? more : size;
	}
	return size;
}

/* A string of the dump's first chunks, as a reference: where it will lie, if all chunks before it are items of one file. */
static uint32_t some_string(const struct items *items)
{
	uint64_t offset = LEAKTRACE_HEADER_SIZE;
	uint32_t found = 0;
	unsigned seen = 0;

	for (unsigned i = 0; i < items->count; i++) {
		const struct packed_item *item = &items->items[i];

		if (item->op == PACKED_FILE)
			offset = LEAKTRACE_HEADER_SIZE;
		if (item->op != PACKED_CHUNK)
			continue;
		for (size_t at = 0; item->argument == LEAKTRACE_CHUNK_STRINGS && at + 4 <= item->size;) {
			uint32_t length;

			memcpy(&length, item->bytes + at, sizeof length);
			if (below(++seen) == 0)
				found = (uint32_t)((offset + sizeof(struct leaktrace_chunk) + at) / 8);
			at += (4 + (uint64_t)length + 1 + 7) / 8 * 8;
		}
		offset += (sizeof(struct leaktrace_chunk) + item->size + LEAKTRACE_CHUNK_ALIGN - 1) / LEAKTRACE_CHUNK_ALIGN *
			  LEAKTRACE_CHUNK_ALIGN;
	}
	return found;
}

static uint64_t some_value(const struct items *items)
{
	static const uint64_t words[] = {0, 1, 2, 3, 7, 8, 31, 32, 33, 63, 64, 100, 255, 4096, 65535, 65536, INT32_MAX, UINT32_MAX,
					 UINT64_C(1) << 32, UINT64_C(1) << 40, INT64_MAX, (uint64_t)INT64_MIN, UINT64_MAX};

	switch (next_random() % 4) {
	case 0:
		return words[below(sizeof words / sizeof *words)];
	case 1:
		return some_string(items);
	case 2:
		return next_random() >> below(64);
	default:
		return below(16);
	}
}

/* A field of a record (or of the header): all are words of 4 or 8 bytes on their own multiples. */
static void set_field(const struct items *items, uint8_t *record, size_t size)
{
	size_t width = next_random() & 1 && size >= 8 ? 8 : 4, at, from;
	uint64_t value = 0;

	if (size < width)
		return;
	at = below(size / width) * width;
	memcpy(&value, record + at, width);
	switch (next_random() % 4) {
	case 0:
		value += below(3) - 1;
		break;
	case 1:
		from = below(size / width) * width;
		memcpy(&value, record + from, width);
		break;
	default:
		value = some_value(items);
	}
	memcpy(record + at, &value, width);
}

/* One record is doubled, taken out, moved, or has a field set. `room`: for the bytes. Returns the new size. */
static size_t change_records(const struct items *items, const struct packed_item *item, uint8_t *bytes, size_t room)
{
	size_t width = leaktrace_record_size(item->argument), count = width ? item->size / width : 0, at;

	memcpy(bytes, item->bytes, item->size);
	if (width <= 1 || !count)
		return LLVMFuzzerMutate(bytes, item->size, room);
	at = below(count) * width;
	switch (next_random() % 8) {
	case 0:
		if (item->size + width > room)
			break;
		memmove(bytes + at + width, bytes + at, item->size - at);
		set_field(items, bytes + at, width);
		return item->size + width;
	case 1:
		memmove(bytes + at, bytes + at + width, item->size - at - width);
		return item->size - width;
	case 2:
		memcpy(bytes + at, item->bytes + below(count) * width, width);
		break;
	case 3:
		LLVMFuzzerMutate(bytes + at, width, width);
		break;
	default:
		for (unsigned n = 1 + (unsigned)below(3); n; n--)
			set_field(items, bytes + at, width);
	}
	return item->size;
}

static void insert(struct items *items, unsigned at, struct packed_item item)
{
	if (items->count == ITEMS_MOST)
		return;
	memmove(&items->items[at + 1], &items->items[at], (items->count - at) * sizeof *items->items);
	items->items[at] = item;
	items->count++;
}

static void change_items(struct items *items, uint8_t *scratch)
{
	static const unsigned types[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17};
	unsigned at = (unsigned)below(items->count + 1), other = (unsigned)below(items->count);
	struct packed_item item = {.bytes = scratch};
	uint64_t value = some_value(items);

	switch (next_random() % 9) {
	case 0: /* doubled, in another place */
		if (items->count)
			insert(items, at, items->items[other]);
		break;
	case 1:
		if (items->count > 1) {
			memmove(&items->items[other], &items->items[other + 1], (items->count - other - 1) * sizeof *items->items);
			items->count--;
		}
		break;
	case 2: /* of another type */
		if (items->count)
			items->items[other].argument = types[below(sizeof types / sizeof *types)];
		break;
	case 3: /* a word in the header; 13 words before the process record */
		memcpy(scratch, &value, sizeof value);
		item.op = next_random() & 3 ? PACKED_HEADER : PACKED_SET;
		item.argument = (unsigned)(next_random() & 3 ? 13 + below(sizeof(struct leaktrace_process) / 8) : below(13));
		item.size = next_random() & 1 ? 4 : 8;
		insert(items, at, item);
		break;
	case 4: /* a word in a chunk's header, or behind it */
		memcpy(scratch, &(uint16_t){(uint16_t)below(next_random() & 1 ? 12 : 64)}, 2);
		memcpy(scratch + 2, &value, sizeof value);
		item.op = PACKED_BYTES;
		item.argument = (unsigned)below(12);
		item.size = 2 + (next_random() & 1 ? 4 : 8);
		insert(items, items->count, item);
		break;
	case 5:
		item.op = PACKED_FILE;
		item.argument = (unsigned)below(2);
		insert(items, at, item);
		break;
	case 6:
		memcpy(scratch, &value, sizeof value);
		item.op = next_random() & 3 ? PACKED_CUT : PACKED_STRETCH;
		item.argument = (unsigned)below(41);
		item.size = 4;
		insert(items, at, item);
		break;
	case 7: /* two change places */
		if (items->count && at < items->count) {
			struct packed_item swap = items->items[at];

			items->items[at] = items->items[other];
			items->items[other] = swap;
		}
		break;
	default: /* a chunk of no known contents */
		memcpy(scratch, &value, sizeof value);
		item.op = PACKED_CHUNK;
		item.argument = types[below(sizeof types / sizeof *types)];
		item.size = leaktrace_record_size(item.argument);
		memset(scratch + 8, 0, sizeof(struct leaktrace_process));
		insert(items, at, item);
	}
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed)
{
	struct items items;
	uint8_t *copy, choices[PACKED_CHOICES] = {0};

	state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	next_random();
	if (size < PACKED_CHOICES || next_random() % 16 == 0)
		return LLVMFuzzerMutate(data, size, most);
	copy = malloc(size + most + 1024); /* behind the old bytes those that are made */
	if (!copy)
		abort();
	memcpy(copy, data, size);
	memcpy(choices, data, PACKED_CHOICES);
	parse(copy, size, &items);
	if (next_random() % 8 == 0)
		choices[below(PACKED_CHOICES)] ^= (uint8_t)(1u << below(8));
	if (items.count && next_random() % 4) {
		struct packed_item *item = &items.items[below(items.count)];

		item->size = change_records(&items, item, copy + size, most > item->size ? most : item->size);
		item->bytes = copy + size;
	} else {
		change_items(&items, copy + size);
	}
	size = write_all(choices, &items, data, most);
	free(copy);
	return size;
}

/* Items of the one, then items of the other; or the one with some of its items taken from the other. */
size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size, uint8_t *out, size_t most,
				 unsigned seed)
{
	struct items one, two, both = {.count = 0};

	state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	next_random();
	if (a_size < PACKED_CHOICES || b_size < PACKED_CHOICES || most < PACKED_CHOICES)
		return 0;
	parse(a, a_size, &one);
	parse(b, b_size, &two);
	if (next_random() & 1) {
		unsigned kept = (unsigned)below(one.count + 1);

		for (unsigned i = 0; i < kept; i++)
			insert(&both, both.count, one.items[i]);
		if (next_random() & 1) /* the other whole, as a file of its own */
			insert(&both, both.count, (struct packed_item){.op = PACKED_FILE, .argument = (unsigned)below(2), .bytes = a});
		for (unsigned i = (unsigned)below(two.count + 1); i < two.count; i++)
			insert(&both, both.count, two.items[i]);
	} else {
		both = one;
		for (unsigned i = 0; i < both.count && two.count; i++)
			if (next_random() % 4 == 0)
				both.items[i] = two.items[below(two.count)];
	}
	return write_all(a, &both, out, most);
}
