#!/bin/sh
# SPDX-License-Identifier: MIT
# kill -9 of one worker in the middle of a task: its blocks are in the report as unknown, the others' are complete.
. "$LT_SOURCE/tests/lib.sh"
needs Rscript

run Rscript "$LT_SOURCE/tests/r/killed.R"
same "status without preload" 0 "$status"
run trace d Rscript "$LT_SOURCE/tests/r/killed.R"
same "status" 0 "$status"
same "output" "40 done, then a worker died " "$(cat "$work/out")"
report d
# 20 tasks of 2 polls and one poll in the killed worker; 21 tasks of 2 in the other.
fact d "all polls are there" 'holds("R_PollAsyncRd"; 83; 83 * 1024)'
fact d "first row" '.sites[0].function == "R_PollAsyncRd"'
fact d "the killed worker" '[process("psock")[] | select(.end_kind == "unknown" or .end_kind == "signal")] | length == 1'
fact d "its blocks" '([process("psock")[] | select(.end_kind != "exit")][0].id) as $k | in_process($k; "R_PollAsyncRd") == 41'
fact d "their kind" '([process("psock")[] | select(.end_kind != "exit")][0].id) as $k
	| [.sites[] | select(.function == "R_PollAsyncRd" and any(.processes[]; .id == $k))] | all(.kind == "unknown")'
fact d "the other worker" '([process("psock")[] | select(.end_kind == "exit")][0].id) as $o | in_process($o; "R_PollAsyncRd") == 42'
fact d "growth per task" '[sites("R_PollAsyncRd")[].growth_per_task] | map(.bytes) | add == 2048' # two calls of it: two sites

finish
