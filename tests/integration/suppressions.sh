#!/bin/sh
# SPDX-License-Identifier: MIT
# Suppressions: what a rule hides is out of everything but its own total; built-in ones hide no leak of a program.
. "$LT_SOURCE/tests/lib.sh"

cd "$work"
# Unclassified: all is `unknown`, whatever still points at it.
options=verdict=off
trace a "$targets/forks" nested
cat >s1 <<END
# known since spring
leak:^leak_child\$
leak:no_such_function
END
echo 'leak:leak_grandch*d' >s2
plain="--no-default-suppressions --format=json $work/a"

# shellcheck disable=SC2086 # lists of words
{
"$tool" report $plain >a.json
"$tool" report --suppressions s1 --suppressions=s2 $plain >b.json
"$tool" report --suppressions s1 --blocks $plain >c.json
}
fact a "all there" 'holds("leak_child"; 5; 1000) and holds("leak_grandchild"; 7; 2800) and .totals.suppressed == {bytes: 0, blocks: 0}'
fact a "no hits" '.suppressions == []'
fact b "out of the sites" 'blocks("leak_child") == 0 and blocks("leak_grandchild") == 0 and blocks("leak_parent") > 0'
fact b "in a total of their own" '.totals.suppressed == {bytes: 3800, blocks: 12}'
fact b "hits by rule" '[.suppressions[] | [.template, .bytes, .blocks, .line]] ==
	[["leak:^leak_child$", 1000, 5, 2], ["leak:leak_grandch*d", 2800, 7, 1]]'
fact b "ranks without a gap" '[.sites[].rank] == [range(1; (.sites | length) + 1)]'
for file in a b; do
	jq -r '[.totals[] | .bytes] | add' $file.json >sum
	same "sums to the same: $file" "$(jq '[.sites[].bytes, .totals.suppressed.bytes] | add' $file.json)" "$(cat sum)"
done
same "totals of kinds go down by it" "$(($(jq '.totals.unknown.bytes' a.json) - 3800))" "$(jq '.totals.unknown.bytes' b.json)"
fact c "--blocks: none of them, the others of the right site" '. as $report |
	([.blocks[] | select(.function == "leak_child")] | length) == 0 and
	([.blocks[] | select(.function == "leak_grandchild")] | length) == 7 and
	all(.blocks[]; .function == $report.sites[.site - 1].function)'
for by in function module process; do
	"$tool" report --suppressions s1 --no-default-suppressions --by=$by --format=json a >g.json
	same "--by=$by: the rest" "$(jq '[.sites[].bytes] | add' g.json)" "$(jq '[.groups[].bytes] | add' g.json)"
done
"$tool" report --suppressions s1 --suppressions s2 --no-default-suppressions a >text
same "text: ends with the rules used" "Suppressions used: count bytes template 5 1000 leak:^leak_child\$ 7 2800 leak:leak_grandch*d" \
	"$(sed -n '/^Suppressions used/,$p' text | grep -v -e '^---' | xargs echo)"
"$tool" report --no-default-suppressions a >text
holds "text: nothing where none had hits" sh -c '! grep -q Suppressions text'
for rule in 'leak:forks.c$' 'leak:targets/forks'; do
	echo "$rule" >s3
	"$tool" report --suppressions s3 --no-default-suppressions --format=json a >d.json
	fact d "$rule: source file, module" 'blocks("leak_child") == 0 and blocks("leak_parent") == 0 and .totals.suppressed.blocks >= 12'
done

# --gen-suppressions: its lines are a file of suppressions that hides all leaks.
"$tool" report --gen-suppressions --no-default-suppressions a >gen
holds "gen: the function's name" grep -qxF 'leak:^leak_child$' gen
same "gen: bytes and blocks above it" "# 1,000 bytes in 5 blocks (unknown) from 1 site" "$(grep -B 1 -xF 'leak:^leak_child$' gen | head -n 1)"
"$tool" report --suppressions gen --no-default-suppressions --format=json a >d.json
fact d "gen: hides all" '.sites == []'
"$tool" report --gen-suppressions --suppressions s1 a >gen
holds "gen: not of what is suppressed" sh -c '! grep -q leak_child gen && grep -q leak_grandchild gen'

