#!/bin/sh
# SPDX-License-Identifier: MIT
# Tasks in an R that does not call the hooks of R_Serialize and R_Unserialize, as one that was built without libR.so does not: told
# by what it sends and receives, and by the end of mclapply's children.
# usage: ahead.sh [BACKEND...], of: psock mclapply forkcluster multisession. Without, one of each mechanism.
. "$LT_SOURCE/tests/lib.sh"
needs Rscript
job=$LT_SOURCE/examples/asyncrd/asyncrd.R
lib=$LT_BUILD/tests/r/ahead.so:$lib

[ $# -gt 0 ] || set -- psock mclapply
for backend; do
	run Rscript "$job" --backend=$backend --tasks=200 --polls=2
	cp "$work/out" "$work/out.plain"
	same "$backend: status without preload" 0 "$status"
	run trace $backend Rscript "$job" --backend=$backend --tasks=200 --polls=2
	same "$backend: status" 0 "$status"
	holds "$backend: same output" cmp "$work/out.plain" "$work/out"
	same "$backend: silent" '' "$(cat "$work/err")"
	judged $backend
	fact $backend "$backend: all polls are there" 'holds("R_PollAsyncRd"; 400; 409600)'
	fact $backend "$backend: every process is classified" 'all(.processes[]; .classified)'
	case $backend in
	mclapply)
		fact $backend "$backend: a task in each child" '[process("fork")[].tasks] == [1, 1]'
		fact $backend "$backend: growth" 'sites("R_PollAsyncRd")[0].growth_per_task | .bytes == 204800 and .blocks == 200' ;;
	*)
		[ $backend = multisession ] || fact $backend "$backend: tasks" '[.processes[].tasks] | add == 200' # and future's own
		fact $backend "$backend: growth" 'sites("R_PollAsyncRd")[0].growth_per_task | .bytes == 2048 and .blocks == 2' ;;
	esac
done

finish
