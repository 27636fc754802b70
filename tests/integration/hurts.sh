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
	LEAKTRACE_DIR=$work/hurts run trace hurts timeout 20 "$targets/hurts" "$@"
	same "$unhurt_text: status" "$unhurt_status" "$status"
	same "$unhurt_text: output" "$unhurt_out" "$(cat "$work/out")"
}

i=0
while [ $i -lt 30 ]; do
	i=$((i + 1))
	unhurt "_exit in a signal handler" exit-in-handler $i
	unhurt "exit beside a parked thread" parked $i
done
unhurt "a signal open only in sigsuspend" sigsuspend
unhurt "a trap" trap
unhurt "fork in a signal handler" fork-in-handler
trace handler timeout 60 "$targets/hurts" fork-in-malloc
report handler
fact handler "fork in malloc: each child's block" '[.sites[] | select(.function == "leak_in_child")] | (map(.blocks) | add) >= 150 and (map(.bytes) | add) == 40 * (map(.blocks) | add)'
fact handler "fork in malloc: each child is whole" '[.processes[] | select(.role == "fork" and .end_kind != "exec")] | length >= 150 and all(.end_kind == "_exit" and .end_code == 0)'
unhurt "coroutines made by hand" coroutines 0
unhurt "coroutines on stacks that are not aligned" coroutines 8
unhurt "fork on a small stack" small-stack
unhurt "a large environment" large-environment
rm -rf "$work/hurts"
unhurt "dump truncated while mapped" truncated

# Disk: a child that does nothing leaves some 24 KiB.
run trace idle "$targets/hurts" idle-forks 100
same "idle forks: status" 0 "$status"
same "idle forks: dumps" 101 "$(dumps idle)"
holds "idle forks: at most 64 KiB each" [ "$(du -sk "$work/idle" | cut -f1)" -le $((256 + 100 * 64)) ]

# Process 1 of a PID name space: signals without a handler are ignored there, so they must not interrupt a system call.
if unshare --pid --fork true 2>/dev/null; then
	run trace pid1 unshare --pid --fork sh -c 'trap "" USR1; kill -ALRM $$; sleep 0.1; echo alive'
	same "process 1: status" 0 "$status"
	same "process 1: alive" alive "$(cat "$work/out")"
fi

finish
