#!/bin/sh
# SPDX-License-Identifier: MIT
# The leaks of examples/asyncrd are definite, to the block and byte, in all workers of a back end; the fixed variant has none.
# usage: verdict-asyncrd.sh BACKEND
. "$LT_SOURCE/tests/lib.sh"
needs Rscript
backend=$1
case $backend in multisession) package=future ;; *) package=parallel ;; esac
Rscript --vanilla -e "quit(status = !requireNamespace('$package', quietly = TRUE))" || skip "no R package $package"
job=$LT_SOURCE/examples/asyncrd/asyncrd.R
tasks=100

run trace d Rscript "$job" --backend="$backend" --tasks=$tasks --polls=2
same "status" 0 "$status"
judged d
fact d "every process is classified" 'all(.processes[]; .classified)'
fact d "R_PollAsyncRd" "holds(\"R_PollAsyncRd\"; 2 * $tasks; 2048 * $tasks)"
fact d "psock_worker_loop" "holds(\"psock_worker_loop\"; $tasks; 512 * $tasks)"
fact d "all definite" 'sites("R_PollAsyncRd") + sites("psock_worker_loop") | all(.kind == "definite")'
fact d "the first rows" "[.sites[] | select(.kind == \"definite\")] | .[0].function == \"R_PollAsyncRd\""
fact d "nothing unknown" '.totals.unknown.blocks == 0'
fact d "nothing else of the module is lost" '[.sites[] | select(.kind != "reachable" and (.module | endswith("asyncrd.so")))
	| .function] | unique == ["R_PollAsyncRd", "psock_worker_loop"]'

run trace fixed Rscript "$job" --backend="$backend" --tasks=$tasks --polls=2 --fixed
same "fixed: status" 0 "$status"
judged fixed
fact fixed "fixed: every process is classified" 'all(.processes[]; .classified)'
fact fixed "fixed: nothing definite" '.totals.definite.blocks == 0'
fact fixed "fixed: nothing of the module" '[.sites[] | select((.module // "" | endswith("asyncrd.so")) and (.r_heap | not))] | length == 0'

finish
