# SPDX-License-Identifier: MIT
#
# Sourced by the scripts of this room. A case is a command that is run natively and under the preload: exit status, stdout and stderr
# must be the same, and a fact must hold for the report. Each case is a row of a table (table.sh prints it): what it is, how it ends
# natively, whether it is the same under us, what the report says.
#
#   row TEXT FACT COMMAND...      FACT: in jq's language, see tests/lib.sh
#   left_out TEXT WHY             what can't be had here
#   part TEXT                     the rows below are of this part of the table
#
#   $row_classified=yes           for all that follow: wait until all processes are classified
#   $row_report=no                for all that follow: there may be no dump, the fact is not asked
#   $row_top=N                    for all that follow: only so many sites are in the report, which of a session of many R's is large
#   $row_into=NAME                for all that follow: where dumps go, in $work, if not into a directory of the row's own
#   $row_natively, $row_traced    for all that follow: what LD_PRELOAD is, if not nothing and the library
#   $row_extra                    for all that follow: one line of stderr is ours and begins so (a pattern of grep -E)
#   $row_edit                     for all that follow: a script for sed -E that takes from both outputs what is never twice the same
# shellcheck shell=sh disable=SC2034,SC2154
. "$LT_SOURCE/tests/lib.sh"
needs timeout jq
ulimit -c 0
rows=0 row_classified= row_report= row_natively= row_traced= row_extra= row_edit= row_top= row_into=
patience=60
table=${LT_TABLE:-$work/table}

# What the report says, in a line.
says_it='
	def ended: if .end_kind == "unknown" then "end unknown" elif .end_kind == "exec" then "exec"
		elif .end_code == null then .end_kind else "\(.end_kind) \(.end_code)" end;
	def counted: group_by(.) | map(if length > 1 then "\(length) × \(.[0])" else .[0] end) | join(", ");
	([.processes[] | "\(.role): \(ended)"] | counted) as $ends
	| ([.sites[] | select(.function | test("^leak"))] | group_by(.function) | map("\(.[0].function) \(map(.blocks) | add)") | join(", ")) as $leaks
	| [$ends, $leaks] | map(select(. != "")) | join("; ")
'

cell() { printf %s "$1" | tr '\n|' ' /' | cut -c 1-"$2"; }

part() { printf '\n**%s**\n\n| case | natively | under us | the report |\n|---|---|---|---|\n' "$1" >>"$table"; }

left_out() {
	echo "left out: $1: $2"
	printf '| %s | not run: %s | | |\n' "$1" "$2" >>"$table"
}

ends_in_words() {
	if [ "$1" -gt 128 ]; then printf 'signal %d' $(($1 - 128)); else printf 'exit %d' "$1"; fi
	[ -z "$2" ] || printf ', `%s`' "$(cell "$2" 60)"
}

edited() {
	[ -z "$row_edit" ] || sed -E -i "$row_edit" "$@"
}

row() {
	row_text=$1 row_fact=$2
	shift 2
	rows=$((rows + 1))
	row_name=${row_into:-row$rows}
	row_dir=$work/$row_name
	run timeout -s KILL "$patience" env ${row_natively:+"LD_PRELOAD=$row_natively"} "$@"
	row_status=$status
	mv "$work/out" "$work/native.out"
	mv "$work/err" "$work/native.err"
	edited "$work/native.out" "$work/native.err"
	run timeout -s KILL "$patience" env "LD_PRELOAD=${row_traced:-$lib}" "LEAKTRACE_OPTIONS=dir=$row_dir${options:+:$options}" "$@"
	row_before=$failures
	row_said=
	same "$row_text: status" "$row_status" "$status"
	if [ -n "$row_extra" ]; then
		same "$row_text: lines of ours" 1 "$(grep -E -c "^$row_extra" "$work/err")"
		grep -E -v "^$row_extra" "$work/err" >"$work/err.rest" || :
		mv "$work/err.rest" "$work/err"
	fi
	edited "$work/out" "$work/err"
	for stream in out err; do
		checks=$((checks + 1))
		if ! cmp -s "$work/native.$stream" "$work/$stream"; then
			bad "$row_text: std$stream"
			diff "$work/native.$stream" "$work/$stream" | head -n 8
		fi
	done
	if [ "$row_report" != no ]; then
		if [ "$row_classified" = yes ]; then judged "$row_name"; else report "$row_name" ${row_top:+--top "$row_top"}; fi
		fact "$row_name" "$row_text" "$row_fact"
		row_said=$(jq -r "$says_it" "$row_dir.json" 2>/dev/null) || row_said=
	fi
	row_same=same
	[ "$failures" -eq "$row_before" ] || row_same="**differs**: $(ends_in_words "$status" '')"
	printf '| %s | %s | %s | %s |\n' "$row_text" "$(ends_in_words "$row_status" "$(cat "$work/native.out")")" "$row_same" \
		"$(cell "$row_said" 200)" >>"$table"
	rm -rf "$row_dir"
}
