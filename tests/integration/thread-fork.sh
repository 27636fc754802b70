#!/bin/sh
# SPDX-License-Identifier: MIT
# Forks of a process in which eight threads allocate without pause: no hang, every child is traced.
. "$LT_SOURCE/tests/lib.sh"
rounds=${1:-60}

run trace d timeout -s KILL 240 "$targets/thread-fork" "$rounds"
same "status" 0 "$status"
same "silent" '' "$(cat "$work/err")"
report d
# timeout is itself a traced image, and the master.
fact d "threads' blocks" 'holds("leak_thread"; 80; 3840) and owners("leak_thread") == 1'
fact d "children's blocks" "holds(\"leak_child\"; $rounds * 2; $rounds * 256) and owners(\"leak_child\") == $rounds"
fact d "each child ended" "[process(\"fork\")[] | select(ended(\"_exit\"; 0))] | length == $rounds"
fact d "nothing dropped" '[.processes[].dropped] | add == 0'

finish
