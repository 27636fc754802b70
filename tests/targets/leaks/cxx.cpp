/* SPDX-License-Identifier: MIT
 *
 * C++: what the compiler and the standard library make of pointers, and when its objects go. Allocating functions are extern
 * "C", for names without a signature; those of the library are found under the function that called it.
 */
#include "leaks.h"
#include <deque>
#include <exception>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace {

struct counted {
	long word[3];
	~counted() { TOUCH(this); }
};

struct plain {
	long word[4];
};

struct first {
	virtual ~first() {}
	virtual long a() { return 1; }
	virtual long b() { return 2; }
	long of_first = 0;
};

struct second {
	virtual ~second() {}
	virtual long c() { return 3; }
	virtual long d() { return 4; }
	long of_second = 0;
};

struct third {
	virtual ~third() {}
	virtual long e() { return 5; }
	long of_third = 0;
};

struct without_table {
	long of_without[2] = {};
};

struct all : first, second, third {
	long room[5] = {};
};

struct half : first, without_table {
	long room[6] = {};
};

struct base {
	virtual ~base() {}
	long of_base = 0;
};

struct left : virtual base {
	virtual long l() { return 6; }
	long of_left = 0;
};

struct right : virtual base {
	virtual long r() { return 7; }
	long of_right = 0;
};

struct bottom : left, right {
	long room[9] = {};
};

counted *held_array;
plain *held_plain_array;
second *volatile held_second;
third *volatile held_third;
without_table *volatile held_without;
base *volatile held_base;
right *volatile held_right;
void *volatile slot;
struct owner;

} // namespace

