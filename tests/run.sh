#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs every test: installs what they need, builds, runs all suites in build/, then the unit tests and the command on damaged
# dumps once more under AddressSanitizer and UndefinedBehaviorSanitizer in build-asan/. The last line is "N passed, N failed[, N skipped]",
# counted in Meson's tests; the exit status is 0 only if nothing failed. Arguments go to `meson test` (build/ only).
set -eu
cd "$(dirname "$0")/.."
. examples/setup.sh
need build r tests

passed=0 failed=0 skipped=0
build_problem() {
	echo "run.sh: $1 does not build" >&2
	echo "$passed passed, $((failed + 1)) failed"
	exit 1
}

# Runs `meson test` and adds up its summary; it builds what the tests need, if that is not done. usage: test_in DIR [ARGUMENT...]
test_in() {
	test_dir=$1
	shift
	test_status=0
	test_log=$test_dir/run-sh.log
	# Not piped into tee: its status would be tee's.
	meson test -C "$test_dir" --print-errorlogs "$@" >"$test_log" 2>&1 || test_status=$?
	cat "$test_log"
	set -- $(awk '
		/^Ok:|^Expected Fail:/ { ok += $NF }
		/^Fail:|^Unexpected Pass:|^Timeout:/ { fail += $NF }
		/^Skipped:/ { skip += $NF }
		END { print ok + 0, fail + 0, skip + 0 }' "$test_log")
	passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
	# Status without a failure counted, or no test at all: something broke before the tests.
	if [ "$test_status" -ne 0 ] && [ "$2" -eq 0 ] || [ $(($1 + $2 + $3)) -eq 0 ]; then
		failed=$((failed + 1))
	fi
}

(build_in build -Dtests=enabled) || build_problem build
test_in build "$@"

# A shorter way for one's own tests: LT_NO_ASAN=1 ./tests/run.sh NAME
if [ -z "${LT_NO_ASAN:-}" ]; then
	(configure_in build-asan -Dtests=enabled -Db_sanitize=address,undefined -Db_lundef=false -Dbuildtype=debugoptimized) || build_problem build-asan
	export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
	LT_TRACED=$PWD/build test_in build-asan --suite unit --suite damage
	unset ASAN_OPTIONS UBSAN_OPTIONS
fi

if [ "$skipped" -gt 0 ]; then
	echo "$passed passed, $failed failed, $skipped skipped"
else
	echo "$passed passed, $failed failed"
fi
[ "$failed" -eq 0 ]
