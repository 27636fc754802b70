#!/bin/sh
# SPDX-License-Identifier: MIT
# Recording that is off at first (option active=0), and switched on and off: by the program, and from outside.
. "$LT_SOURCE/tests/lib.sh"
needs jq mkfifo
dormant=$targets/dormant

# What must be in a report: only what was allocated in between, and nothing of it lost for being held by what was not.
spans() {
	fact "$1" "$1: before" 'sites("leak_before") == [] and sites("holder") == []'
	fact "$1" "$1: in between" 'holds("leak_during"; 10; 1000) and all(sites("leak_during")[]; .kind == "definite")'
	fact "$1" "$1: after" 'sites("leak_after") == [] and sites("leak_child") == []'
	fact "$1" "$1: held by a block that is not recorded" 'holds("held"; 4; 800) and all(sites("held")[]; .kind == "reachable")'
	fact "$1" "$1: freed or moved since" 'sites("freed") + sites("moved") + sites("shrunk") == []'
	fact "$1" "$1: frees" 'all(.processes[]; .unknown_frees == 0)'
	fact "$1" "$1: nothing else" '.totals.definite == {bytes: 1000, blocks: 10} and .totals.possible.blocks == 0'
	fact "$1" "$1: recorded in part" 'one("master") | .recorded > 0 and .recorded < .end - .start'
	fact "$1" "$1: when" 'one("master") | .recorded as $recorded | .recorded_spans | length == 1 and close_to(.[0].to - .[0].from; $recorded; 0.1)'
	fact "$1" "$1: the child never" 'one("fork") | .recorded == 0 and .recorded_spans == [] and .classified'
	fact "$1" "$1: what the child holds" 'one("fork") | .inherited_freed_blocks == 1 and .inherited_freed_bytes == 200'
}

options=active=0
run trace api "$dormant" itself
same "by itself: status" 0 "$status"
judged api
spans api

mkfifo "$work/fifo"
(
	export LD_PRELOAD="$lib" LEAKTRACE_OPTIONS="dir=$work/command:active=0"
	exec "$dormant"
) <"$work/fifo" >"$work/command.out" 2>"$work/command.err" &
pid=$!
exec 9>"$work/fifo"
holds "command: starts" until_true says "$work/command.out" before
holds "command: start" "$tool" start "$pid"
echo >&9
holds "command: is on" until_true says "$work/command.out" during
holds "command: stop" "$tool" stop "$pid"
echo >&9
holds "command: is off" until_true says "$work/command.out" after
exec 9>&-
status=0
wait "$pid" || status=$?
same "command: status" 0 "$status"
same "command: messages" "" "$(cat "$work/command.err")"
judged command
spans command
"$tool" report "$work/command" >"$work/text"
holds "text: in part" grep -q "^Recorded in part: 1 process, for [0-9.]* s in 1 span; " "$work/text"
holds "text: never" grep -q "^Never recorded: 1 process$" "$work/text"

# All the time: nothing is said.
options=
run trace whole "$dormant" <<EOF


EOF
same "whole: status" 0 "$status"
judged whole
fact whole "whole: all" 'holds("leak_before"; 10; 1000) and holds("leak_after"; 10; 1000) and all(.processes[]; .recorded == null and .recorded_spans == null)'

# Never on: no block, no leak, and it says so.
options=active=0
run trace never "$dormant" </dev/null
same "never: status" 0 "$status"
judged never
fact never "never: nothing" '.sites == [] and all(.processes[]; .recorded == 0)'

refused() {
	refused_what=$1
	refused_text=$2
	shift 2
	for refused_command in start stop; do
		run "$tool" $refused_command "$@"
		same "$refused_command, $refused_what: status" 2 "$status"
		holds "$refused_command, $refused_what: says so" grep -q "$refused_text" "$work/err"
		same "$refused_command, $refused_what: output" "" "$(cat "$work/out")"
	done
}
refused "no PID" "one PID is wanted"
refused "PID 0" "is no PID" 0
refused "empty" "is no PID" ""
refused "not traced" "is not traced" $$
refused "gone" "there is no such process" "$pid"

# Those that can't be called: another user's, one whose first thread has ended, a stopped one.
hold() { # usage: hold NAME COMMAND...: in $pid, until its stdin ends
	hold_name=$1
	shift
	rm -f "$work/fifo"
	mkfifo "$work/fifo"
	(
		export LD_PRELOAD="$lib" LEAKTRACE_OPTIONS="dir=$work/$hold_name"
		exec "$@"
	) <"$work/fifo" >"$work/$hold_name.out" 2>/dev/null &
	pid=$!
	exec 9>"$work/fifo"
}
let_go() {
	exec 9>&-
	wait "$pid" || :
}
hold gone "$targets/switching" gone
holds "first thread gone: gone" until_true grep -q '^State:.*zombie' "/proc/$pid/status"
refused "first thread gone" "its main thread has ended" "$pid"
let_go

hold held "$dormant"
holds "held: starts" until_true says "$work/held.out" before
kill -STOP "$pid"
holds "stopped: stopped" until_true grep -q '^State:.*stopped' "/proc/$pid/status"
refused "stopped" "does not come to run" "$pid"
kill -CONT "$pid"
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null && setpriv --reuid=65534 --regid=65534 --clear-groups "$tool" --help >/dev/null 2>&1; then
	own_tool=$tool
	printf '#!/bin/sh\nexec setpriv --reuid=65534 --regid=65534 --clear-groups "%s" "$@"\n' "$own_tool" >"$work/as-nobody"
	chmod 755 "$work/as-nobody"
	tool=$work/as-nobody
	refused "another user's" "may not be looked into" "$pid"
	tool=$own_tool
fi
holds "held: can be called all the same" "$tool" start "$pid"
let_go

finish
