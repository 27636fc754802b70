#!/bin/sh
# SPDX-License-Identifier: MIT
# The classifier: what it says of targets/snapshots at each end and at snapshots from inside and outside, that the program does
# not notice,
# and what is said where there can be none. No process of it is left.
. "$LT_SOURCE/tests/lib.sh"
needs jq timeout mkfifo
ulimit -c 0
snapshots=$targets/snapshots

# ------------------------------------------------------------------ every way to end, and snapshots from inside

# usage: mode STATUS END_KIND END_CODE MODE [NUMBER]; the session is named MODE
mode() {
	mode_status=$1 mode_kind=$2 mode_code=$3
	shift 3
	run timeout 100 "$snapshots" "$@"
	same "$1: status without preload" "$mode_status" "$status"
	mv "$work/out" "$work/native.out"
	mv "$work/err" "$work/native.err"
	run trace "$1" "$snapshots" "$@"
	same "$1: status" "$mode_status" "$status"
	holds "$1: output" cmp -s "$work/native.out" "$work/out"
	holds "$1: messages" cmp -s "$work/native.err" "$work/err"
	judged "$1"
	fact "$1" "$1: classified" 'all(.processes[]; .classified)'
	fact "$1" "$1: end" "by_image[0] | .end_kind == \"$mode_kind\" and .end_code == $mode_code"
	fact "$1" "$1: leak()" 'holds("leak"; 3; 300) and all(sites("leak")[]; .kind == "definite")'
	fact "$1" "$1: nothing else" '.totals | .definite == {bytes: 300, blocks: 3} and
		([.indirect, .possible, .unknown] | all(.blocks == 0))'
}

mode 0 exit 0 unseen
fact unseen "unseen: the table" 'blocks("fill") == 200001 and all(sites("fill")[]; .kind == "reachable")'
mode 143 signal 15 group
fact group "group: the table" 'blocks("fill") == 200001 and all(sites("fill")[]; .kind == "reachable")'
mode 0 exit 0 many
same "many: snapshots" 20 "$(find "$work/many" -name '*.lts' | wc -l)"
mode 0 exit 0 signals
[ "$(uname -m)" != x86_64 ] || {
	mode 0 exit 0 threads
	fact threads "threads: what they hold" 'holds("held"; 4; 800) and all(sites("held")[]; .kind == "reachable")'
}
mode 0 exit 0 files
[ "$(uname -m)" != x86_64 ] ||
	fact files "files: what the thread holds" 'holds("held"; 1; 200) and all(sites("held")[]; .kind == "reachable")'
run "$snapshots" unheld
if [ "$status" -eq 0 ] && [ "$(uname -m)" = x86_64 ]; then
	mode 0 exit 0 unheld
	fact unheld "unheld: what the thread holds" 'holds("held"; 1; 200) and all(sites("held")[]; .kind == "reachable")'
	fact unheld "unheld: it is said" '.processes[0].verdict.note | test("could not be stopped: 1$")'
fi
mode 3 exit 3 exit 3
mode 4 _exit 4 _exit 4
mode 5 _exit 5 quick_exit 5
mode 134 signal 6 abort
mode 139 signal 11 segv
mode 0 exec null exec
fact exec "exec: the successor" 'by_image[1] | ended("exit"; 0)'

# A victim of SIGKILL is asked for its verdict first, if it can answer; how it ends stays the same.
run timeout 100 "$snapshots" kills
same "kills: status without preload" 0 "$status"
mv "$work/out" "$work/native.out"
run trace kills "$snapshots" kills
same "kills: status" 0 "$status"
holds "kills: output" cmp "$work/native.out" "$work/out"
report kills
fact kills "kills: who could answer" 'process("fork") | map([.end_kind, .end_code, .classified, .verdict.trigger]) |
	length == 6 and map(select(.[2])) == [["signal", 9, true, "kill"]]'

