#!/bin/sh
# SPDX-License-Identifier: MIT
# Other allocators, preloaded before and behind us and linked in; programs with a malloc of their own; programs with sanitizers.
# usage: allocators.sh [PART...]   of: preloaded r linked own sanitized
. "$LT_SOURCE/tests/unhurt/lib.sh"
parts=${*:-preloaded r linked own sanitized}
program=$targets/allocators
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

family='(. as $r | ["malloc", "calloc", "calloc_array", "realloc_new", "realloc_grown", "realloc_shrunk", "reallocarray", "posix_memalign"]
	| to_entries | all(.[]; . as $e | $r | holds("by_" + $e.value; 1; 1001 + $e.key)))
	and holds("by_aligned_alloc"; 1; 1088) and holds("by_memalign"; 1; 1009) and holds("by_valloc"; 1; 1010)
	and blocks("by_pvalloc") == 1 and holds("by_realloc_failed"; 1; 1012) and holds("by_usable_size"; 1; 1013)
	and blocks("by_zero") == 2 and holds("by_strdup"; 1; 1015)
	and blocks("freed") + blocks("failing") + blocks("keeps_errno") == 0 and clean'
operators='cxx("by_new"; 1; 501) and cxx("by_new_array"; 1; 502) and cxx("by_new_nothrow"; 1; 503) and cxx("by_new_array_nothrow"; 1; 504)
	and cxx("by_new_aligned"; 1; 640) and cxx("by_new_array_aligned"; 1; 1280) and cxx("by_new_aligned_nothrow"; 1; 1920)
	and blocks("freed()") + blocks("freed") + blocks("failing()") + blocks("failing") == 0 and clean'

# The cases that every way of having the allocator must pass. usage: few NAME PROGRAM
few() {
	row "$1: lost blocks among many" 'lost("leak_plain"; 3) and only_lost(3)' "$2" plain
	row "$1: lists, lost and kept" 'kinds("lost_list") == {definite: 1, indirect: 19999} and kept("kept_list"; 20000)
		and kinds("lost_ring") == {definite: 1, indirect: 19} and lost("lost_alone"; 8) and only_lost(10)' "$2" lists
	row "$1: children that free what they inherited" 'lost("leak_child"; 40) and only_lost(40)' "$2" forks
	row "$1: aligned, usable sizes" 'lost("leak_aligned"; 13) and only_lost(13)' "$2" aligned
}

# Recording is switched by the command. Natively there is nothing to switch. usage: outside TOOL PROGRAM FILE
cat >"$work/outside" <<'E2'
rm -f "$3.out" "$3.in"
: >"$3.out"
mkfifo "$3.in"
"$2" <"$3.in" >"$3.out" &
pid=$!
exec 9>"$3.in"
for phase in before:start during:stop after:; do
	tries=0
	until grep -q "${phase%:*}" "$3.out" || [ $tries -eq 400 ]; do sleep 0.05; tries=$((tries + 1)); done
	[ -z "$LEAKTRACE_OPTIONS" ] || [ -z "${phase#*:}" ] || LD_PRELOAD='' "$1" "${phase#*:}" $pid || exit 77
	echo >&9
done
exec 9>&-
status=0
wait $pid || status=$?
cat "$3.out"
exit $status
E2

# usage: many NAME PROGRAM
many() {
	few "$1" "$2"
	row "$1: the program's own mappings among the allocator's" 'kept("in_mapping"; 32) and kept("in_sbrk"; 1) and only_lost(0)' "$2" mapped
	row "$1: big blocks" 'lost("leak_big"; 1) and lost("leak_huge"; 1) and kept("kept_big"; 1) and only_lost(2)' "$2" big
	row "$1: realloc" 'lost("leak_resized"; 2) and only_lost(2)' "$2" resized
	row "$1: eight threads, frees across" 'lost("leak_thread"; 80) and only_lost(80)' "$2" threads
	row "$1: a snapshot" 'lost("leak_early"; 4) and lost("leak_late"; 4) and only_lost(8)' "$2" snapshot
	row "$1: exec of itself" '(.processes | length == 3) and lost("leak_image"; 3) and only_lost(3)' "$2" execs
	row "$1: the whole family" "$family" "$targets/family" any
	[ ! -x "$targets/operators" ] || row "$1: new and delete, in all forms" "$operators" "$targets/operators"
	row "$1: fork while eight threads allocate" '([process("fork")[] | select(ended("_exit"; 0))] | length == 30)
		and blocks("leak_child") == 60 and blocks("leak_thread") == 80 and clean' "$targets/thread-fork" 30
	for how in return abort thread; do
		row "$1: ends by $how" 'blocks("leak") == 4 and clean' "$targets/endings" "$how"
	done
	options=active=0
	row "$1: dormant, on and off" 'lost_perhaps("leak_during"; 10) and kinds("held") == {possible: 4} and clean' "$targets/dormant" itself
	row "$1: dormant, on and off by the command" 'lost_perhaps("leak_during"; 10) and kinds("held") == {possible: 4}' \
		sh "$work/outside" "$tool" "$targets/dormant" "$work/switched"
	options=sample=512k
	row "$1: a sample" 'all(.processes[]; .mode == "sampled") and lost_perhaps("leak_big"; 1) and clean' "$2" big
	options=
}

part_preloaded() {
	for name in libjemalloc.so.2 libtcmalloc.so.4 libtcmalloc_minimal.so.4 libmimalloc.so.2; do
		short=${name%%.*}
		short=${short#lib}
		path=$(library "$name")
		if [ -z "$path" ]; then
			left_out "$short" 'not installed'
			continue
		fi
		part "$short, preloaded behind us"
		row_natively=$path row_traced=$lib:$path
		# The small one is the same but for its profilers.
		if [ "$short" = tcmalloc_minimal ]; then few "$short behind" "$program"; else many "$short behind" "$program"; fi
		part "$short, preloaded before us"
		row_traced="$path $lib"
		few "$short before" "$program"
	done
	row_natively= row_traced=
}

part_r() {
	part "R and another allocator"
	if ! command -v Rscript >/dev/null; then
		left_out R 'not installed'
		return
	fi
	cat >"$work/workers.R" <<-'END'
		x <- unlist(parallel::mclapply(1:4, function(i) sum(sapply(1:200, function(k) length(rnorm(1000 + k)))), mc.cores = 2))
		print(x)
	END
	seen='([process("fork")[]] | length == 2) and one("master").allocations > 10000 and all(.processes[]; .unknown_frees == 0 and .dropped == 0)'
	options=depth=8 # a small report
	for name in libjemalloc.so.2 libtcmalloc.so.4; do
		path=$(library "$name")
		[ -n "$path" ] || continue
		row_natively=$path row_traced=$lib:$path
		row "R, mclapply, ${name%%.*} behind" "$seen and only_lost(0)" Rscript --vanilla "$work/workers.R"
		[ "$name" = libjemalloc.so.2 ] || continue
		row_traced=$path:$lib row_classified=
		row "R, mclapply, ${name%%.*} before" "$seen" Rscript --vanilla "$work/workers.R"
		row_classified=yes
	done
	row_natively= row_traced= options=
}

part_linked() {
	part "Linked with the program"
	for name in libjemalloc libtcmalloc libtcmalloc_minimal libmimalloc; do
		if [ -x "$targets/linked-$name" ]; then
			few "linked with ${name#lib}" "$targets/linked-$name"
		else
			left_out "linked with ${name#lib}" 'was not there when the programs were built'
		fi
	done
}

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
