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
flat four-threads 1000000 4

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

finish
