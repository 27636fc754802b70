#!/bin/sh
# SPDX-License-Identifier: MIT
# Code of all sorts: handlers, jumps, exceptions, coroutines, threads, libraries that come and go.
. "$LT_SOURCE/tests/unhurt/lib.sh"
code=$targets/code

part "Signals"
row 'handler on an alternate stack of 8 KiB' 'holds("leak_on_signal"; 1; 50)' "$code" altstack
row 'stack overflow, alternate stack of 4 KiB, no handler' 'one("master") | .end_kind == "signal" or .end_kind == "unknown"' "$code" overflow
row 'stack overflow, handler on an alternate stack' 'one("master") | ended("_exit"; 7)' "$code" overflow-handled
row 'timer at 1 kHz beside fork, read, waitpid' 'all(.processes[]; .unknown_frees == 0)' "$code" timer
row 'dispositions by signal, sysv_signal, sigset, sigignore' 'one("master") | ended("signal"; 15)' "$code" dispositions
row 'fork in a signal handler' '.processes | length > 40' "$targets/hurts" fork-in-handler
row 'fork in a handler inside malloc' '([process("fork")[] | select(.end_kind != "exec")] | length >= 150 and all(ended("_exit"; 0)))
	and blocks("leak_in_child") >= 150 and bytes("leak_in_child") == 40 * blocks("leak_in_child")' "$targets/hurts" fork-in-malloc

part "Jumps and exceptions"
row 'longjmp out of a recursion, 100,000 times' 'holds("leak_behind"; 1; 51)' "$code" jump
row 'longjmp out of a handler, 500 times' 'holds("leak_behind"; 100; 5100)' "$code" jump-in-handler
row 'jumps, coroutines, 100,000 frames' 'blocks("leak_bottom") == 1' "$targets/jumps"
behind='holds("leak_behind"; 100; 5100) and all(.sites[]; .cut | not) and all(.sites[].native[]; .module | endswith("libleaktrace.so") | not)'
row 'handler jumps out of malloc and free, 2,000 times' "$behind and blocks(\"allocate_at\") > 0" "$targets/jumps-out" alone
row 'likewise, its signal stays blocked' "$behind" "$targets/jumps-out" mask
row 'likewise, beside three threads that allocate' "$behind" "$targets/jumps-out" threads
row 'likewise, on an alternate stack' "$behind" "$targets/jumps-out" altstack
row 'handler jumps within itself, and returns' "$behind" "$targets/jumps-out" inside
row 'handler jumps out of fork, 300 times' "$behind and all(process(\"fork\")[]; ended(\"_exit\"; 0))" "$targets/jumps-out" fork 300
row 'handler jumps out of a stack overflow' 'any(.processes[].notes[]; startswith("recorded to the moment")) or holds("leak_behind"; 100; 5100)' \
	"$targets/jumps-out" overflow 50
if [ -e "$targets/throws" ]; then row 'C++ exceptions' 'true' "$targets/throws"; fi
row 'recursion of 100,000 frames in a thread' 'holds("leak_below"; 1; 53)' "$code" recursion 100000
row 'callbacks of qsort, bsearch, tsearch' 'holds("leak_in_callback"; 1; 58)' "$code" callbacks

part "Coroutines and code without unwind data"
row '200 coroutines on stacks of 16 KiB' 'holds("leak_coroutine"; 200; 10400)' "$code" small-coroutines
row 'coroutine that goes on in another thread' 'holds("leak_coroutine"; 2; 104)' "$code" coroutine-threads
row 'coroutines made by hand' 'true' "$targets/hurts" coroutines 0
row 'likewise, stacks not aligned' 'true' "$targets/hurts" coroutines 8
row 'JIT code without unwind data, at one address in turn' 'holds("leak_from_code"; 64; 3648)' "$code" jit
row 'code of all these sorts' 'true' "$targets/unwinding"

part "Threads"
row '10,000 threads, one after another' 'holds("leak"; 10000; 240000)' "$targets/threads" sequence 10000
# What the boxes hold at the end is whichever thread came last.
row '64 threads at once' 'blocks("give") == 256' sh -c '"$1" exchange 64 2000 | cut -d " " -f 1-3' sh "$targets/threads"
row 'threads start and end while main forks' 'blocks("leak_in_child") == 40' "$targets/threads" start-and-end 40
row 'destructors of thread-specific data' 'holds("leak_late"; 4; 216)' "$code" tls-late
row 'pthread_atfork handlers allocate' 'blocks("leak_in_atfork") == 3' "$code" atfork
row 'threads are cancelled while they allocate' '.processes | length == 1' "$code" cancel
row 'vfork child that allocates' 'holds("leak_in_vfork"; 1; 56)' "$code" vfork-malloc

part "Libraries"
frames="$targets/plugin_frame_first.so $targets/plugin_frame_second.so"
row 'dlopen and dlclose in two threads' 'true' "$targets/loader" race $frames
row 'libraries at reused addresses' 'blocks("work") == 40' "$targets/loader" same-place $frames
row 'load and unload, 200 times' 'true' "$targets/loader" memory "$targets/plugin_frame_first.so"
row 'two libraries of one layout in turn' 'true' "$targets/reload" "$targets/plugin_first.so" "$targets/plugin_second.so"
row 'destructors and atexit functions free' 'holds("leak_at_exit"; 1; 59)' "$code" exit-frees

finish
