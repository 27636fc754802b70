#!/bin/sh
# SPDX-License-Identifier: MIT
# What `leaktrace diff` says of real programs: two versions of one in several builds, more processes, R before and after a fix.
. "$LT_SOURCE/tests/lib.sh"
needs jq

cd "$work"
# compare TEXT A B FILTER [OPTIONS]: FILTER, in jq's language, holds of the difference.
compare() {
	compare_text=$1 compare_a=$2 compare_b=$3 compare_filter=$4
	shift 4
	run "$tool" diff --format=json "$@" "$work/$compare_a" "$work/$compare_b"
	same "$compare_text: status" 0 "$status"
	checks=$((checks + 1))
	jq -e '
		def state(f): [.sites[] | select(.function == f) | .state] | join(" ");
		def states: [.sites[] | "\(.state) \(.function)"] | sort | join(", ");
		def row(f): [.sites[] | select(.function == f)] | if length == 1 then .[0] else error("not one row of " + f) end;
		.format == "leaktrace-diff" and .version == 1 and ('"$compare_filter"')' "$work/out" >"$work/fact" 2>&1 || {
		bad "$compare_text [$compare_filter]"
		jq -c '.totals, (.sites[:8][] | [.state, .function, .a, .b, .matched])' "$work/out" 2>&1 | head -n 12
		cat "$work/err"
	}
}

# Each build in a directory of its own, under one name. Without verdicts: a stale word on the stack would make a block reachable.
options=verdict=off
for build in 1-O0-g 2-O0 2-O2-g 2-O2; do
	mkdir "$work/$build"
	cp "$targets/rebuilt-$build" "$work/$build/rebuilt"
	trace "s-$build" "$work/$build/rebuilt"
done
trace again "$work/1-O0-g/rebuilt"
compare "two runs" s-1-O0-g again '.sites == [] and .totals.unchanged.sites == 3'
expected='states == "gone leak_old, grown leak_more, new leak_new" and .totals.unchanged.sites == 1 and
	(row("leak_more") | .a == {bytes: 400, blocks: 2} and .b == {bytes: 1000, blocks: 5}) and
	(row("leak_new") | .a == {bytes: 0, blocks: 0} and .b == {bytes: 1600, blocks: 4} and .kind_a == null) and
	row("leak_new").matched == null and
	(row("leak_old") | .a == {bytes: 300, blocks: 1} and .b == {bytes: 0, blocks: 0} and .kind_b == null)'
compare "moved lines" s-1-O0-g s-2-O0 "$expected and row(\"leak_more\").matched == \"stack\""
compare "optimised, inlined frames known" s-1-O0-g s-2-O2-g "$expected and row(\"leak_more\").matched == \"stack\""
compare "optimised, inlined frames unknown" s-1-O0-g s-2-O2 "$expected"
compare "the same the other way round" s-2-O2-g s-1-O0-g \
	'states == "gone leak_new, new leak_old, shrunk leak_more" and .sites[0].function == "leak_new"'

# Rebuilt in place: the first build and its names are gone.
mkdir "$work/place"
cp "$targets/rebuilt-1-O0-g" "$work/place/rebuilt"
trace before "$work/place/rebuilt"
rm "$work/place/rebuilt"
cp "$targets/rebuilt-2-O0" "$work/place/rebuilt"
trace after "$work/place/rebuilt"
compare "rebuilt in place" before after 'row("leak_more") | .state == "grown" and .matched == "shape"'
same "rebuilt in place: one message" 1 "$(grep -c 'was rebuilt' "$work/err")"
run "$tool" diff --fail-on new "$work/before" "$work/after"
same "rebuilt in place: what grew may be new" 1 "$status"

# A merged file is a session too.
"$tool" merge -o "$work/merged.ltd" "$work/s-2-O2-g"
compare "a merged file" s-1-O0-g merged.ltd "$expected"

# Findings: 1600 bytes are new, and 600 grown.
while read -r want fail_on; do
	run "$tool" diff --fail-on "$fail_on" --top 1 "$work/s-1-O0-g" "$work/s-2-O0"
	same "--fail-on $fail_on: status" "$want" "$status"
	same "--fail-on $fail_on: a line that names it" "$want" "$(grep -c '^leaktrace: finding: .*leak_' "$work/err" || :)"
done <<END
1 new
1 new:1599
0 new:1600
1 grown
1 grown:599
0 grown:600
1 new:1m,grown:599
0 new:1m,grown:1m
END
run "$tool" diff --fail-on new,grown "$work/s-1-O0-g" "$work/again"
same "--fail-on, two runs: status" 0 "$status"

