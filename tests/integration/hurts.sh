#!/bin/sh
# SPDX-License-Identifier: MIT
# Programs that a tracer once hurt: the same status and output as without it, in every case, and in time.
. "$LT_SOURCE/tests/lib.sh"
needs timeout
ulimit -c 0

# usage: unhurt TEXT KIND [NUMBER]
unhurt() {
	unhurt_text=$1
	shift
	run timeout 20 "$targets/hurts" "$@"
	unhurt_status=$status unhurt_out=$(cat "$work/out")
	run trace hurts timeout 20 "$targets/hurts" "$@"
	same "$unhurt_text: status" "$unhurt_status" "$status"
	same "$unhurt_text: output" "$unhurt_out" "$(cat "$work/out")"
}

unhurt "fork in a signal handler" fork-in-handler
trace handler timeout 60 "$targets/hurts" fork-in-malloc
report handler
fact handler "fork in malloc: each child's block" '[.sites[] | select(.function == "leak_in_child")] | (map(.blocks) | add) >= 150 and (map(.bytes) | add) == 40 * (map(.blocks) | add)'
fact handler "fork in malloc: each child is whole" '[.processes[] | select(.role == "fork" and .end_kind != "exec")] | length >= 150 and all(.end_kind == "_exit" and .end_code == 0)'
unhurt "coroutines made by hand" coroutines 0
unhurt "coroutines on stacks that are not aligned" coroutines 8

finish
