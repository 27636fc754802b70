/* SPDX-License-Identifier: MIT
 *
 * The options' table and parser. As in LSAN_OPTIONS, pairs are separated by ':' (also ',' or white space is not: a
 * directory's name may hold those). A value ends at the next ':'.
 */
#include "base/options.h"
#include "base/text.h"
#include "leaktrace/dump-format.h"
#include <errno.h>
#include <string.h>

struct lt_options lt_options = {
	.depth = 256,
	.max_size = UINT64_C(256) << 20,
	.verdict = true,
	.active = true,
	.r_stacks = true,
	.signals = true,
};

static int parse_size(const char *value, uint64_t *size)
{
	uint64_t v;
	int error = lt_text_parse_decimal(&value, &v);
	if (error)
		return error;
	unsigned shift = 0;
	switch (*value) {
	case 'k': case 'K': shift = 10; break;
	case 'm': case 'M': shift = 20; break;
	case 'g': case 'G': shift = 30; break;
	case 't': case 'T': shift = 40; break;
	}
	if (shift)
		value++;
	if (*value || v > UINT64_MAX >> shift)
		return -EINVAL;
	*size = v << shift;
	return 0;
}

static int parse_bool(const char *value, bool *flag)
{
	if (strcmp(value, "0") && strcmp(value, "1"))
		return -EINVAL;
	*flag = *value == '1';
	return 0;
}

static int set_path(char *path, size_t size, const char *value)
{
	size_t length = strlen(value);
	if (!length)
		return -EINVAL;
	if (length >= size)
		return -ENAMETOOLONG;
	memcpy(path, value, length + 1);
	return 0;
}

static int set_one(const char *key, const char *value)
{
	uint64_t size;
	struct lt_options *o = &lt_options;
	if (!strcmp(key, "dir"))
		return set_path(o->dir, sizeof o->dir, value);
	if (!strcmp(key, "log"))
		return set_path(o->log, sizeof o->log, value);
	if (!strcmp(key, "scope")) {
		static const char *const names[] = { "auto", "all", "r" };
		for (unsigned i = 0; i < 3; i++)
			if (!strcmp(value, names[i])) {
				o->scope = (enum lt_scope)i;
				return 0;
			}
		return -EINVAL;
	}
	if (!strcmp(key, "sample")) {
		if (parse_size(value, &size) || size > LEAKTRACE_SAMPLE_MAX)
			return -EINVAL;
		o->sample = size;
		return 0;
	}
	if (!strcmp(key, "depth")) {
		if (parse_size(value, &size) || size < 1 || size > LT_DEPTH_MAX)
			return -EINVAL;
		o->depth = (uint32_t)size;
		return 0;
	}
	if (!strcmp(key, "check")) {
		if (parse_size(value, &size) || size > UINT32_MAX)
			return -EINVAL;
		o->check = (uint32_t)size;
		return 0;
	}
	if (!strcmp(key, "max_size")) {
		if (parse_size(value, &size) || size < (UINT64_C(256) << 10) || size > (UINT64_C(16) << 30))
			return -EINVAL;
		o->max_size = size;
		return 0;
	}
	if (!strcmp(key, "verdict")) {
		if (strcmp(value, "exit") && strcmp(value, "off"))
			return -EINVAL;
		o->verdict = *value == 'e';
		return 0;
	}
	if (!strcmp(key, "active"))
		return parse_bool(value, &o->active);
	if (!strcmp(key, "r_stacks"))
		return parse_bool(value, &o->r_stacks);
	if (!strcmp(key, "signals"))
		return parse_bool(value, &o->signals);
	return -ENOENT;
}

void lt_options_parse(const char *text, void (*complain)(const char *what, const char *which))
{
	char pair[4200];
	while (text && *text) {
		size_t length = strcspn(text, ":");
		const char *rest = text[length] ? text + length + 1 : text + length;
		if (length >= sizeof pair) {
			complain("too long an option in LEAKTRACE_OPTIONS", "");
		} else if (length) {
			memcpy(pair, text, length);
			pair[length] = '\0';
			char *equals = strchr(pair, '=');
			if (!equals) {
				complain("no value for an option in LEAKTRACE_OPTIONS: ", pair);
			} else {
				*equals = '\0';
				int error = set_one(pair, equals + 1);
				*equals = '=';
				if (error == -ENOENT)
					complain("unknown key in LEAKTRACE_OPTIONS: ", pair);
				else if (error)
					complain("bad value in LEAKTRACE_OPTIONS: ", pair);
			}
		}
		text = rest;
	}
}
