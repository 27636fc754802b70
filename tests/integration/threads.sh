#!/bin/sh
# SPDX-License-Identifier: MIT
# Threads that free one another's blocks, many of them, one after another and at once; where the kernel refuses membarrier();
# killed, or with a dump that is full: all counts are right.
. "$LT_SOURCE/tests/lib.sh"
kills=${1:-20}
options=verdict=off

# The last image of the program itself; timeout is one, too.
jq_functions=$jq_functions'
	def it: [.processes[] | select((.exe | endswith("/threads")) and .role != "fork")] | max_by(.image);
'

# usage: exchanged DIR: what the program printed is what the report says.
exchanged() {
	read -r allocations bytes blocks live <"$work/out"
	report "$1"
	fact "$1" "allocations" "it.allocations as \$all | sites(\"give\") | (map(.allocations) | add) == $allocations and \$all >= $allocations"
	fact "$1" "allocated bytes" "sites(\"give\") | (map(.allocated_bytes) | add) == $bytes"
	fact "$1" "what stays" "holds(\"give\"; $blocks; $live)"
	fact "$1" "stacks" '[sites("give")[] | .native | map(.offset)] | unique | length <= 16'
	fact "$1" "the process's own counts" 'it | .allocations - .frees == .live_blocks and .dropped == 0 and .unknown_frees == 0'
	fact "$1" "bytes" 'it.live_bytes as $live | ([.sites[].bytes] | add) == $live'
}

for threads in 2 8 64 120; do
	run trace "exchange-$threads" "$targets/threads" exchange $threads $((400000 / threads))
	same "$threads threads: status" 0 "$status"
	exchanged "exchange-$threads"
done

# The same allocations by hooks that look at each thing: what a thread's own hooks take for the stack is the stack.
options=verdict=off:check=100
run trace checked "$targets/threads" exchange 8 50000
options=verdict=off
same "checked: status" 0 "$status"
exchanged checked
fact checked "no stack is wrong" 'it | .checked_stacks > 1000 and .wrong_stacks == 0'
for dir in exchange-8 checked; do
	jq -c '[.sites[] | select(.function == "give") | {stack: [.native[:6][].offset], allocations}]
		| group_by(.stack) | map([.[0].stack, (map(.allocations) | add)])' "$work/$dir.json" >"$work/$dir.stacks"
done
same "16 stacks" 16 "$(jq length "$work/exchange-8.stacks")"
same "each as often" "$(cat "$work/checked.stacks")" "$(cat "$work/exchange-8.stacks")"

run trace refused "$targets/threads" refused exchange 8 50000
if [ "$status" -eq 77 ]; then
	echo "no seccomp here"
else
	same "refused: status" 0 "$status"
	exchanged refused
	run trace refused-later timeout -s KILL 120 "$targets/threads" refused-later 8 200000
	same "refused later: status" 0 "$status"
	report refused-later
	read -r allocations bytes blocks live <"$work/out"
	fact refused-later "allocations" "[sites(\"give\")[] | .allocations] | add == $allocations"
	fact refused-later "what stays" "holds(\"give\"; $blocks; $live)"
	fact refused-later "each child is there" 'holds("leak_in_child"; 20; 800) and owners("leak_in_child") == 20'
	fact refused-later "each child ended" '[process("fork")[] | select(ended("_exit"; 0))] | length == 20'
fi

run trace sequence timeout -s KILL 240 "$targets/threads" sequence 10000
same "one after another: status" 0 "$status"
report sequence
fact sequence "one after another: each left its block" 'holds("leak"; 10000; 240000)'
fact sequence "one after another: each freed one of main" 'blocks("lend") == 0 and it.frees >= 10000'
fact sequence "one after another: the process's own counts" 'it | .allocations - .frees == .live_blocks and .dropped == 0 and .unknown_frees == 0'
# Each of so many threads has a few records at most, and memory, of those that are there with it.
holds "one after another: a small dump" [ "$(du -sk "$work/sequence" | cut -f1)" -le 2048 ]

run trace start-and-end timeout -s KILL 240 "$targets/threads" start-and-end 60
same "threads that end beside forks: status" 0 "$status"
report start-and-end
fact start-and-end "threads that end beside forks: each child is there" 'holds("leak_in_child"; 60; 2400) and owners("leak_in_child") == 60'
fact start-and-end "threads that end beside forks: each child ended" '[process("fork")[] | select(ended("_exit"; 0))] | length == 60'
fact start-and-end "threads that end beside forks: nothing dropped" '[.processes[].dropped] | add == 0'

options=verdict=off:max_size=1m
run trace full "$targets/threads" many-stacks
same "full: status" 0 "$status"
report full
fact full "full: not all had room" 'it.dropped > 0'
fact full "full: some had, and another thread freed it" 'blocks("give") == 0 and it.frees > 1000'
fact full "full: the process's own counts" 'it | .allocations - .frees == .live_blocks'
options=verdict=off

# Killed at some moment: what was done is counted, and what was not begun is not.
i=0
while [ $i -lt "$kills" ]; do
	i=$((i + 1))
	rm -f "$work/counts"
	trace "kill-$i" timeout -s KILL "$(printf '0.%03d' $((100 + i * 97 % 248)))" \
		"$targets/threads" exchange-until-killed 8 "$work/counts" >"$work/out" 2>"$work/err" || :
	# shellcheck disable=SC2046
	set -- $(od -An -v -w32 -tu8 "$work/counts")
	report "kill-$i"
	fact "kill-$i" "killed: allocations" "[sites(\"give\")[] | .allocations] | add | . >= $2 and . <= $1"
	fact "kill-$i" "killed: frees" "[sites(\"give\")[] | .allocations - .blocks] | add | . >= $4 and . <= $3"
	rm -rf "${work:?}/kill-$i"
done

finish
