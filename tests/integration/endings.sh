#!/bin/sh
# SPDX-License-Identifier: MIT
# Every way to end: exit status as without the preload, blocks in the report, the end named.
. "$LT_SOURCE/tests/lib.sh"

# usage: ending KIND STATUS END_KIND|- END_CODE
ending() {
	run "$targets/endings" "$1"
	same "$1: status without preload" "$2" "$status"
	run trace "$1" "$targets/endings" "$1"
	same "$1: status" "$2" "$status"
	same "$1: lines of ours" 0 "$(tracer_lines)"
	report "$1"
	fact "$1" "blocks" 'holds("leak"; 4; 1000)'
	fact "$1" "end" "one(\"master\") | .end_kind == \"$3\" and .end_code == $4"
}

ulimit -c 0
ending return 11 exit 11
ending exit 12 exit 12
ending _exit 13 _exit 13
ending _Exit 14 _exit 14
ending quick_exit 15 _exit 15
ending atexit 16 exit 16
fact atexit "allocations in atexit functions" 'holds("leak_in_atexit"; 1; 260)'
ending thread 18 exit 18
ending pthread_exit 0 exit 0
fact pthread_exit "main's thread is not the end" 'holds("leak_in_atexit"; 1; 260)'
ending abort 134 signal 6
ending segv 139 signal 11
ending raise-segv 139 signal 11
ending term 143 signal 15
ending handled 55 _exit 55
ending ignored 19 exit 19

# Ends that cannot be seen from inside: unknown to us, unless a traced parent has seen the status.
for kind in kill syscall; do
	run trace "$kind" "$targets/endings" "$kind"
	report "$kind"
	fact "$kind" "blocks" 'holds("leak"; 4; 1000)'
	fact "$kind" "kind of the blocks" 'sites("leak")[0].kind == "unknown"'
	fact "$kind" "end" 'one("master") | .end_kind == "unknown" and .end_code == null'
done

# A parent that waits knows.
run trace seen sh -c "\"$targets/endings\" kill; echo \$?"
same "killed child's status" 137 "$(cat "$work/out")"
report seen
fact seen "the killed child's end comes from its parent" '[.processes[] | select(.end_kind == "signal" and .end_code == 9)] | length == 1'

finish
