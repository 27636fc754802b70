#!/bin/sh
# SPDX-License-Identifier: MIT
# Merging 1,000 dumps: sums are exact, order and grouping do not matter, memory does not grow with their number.
. "$LT_SOURCE/tests/lib.sh"
needs jq

clone=$targets/clone-dump
trace one "$targets/forks" many
dump=$(find "$work/one" -name '*.ltd' | sort | head -n 1)
"$tool" report --format=json "$dump" >"$work/single.json" # waits until it is classified
mkdir "$work/100" "$work/1000"
"$clone" clone "$dump" "$work/100" 0 100
"$clone" clone "$dump" "$work/1000" 0 1000

# usage: merge OUT SESSION...   its peak and time go to OUT.peak
merge() {
	merge_out=$work/$1.ltd
	shift
	status=0
	"$clone" peak "$merge_out.peak" "$tool" merge -o "$merge_out" "$@" 2>"$work/err" || status=$?
	same "merge: status" 0 "$status"
	same "merge: no message" "" "$(cat "$work/err")"
}
json() { "$tool" report --format=json "$1" >"$2"; }

merge 100 "$work/100"
merge 1000 "$work/1000"
read -r peak100 time100 <"$work/100.ltd.peak"
read -r peak1000 time1000 <"$work/1000.ltd.peak"
echo "merge of 100: $time100 ms, $peak100 KiB; of 1000: $time1000 ms, $peak1000 KiB"
holds "1000 dumps take less than 3 times the memory of 100: $peak1000, $peak100 KiB" [ "$peak1000" -lt $((3 * peak100)) ]

# 0 + 1 + … + 999 more blocks of 10 bytes than 1000 times the dump.
json "$work/1000.ltd" "$work/1000.json"
live='[([.sites[].blocks] | add), ([.sites[].bytes] | add), ([.sites[].allocations] | add), ([.processes[].live_blocks] | add)]'
same "sums" \
	"$(jq -c "$live | [.[0] * 1000 + 499500, .[1] * 1000 + 4995000, .[2] * 1000 + 499500, .[3] * 1000 + 499500]" "$work/single.json")" \
	"$(jq -c "$live" "$work/1000.json")"
fact 1000 "all processes" '(.processes | length) == 1000 and ([.processes[].id] | unique | length) == 1000'
fact 1000 "equal stacks are one site" "(.sites | length) == $(jq '.sites | length' "$work/single.json") + 7 + 8" # of 8 the new blocks are unknown
fact 1000 "one site has all processes' shares" '[.sites[] | .blocks == ([.processes[].blocks] | add) and .bytes == ([.processes[].bytes] | add)] | all'
json "$work/1000" "$work/direct.json"
holds "the same report as from the dumps" cmp -s "$work/direct.json" "$work/1000.json"

# Any order: the same file. Any grouping: the same report. usage: shuffled SEED
shuffled() {
	find "$work/1000" -name '*.ltd' | sort | awk -v seed="$1" 'BEGIN { srand(seed) } { print rand(), $0 }' | sort -n | cut -d' ' -f2-
}
for seed in 1 2 3; do
	# shellcheck disable=SC2046 # names without blanks
	merge shuffled $(shuffled $seed)
	holds "shuffled by $seed: the same file" cmp -s "$work/shuffled.ltd" "$work/1000.ltd"
done
for seed in 4 5; do
	# Groups of random sizes; then one by one onto the first, or all at once.
	shuffled $seed | awk -v seed="$seed" -v file="$work/group.$seed." 'BEGIN { srand(seed) } { print > (file int(6 * rand() * rand())) }'
	for group in 0 1 2 3 4 5; do
		# shellcheck disable=SC2046
		merge "part$group" $(cat "$work/group.$seed.$group")
	done
	merge together "$work/part3.ltd" "$work/part0.ltd" "$work/part5.ltd" "$work/part1.ltd" "$work/part4.ltd" "$work/part2.ltd"
	cp "$work/part0.ltd" "$work/chain.ltd"
	for group in 1 2 3 4 5; do merge chain "$work/chain.ltd" "$work/part$group.ltd"; done
	merge tree1 "$work/part5.ltd" "$work/part0.ltd"
	merge tree2 "$work/part2.ltd" "$work/part1.ltd" "$work/part3.ltd"
	merge tree "$work/tree2.ltd" "$work/part4.ltd" "$work/tree1.ltd"
	for way in together chain tree; do
		json "$work/$way.ltd" "$work/$way.json"
		holds "grouped by $seed, $way: the same report" cmp -s "$work/$way.json" "$work/1000.json"
	done
done
run "$tool" merge -o "$work/twice.ltd" "$work/1000.ltd" "$work/100.ltd"
json "$work/twice.ltd" "$work/twice.json"
holds "given twice: counted once" cmp -s "$work/twice.json" "$work/1000.json"

finish
