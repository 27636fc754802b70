#!/bin/sh
# SPDX-License-Identifier: MIT
# For how long a program with 1 million blocks of 1000 bytes stands still for a verdict, as it sees it itself: `leaktrace snapshot`,
# LeakSanitizer's check, Valgrind's by vgdb (these two where they are there). Medians of 5 (Valgrind: 2), in milliseconds; of the
# gaps in between, without a check, too. usage: snapshot.sh [BLOCKS [SIZE]]
. "$LT_SOURCE/tests/lib.sh"
blocks=${1:-1000000} size=${2:-1000}
program=$LT_BUILD/tests/bench/bigheap

# One line of the program's: $line.
tell() { kill -USR1 "$pid"; read -r _ line <&3; }
median() { sort -n | awk '{ v[NR] = $1 } END { printf "%.1f", (NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2) / 1000 }'; }

# usage: measure NAME TIMES CHECK COMMAND...; CHECK is run with $pid set
measure() {
	name=$1 times=$2 check=$3
	shift 3
	rm -f "$work/fifo"
	mkfifo "$work/fifo"
	"$@" "$blocks" "$size" >"$work/fifo" 2>/dev/null &
	pid=$!
	exec 3<"$work/fifo"
	read -r line <&3
	sleep 1
	tell
	: >"$work/idle"
	: >"$work/gaps"
	while [ "$times" -gt 0 ]; do
		times=$((times - 1))
		sleep 0.3
		tell
		echo "$line" >>"$work/idle"
		$check >>"$work/said" 2>&1
		tell
		echo "$line" >>"$work/gaps"
		sleep 0.7
	done
	kill -TERM "$pid"
	wait "$pid" 2>/dev/null || :
	exec 3<&-
	gap=$(median <"$work/gaps")
	printf '%-14s %8s ms (without a check %s ms)\n' "$name" "$gap" "$(median <"$work/idle")"
}

by_leaktrace() { "$tool" snapshot "$pid"; }
by_lsan() { kill -USR2 "$pid"; sleep 0.1; }
by_valgrind() { vgdb --pid="$pid" leak_check summary; }

export LEAKTRACE_OPTIONS="dir=$work/d"
measure leaktrace 5 by_leaktrace env LD_PRELOAD="$lib" "$program"
ours=$gap
holds "a snapshot each" [ "$(find "$work/d" -name '*.lts' | wc -l)" -eq 5 ]
sed -n 's/^The process stood still for \(.*\) ms; the verdict took \(.*\) ms.*/  fork \1 ms, verdict \2 ms/p' "$work/said"
unset LEAKTRACE_OPTIONS
if [ -x "$program-lsan" ]; then
	measure LeakSanitizer 5 by_lsan "$program-lsan"
	awk -v a="$gap" -v b="$ours" 'BEGIN { printf "ratio to leaktrace %.1f\n", a / b }'
fi
if command -v vgdb >/dev/null; then
	measure Valgrind 2 by_valgrind valgrind -q "$program"
	awk -v a="$gap" -v b="$ours" 'BEGIN { printf "ratio to leaktrace %.1f\n", a / b }'
fi
finish
