#!/bin/sh
# SPDX-License-Identifier: MIT
# Native blocks that R's nodes hold, held, or would have freed: freed nodes are not cleared, yet what only they point to is
# lost, which a scan of R's pages as plain memory does not see.
. "$LT_SOURCE/tests/lib.sh"
needs Rscript
export VERDICT_MODULE="$LT_BUILD/tests/r/verdict.so"

# usage: nodes KIND
nodes() {
	run trace "$1" Rscript --vanilla "$LT_SOURCE/tests/r/verdict-nodes.R" "$1"
	same "$1: status" 0 "$status"
	same "$1: output" done "$(cat "$work/out")"
	same "$1: silent" '' "$(cat "$work/err")"
	judged "$1"
}

# usage: all_are DIR FUNCTION KIND
all_are() {
	fact "$1" "$1: $2 is $3" "holds(\"$2\"; 300; 300000) and (sites(\"$2\") | all(.kind == \"$3\"))"
}

nodes pointers
all_are pointers block_of_pointer definite
nodes bytes
all_are bytes block_of_bytes definite
nodes held
all_are held block_of_pointer reachable
all_are held block_of_bytes reachable
nodes preserved
all_are preserved block_of_preserved reachable
nodes garbage
all_are garbage block_of_finalizer reachable # R could still free them
# R may still hold the last one, in what it returned last.
fact garbage "a finding: only garbage holds them" '[sites("block_of_finalizer")[].r_garbage.blocks] | add >= 299'
fact garbage "all of them" '.r_garbage.blocks >= 299 and .r_garbage.bytes >= 299000'
"$tool" report "$work/garbage" >"$work/garbage.txt"
holds "text says so" grep -q 'held only by R objects that are garbage' "$work/garbage.txt"
nodes finalized
fact finalized "the finalizers ran" 'blocks("block_of_finalizer") == 0'

finish
