#!/bin/sh
# SPDX-License-Identifier: MIT
# Every stack of an R program that does all sorts of calls is as libunwind and a full walk of R's contexts find it.
. "$LT_SOURCE/tests/lib.sh"
needs Rscript jq

options=check=1:verdict=off:log=$work/log
run trace calls Rscript --vanilla -e 'source(commandArgs(TRUE), keep.source = TRUE)' "$LT_SOURCE/tests/r/stacks.R"
same "status" 0 "$status"
same "silent" done "$(cat "$work/out")"
same "as libunwind and a full walk do" '' "$(cat "$work/log" 2>/dev/null)"
# Without the sites, whose stacks are deep.
"$tool" report --format=json --kind=definite "$work/calls" >"$work/calls.json"
fact calls "all were compared, but the loader's own" '.processes | all(.checked_stacks + 10 > .allocations)'
fact calls "none differs" '.processes | all(.wrong_stacks == 0 and .wrong_r_stacks == 0)'
fact calls "R calls, too" '([.processes[].checked_r_stacks] | add) > 30000'
fact calls "and in workers" '[process("fork")[] | select(.checked_r_stacks > 300)] | length == 2'

finish
