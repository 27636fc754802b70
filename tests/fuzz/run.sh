#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Fuzzing, with clang's libFuzzer under AddressSanitizer and UndefinedBehaviorSanitizer, and what it reaches.
#
#   tests/fuzz/run.sh SECONDS [TARGET...]   all targets (or these) share the seconds by weight; status 1 if one failed. What fails
#                                           is in build-fuzz/failed/, what reaches new code in build-fuzz/corpus/TARGET/
#   tests/fuzz/run.sh coverage              lines of each source file that all inputs reach together, by gcc's gcov
#
# Needs clang with its run-time library (Debian: clang libclang-rt-14-dev); CLANG names another one. NICE: a command to run them by.
set -eu
cd "$(dirname "$0")/../.."
root=$PWD

# A fault in the reader is the worst; libelf's and libdw's code has no counters, so there is little to guide the search.
weights='dump 35 suppressions 5 symbols 5 traced 4 cfi 4 names 4 arguments 3'

weight_of() {
	set -- "$1" $weights
	wanted=$1
	shift
	while [ "$1" != "$wanted" ]; do shift 2; done
	echo "$2"
}

fuzz() {
	seconds=$1
	shift
	clang=${CLANG:-$(command -v clang || command -v clang-14)}
	[ -d build-fuzz ] || CC=$clang CXX=$clang++ meson setup build-fuzz -Dtests=enabled -Db_sanitize=address,undefined \
		-Db_lundef=false -Dbuildtype=debugoptimized -Dc_args=-fsanitize=fuzzer-no-link >/dev/null
	${NICE:-} ninja -C build-fuzz fuzz >build-fuzz/log || { cat build-fuzz/log; exit 1; }
	[ $# -gt 0 ] || set -- dump suppressions symbols traced cfi names arguments
	sum=0 status=0
	for target; do sum=$((sum + $(weight_of "$target"))); done
	mkdir -p build-fuzz/failed
	export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 ASAN_OPTIONS=malloc_context_size=8
	for target; do
		[ -x "build-fuzz/tests/fuzz/fuzz-$target" ] || { echo "$target: not on this CPU"; continue; }
		mkdir -p "build-fuzz/corpus/$target"
		# Entropic scheduling takes 5/6 of the time where an input reaches so much. libFuzzer copies what is new to the first directory.
		if ${NICE:-} "build-fuzz/tests/fuzz/fuzz-$target" -max_total_time=$((seconds * $(weight_of "$target") / sum)) \
			-artifact_prefix="build-fuzz/failed/$target-" -max_len=8192 -timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=512 \
			-entropic=0 -print_final_stats=1 "build-fuzz/corpus/$target" "tests/fuzz/corpus/$target" \
			>"build-fuzz/$target.log" 2>&1; then
			echo "$target: $(grep -o 'Done .*' "build-fuzz/$target.log"), $(grep -o 'peak_rss_mb: *[0-9]*' "build-fuzz/$target.log")"
		else
			echo "$target: failed"
			grep -E '^==|runtime error|SUMMARY|Test unit written' "build-fuzz/$target.log" || tail -n 5 "build-fuzz/$target.log"
			status=1
		fi
	done
	return $status
}

# A program for each target has its own counters of a source; gcov adds them up.
coverage() {
	[ -d build-coverage ] || meson setup build-coverage -Dtests=enabled -Db_coverage=true -Dbuildtype=debug -Dc_args=-O1 >/dev/null
	${NICE:-} ninja -C build-coverage fuzz >build-coverage/log || { cat build-coverage/log; exit 1; }
	find build-coverage -name '*.gcda' -delete
	for program in build-coverage/tests/fuzz/fuzz-*; do
		[ -f "$program" ] && [ -x "$program" ] || continue
		target=${program##*/fuzz-}
		[ -d "tests/fuzz/corpus/$target" ] || continue
		set -- "$root/tests/fuzz/corpus/$target"
		[ ! -d "build-fuzz/corpus/$target" ] || set -- "$@" "$root/build-fuzz/corpus/$target"
		${NICE:-} "$program" "$@" >/dev/null
	done
	cd build-coverage
	find . -name '*.gcda' | xargs gcov -n 2>/dev/null | awk -v root="../" '
		/^File / { file = $2; gsub(/\047/, "", file); sub(/^\.\.\//, "", file) }
		/^Lines executed:/ && file ~ /^(tools|src)\// && file ~ /\.c$/ {
			split($2, part, ":"); percent = part[2] + 0; lines = $4
			# A source that is compiled twice: the better one.
			if (!(file in all) || percent > best[file]) { best[file] = percent; all[file] = lines }
			file = ""
		}
		END { for (file in all) if (best[file] > 0) printf "%6.2f%% of %4d  %s\n", best[file], all[file], file }' | sort -k4
}

case ${1:-} in
coverage) coverage ;;
'' | *[!0-9]*) echo "usage: tests/fuzz/run.sh SECONDS [TARGET...] | coverage" >&2; exit 2 ;;
*) fuzz "$@" ;;
esac
