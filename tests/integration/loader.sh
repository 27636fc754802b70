#!/bin/sh
# SPDX-License-Identifier: MIT
# Libraries that come and go while a program is traced: as without the tracer, and in time.
. "$LT_SOURCE/tests/lib.sh"
needs timeout
ulimit -c 0

# usage: alike DIR KIND [ARGUMENT...]
alike() {
	alike_dir=$1
	shift
	run timeout 20 "$targets/loader" "$@"
	alike_status=$status alike_out=$(cat "$work/out")
	run trace "$alike_dir" timeout 20 "$targets/loader" "$@"
	same "$alike_dir: status" "$alike_status" "$status"
	same "$alike_dir: output" "$alike_out" "$(cat "$work/out")"
	same "$alike_dir: silent" '' "$(cat "$work/err")"
}

if [ -e "$targets/plugin_threads.so" ]; then
	alike threads work "$targets/plugin_threads.so"
	same "threads: it ran" 'work 12' "$(cat "$work/out")"
	report threads
	fact threads "the thread of a static constructor" 'holds("leak_in_thread"; 1; 48)'

	alike operators work "$targets/plugin_operators_small.so" "$targets/plugin_operators_large.so" "$targets/plugin_operators_small.so"
	same "operators: their own" 'work 54' "$(sort -u "$work/out")"
	report operators
	fact operators "one block of each load" 'holds("leak_by_new"; 3; 216)'

	alike operators-threads work "$targets/plugin_operators_small.so" "$targets/plugin_threads.so"
fi

alike memory memory "$targets/plugin_frame_first.so"
same "memory: flat" flat "$(cat "$work/out")"

frames="$targets/plugin_frame_first.so $targets/plugin_frame_second.so"
alike same-place same-place $frames
same "same-place: so it was" 'same place' "$(cat "$work/out")"
report same-place
fact same-place "each by its own rules and name" '[sites("work") | group_by(.module)[] | [length, (map(.blocks) | add)]] == [[1, 20], [1, 20]]
	and (sites("work") | all(.native[1].function == "leak_from_plugin" and .native[3].function == "main"))'

alike race race $frames
options=check=1
alike race-checked race $frames
options=

finish
