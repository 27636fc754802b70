#!/bin/sh
# SPDX-License-Identifier: MIT
# The programs with known verdicts (targets/leaks): each case natively, under us and under Valgrind, function by function: kind,
# blocks, bytes. What we say must be what the case says, what Valgrind says must be what the case says of Valgrind; where
# these differ, the case says why we are right. Blocks of other functions (of libc, say) may be in our report as lost only if
# Valgrind says so too. Without Valgrind, only that part is left out. usage: verdict.sh [oracle] [PROGRAM[/CASE]...]
#   oracle     only the part that is about Valgrind
#   PROGRAM    only these programs (pointers, graphs, ...) or cases
. "$LT_SOURCE/tests/lib.sh"
needs timeout awk
ulimit -c 0
ulimit -s 8192
traced=1 oracle=1
if [ "${1:-}" = oracle ]; then
	traced=
	shift
	needs valgrind
fi
command -v valgrind >/dev/null || oracle=
export TMPDIR="$work"

# ------------------------------------------------------------------ what the cases say
# PROGRAM/CASE FUNCTION KIND BLOCKS BYTES KIND BLOCKS BYTES (Valgrind's) STATUS WHY

for program in "$targets"/leaks/leaks-*; do
	case ${program##*/} in *.*) continue ;; esac
	"$program" --list | sed "s/^/${program##*/leaks-}\//"
done >"$work/all"
if [ $# -gt 0 ]; then
	for wanted; do
		awk -F '\t' -v w="$wanted" '$1 == w || substr($1, 1, length(w) + 1) == w "/"' "$work/all"
	done >"$work/expected"
else
	cp "$work/all" "$work/expected"
fi
cut -f1 "$work/expected" | uniq >"$work/cases"
awk -F '\t' '$6 != "none" { print $1 }' "$work/expected" | uniq >"$work/judged"
[ -s "$work/cases" ] || skip "no such case"

# ------------------------------------------------------------------ the three runs, in DIR/PROGRAM.CASE.*

# usage: run_cases CASES DIR COMMAND...; two at a time; keeps output and status of each. @ in COMMAND is PROGRAM.CASE
run_cases() {
	run_list=$work/$1
	run_dir=$work/$2
	shift 2
	mkdir -p "$run_dir"
	# shellcheck disable=SC2016
	tr '\n' '\0' <"$run_list" | xargs -0 -n 1 -P 2 sh -c '
		for at; do :; done
		dir=$1 programs=$2 name=${at%/*}.${at#*/}
		shift 2
		command=
		while [ $# -gt 1 ]; do
			command="$command $(printf %s "$1" | sed "s/@/$name/g")"
			shift
		done
		status=0
		timeout 100 $command "$programs/leaks-${at%/*}" "${at#*/}" >"$dir/$name.out" 2>"$dir/$name.err" || status=$?
		printf "%s\t%s\n" "$at" "$status" >"$dir/$name.status"
	' run "$run_dir" "$targets/leaks" "$@" 2>>"$work/xargs.err"
}

# How a run must have ended. usage: check_status DIR TEXT CASES
check_status() {
	cat "$work/$1"/*.status | sort >"$work/$1.statuses"
	cut -f1,9 "$work/expected" | uniq | awk -F '\t' 'NR == FNR { listed[$1] = 1; next } $1 in listed' "$work/$3" - |
		sort >"$work/want.statuses"
	checks=$((checks + 1))
	if ! cmp -s "$work/$1.statuses" "$work/want.statuses"; then
		bad "$2: exit status"
		diff "$work/want.statuses" "$work/$1.statuses" || :
	fi
}

# Adds up lines CASE KIND BLOCKS BYTES FUNCTION... by the first function that is one of the case's, else by "-":
# CASE FUNCTION KIND BLOCKS BYTES.
by_function() {
	awk -F '\t' -v OFS='\t' '
		NR == FNR { known[$1, $2] = 1; next }
		{
			f = "-"
			for (i = 5; i <= NF; i++)
				if (($1, $i) in known) { f = $i; break }
			blocks[$1 OFS f OFS $2] += $3
			bytes[$1 OFS f OFS $2] += $4
		}
		END { for (k in blocks) print k, blocks[k], bytes[k] }' "$work/expected" "$1" | sort
}

# usage: compare WHO FILE BLOCKS-COLUMN-OF-KIND; prints what is not as expected
compare() {
	awk -F '\t' -v who="$1" -v c="$3" '
		NR == FNR {
			if ($c == "any") any[$1 "\t" $2] = $c
			if ($c != "none" && $c != "gone") want[$1 "\t" $2 "\t" $c] = $(c + 1) " blocks, " $(c + 2) " bytes"
			judged[$1] = $c != "none"
			next
		}
		$2 == "-" || !judged[$1] { next }
		{ got[$1 "\t" $2 "\t" ($1 "\t" $2 in any ? "any" : $3)] = $4 " blocks, " $5 " bytes" }
		END {
			for (k in want) {
				is = k in got ? got[k] : "none"
				if (is == want[k]) continue
				split(k, a, "\t")
				printf "%s %s: %s: expected %s, %s; got %s\n", who, a[1], a[2], a[3], want[k], is
			}
			for (k in got) if (!(k in want)) {
				split(k, a, "\t")
				printf "%s %s: %s: expected no %s; got %s\n", who, a[1], a[2], a[3], got[k]
			}
		}' "$work/expected" "$2" | sort
}

# usage: judge WHO FILE COLUMN
judge() {
	compare "$@" >"$work/wrong"
	checks=$((checks + $(wc -l <"$work/expected")))
	if [ -s "$work/wrong" ]; then
		cat "$work/wrong"
		failures=$((failures + $(wc -l <"$work/wrong")))
	fi
}

run_cases cases native env
check_status native native cases
if [ "$oracle" ]; then
	run_cases judged valgrind valgrind --leak-check=full --show-leak-kinds=all --errors-for-leak-kinds=none \
		--leak-resolution=high --num-callers=40 --run-libc-freeres=no --run-cxx-freeres=no --fair-sched=try \
		"--log-file=$work/valgrind/@.log.%p"
	check_status valgrind Valgrind judged
	awk -v OFS='\t' '
		function flush() { if (kind) print at, kind, blocks, bytes functions; kind = "" }
		FNR == 1 {
			flush()
			at = FILENAME
			sub(/.*\//, "", at)
			sub(/\.log\.[0-9]+$/, "", at)
			sub(/\./, "/", at)
		}
		/ blocks are (definitely lost|indirectly lost|possibly lost|still reachable) in loss record / {
			flush()
			gsub(",", "")
			kind = /definitely/ ? "definite" : /indirectly/ ? "indirect" : /possibly/ ? "possible" : "reachable"
			bytes = $3 ~ /^\(/ ? substr($3, 2) : $2
			for (i = 2; i < NF; i++) if ($i == "in" && $(i + 2) == "blocks") blocks = $(i + 1)
			functions = ""
			next
		}
		kind && / (at|by) 0x/ {
			sub(/.* (at|by) 0x[0-9A-F]+: /, "")
			sub(/ \([^()]*\)$/, "")
			functions = functions OFS $0
			next
		}
		{ flush() }
		END { flush() }' "$work"/valgrind/*.log.* >"$work/valgrind.records"
	by_function "$work/valgrind.records" >"$work/valgrind.verdicts"
	judge Valgrind "$work/valgrind.verdicts" 6
fi

if [ "$traced" ]; then
	run_cases cases traced env "LD_PRELOAD=$lib" "LEAKTRACE_OPTIONS=scope=all:dir=$work/traced/@"
	check_status traced traced cases
	for suffix in out err; do
		for file in "$work"/native/*."$suffix"; do
			checks=$((checks + 1))
			cmp -s "$file" "$work/traced/${file##*/}" || bad "traced: ${file##*/}"
		done
	done
	late=0
	while read -r at; do
		name=${at%/*}.${at#*/}
		# The verdict is written by another process, which may take a moment longer.
		tries=0
		while :; do
			"$tool" report --format=json "$work/traced/$name" >"$work/json" 2>>"$work/report.err" ||
				echo '{}' >"$work/json"
			jq -r --arg at "$at" '.sites[]? | [$at, .kind, .blocks, .bytes] + [.native[].function // "?"] | @tsv' \
				"$work/json" >"$work/rows"
			if [ $late -ge 3 ] || grep -q "^$at	[^	]*	unknown" "$work/expected" || ! cut -f2 "$work/rows" | grep -q unknown; then break; fi
			if [ $tries -ge 30 ]; then
				late=$((late + 1))
				break
			fi
			tries=$((tries + 1))
			sleep 0.1
		done
		cat "$work/rows"
	done <"$work/cases" >"$work/traced.records"
	by_function "$work/traced.records" >"$work/traced.verdicts"
	judge leaktrace "$work/traced.verdicts" 3

	# Of threads that allocate while the process ends nothing is lost, however many blocks there are just then.
	if grep -qx threads/busy "$work/cases"; then
		same "threads/busy: blocks that run through" reachable \
			"$(awk -F '\t' '$1 == "threads/busy" && /\tchurn(\t|$)/ { print $2 }' "$work/traced.records" | sort -u)"
	fi

	# Others' blocks: no kind of loss that Valgrind does not see.
	if [ "$oracle" ]; then
		checks=$((checks + 1))
		awk -F '\t' '
			FILENAME ~ /expected$/ { if ($6 == "none") unjudged[$1] = 1; next }
			$2 != "-" || $3 == "reachable" || $1 in unjudged { next }
			FILENAME ~ /valgrind/ { theirs[$1] += $4; next }
			{ ours[$1] += $4; kinds[$1] = kinds[$1] " " $4 " " $3 }
			END {
				for (k in ours) if (ours[k] > theirs[k])
					printf "leaktrace %s: of other functions:%s; Valgrind %d\n", k, kinds[k], theirs[k]
			}
		' "$work/expected" "$work/valgrind.verdicts" "$work/traced.verdicts" | sort >"$work/wrong"
		if [ -s "$work/wrong" ]; then
			cat "$work/wrong"
			bad "blocks of other functions"
		fi
	fi

	# A sparse file in memory that is mapped shared: reading it would have allocated all of it.
	if grep -qx mappings/sparse_shared "$work/cases" && [ -d /dev/shm ] && [ -w /dev/shm ]; then
		file=/dev/shm/leaks.$$
		LEAKS_FILE=$file run trace sparse timeout 100 "$targets/leaks/leaks-mappings" sparse_shared
		sleep 1
		holds "sparse shared memory is not paged in" [ "$(stat -c %b "$file")" -le 64 ]
		rm -f "$file"
	fi
fi

# ------------------------------------------------------------------ the table
echo
echo "program        cases  functions and kinds  differ from Valgrind"
awk -F '\t' '
	{ split($1, a, "/"); p = a[1] }
	!(p in rows) { order[++n] = p }
	{ rows[p]++ }
	!($1 in seen) { seen[$1] = 1; cases[p]++; total++ }
	$6 != "none" && ($3 != $6 || $4 != $7 || $5 != $8) { differs[p]++ }
	END {
		for (i = 1; i <= n; i++)
			printf "%-14s %5d  %19d  %20d\n", order[i], cases[order[i]], rows[order[i]], differs[order[i]]
		printf "%-14s %5d  %19d\n", "all", total, NR
	}' "$work/expected"
echo
awk -F '\t' '$3 != $6 || $4 != $7 || $5 != $8 {
	printf "%s: %s: ours %s %d, Valgrind %s %d: %s\n", $1, $2, $3, $4, $6, $7, $10
}' "$work/expected"
finish
