#!/bin/sh
# SPDX-License-Identifier: MIT
# The command's promises: exit statuses of `run`, formats that agree, order that does not matter.
. "$LT_SOURCE/tests/lib.sh"

ulimit -c 0
cd "$work"
for kind in exit:12 _exit:13 quick_exit:15 abort:134 segv:139 term:143 kill:137 return:11; do
	run "$tool" run -- "$targets/endings" "${kind%:*}"
	same "run: status of ${kind%:*}" "${kind#*:}" "$status"
done
run "$tool" run -- "$work/no-such-program"
holds "run: no such program" [ "$status" -ne 0 ]
run "$tool" run -- "$targets/forks" fork
same "run: status 0" 0 "$status"
holds "run: the summary names the leak" grep -q leak_after "$work/out" "$work/err"

trace a "$targets/forks" many
trace b "$targets/execs" chain 5
run "$tool" merge -o "$work/ab.ltd" "$work/a" "$work/b"
same "merge: status" 0 "$status"
run "$tool" merge -o "$work/ba.ltd" "$work/b" "$work/a"
"$tool" report --format=json "$work/ab.ltd" >"$work/ab.json"
"$tool" report --format=json "$work/ba.ltd" >"$work/ba.json"
"$tool" report --format=json "$work/a" "$work/b" >"$work/both.json"
jq -S '[.processes, .sites, .totals]' "$work/ab.json" >"$work/1"
jq -S '[.processes, .sites, .totals]' "$work/ba.json" >"$work/2"
jq -S '[.processes, .sites, .totals]' "$work/both.json" >"$work/3"
holds "merge: the order does not matter" cmp -s "$work/1" "$work/2"
holds "merge: the same as from the dumps" cmp -s "$work/1" "$work/3"
"$tool" merge -o "$work/again.ltd" "$work/ab.ltd"
"$tool" report --format=json "$work/again.ltd" | jq -S '[.processes, .sites, .totals]' >"$work/4"
holds "merge: of a merged file" cmp -s "$work/1" "$work/4"
# What has the name already: a file is replaced, anything else stays (root could replace /dev/null).
mkfifo "$work/fifo"
ln -s ab.ltd "$work/link"
mkdir "$work/directory"
for thing in fifo link directory; do
	run "$tool" merge -o "$work/$thing" "$work/a"
	same "merge: onto a $thing: status" 2 "$status"
	same "merge: onto a $thing: one line" 1 "$(wc -l <"$work/err")"
done
holds "merge: all are still there" [ -p "$work/fifo" -a -h "$work/link" -a -d "$work/directory" ]
run "$tool" merge -o "$work/ba.ltd" "$work/a"
same "merge: onto a file" 0 "$status"
same "merge: no temporary files" 0 "$(find "$work" -name '*.tmp' | wc -l)"

"$tool" report --kind=reachable "$work/a" >"$work/out"
holds "text names what is reachable if asked for it" grep -q leak_child "$work/out"
"$tool" report "$work/a" >"$work/out"
holds "text names the leak" grep -q leak_after "$work/out"
holds "text counts what is reachable" grep -q 'still reachable' "$work/out"
holds "text does not name what is reachable" sh -c "! grep -q leak_child '$work/out'"
"$tool" report --blocks "$work/a" >"$work/out"
same "--blocks: a row per block" 50 "$(grep -c leak_child "$work/out")"
"$tool" report --blocks --top 7 "$work/a" >"$work/out"
same "--blocks --top: so many rows, and the number of the others" "7 1" "$(grep -c '^0x' "$work/out") $(grep -c 'more blocks' "$work/out")"
"$tool" report --format=csv "$work/a" >"$work/out"
holds "csv names the leak" grep -q leak_child "$work/out"
"$tool" report --min-bytes 10000 --format=csv "$work/a" >"$work/out"
holds "--min-bytes keeps the big" grep -q leak_child "$work/out"
holds "--min-bytes drops the small" sh -c "! grep -q leak_parent '$work/out'"
for by in site function module rcall process; do
	run "$tool" report --by=$by "$work/a"
	same "--by=$by: status" 0 "$status"
done
report a
id=$(jq -r '.processes[] | select(.role == "fork") | .id' "$work/a.json" | head -n 1)
"$tool" report --process "$id" --format=json "$work/a" >"$work/one.json"
fact one "--process" 'holds("leak_child"; 5; 1000) and blocks("leak_parent") == 0'
run "$tool" ps "$work/a"
same "ps: a line per process" 11 "$(grep -c forks "$work/out")"

# Columns: where a title begins, a cell begins; right-aligned ones end with it. Long commands are whole in a file, cut on a
# terminal.
long=$(awk 'BEGIN { while (i++ < 60) printf "argument%d ", i }')
# shellcheck disable=SC2086 # a list of words
trace long sh -c : $long
"$tool" ps "$work/long" >"$work/out"
holds "ps: a file has the whole command" grep -q "sh -c : .*argument60" "$work/out"
same "ps: columns begin at one place" 1 "$(awk '{ print index($0, NR == 1 ? "COMMAND" : "sh -c :") }' "$work/out" | sort -u | wc -l)"
if script -qec true /dev/null >/dev/null 2>&1; then
	for width in 60 80 132 250; do
		script -qec "stty cols $width; '$tool' ps '$work/long'" /dev/null </dev/null | tr -d '\r' >"$work/out"
		holds "ps: $width columns are not exceeded" [ "$(awk '{ if (length($0) > n) n = length($0) } END { print n }' "$work/out")" -le $width ]
		same "ps: $width columns show the command" 1 "$(grep -c 'sh -c : arg' "$work/out")"
		same "ps: $width columns, a line per process" 2 "$(wc -l <"$work/out")"
	done
fi

# Wrong usage: status 2 and one line that names the command; nothing on stdout.
mkdir "$work/none"
while read -r wrong; do
	# shellcheck disable=SC2086 # a list of words
	run "$tool" $wrong
	same "$wrong: status" 2 "$status"
	same "$wrong: one line" "1 1" "$(grep -c '^leaktrace' "$work/err") $(wc -l <"$work/err")"
	holds "$wrong: no result" [ ! -s "$work/out" ]
done <<END
no-such-command
help no-such-command
report --no-such-option
report --top
report --top 0
report --top x
report --format=xml
report --by=colour
report --kind=lost
report --kind=
report --min-bytes 1x
report --fail-on definite:x
report --fail-on suppressed
report --kind=suppressed
report --process 999999 $work/a
report --blocks=3
report $work/none
report $work/no-such-session
ps --no-such-option
ps $work/none
ps $work/no-such-session
merge $work/a
merge -o
merge -o $work/x $work/none
merge -o $work/no-such-directory/x $work/a
merge -o $work/x $work/no-such-session
run
run --
run --depth
run --fail-on lost -- true
completion tcsh
END
# No command, and no session here.
cd "$work/none"
for command in "" report ps "merge -o x"; do
	# shellcheck disable=SC2086
	run "$tool" $command
	same "\`$command\` with nothing here: status" 2 "$status"
	same "\`$command\` with nothing here: one line" 1 "$(wc -l <"$work/err")"
done
cd "$work"
"$tool" --help >"$work/commands"
for command in $(awk '/^Commands:/ { on = 1; next } !NF { on = 0 } on { print $1 }' "$work/commands"); do
	run "$tool" "$command" --help
	same "$command --help: status" 0 "$status"
	holds "$command --help: usage on stdout" grep -q "^Usage: leaktrace $command" "$work/out"
	same "$command --help: nothing on stderr" "" "$(cat "$work/err")"
done

finish