extern "C" {

SITE static counted *new_with_cookie(void)
{
	return new counted[5];
}

SITE static counted *new_none(void)
{
	return new counted[0];
}

SITE static plain *new_without_cookie(void)
{
	return new plain[6];
}

SITE static all *new_all(void)
{
	return new all;
}

SITE static half *new_half(void)
{
	return new half;
}

SITE static bottom *new_bottom(void)
{
	return new bottom;
}

static void array_with_cookie(void)
{
	held_array = new_with_cookie();
}

static void array_of_none(void)
{
	held_array = new_none();
}

static void array_without_cookie(void)
{
	held_plain_array = new_without_cookie();
}

static void array_lost(void)
{
	TOUCH(new_with_cookie());
}

static void second_base(void)
{
	held_second = new_all();
}

static void third_base(void)
{
	held_third = new_all();
}

static void base_without_table(void)
{
	held_without = new_half();
}

static void virtual_base(void)
{
	held_base = new_bottom();
}

static void virtual_sibling(void)
{
	held_right = new_bottom();
}

/* ------------------------------------------------------------------ the library's containers */

static std::string *text;
static std::vector<int> *numbers;
static std::map<int, std::string> *tree;
static std::unordered_map<int, int> *table;
static std::deque<long> *queue;
static std::list<long> *chain;
static std::shared_ptr<plain> *shared_separate, *shared_together;
static std::function<void()> *closure;

SITE static void fill_string(std::string &s)
{
	s.assign(200, 'x');
}

SITE static void fill_vector(std::vector<int> &v)
{
	v.reserve(100);
}

SITE static void fill_map(std::map<int, std::string> &m)
{
	for (int i = 0; i < 20; i++)
		m[i] = "short";
}

SITE static void fill_table(std::unordered_map<int, int> &m)
{
	m[1] = 1;
	m[2] = 2;
}

SITE static void fill_deque(std::deque<long> &d)
{
	d.push_back(1);
}

SITE static void fill_list(std::list<long> &l)
{
	for (int i = 0; i < 7; i++)
		l.push_back(i);
}

SITE static std::shared_ptr<plain> *share(void)
{
	return new std::shared_ptr<plain>(new plain);
}

SITE static std::shared_ptr<plain> *share_together(void)
{
	return new std::shared_ptr<plain>(std::make_shared<plain>());
}

SITE static void fill_function(std::function<void()> &f)
{
	plain captured = {};
	f = [captured] { TOUCH(&captured); };
}

/* In static storage without a destructor: they still hold what they hold when the process ends. */
#define STORAGE(type, name) \
	alignas(type) static char name##_storage[sizeof(type)]; \
	name = new (name##_storage) type

static void containers(void)
{
	using string_map = std::map<int, std::string>;
	using int_table = std::unordered_map<int, int>;
	STORAGE(std::string, text);
	STORAGE(std::vector<int>, numbers);
	STORAGE(string_map, tree);
	STORAGE(int_table, table);
	STORAGE(std::deque<long>, queue);
	STORAGE(std::list<long>, chain);
	STORAGE(std::function<void()>, closure);
	fill_string(*text);
	fill_vector(*numbers);
	fill_map(*tree);
	fill_table(*table);
	fill_deque(*queue);
	fill_list(*chain);
	fill_function(*closure);
}

SITE static std::string *new_string(void)
{
	return new std::string;
}

SITE static std::list<long> *new_list(void)
{
	return new std::list<long>;
}

static void containers_lost(void)
{
	fill_string(*new_string());
	fill_list(*new_list());
}

static void shared_pointers(void)
{
	shared_separate = share();
	shared_together = share_together();
}

/* The only pointer is an aliasing one to a member: interior, but the control block is held by its start. */
static std::shared_ptr<long> *alias;
static void shared_alias(void)
{
	using long_pointer = std::shared_ptr<long>;
	std::shared_ptr<plain> *whole = share_together();
	STORAGE(long_pointer, alias)(*whole, &(*whole)->word[2]);
	delete whole;
}

/* ------------------------------------------------------------------ objects with a lifetime */

SITE static std::vector<int> make_vector(void)
{
	return std::vector<int>(50);
}

static void static_object(void)
{
	static std::vector<int> object = make_vector();
	TOUCH(&object);
}

static thread_local std::vector<int> local_object;
SITE static void touch_local(void)
{
	TOUCH(&local_object); /* registers its destructor, for which libc allocates */
}

SITE static void fill_local(void)
{
	local_object.resize(60);
}

static void thread_local_of_main(void)
{
	fill_local();
}

static void thread_local_of_dead(void)
{
	std::thread([] { fill_local(); }).join();
}

static void thread_local_at__exit(void)
{
	touch_local();
	fill_local();
	leaks_wipe();
	_exit(0);
}

/* ------------------------------------------------------------------ exceptions */

struct thrown {
	long word[20];
};

SITE static void throw_it(void)
{
	throw thrown{};
}

static void exception_caught(void)
{
	try {
		throw_it();
	} catch (const thrown &) {
	}
}

static void exception_uncaught(void)
{
	throw_it();
}

static void exception_being_handled(void)
{
	try {
		throw_it();
	} catch (const thrown &) {
		leaks_end(0);
	}
}

alignas(std::exception_ptr) static char kept_exception[sizeof(std::exception_ptr)];
static void exception_kept(void)
{
	try {
		throw_it();
	} catch (const thrown &) {
		new (kept_exception) std::exception_ptr(std::current_exception());
	}
}

/* ------------------------------------------------------------------ forms of new */

struct alignas(64) aligned {
	char room[192];
};

SITE static aligned *new_aligned(void)
{
	return new aligned;
}

SITE static void *new_nothrow(void)
{
	return operator new(222, std::nothrow);
}

static void forms_of_new(void)
{
	slot = new_aligned();
	TOUCH(new_nothrow());
}

} // extern "C"

LEAK_CASES = {
	{ "array_with_cookie", array_with_cookie, { { "new_with_cookie", REACHABLE, 1, 128 } }, 0, 0, nullptr },
	{ "array_of_none", array_of_none, { { "new_none", DEFINITE, 1, 8 } }, 0, 0, nullptr },
	{ "array_without_cookie", array_without_cookie, { { "new_without_cookie", REACHABLE, 1, 192 } }, 0, 0, nullptr },
	{ "array_lost", array_lost, { { "new_with_cookie", DEFINITE, 1, 128 } }, 0, 0, nullptr },
	{ "second_base", second_base, { { "new_all", REACHABLE, 1, sizeof(all) } }, 0, 0, nullptr },
	{ "third_base", third_base, { { "new_all", REACHABLE, 1, sizeof(all) } }, 0, 0, nullptr },
	{ "base_without_table", base_without_table, { { "new_half", POSSIBLE, 1, sizeof(half) } }, 0, 0, nullptr },
	{ "virtual_base", virtual_base, { { "new_bottom", REACHABLE, 1, sizeof(bottom) } }, 0, 0, nullptr },
	{ "virtual_sibling", virtual_sibling, { { "new_bottom", REACHABLE, 1, sizeof(bottom) } }, 0, 0, nullptr },
	{ "containers", containers, { { "fill_string", REACHABLE, 1, 201 }, { "fill_vector", REACHABLE, 1, 400 },
		{ "fill_map", REACHABLE, 20, 1440 }, { "fill_table", REACHABLE, 3, 136 }, { "fill_list", REACHABLE, 7, 168 },
		{ "fill_function", REACHABLE, 1, 32 } }, 0, 0, nullptr },
	{ "containers_lost", containers_lost, { { "new_string", DEFINITE, 1, 32 }, { "fill_string", INDIRECT, 1, 201 },
		{ "new_list", DEFINITE, 1, 24 }, { "fill_list", INDIRECT, 7, 168 } }, 0, 0, nullptr },
	{ "shared_pointers", shared_pointers, { { "share", REACHABLE, 3, 72 },
		{ "share_together", REACHABLE, 2, 64 } }, 0, 0, nullptr },
	{ "shared_alias", shared_alias, { { "share_together", REACHABLE, 1, 48 } }, 0, 0, nullptr },
	{ "static_object", static_object, { { "make_vector", GONE, 0, 0 } }, 0, 0, nullptr },
	{ "thread_local_of_main", thread_local_of_main, { { "fill_local", GONE, 0, 0 } }, 0, 0, nullptr },
	{ "thread_local_of_dead", thread_local_of_dead, { { "fill_local", GONE, 0, 0 } }, 0, 0, nullptr },
	{ "thread_local_at__exit", thread_local_at__exit, { { "fill_local", REACHABLE, 1, 240 } }, 0, 0, nullptr },
	{ "exception_caught", exception_caught, { { "throw_it", GONE, 0, 0 } }, 0, 0, nullptr },
	{ "exception_uncaught", exception_uncaught, { { "throw_it", POSSIBLE, 1, 288 } }, 134, 0, nullptr },
	{ "exception_being_handled", exception_being_handled, { { "throw_it", POSSIBLE, 1, 288 } }, 0, 0, nullptr },
	{ "exception_kept", exception_kept, { { "throw_it", POSSIBLE, 1, 288 } }, 0, 0, nullptr },
	{ "forms_of_new", forms_of_new, { { "new_aligned", REACHABLE, 1, 192 },
		{ "new_nothrow", DEFINITE, 1, 222 } }, 0, 0, nullptr },
};
LEAK_CASE_COUNT;
