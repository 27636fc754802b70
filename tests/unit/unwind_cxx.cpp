// SPDX-License-Identifier: MIT
//
// For test_unwind: calls a function while an exception is handled, and while it is on its way.

extern "C" void call_in_catch(void (*function)(void));
extern "C" void call_in_destructor(void (*function)(void));

namespace {

struct caller {
	void (*function)(void);
	~caller()
	{
		function();
	}
};

[[gnu::noinline]] void throw_from(int depth)
{
	volatile char room[32] = {0};

	if (!depth)
		throw 42;
	throw_from(depth - 1);
	room[0] = room[1];
}

[[gnu::noinline]] void throw_past(void (*function)(void))
{
	caller last = {function};

	throw_from(10);
}

} // namespace

void call_in_catch(void (*function)(void))
{
	try {
		throw_from(10);
	} catch (int) {
		function();
	}
	function();
}

void call_in_destructor(void (*function)(void))
{
	try {
		throw_past(function);
	} catch (int) {
	}
	function();
}
