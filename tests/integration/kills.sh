#!/bin/sh
# SPDX-License-Identifier: MIT
# 100 kill -9 at random moments, in the midst of forks, execs, exits and growth of the file: 100 readable dumps.
. "$LT_SOURCE/tests/lib.sh"
kills=${1:-100}

unreadable=0
leaks=0
i=0
while [ $i -lt "$kills" ]; do
	i=$((i + 1))
	# A prime stride walks the delays from 3 to 250 ms evenly, yet without order.
	delay=$(printf '0.%03d' $((3 + i * 97 % 248)))
	trace "k$i" timeout -s KILL "$delay" "$targets/churn" $i >"$work/out" 2>"$work/err" || :
	if [ "$(dumps "k$i")" -eq 0 ]; then
		echo "round $i: no dump"
		unreadable=$((unreadable + 1))
		continue
	fi
	status=0
	"$tool" report --format=csv "$work/k$i" >"$work/k.csv" 2>"$work/k.err" || status=$?
	if [ $status -ne 0 ]; then
		echo "round $i, killed after $delay s: status $status"
		cat "$work/k.err"
		unreadable=$((unreadable + 1))
		cp -r "$work/k$i" "${TMPDIR:-/tmp}/leaktrace-kill-$i" 2>/dev/null || :
		continue
	fi
	grep -q 'leak_always' "$work/k.csv" && leaks=$((leaks + 1))
	rm -rf "$work/k$i"
done
same "unreadable sessions of $kills" 0 "$unreadable"
holds "most of them hold the leak ($leaks of $kills)" [ "$leaks" -ge $((kills * 8 / 10)) ]

finish
