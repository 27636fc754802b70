#!/bin/sh
# SPDX-License-Identifier: MIT
# Processes are killed at random moments: the first one, or any of its descendants, in the midst of forks, execs, exits, growth of the
# file and classification. Every session is readable, and each dump's figures agree. usage: kills.sh [ROUNDS]
. "$LT_SOURCE/tests/lib.sh"
kills=${1:-50}

# Blocks of all sites are those of the process, but for what each of three threads was about to do; nothing is below 0.
consistent='
	([.sites[] | .processes[]] | group_by(.id) | map({key: .[0].id, value: (map(.blocks) | add)}) | from_entries) as $blocks
	| (.processes | length > 0) and all(.processes[]; .live_blocks >= 0 and .live_bytes >= 0 and .allocations >= .frees
		and close_to($blocks[.id] // 0; .live_blocks; 4) and close_to(.allocations - .frees; .live_blocks; 4))'

readable=0 leaks=0 without=0 unsound=0 i=0
: >"$work/victims"
while [ $i -lt "$kills" ]; do
	i=$((i + 1))
	"$targets/killer" $i env LD_PRELOAD="$lib" LEAKTRACE_OPTIONS="dir=$work/k$i" "$targets/churn" $i >"$work/round" 2>"$work/err" || :
	cat "$work/round" >>"$work/victims"
	status=0
	"$tool" report --format=json --kind=definite,indirect,possible,reachable,unknown "$work/k$i" >"$work/k.json" 2>"$work/k.err" || status=$?
	if [ $status -ne 0 ] && [ "$(dumps "k$i")" -gt 0 ]; then
		echo "round $i: status $status"
		cat "$work/k.err"
		cp -r "$work/k$i" "${TMPDIR:-/tmp}/leaktrace-kill-$i" 2>/dev/null || :
	elif [ $status -ne 0 ] && ! grep -q ' first$' "$work/round"; then
		echo "round $i: no dump" # else it was killed before it began
	elif [ $status -ne 0 ]; then
		readable=$((readable + 1))
	else
		readable=$((readable + 1))
		if ! jq -e "$jq_functions $consistent" "$work/k.json" >/dev/null; then
			unsound=$((unsound + 1))
			cp -r "$work/k$i" "${TMPDIR:-/tmp}/leaktrace-kill-$i" 2>/dev/null || :
		fi
		if grep -q '"leak_always"' "$work/k.json"; then
			leaks=$((leaks + 1))
		elif jq -e 'any(.processes[]; .allocations > 2000)' "$work/k.json" >/dev/null; then
			without=$((without + 1))
		fi
	fi
	rm -rf "$work/k$i"
done
same "sessions that are readable, of $kills" "$kills" "$readable"
same "sessions whose figures do not agree" 0 "$unsound"
same "sessions that had come to allocate and do not hold the leak" 0 "$without"
# On a busy machine more die before that.
holds "many of them hold the leak ($leaks of $kills)" [ "$leaks" -ge $((kills * 3 / 10)) ]
echo "killed: $(sort "$work/victims" | uniq -c | sort -rn | awk '{ printf "%s%s × %s %s %s", sep, $1, $2, $3, $4; sep = ", " }')"

finish