# Formats agree, and --top, --min-bytes and --kind hold.
"$tool" diff "$work/s-1-O0-g" "$work/s-2-O0" >"$work/out"
holds "text: the new" grep -q 'new: +1,600 bytes, blocks 0 -> 4' "$work/out"
holds "text: the grown" grep -q 'grown: +600 bytes (400 -> 1,000), blocks 2 -> 5' "$work/out"
holds "text: the gone" grep -q 'gone: -300 bytes, blocks 1 -> 0' "$work/out"
"$tool" diff --format=csv "$work/s-1-O0-g" "$work/s-2-O0" >"$work/out"
same "csv: rows" 4 "$(wc -l <"$work/out")"
same "csv: columns" "1" "$(awk -F, '{ print NF }' "$work/out" | sort -u | wc -l)"
holds "csv: the new" grep -q '^new,.*,0,1600,0,4,0,1,.*,leak_new,' "$work/out"
compare "--top" s-1-O0-g s-2-O0 'states == "new leak_new"' --top=1
compare "--min-bytes" s-1-O0-g s-2-O0 'states == "grown leak_more, new leak_new"' --min-bytes=600
compare "--kind" s-1-O0-g s-2-O0 '.sites == []' --kind=suppressed

# More processes: the sums grow.
trace one "$targets/forks" fork
trace many "$targets/forks" many
compare "more processes" one many 'row("leak_child") | .state == "grown" and .a.blocks == 5 and .b.blocks == 50 and
	.processes_a == 1 and .processes_b == 10 and .same_in_each_process'

# Wrong usage: status 2, one line, nothing on stdout.
mkdir "$work/none"
echo "no dump" >"$work/broken.ltd"
while read -r wrong; do
	# shellcheck disable=SC2086 # a list of words
	run "$tool" diff $wrong
	same "diff $wrong: status" 2 "$status"
	holds "diff $wrong: a message" grep -q '^leaktrace' "$work/err"
	holds "diff $wrong: no result" [ ! -s "$work/out" ]
done <<END
$work/again
$work/again $work/again $work/again
$work/again $work/none
$work/no-such-session $work/again
$work/again $work/broken.ltd
--format=xml $work/again $work/again
--kind=lost $work/again $work/again
--top=0 $work/again $work/again
--min-bytes=1x $work/again $work/again
--fail-on=lost $work/again $work/again
--fail-on=new:x $work/again $work/again
END

if command -v Rscript >/dev/null; then
	options=scope=r
	for run in leaking leaking-again fixed:--fixed; do
		trace "${run%:*}" Rscript "$LT_SOURCE/examples/asyncrd/asyncrd.R" --backend=psock --workers=2 --tasks=20 \
			$(expr "$run" : '[^:]*:\(.*\)' || :) >/dev/null
	done
	# All that is compared are leaks; what start-up takes is reachable.
	small='([.sites[] | select(.function | IN("R_PollAsyncRd", "psock_worker_loop") | not) |
		(.b.bytes - .a.bytes) | fabs] | add // 0) == 0'
	compare "R, two runs" leaking leaking-again "$small and state(\"R_PollAsyncRd\") == \"\""
	compare "R, fixed" leaking fixed "$small"' and .sites[0].function == "R_PollAsyncRd" and
		(row("R_PollAsyncRd") | .state == "gone" and .a == {bytes: 20480, blocks: 20} and
		 .growth_per_task_a.bytes == 1024 and .r[0].call == "poll_async") and
		(row("psock_worker_loop") | .state == "gone" and .a == {bytes: 10240, blocks: 20} and
		 .growth_per_task_a.bytes == 512)'
	compare "R, R heap is a total" leaking fixed 'all(.sites[]; .r_heap | not) and .totals.r_heap.b.bytes > 1000000'
	compare "R, R heap by row" leaking fixed 'row("R_PollAsyncRd").state == "gone"' --all
	run "$tool" diff --fail-on new:4k "$work/leaking" "$work/fixed"
	same "R, fixed: nothing new" 0 "$status"
	run "$tool" diff --fail-on new "$work/fixed" "$work/leaking"
	same "R, leaking again: status" 1 "$status"
	holds "R, leaking again: named" grep -q 'finding: 2 new sites, 30,720 bytes: R_PollAsyncRd, psock_worker_loop' "$work/err"
fi

finish
