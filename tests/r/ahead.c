/* SPDX-License-Identifier: MIT
 *
 * Preloaded before the tracer: R_Serialize() and R_Unserialize() are bound to these, past its hooks, as they are in an R that was
 * built without libR.so, where they are in the executable.
 */
#include <dlfcn.h>

void R_Serialize(void *object, void *stream);
void *R_Unserialize(void *stream);

static void *behind(const char *name)
{
	return dlsym(dlopen("libR.so", RTLD_LAZY | RTLD_NOLOAD), name);
}

void R_Serialize(void *object, void *stream)
{
	static void (*real)(void *, void *);
	if (!real)
		*(void **)&real = behind("R_Serialize");
	real(object, stream);
}

void *R_Unserialize(void *stream)
{
	static void *(*real)(void *);
	if (!real)
		*(void **)&real = behind("R_Unserialize");
	return real(stream);
}
