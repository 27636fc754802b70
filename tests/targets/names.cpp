/* SPDX-License-Identifier: MIT
 *
 * Never run: test_symbols looks its functions up. C++ names of all sorts.
 */
#include <cstddef>
#include <string>
#include <vector>

#define KEPT __attribute__((noinline, used, visibility("default")))

namespace outer {
namespace {
KEPT int unnamed(int n) { return n * 3; }
}
template <typename T, std::size_t N> struct Box {
	T items[N];
	KEPT T &at(std::size_t i) { return items[i % N]; }
	KEPT Box &operator+=(const Box &other)
	{
		for (std::size_t i = 0; i < N; i++)
			items[i] += other.items[i];
		return *this;
	}
	KEPT operator bool() const { return N != 0; }
};
template struct Box<int, 3>;
template struct Box<double, 2>;

struct Base {
	KEPT Base(const std::string &name);
	KEPT virtual ~Base();
	KEPT virtual int run(int) const &;
	std::string name;
};
Base::Base(const std::string &given) : name(given) {}
Base::~Base() {}
int Base::run(int n) const & { return unnamed(n) + static_cast<int>(name.size()); }

struct Derived : Base {
	using Base::Base;
	KEPT int run(int n) const & override { return Base::run(n) + 1; }
	KEPT static void *operator new(std::size_t size) { return ::operator new(size); }
	KEPT int operator()(char (*)[7], void (*)(int, ...)) { return 0; }
};
}

template <typename F> KEPT int call(F &&f) { return f(4); }

extern "C" KEPT int plain(int n)
{
	outer::Derived derived("x");
	auto lambda = [n](int m) { return n + m; };
	return call(lambda) + derived(nullptr, nullptr) + derived.run(n);
}