# The snapshot by itself, too: a signal to the program's group has not hit its classifier.
for label in unseen group; do
	status=0
	"$tool" report --format=json "$work/$label"/*.lts >"$work/alone.json" 2>"$work/alone.err" || status=$?
	same "$label: report on its snapshot" 0 "$status"
	fact alone "$label: its snapshot" 'holds("leak"; 3; 300) and sites("leak")[0].kind == "definite" and
		(.processes[0] | .classified and .verdict.label == "'$label'")'
done

# Nor while it has not left the group yet.
for round in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
	run trace groups "$snapshots" group 1
	same "group: status in round $round" 143 "$status"
done
all_judged() {
	"$tool" report --format=json "$work"/groups/*.lts >"$work/alone.json" 2>"$work/alone.err" &&
		jq -e 'all(.processes[]; .classified)' "$work/alone.json" >/dev/null
}
until_true all_judged || true
fact alone "group: each snapshot is judged" '.processes | all(.classified)'
# Known: beside other tests now and then one is missing; not found out yet why.
fact alone "group: snapshots" '.processes | length > 26 and length <= 30'

# ------------------------------------------------------------------ snapshots from outside

# Starts a mode whose stdin is descriptor 9, and waits for its "ready"; its PID is in $pid.
# usage: start DIR MODE
start() {
	start_dir=$work/$1
	rm -f "$work/fifo"
	mkfifo "$work/fifo"
	(
		export LD_PRELOAD="$lib" LEAKTRACE_OPTIONS="dir=$start_dir${options:+:$options}"
		exec "$snapshots" "$2"
	) <"$work/fifo" >"$work/$1.out" 2>"$work/$1.err" &
	pid=$!
	exec 9>"$work/fifo"
	holds "$1: starts" until_true says "$work/$1.out" ready
}

# Lets the program end: a byte, then the end of its input. Its status must be 0. usage: stop DIR TEXT OUTPUT
stop() {
	echo . >&9
	exec 9>&-
	status=0
	wait "$pid" || status=$?
	same "$2: status" 0 "$status"
	same "$2: output" "$3" "$(cat "$work/$1.out")"
	same "$2: messages" "" "$(cat "$work/$1.err")"
}

# usage: snapshot ARGUMENT...; status in $status, output in $work/out and $work/err, the file in $file
snapshot() {
	run timeout 60 "$tool" snapshot "$@"
	file=$(head -n 1 "$work/out")
}

alone() {
	status=0
	"$tool" report --format=json "$1" >"$work/alone.json" 2>"$work/alone.err" || status=$?
	same "$2: report" 0 "$status"
}

# usage: refused TEXT MESSAGE ARGUMENT...
refused() {
	refused_text=$1 refused_message=$2
	shift 2
	snapshot "$@"
	same "$refused_text: status" 2 "$status"
	holds "$refused_text: says '$refused_message'" says "$work/err" "$refused_message"
	same "$refused_text: output" "" "$(cat "$work/out")"
}

can_attach=
if [ "$(uname -m)" = x86_64 ]; then
	[ "$(id -u)" -ne 0 ] && ! says /proc/sys/kernel/yama/ptrace_scope '^0' && [ -e /proc/sys/kernel/yama/ptrace_scope ] || can_attach=1
fi
if [ "$can_attach" ]; then
	start wait wait
	snapshot --label one "$pid"
	same "wait: status of snapshot" 0 "$status"
	first=$file
	alone "$first" "wait: the first"
	fact alone "wait: the first" 'holds("leak"; 3; 300) and sites("leak")[0].kind == "definite" and
		(.processes[0] | .verdict.label == "one" and .verdict.trigger == "command" and .end_kind == "running")'
	snapshot "$pid"
	same "wait: status of the second" 0 "$status"
	holds "wait: two files" [ "$first" != "$file" ]
	run timeout 60 "$tool" diff --format=json "$first" "$file"
	same "wait: status of diff" 0 "$status"
	holds "wait: no difference" [ "$(jq -c .sites "$work/out")" = "[]" ]
	stop wait wait "$(printf 'ready\ngo on: 1')"
	judged wait
	fact wait "wait: at its end" 'one("master") | .classified and .verdict.trigger == "end"'

	start steps steps
	snapshot "$pid"
	first=$file
	echo x >&9 # and a newline: two bytes
	leaked_twice() {
		[ "$(grep -c leaked "$work/steps.out")" -eq 2 ]
	}
	holds "steps: leaks" until_true leaked_twice
	snapshot "$pid"
	run timeout 60 "$tool" diff --format=json "$first" "$file"
	same "steps: status of diff" 0 "$status"
	checks=$((checks + 1))
	jq -e '.sites | map(select(.function == "leak")) | length >= 1 and (map(.b.blocks - .a.blocks) | add) == 6 and
		all(.[]; .kind_b == "definite")' "$work/out" >/dev/null || {
		bad "steps: what leaked between two snapshots"
		jq -c '.sites[] | [.state, .function, .kind_b, .a, .b]' "$work/out"
	}
	exec 9>&-
	status=0
	wait "$pid" || status=$?
	same "steps: status" 0 "$status"

	start busy busy
	for label in one two three; do
		snapshot "$pid"
		same "busy: status of snapshot $label" 0 "$status"
		alone "$file" "busy: $label"
		fact alone "busy: snapshot $label" 'holds("leak"; 3; 300) and sites("leak")[0].kind == "definite" and
			all(sites("churn")[]; .kind == "reachable")'
	done
	# Two at once: each gets its answer.
	timeout 60 "$tool" snapshot "$pid" >"$work/a.out" 2>&1 9>&- &
	second=$!
	snapshot "$pid"
	other=0
	wait "$second" || other=$?
	holds "busy: one of two commands at once succeeds ($status, $other)" [ "$status" -eq 0 -o "$other" -eq 0 ]
	stop busy busy "$(printf 'ready\ngo on: 1')"

	start stopped wait
	kill -STOP "$pid"
	refused "a stopped process" "does not come to run" "$pid"
	kill -CONT "$pid"
	snapshot "$pid"
	same "once it goes on: status" 0 "$status"
	stop stopped stopped "$(printf 'ready\ngo on: 1')"

	options=verdict=off
	start off-wait wait
	refused "verdict=off" "verdict=off" "$pid"
	stop off-wait verdict=off "$(printf 'ready\ngo on: 1')"
	options=
else
	echo "left out: snapshots from outside"
fi

sleep 300 &
pid=$!
refused "not traced" "process $pid is not traced" "$pid"
kill "$pid"
wait "$pid" || :
refused "no such process" "process $pid .*no such process" "$pid"
refused "no PID" "one PID is wanted"
refused "not a number" "is no PID" x
refused "PID 0" "is no PID" 0
refused "two PIDs" "one PID is wanted" 1 2

# ------------------------------------------------------------------ a container

# When its process 1 ends, all others are killed, classifiers too.
if unshare -pf --mount-proc true 2>/dev/null; then
	run timeout 100 unshare -pf --mount-proc env LD_PRELOAD="$lib" LEAKTRACE_OPTIONS="dir=$work/container" \
		sh -c "\"$snapshots\" fill 300000; exit 3"
	same "container: status" 3 "$status"
	report container
	fact container "container: its process 1 waits" 'all(.processes[]; .classified) and holds("leak"; 3; 300) and
		blocks("fill") == 300001 and all(sites("leak")[]; .kind == "definite")'
else
	echo "left out: a container"
fi

# ------------------------------------------------------------------ no verdict

# usage: unjudged DIR TEXT [FILTER of the verdict]
unjudged() {
	report "$1"
	fact "$1" "$2: kinds" '[.totals.definite, .totals.indirect, .totals.possible, .totals.reachable] | all(.blocks == 0)'
	fact "$1" "$2: blocks" 'holds("leak"; 3; 300) and all(.sites[]; .kind == "unknown")'
	fact "$1" "$2: the process" "one(\"master\") | (.classified | not) and (.verdict | ${3:-. == null})"
	run "$tool" report "$work/$1"
	same "$2: status of the text" 0 "$status"
}

options=verdict=off
run trace off "$snapshots" exit 7
options=
same "verdict=off: status" 7 "$status"
same "verdict=off: messages" "" "$(cat "$work/err")"
unjudged off verdict=off

# No process more for this user. Root has no such limit.
chmod 711 "$work"
cp "$lib" "$snapshots" "$work"
mkdir "$work/nproc"
user=
if [ "$(id -u)" -eq 0 ]; then
	user="setpriv --reuid=64321 --regid=64321 --clear-groups"
	chown 64321:64321 "$work/nproc"
fi
# $user is several words.
# shellcheck disable=SC2086
command -v prlimit >/dev/null && run prlimit --nproc=1 $user "$work/snapshots" exit 7 || status=127
if [ "$status" -eq 7 ]; then
	status=0
	# shellcheck disable=SC2086
	prlimit --nproc=1 $user env LD_PRELOAD="$work/${lib##*/}" LEAKTRACE_OPTIONS="dir=$work/nproc/session" "$work/snapshots" exit 7 \
		>"$work/out" 2>"$work/err" || status=$?
	same "no process more: status" 7 "$status"
	same "no process more: messages" "" "$(cat "$work/err")"
	rm -rf "$work/nproc-session"
	cp -r "$work/nproc/session" "$work/nproc-session"
	report nproc-session
	fact nproc-session "no process more: blocks" 'holds("leak"; 3; 300) and all(sites("leak")[]; .kind == "unknown")'
	fact nproc-session "no process more: why" 'by_image[-1] | (.classified | not) and .verdict.state == "failed" and
		(.verdict.note | test("limit of processes"))'
	run "$tool" report "$work/nproc-session"
	holds "no process more: the text says why" says "$work/out" "Missing: verdict.*limit of processes"