# --fail-on: unsuppressed bytes of a kind. leak_after and leak_parent hold 600 and more.
echo 'leak:.' >all
total=$(jq '[.sites[].bytes] | add' b.json)
for case in "0:unknown:$total" "1:unknown:$((total - 1))" 1:unknown 0:definite 1:definite,unknown 0:definite,unknown:1m; do
	run "$tool" report --suppressions s1 --suppressions s2 --no-default-suppressions --fail-on "${case#*:}" a
	same "--fail-on ${case#*:}: status" "${case%%:*}" "$status"
done
run "$tool" report --fail-on definite --fail-on unknown a
same "--fail-on, repeated: status" 1 "$status"
same "--fail-on: says what was found" 1 "$(grep -c '^leaktrace: finding' err)"
run "$tool" report --suppressions all --fail-on unknown a
same "--fail-on with all suppressed: status" 0 "$status"
for case in 1:true: 0:true:--suppressions=all 7:exit\ 7: 143:'kill $$':; do
	rest=${case#*:}
	# shellcheck disable=SC2086
	run "$tool" run --dir="$work/run" -o verdict=off ${rest#*:} --fail-on unknown --no-report -- sh -c "${rest%:*}; $targets/forks fork"
	[ "${case%%:*}" -gt 1 ] || same "run ${rest#*:}: status" "${case%%:*}" "$status"
	[ "${case%%:*}" -le 1 ] || same "run: the program's own status stays" "${case%%:*}" "$status"
	rm -rf run
done
run "$tool" run --dir="$work/run" -o verdict=off --suppressions s1 --no-default-suppressions -- "$targets/forks" fork
same "run --suppressions: status" 0 "$status"
holds "run --suppressions: told" grep -q 'leak:^leak_child' out

# Wrong files: status 2, and one line that names file and line.
printf 'leak:a\n\nrace:b\n' >bad
for command in report run; do
	rm -rf run
	run "$tool" $command --suppressions bad -- true
	same "$command, a bad line: status" 2 "$status"
	same "$command, a bad line: named" 1 "$(grep -c '^leaktrace: bad:3: ' err)"
	same "$command, a bad line: one line" "1 0" "$(wc -l <err) $(wc -c <out)"
	run "$tool" $command --suppressions no-such-file -- true
	same "$command, no file: status" 2 "$status"
	same "$command, no file: named" 1 "$(grep -c '^leaktrace: no-such-file: ' err)"
done

# The built-in list: what libc and libgomp keep, and nothing of the program, were it inside of libgomp.
leak_of_libraries='[.sites[] | select(.kind != "reachable") | select(any(.native[]; .function // "" | test("setenv$|add_to_environ$|^GOMP_parallel")))
	| select(.function != "leak_in_region")]'
trace k "$targets/kept"
report k
fact k "setenv, libgomp" "($leak_of_libraries | length) == 0 and .totals.suppressed.blocks >= 1"
fact k "leaks of the program" 'holds("setenv_wrapper"; 2; 200) and holds("leak_in_region"; 1; 300)'
"$tool" report --no-default-suppressions --format=json k >off.json
fact off "--no-default-suppressions" "($leak_of_libraries | length) >= 1 and .totals.suppressed.blocks == 0"
fact off "the same leaks" 'holds("setenv_wrapper"; 2; 200) and holds("leak_in_region"; 1; 300)'
trace t "$targets/kept" tasks
report t
fact t "growth by task is a leak, whatever is called" '[.sites[] | select(any(.native[]; .function == "set_variable")) | .blocks] | add >= 10'
# Classified, it comes out the same.
options=
trace v "$targets/kept"
report v
fact v "classified" "($leak_of_libraries | length) == 0 and holds(\"setenv_wrapper\"; 2; 200) and holds(\"leak_in_region\"; 1; 300)"

if command -v Rscript >/dev/null && [ -e "$ASYNCRD_MODULE" ]; then
	options=verdict=off
	trace r Rscript "$LT_SOURCE/examples/asyncrd/asyncrd.R" --backend=serial --tasks=3 >/dev/null
	report r
	fact r "R: all there" 'blocks("R_PollAsyncRd") == 3'
	echo 'r:^poll_async$' >sr
	"$tool" report --suppressions sr --format=json r >s.json
	fact s "R: a rule for a call" 'blocks("R_PollAsyncRd") == 0 and any(.suppressions[]; .template == "r:^poll_async$" and .blocks >= 3)'
fi

finish
