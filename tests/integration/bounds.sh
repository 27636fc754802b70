#!/bin/sh
# SPDX-License-Identifier: MIT
# The tracer's own memory and its dumps: what the report says of them is so, and both have bounds.
. "$LT_SOURCE/tests/lib.sh"
needs jq awk
many=$targets/manystacks

# usage: value FILE OPERATION NAME: of the line that begins with OPERATION, or the last one
value() { awk -v at="$2" -v name="$3" '$1 == at || at == "last" { for (i = 2; i < NF; i++) if ($i == name) v = $(i + 1) } END { print v }' "$1"; }
between() { [ "$1" -le "$2" ] && [ "$2" -le "$3" ]; }

# What is counted is what the process has more than without the preload; the rest is the data of libraries (ours, libunwind's).
"$many" 200000 1000 200000 1 >"$work/untraced"
run trace real "$many" 200000 1000 200000 1
same "real: status" 0 "$status"
counted=$(value "$work/out" last memory)
more=$(($(value "$work/out" last anonymous) - $(value "$work/untraced" last anonymous)))
holds "real: $counted bytes counted, there are $more more" between $((counted - 65536)) $more $((counted + 3145728))
holds "real: of these some for the blocks" [ "$counted" -gt $((200000 * 16)) ]
same "real: the file" "$(value "$work/out" last file)" "$(value "$work/out" last dump)"

# The report has the same, and what is left of the file at the end.
judged real
fact real "real: memory" "one(\"master\") | .tracer_peak_bytes >= .tracer_bytes and .tracer_bytes >= $counted and .tracer_bytes < $counted + 1000000"
fact real "real: the file at the end" "one(\"master\").dump_bytes == $(cat "$work"/real/*.ltd | wc -c)"
fact real "real: the classifier" 'one("master").verdict.classifier_bytes > 200000 * 32'
"$tool" report "$work/real" >"$work/text"
holds "real: text" grep -q '^Leaktrace itself: [0-9.]* MiB of memory, [0-9.]* MiB in 1 dump$' "$work/text"
"$tool" merge -o "$work/merged.ltd" "$work/real"
report merged.ltd
fact merged.ltd "merged: kept" "[.processes[0] | .tracer_bytes, .tracer_peak_bytes, .dump_bytes] == $(jq -c '[.processes[0] | .tracer_bytes, .tracer_peak_bytes, .dump_bytes]' "$work/real.json")"

# Of a process that was killed, too.
(
	export LD_PRELOAD="$lib" LEAKTRACE_OPTIONS="dir=$work/killed"
	exec "$many" 100000000 100 1000 1
) >"$work/killed.out" &
pid=$!
holds "killed: runs" until_true says "$work/killed.out" memory
kill -9 "$pid"
wait "$pid" 2>/dev/null || :
report killed
fact killed "killed: memory" 'all(.processes[]; .tracer_bytes > 0 and .tracer_peak_bytes >= .tracer_bytes and .dump_bytes > 0)'

# Once all stacks are known nothing grows: neither the file nor, but for the table of live blocks, which breathes, the memory.
flat() { # usage: flat NAME OPERATIONS THREADS
	run trace "$1" "$many" "$2" 10000 20000 "$3"
	same "$1: status" 0 "$status"
	warm=$(value "$work/out" $(($2 / 5)) memory)
	peak=$(value "$work/out" last peak)
	holds "$1: memory $warm, then at most $peak" between 1 "$peak" $((warm + warm / 20))
	same "$1: file" "$(value "$work/out" $(($2 / 5)) file)" "$(value "$work/out" last file)"
	same "$1: dropped" 0 "$(value "$work/out" last dropped)"
}
flat one-thread 2000000 1
flat four-threads 500000 4

# A new stack each time: the file stops at max_size, and so do the tables beside it.
options=max_size=2m
run trace full "$many" 1000000 0 1000 1
options=
same "full: status" 0 "$status"
same "full: says so once" 1 "$(tracer_lines)"
holds "full: file" between 1 "$(value "$work/out" last file)" 2097152
at_10=$(value "$work/out" 100000 memory)
holds "full: $at_10 bytes of memory, then $(value "$work/out" last memory)" between 1 "$(value "$work/out" last memory)" "$at_10"
holds "full: dropped" between 900000 "$(value "$work/out" last dropped)" 1000000
report full
fact full "full: dropped is in the report" "one(\"master\").dropped == $(value "$work/out" last dropped)"
"$tool" report "$work/full" >"$work/text"
holds "full: text" grep -q '^Missing: 1 dump reached max_size' "$work/text"
holds "full: text, dropped" grep -q '^Missing: [0-9,]* allocations that could not be recorded$' "$work/text"

# No file beyond: dumps, nor snapshots.
keeps_to() { # usage: keeps_to NAME BYTES
	for file in "$work/$1"/*.lt?; do
		holds "$1: ${file##*.} keeps to $2" [ "$(wc -c <"$file")" -le "$2" ]
	done
}
keeps_to full 2097152

# What was recorded before is judged, though the dump has no room for it.
options=max_size=1m
run trace no-room "$many" 60000 0 60000 1
options=
judged no-room
keeps_to no-room 1048576
fact no-room "no room: judged" 'one("master") | .classified and .dropped_blocks == 0 and .live_blocks > 1000 and .dropped > 50000'
fact no-room "no room: kinds" '.totals.unknown.blocks == 0 and .totals.reachable.blocks == one("master").live_blocks'

# Room for one list of blocks and not for two: it is the verdict's. Room for none: what fits, in a file of its own.
for room in 6 3; do
	options=max_size=${room}m
	run trace "list-$room" "$many" 200000 1000 100000 1
	options=
	same "list-$room: status" 0 "$status"
	judged "list-$room"
	keeps_to "list-$room" $((room * 1048576))
	"$tool" report --blocks --format=csv "$work/list-$room" 2>/dev/null >"$work/rows"
	rows=$(($(wc -l <"$work/rows") - 1))
	fact "list-$room" "list-$room: $rows rows, and the others are missing" "one(\"master\") | .classified and .live_blocks - .dropped_blocks == $rows"
	fact "list-$room" "list-$room: those have kinds" ".totals.reachable.blocks == $rows and .totals.unknown.blocks == one(\"master\").dropped_blocks"
	rm -f "$work/merged.ltd"
	"$tool" merge -o "$work/merged.ltd" "$work/list-$room"
	report merged.ltd
	same "list-$room: merged" "$(jq -cS '.totals, .processes[0].dropped_blocks' "$work/list-$room.json")" \
		"$(jq -cS '.totals, .processes[0].dropped_blocks' "$work/merged.ltd.json")"
done
fact list-6 "list-6: all" 'one("master").dropped_blocks == 0'
fact list-3 "list-3: most" 'one("master").dropped_blocks | . > 0 and . < 20000'
same "list-6: one file" 1 "$(find "$work/list-6" -name '*.lt?' | wc -l)"

finish
