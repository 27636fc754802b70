#!/bin/sh
# SPDX-License-Identifier: MIT
# Recording is switched on and off while four threads allocate and free: nothing is missed that would look like a leak, and what
# is between start and stop is recorded, the rest not.
. "$LT_SOURCE/tests/lib.sh"
needs jq mkfifo
switching=$targets/switching
options=active=0

# Figures that hold whatever the threads did. spin() has freed all; its sites are not in the report then.
sound() {
	fact "$1" "$1: nothing of spin() is left" 'sites("spin") == []'
	fact "$1" "$1: allocations and frees" 'all(.processes[]; .allocations >= .frees and .live_blocks == .allocations - .frees)
		and ([.processes[].live_blocks] | add) == ([.sites[].blocks] | add // 0)'
	fact "$1" "$1: no free is unknown, no allocation is dropped" 'all(.processes[]; .unknown_frees == 0 and .dropped == 0 and .dropped_blocks == 0)'
	fact "$1" "$1: spans are in order" 'all(.processes[]; [.start, (.recorded_spans[] | .from, .to), .end] | . == sort)'
	fact "$1" "$1: spans add up" 'all(.processes[]; . as $p | [.recorded_spans[] | .to - .from] | add // 0 | close_to(.; $p.recorded; 0.5))'
}

# The first start is the one at which frees were not looked up before: many processes.
for round in $(seq 40); do
	run trace first "$switching" phases 1
	[ "$status" -eq 0 ] || bad "first, round $round: status $status"
done
judged first
sound first
fact first "first: what leaked in between" 'holds("leak_on"; 40; 4000) and sites("leak_off") == []'
fact first "first: spans" 'all(.processes[]; .recorded_spans | length == 1)'

run trace phases "$switching" phases 200
same "phases: status" 0 "$status"
judged phases
sound phases
fact phases "phases: what leaked in between" 'holds("leak_on"; 200; 20000) and sites("leak_off") == []
	and all(sites("leak_on")[]; .kind == "definite")'
fact phases "phases: spans" '.processes[0].recorded_spans | length == 200'
fact phases "phases: recorded" '.processes[0] | .allocations > 1000'

# Two threads at odds. Each stops last, so it is off.
for round in 1 2 3; do
	run trace "api-$round" "$switching" api 1000
	same "api: status" 0 "$status"
	judged "api-$round"
	sound "api-$round"
	fact "api-$round" "api: off at the end" 'sites("leak_off") == []'
	fact "api-$round" "api: spans" '.processes[0].recorded_spans | length > 0 and length <= 2000'
done

# From outside, at any instruction of a thread that allocates; and two commands at a time.
mkfifo "$work/fifo"
(
	export LD_PRELOAD="$lib" LEAKTRACE_OPTIONS="dir=$work/command:active=0"
	exec "$switching" command
) <"$work/fifo" >"$work/command.out" 2>"$work/command.err" &
pid=$!
exec 9>"$work/fifo"
holds "command: starts" until_true says "$work/command.out" spinning
for round in $(seq 50); do
	"$tool" start "$pid" || bad "command, round $round: start"
	"$tool" stop "$pid" || bad "command, round $round: stop"
done
for round in $(seq 20); do
	"$tool" start "$pid" &
	starting=$!
	"$tool" stop "$pid" || bad "command, round $round: stop beside a start"
	wait $starting || bad "command, round $round: start beside a stop"
done
holds "command: stop" "$tool" stop "$pid"
echo >&9
exec 9>&-
status=0
wait "$pid" || status=$?
same "command: status" 0 "$status"
same "command: messages" "" "$(cat "$work/command.err")"
judged command
sound command
fact command "command: spans" '.processes[0].recorded_spans | length >= 50 and length <= 70'

finish
