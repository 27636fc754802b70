// SPDX-License-Identifier: MIT
//
// C++ operators in all their forms. by_new … leak what their names say; freed() undoes one of each. With -DOWN_OPERATORS the
// program brings operator new and delete of its own, made on malloc: they must be the ones that run.
#include "target.h"
#include <new>
#include <cstdint>

static void *keep[32];
static int kept;

#ifdef OWN_OPERATORS
static unsigned long own_new, own_delete;

void *operator new(std::size_t size)
{
	own_new++;
	void *block = malloc(size);
	if (!block)
		throw std::bad_alloc();
	return block;
}

void operator delete(void *block) noexcept
{
	own_delete++;
	free(block);
}

void operator delete(void *block, std::size_t) noexcept
{
	own_delete++;
	free(block);
}
#endif

struct alignas(128) wide {
	char bytes[640];
};

struct small {
	char bytes[501];
};

SITE static void by_new()
{
	keep[kept++] = ::operator new(501);
}

SITE static void by_new_array()
{
	keep[kept++] = ::operator new[](502);
}

SITE static void by_new_nothrow()
{
	keep[kept++] = ::operator new(503, std::nothrow);
}

SITE static void by_new_array_nothrow()
{
	keep[kept++] = ::operator new[](504, std::nothrow);
}

SITE static void by_new_aligned()
{
	void *block = ::operator new(640, std::align_val_t(128));
	REQUIRE((std::uintptr_t)block % 128 == 0);
	keep[kept++] = block;
}

SITE static void by_new_array_aligned()
{
	void *block = ::operator new[](1280, std::align_val_t(256));
	REQUIRE((std::uintptr_t)block % 256 == 0);
	keep[kept++] = block;
}

SITE static void by_new_aligned_nothrow()
{
	keep[kept++] = ::operator new(1920, std::align_val_t(128), std::nothrow);
}

SITE static void freed()
{
	delete new small;
	delete[] new small[3];
	delete new wide;
	delete[] new wide[2];
	::operator delete(::operator new(10));
	::operator delete(::operator new(10), (std::size_t)10);
	::operator delete[](::operator new[](10));
	::operator delete[](::operator new[](10), (std::size_t)10);
	::operator delete(::operator new(10, std::nothrow), std::nothrow);
	::operator delete[](::operator new[](10, std::nothrow), std::nothrow);
	::operator delete(::operator new(256, std::align_val_t(64)), std::align_val_t(64));
	::operator delete(::operator new(256, std::align_val_t(64)), (std::size_t)256, std::align_val_t(64));
	::operator delete[](::operator new[](256, std::align_val_t(64)), std::align_val_t(64));
	::operator delete[](::operator new[](256, std::align_val_t(64)), (std::size_t)256, std::align_val_t(64));
	::operator delete(::operator new(256, std::align_val_t(64), std::nothrow), std::align_val_t(64), std::nothrow);
	::operator delete(nullptr);
}

SITE static void failing()
{
	volatile std::size_t huge = PTRDIFF_MAX;
	bool thrown = false;
	try {
		keep[kept] = ::operator new(huge);
	} catch (const std::bad_alloc &) {
		thrown = true;
	}
	REQUIRE(thrown);
	REQUIRE(!::operator new(huge, std::nothrow));
}

int main()
{
	by_new();
	by_new_array();
	by_new_nothrow();
	by_new_array_nothrow();
	by_new_aligned();
	by_new_array_aligned();
	by_new_aligned_nothrow();
	freed();
	failing();
#ifdef OWN_OPERATORS
	/* How many depends on libstdc++, but not on the preload. */
	for (unsigned long i = 0; i < own_new; i++)
		say("n");
	for (unsigned long i = 0; i < own_delete; i++)
		say("d");
#endif
	return 0;
}
