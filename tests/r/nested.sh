#!/bin/sh
# SPDX-License-Identifier: MIT
# A worker of one kind that starts workers of another: every R process is found, and knows its parent.
. "$LT_SOURCE/tests/lib.sh"
needs Rscript

run trace d Rscript "$LT_SOURCE/tests/r/nested.R"
same "status" 0 "$status"
same "output" "0 0 " "$(cat "$work/out")"
report d
fact d "six R processes" '(.processes | length == 6) and all(.processes[]; .exe | endswith("/R"))'
fact d "roles" '[.processes[].role] | sort == ["fork", "fork", "master", "other", "other", "psock"]'
fact d "the worker is the master's" 'one("psock").parent == one("master").id'
fact d "the forks are the worker's" 'one("psock").id as $p | process("fork") | all(.forked_from == $p)'
fact d "the last ones are the forks'" '([process("fork")[].id] | sort) == ([process("other")[].parent] | sort)'
fact d "polls" '. as $r | ($r | in_process(one("psock").id; "R_PollAsyncRd")) == 3
	and ([process("fork")[].id as $i | in_process($i; "R_PollAsyncRd")] == [1, 1])
	and ([process("other")[].id as $i | in_process($i; "R_PollAsyncRd")] == [5, 5])'
fact d "R calls" '[sites("R_PollAsyncRd")[] | select(.r[0].call == "poll_deepest")] | length == 1 and .[0].blocks == 10'

finish
