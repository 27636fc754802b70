#!/bin/sh
# SPDX-License-Identifier: MIT
# The malloc family and the C++ operators: each is counted once, with the size asked for.
. "$LT_SOURCE/tests/lib.sh"

run trace c "$targets/family"
same "status" 0 "$status"
same "silent" '' "$(cat "$work/err")"
report c
size=1001
for name in malloc calloc calloc_array realloc_new realloc_grown realloc_shrunk reallocarray posix_memalign; do
	fact c "$name" "holds(\"by_$name\"; 1; $size)"
	size=$((size + 1))
done
fact c "aligned_alloc" 'holds("by_aligned_alloc"; 1; 1088)'
fact c "memalign" 'holds("by_memalign"; 1; 1009)'
fact c "valloc" 'holds("by_valloc"; 1; 1010)'
fact c "pvalloc" 'blocks("by_pvalloc") == 1 and (bytes("by_pvalloc") == 1011 or bytes("by_pvalloc") == 4096)'
fact c "a failed realloc keeps the block" 'holds("by_realloc_failed"; 1; 1012)'
fact c "malloc_usable_size" 'holds("by_usable_size"; 1; 1013)'
fact c "blocks of no bytes" 'holds("by_zero"; 2; 0)'
fact c "strdup: the caller's site" 'holds("by_strdup"; 1; 1015)'
fact c "freed" 'holds("freed"; 0; 0) and holds("failing"; 0; 0) and holds("keeps_errno"; 0; 0)'
fact c "frees and live add up" 'one("master") | .allocations - .frees == .live_blocks'
fact c "nothing else lives" 'one("master").live_blocks == 17'

if [ -x "$targets/operators" ]; then
	for program in operators own-operators; do
		plain=$("$targets/$program")
		run trace "$program" "$targets/$program"
		same "$program: status" 0 "$status"
		same "$program: calls of its own operators" "$plain" "$(cat "$work/out")"
		report "$program"
		fact "$program" "new" 'holds("by_new()"; 1; 501) or holds("by_new"; 1; 501)'
		fact "$program" "forms of new" 'def f(n; b): holds(n; 1; b) or holds(n + "()"; 1; b);
			f("by_new_array"; 502) and f("by_new_nothrow"; 503) and f("by_new_array_nothrow"; 504) and f("by_new_aligned"; 640)
			and f("by_new_array_aligned"; 1280) and f("by_new_aligned_nothrow"; 1920)'
		fact "$program" "freed" 'blocks("freed()") + blocks("freed") + blocks("failing()") + blocks("failing") == 0'
	done
fi

finish
