#!/bin/sh
# SPDX-License-Identifier: MIT
# Which nodes R can still get at, as a copy of the process finds it out, and R's own collector: the same, node by node.
. "$LT_SOURCE/tests/lib.sh"
needs Rscript
run Rscript --vanilla "$LT_SOURCE/tests/r/collect.R" "$targets/rheap.so"
same "status" 0 "$status"
same "last words" "all agree" "$(tail -n 1 "$work/out")"
grep FAILED "$work/out" || :
same "nothing of R's or ours on stderr" "" "$(cat "$work/err")"
finish
