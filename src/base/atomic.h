/* SPDX-License-Identifier: MIT
 *
 * Atomic operations named by their memory order. Each use that isn't relaxed says at its place what it pairs with.
 */
#ifndef LT_ATOMIC_H
#define LT_ATOMIC_H

/* (gcc 12 puts the address of an __atomic_load_n in a register first.) */
#define lt_load_relaxed(p) (*(const volatile __typeof__(*(p)) *)(p))
#define lt_load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define lt_load_seq(p) __atomic_load_n((p), __ATOMIC_SEQ_CST)
#define lt_store_relaxed(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define lt_store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define lt_store_seq(p, v) __atomic_store_n((p), (v), __ATOMIC_SEQ_CST)
#define lt_add_relaxed(p, v) __atomic_add_fetch((p), (v), __ATOMIC_RELAXED)
#define lt_sub_relaxed(p, v) __atomic_sub_fetch((p), (v), __ATOMIC_RELAXED)
#define lt_add_seq(p, v) __atomic_add_fetch((p), (v), __ATOMIC_SEQ_CST)
#define lt_sub_release(p, v) __atomic_sub_fetch((p), (v), __ATOMIC_RELEASE)
#define lt_exchange_acquire(p, v) __atomic_exchange_n((p), (v), __ATOMIC_ACQUIRE)

/* Against a signal handler on the same thread only: the compiler moves nothing across. */
#define lt_signal_fence() __atomic_signal_fence(__ATOMIC_SEQ_CST)

/* Of a variable that other files use: without it they would load its address first, for it might lie in another object. */
#define LT_HIDDEN __attribute__((visibility("hidden")))

/* Also into functions with other options of optimization, for which gcc inlines nothing else. */
#define lt_always_inline inline __attribute__((always_inline))

#define lt_likely(x) __builtin_expect(!!(x), 1)
#define lt_unlikely(x) __builtin_expect(!!(x), 0)

#endif