else
	echo "left out: no process more"
fi

# Classifiers of this test, by name and by what they map.
classifiers() {
	for process in $(grep -l '^leaktrace$' /proc/[0-9]*/comm 2>/dev/null); do
		grep -q "$work" "${process%/comm}/maps" 2>/dev/null || continue
		process=${process%/comm}
		echo "${process#/proc/}"
	done
}

# With more and more blocks, until the classifier is slow enough to be caught.
caught=
for blocks in 1000000 3000000 9000000; do
	rm -rf "$work/killed"
	trace killed "$snapshots" fill $blocks >"$work/out" 2>"$work/err" &
	pid=$!
	until classifier=$(classifiers) && [ "$classifier" ] || ! kill -0 "$pid" 2>/dev/null; do
		sleep 0.01
	done
	# shellcheck disable=SC2086
	[ -z "$classifier" ] || kill -KILL $classifier 2>/dev/null || :
	status=0
	wait "$pid" || status=$?
	same "killed classifier: status of the program" 0 "$status"
	same "killed classifier: messages" "" "$(cat "$work/err")"
	report killed
	if jq -e 'all(.processes[]; .classified | not)' "$work/killed.json" >/dev/null; then
		caught=1
		break
	fi
done
if [ "$caught" ]; then
	unjudged killed "killed classifier" '.state == "running"'
	holds "killed classifier: the text says so" says "$work/out" "Missing: verdict.*its classifier was killed"
else
	bad "no classifier could be killed"
fi

# ------------------------------------------------------------------ nothing is left

none_left() {
	[ -z "$(classifiers)" ]
}
holds "no classifier is left" until_true none_left

# Dead ones go to init (or a subreaper), which reaps them now or some seconds later, unless it is a program that never does.
zombies() {
	for process in $(grep -l '^leaktrace$' /proc/[0-9]*/comm 2>/dev/null); do
		! says "${process%/comm}/status" '^State:.Z' || echo "${process%/comm}"
	done
}
zombies >"$work/zombies"
orphan=$(sh -c 'sleep 0 >/dev/null & echo $!')
all_reaped() {
	while read -r process; do
		[ ! -e "$process" ] || return 1
	done <"$work/zombies"
}
if until_true [ ! -e "/proc/$orphan" ]; then
	holds "no zombie is left" until_true all_reaped
else
	echo "left out: init does not reap"
fi

finish
