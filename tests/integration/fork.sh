#!/bin/sh
# SPDX-License-Identifier: MIT
# A fork child has a dump of its own, by whichever call it was made; nothing is counted twice.
. "$LT_SOURCE/tests/lib.sh"

for kind in fork _Fork syscall clone; do
	run trace "$kind" "$targets/forks" "$kind"
	same "$kind: status" 0 "$status"
	same "$kind: silent" '' "$(cat "$work/err")"
	same "$kind: dumps" 2 "$(dumps "$kind")"
	report "$kind"
	fact "$kind" "parent's blocks are the parent's" 'holds("leak_parent"; 3; 300) and owners("leak_parent") == 1
		and in_process(one("master").id; "leak_parent") == 3'
	fact "$kind" "child's blocks are the child's" 'holds("leak_child"; 5; 1000) and in_process(one("fork").id; "leak_child") == 5'
	fact "$kind" "blocks after the fork" 'holds("leak_after"; 1; 300) and in_process(one("master").id; "leak_after") == 1'
	fact "$kind" "child's parent" 'one("fork").forked_from == one("master").id and one("fork").parent == one("master").id
		and one("fork").ppid == one("master").pid and one("fork").image == 0'
	fact "$kind" "child's own figures" 'one("fork").live_blocks == 5 and one("fork").live_bytes == 1000'
	fact "$kind" "what the child inherited" 'one("fork").inherited_blocks >= 3 and one("fork").inherited_bytes >= 300'
	fact "$kind" "the tracer's memory" 'all(.processes[]; .tracer_bytes > 100000 and .tracer_bytes < 20000000 and .dump_bytes > 0)'
	fact "$kind" "ends" '[.processes[].end_code] == [0, 0]'

	# As Valgrind sees the child: with what it inherited, less the block that it freed. (The clone ends by a raw system call:
	# nobody could write the list of what it still held.)
	[ "$kind" != clone ] || continue
	"$tool" report --format=json --inherited "$work/$kind" >"$work/inherited.json"
	fact inherited "$kind: inherited blocks" 'in_process(one("fork").id; "leak_parent") == 2
		and in_process(one("master").id; "leak_parent") == 3 and blocks("leak_parent") == 5'
done

trace nested "$targets/forks" nested
report nested
fact nested "three processes" '.processes | length == 3'
fact nested "grandchild" 'holds("leak_grandchild"; 7; 2800) and owners("leak_grandchild") == 1'
fact nested "child" 'holds("leak_child"; 5; 1000) and owners("leak_child") == 1'
fact nested "grandchild's ancestry" '(one("master").id) as $m | [process("fork")[] | select(.forked_from == $m)][0] as $c
	| [process("fork")[] | select(.forked_from == $c.id)] | length == 1 and .[0].end_code == 7 and .[0].live_blocks == 7'
fact nested "generations" '.totals | map(.blocks) | add >= 16'

trace many "$targets/forks" many
same "many: dumps" 11 "$(dumps many)"
report many
fact many "ten children in one row" 'sites("leak_child") | length == 1 and .[0].blocks == 50 and (.[0].processes | length == 10)'
fact many "parent's blocks once" 'holds("leak_parent"; 3; 300)'

finish
