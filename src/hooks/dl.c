/* SPDX-License-Identifier: MIT
 *
 * dlclose. dlopen is left alone: it searches by the RUNPATH and in the name space of its caller, which it knows by its return
 * address, so a wrapper would change what it finds. New modules are noticed when a stack first shows an address in them.
 */
#include "hooks/real.h"
#include "process/process.h"

#define EXPORT __attribute__((visibility("default")))

EXPORT int dlclose(void *handle)
{
	lt_real_init();
	lt_cxx_unload_begin();
	lt_unload_begin();
	int result = lt_real.dlclose(handle);
	lt_unload_end();
	lt_cxx_unload_end();
	return result;
}
