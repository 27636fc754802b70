#!/bin/sh
# SPDX-License-Identifier: MIT
# R workers that start dormant (active=0) and are switched on and off from outside, idle in select() and in the middle of a task: just
# what they leak in between is in the report, with its kind. usage: dormant.sh psock|fork
. "$LT_SOURCE/tests/lib.sh"
needs Rscript jq mkfifo
Rscript --vanilla -e 'quit(status = !requireNamespace("parallel", quietly = TRUE))' || skip "no R package parallel"
backend=$1

mkfifo "$work/fifo"
(
	export LD_PRELOAD="$lib" LEAKTRACE_OPTIONS="dir=$work/d:active=0"
	exec Rscript "$LT_SOURCE/tests/r/dormant.R" "$backend" "$work/flag"
) <"$work/fifo" >"$work/out" 2>"$work/err" &
job=$!
exec 9>"$work/fifo"
begin() { echo >&9; }
over() { holds "phase $1" until_true says "$work/err" "^$1"; }

over pids
first=$(awk '$1 == "pids" { print $2 }' "$work/err")
second=$(awk '$1 == "pids" { print $3 }' "$work/err")
begin
over before
holds "start, idle" "$tool" start "$first"
begin
over during
holds "stop, idle" "$tool" stop "$first"
begin
over after
begin
holds "the second computes" until_true [ -e "$work/flag.on" ]
holds "start, computing" "$tool" start "$second"
sleep 0.5
holds "stop, computing" "$tool" stop "$second"
touch "$work/flag.off"
over busy
polls=$(awk '$1 == "busy" { print $2 }' "$work/err")
begin
exec 9>&-
status=0
wait "$job" || status=$?
same "status" 0 "$status"
same "messages" 0 "$(grep -c -v -E '^(pids|before|during|after|busy) ' "$work/err")"
judged d
jq_functions="$jq_functions"'
	def leaks_of($name): [.sites[] | select(.function == "R_PollAsyncRd" and .r[0].call == "poll_" + $name)];
	def of($pid): .processes[] | select(.pid == $pid);
	def lost: [.sites[] | select(.kind != "reachable")];
'

fact d "three processes, all classified" '(.processes | length == 3) and all(.processes[]; .classified)'
fact d "none before or after" 'leaks_of("before") + leaks_of("after") == []'
fact d "during: 20 tasks of the first" "leaks_of(\"during\") | (map(.blocks) | add) == 20 and (map(.bytes) | add) == 20480
	and all(.[]; .processes | length == 1)"
fact d "during: in the first" "of($first).id as \$id | leaks_of(\"during\") | all(.processes[0].id == \$id)"
# Stale words may hide some: what was not recorded has more of them, freed chunks too.
fact d "during: definite" '[leaks_of("during")[] | select(.kind == "definite") | .blocks] | add | . >= 17'
fact d "busy: some of all $polls, in the second" "of($second).id as \$id | leaks_of(\"busy\")
	| (map(.blocks) | add) as \$n | \$n > 0 and \$n < $polls and all(.processes[0].id == \$id)"
fact d "busy: definite but for stale words" '[leaks_of("busy")[].blocks] as $all | [leaks_of("busy")[] | select(.kind == "definite") | .blocks] as $definite
	| ($all | add) - ($definite | add) <= 5 + 0.02 * ($all | add)'
fact d "nothing else is lost" 'lost - leaks_of("during") - leaks_of("busy") == []'
fact d "frees" 'all(.processes[]; .unknown_frees == 0 and .dropped == 0)'
fact d "recorded for one span each" "[of($first), of($second)] | all((.recorded_spans | length == 1) and .recorded > 0 and .recorded < .end - .start)"
fact d "the second for half a second" "of($second).recorded_spans[0] | .to - .from | . >= 0.4 and . < 10"
fact d "the master never" 'one("master") | .recorded == 0 and .recorded_spans == [] and .live_blocks == 0'
fact d "R calls" "leaks_of(\"during\") | all(.r | length > 3)"

finish
