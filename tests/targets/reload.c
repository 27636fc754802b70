/* SPDX-License-Identifier: MIT
 *
 * reload FIRST.so SECOND.so: loads and unloads two plugins in turn, ten times. plugin_first leaks 10 blocks of 111 bytes,
 * plugin_second 10 of 222. Exit status 0 if both were at the same address at least once, 3 if not.
 */
#include "target.h"
#include <dlfcn.h>
#include <link.h>

static void *keep[32];

int main(int argc, char **argv)
{
	static const char *const function[] = { "plugin_first", "plugin_second" };
	ElfW(Addr) base[2] = { 0, 0 };
	int same = 0;
	REQUIRE(argc == 3);
	for (int i = 0; i < 20; i++) {
		int which = i % 2;
		void *plugin = dlopen(argv[1 + which], RTLD_NOW | RTLD_LOCAL);
		REQUIRE(plugin);
		struct link_map *map;
		REQUIRE(!dlinfo(plugin, RTLD_DI_LINKMAP, &map));
		base[which] = map->l_addr;
		same |= base[0] == base[1];
		void *(*leak)(void) = (void *(*)(void))dlsym(plugin, function[which]);
		REQUIRE(leak);
		keep[i] = leak();
		REQUIRE(!dlclose(plugin));
	}
	return same ? 0 : 3;
}
