#!/bin/sh
# SPDX-License-Identifier: MIT
# Programs with a malloc of their own; programs with sanitizers.
# usage: allocators.sh [PART...]   of: own sanitized
. "$LT_SOURCE/tests/unhurt/lib.sh"
parts=${*:-own sanitized}
row_classified=yes

library() {
	/sbin/ldconfig -p | sed -n "s/^[[:space:]]*$1 .*x86-64.* => //p" | head -n 1
}

# usage: lost("f"; n): all n blocks of f are definite, and it has no others
jq_functions="$jq_functions"'
	def kinds(f): reduce sites(f)[] as $s ({}; .[$s.kind] += $s.blocks);
	def lost(f; n): kinds(f) == {definite: n};
	def lost_perhaps(f; n): kinds(f) | (.definite // 0) + (.possible // 0) == n and (.reachable // .indirect // 0) == 0;
	def kept(f; n): kinds(f) == {reachable: n};
	def clean: all(.processes[]; .unknown_frees == 0 and .dropped == 0 and .classified);
	def only_lost(n): .totals.definite.blocks == n and .totals.possible.blocks == 0 and clean;
	def cxx(f; n; b): holds(f; n; b) or holds(f + "()"; n; b);
'

operators='cxx("by_new"; 1; 501) and cxx("by_new_array"; 1; 502) and cxx("by_new_nothrow"; 1; 503) and cxx("by_new_array_nothrow"; 1; 504)
	and cxx("by_new_aligned"; 1; 640) and cxx("by_new_array_aligned"; 1; 1280) and cxx("by_new_aligned_nothrow"; 1; 1920)
	and blocks("freed()") + blocks("freed") + blocks("failing()") + blocks("failing") == 0 and clean'

part_own() {
	part "A malloc of the program's own"
	said='any(one("master").notes[]; test("malloc of its own"))'
	for how in all some late; do
		row "the program's own: $how of the family" "blocks(\"leak_own\") == 0 and $said and clean" "$targets/own-malloc-$how"
	done
	row "the program's own: passes on, found by dlsym" "lost(\"leak_own\"; 4) and $said and clean" "$targets/own-malloc-counts"
	row "no malloc of the program's, but an address of it" 'lost("leak_own"; 4) and one("master").notes == [] and clean' "$targets/own-malloc-none"
	[ ! -x "$targets/own-operators" ] || row "the program's own new and delete" "$operators" "$targets/own-operators"
	row "a library's own, -Bsymbolic" 'lost("leak_symbolic"; 2)' "$targets/symbolic-malloc"
	row_report=no
	if [ -x "$targets/static-allocators" ]; then
		row 'statically linked: not traced' true "$targets/static-allocators" plain
	else
		left_out 'statically linked' 'no static libc'
	fi
	if [ -x "$targets/sanitized-musl-gcc-none" ]; then
		row_extra='leaktrace: \[[0-9]+\] not traced'
		for how in leak fork env; do
			row_edit=
			[ $how != env ] || row_edit='s/^(none|[^ ]*libleaktrace.so)$/LD_PRELOAD/'
			row "musl, $how: not traced" true "$targets/sanitized-musl-gcc-none" $how
		done
	else
		left_out musl 'no musl-gcc'
	fi
	row_report= row_extra= row_edit=
}

part_sanitized() {
	part "Sanitizers"
	# Where things are, and which process it was.
	addresses='s/0x[0-9a-f]+/ADDRESS/g; s/=+[0-9]+=+/=PID=/g; s/pid=[0-9]+/pid=PID/g; s/(SP|PC|BP|T[0-9]+|hi|lo) [0-9a-f]+/\1/g'
	export ASAN_OPTIONS=symbolize=0 LSAN_OPTIONS=symbolize=0 TSAN_OPTIONS=symbolize=0 MSAN_OPTIONS=symbolize=0
	for compiler in gcc clang; do
		if [ ! -x "$targets/sanitized-$compiler-undefined" ]; then
			left_out "sanitizers of $compiler" 'not installed'
			continue
		fi
		for name in address leak thread memory hwaddress; do
			sanitized=$targets/sanitized-$compiler-$name
			[ -x "$sanitized" ] || continue
			row_report=no row_extra='leaktrace: \[[0-9]+\] not traced, nor what it starts: the program has [A-Za-z]*Sanitizer$' row_edit=$addresses
			for how in clean leak use fork exec env; do
				[ "$name:$how" != leak:use ] || continue # says what is in freed memory
				row "$compiler, $name: $how" true "$sanitized" "$how"
			done
			row_extra= row_report=
			row "$compiler, $name: started by a traced shell" 'any(.processes[]; .exe | test("sanitized")) | not' sh -c '"$1" leak; echo $?' sh "$sanitized"
		done
		row_extra= row_edit=$addresses row_report=
		row "$compiler, undefined: traced" 'lost("leak"; 2) and clean' "$targets/sanitized-$compiler-undefined" fork
	done
	row_edit=
	sanitized=$targets/sanitized-gcc-address
	asan=$(library libasan.so.8)
	if [ -x "$sanitized" ] && [ -n "$asan" ]; then
		row_report=no row_extra='leaktrace: \[[0-9]+\] not traced, nor what it starts: the program has AddressSanitizer$' row_edit=$addresses
		row 'by the loader itself' true /lib64/ld-linux-x86-64.so.2 "$sanitized" leak
		printf '#!%s\n' "$sanitized" >"$work/script"
		chmod +x "$work/script"
		row 'as the interpreter of a script' true "$work/script"
		row_extra=
		row 'from a file that is gone' true sh -c 'cp "$1" "$2"; exec 9<"$2"; rm "$2"; exec /proc/self/fd/9 leak' sh "$sanitized" "$work/gone"
		row_extra='leaktrace: \[[0-9]+\] not traced, nor what it starts: the program has AddressSanitizer$'
		row_natively=$asan
		row_traced=$asan:$lib
		row 'libasan preloaded before us' true "$targets/endings" return
		row_traced=$lib:$asan
		row 'libasan preloaded behind us' true "$targets/endings" return
		row_natively= row_traced=
	fi
	row_report= row_extra= row_edit=
	unset ASAN_OPTIONS LSAN_OPTIONS TSAN_OPTIONS MSAN_OPTIONS
}

for part in $parts; do
	"part_$part"
done
finish
