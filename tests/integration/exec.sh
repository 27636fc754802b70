#!/bin/sh
# SPDX-License-Identifier: MIT
# Every program image has a dump of its own: after exec in the same PID, by vfork, posix_spawn, system and popen.
. "$LT_SOURCE/tests/lib.sh"

run trace chain "$targets/execs" chain 5
same "chain: status" 0 "$status"
same "chain: silent" '' "$(cat "$work/err")"
report chain
fact chain "six images of one PID" '(.processes | length == 6) and ([.processes[].pid] | unique | length == 1)
	and (by_image | map(.image) == [0, 1, 2, 3, 4, 5])'
fact chain "each leaks what it leaks" 'holds("leak_image"; 21; 1344) and (. as $r | by_image | map(. as $p | $r | in_process($p.id; "leak_image"))
	== [6, 5, 4, 3, 2, 1])'
fact chain "ends" 'by_image | map(.end_kind) == ["exec", "exec", "exec", "exec", "exec", "exit"]'
fact chain "each is the child of its predecessor" 'by_image | [.[1:], .[:-1]] | transpose | all(.[0].parent == .[1].id)'
fact chain "one master" '[process("master")[].image] == [0]'

run trace fef "$targets/execs" fork-exec-fork
same "fork-exec-fork: status" 0 "$status"
report fef
fact fef "four images" '.processes | length == 4'
fact fef "blocks" '[.processes[] as $p | in_process($p.id; "leak_image")] | sort == [1, 1, 5, 10]'
fact fef "the forked image ends by exec" '[.processes[] | select(.end_kind == "exec")] | length == 1 and .[0].role == "fork"'
fact fef "exec'd image knows its predecessor" '([.processes[] | select(.end_kind == "exec")][0]) as $f
	| [.processes[] | select(.image == 1)] | length == 1 and .[0].parent == $f.id and .[0].pid == $f.pid and (.[0] | ended("exit"; 5))'
fact fef "its child" '([.processes[] | select(.image == 1)][0]) as $e
	| [.processes[] | select(.forked_from == $e.id)] | length == 1 and .[0].role == "fork"'

for kind in vfork spawn spawnp system popen; do
	run trace "$kind" "$targets/execs" "$kind"
	same "$kind: status" 0 "$status"
	same "$kind: silent" '' "$(cat "$work/err")"
	report "$kind"
	fact "$kind" "the caller" 'in_process(one("master").id; "leak_image") == 1 and (one("master") | ended("exit"; 0))'
	fact "$kind" "the program started" '[.processes[] as $p | in_process($p.id; "leak_image")] | sort | .[-2:] == [1, 3]'
	fact "$kind" "its end" '. as $r | [.processes[] | . as $p | select($r | in_process($p.id; "leak_image") == 3)]
		| length == 1 and (.[0] | ended("exit"; 3))'
	fact "$kind" "nobody else leaks there" 'holds("leak_image"; 4; 256)'
done

run trace vfork-failed "$targets/execs" vfork-failed
same "vfork-failed: status" 0 "$status"
report vfork-failed
fact vfork-failed "the parent is unharmed" '(.processes | length == 1) and holds("leak_image"; 1; 64) and (one("master") | ended("exit"; 0))'

run trace failed "$targets/execs" failed
same "failed exec: status" 0 "$status"
report failed
fact failed "the image goes on" '(.processes | length == 1) and holds("leak_image"; 3; 192) and (one("master") | ended("exit"; 0))'

run trace clearenv "$targets/execs" clearenv
same "exec with a clean environment: status" 3 "$status"
report clearenv
fact clearenv "ends by exec" 'by_image[0].end_kind == "exec" and in_process(by_image[0].id; "leak_image") == 1'

# A large program's exec in a child, of which nothing but the environment has changed, does not wait for a classifier.
for kind in environment environment-more environment-failed; do
	run trace "$kind" "$targets/execs" "$kind"
	same "$kind: status" 0 "$status"
	same "$kind: silent" '' "$(cat "$work/err")"
	judged "$kind"
	fact "$kind" "all are judged" 'all(.processes[]; .classified)'
	fact "$kind" "what the environment holds" 'holds("add_to_environment"; 2; 26)
		and all(sites("add_to_environment")[]; .kind == "reachable")'
done
same "environment: classifiers" 0 "$(find "$work/environment" -name '*.lts' | wc -l)"
fact environment "how it ends" 'process("fork") | map(.end_kind) == ["exec"]'
fact environment-more "what is lost" 'blocks("lose") == 8 and ([sites("lose")[] | select(.kind == "definite") | .blocks] | add) >= 7'
fact environment-failed "how it ends" 'process("fork") | length == 1 and (.[0] | ended("_exit"; 3))'
fact environment-failed "what is lost" 'blocks("lose") == 8 and ([sites("lose")[] | select(.kind == "definite") | .blocks] | add) >= 7'

finish
