# SPDX-License-Identifier: MIT
#
# Sourced by the test scripts: runs programs under the preload, and checks facts of the reports. The environment names the
# trees: LT_BUILD, LT_SOURCE. A script goes on after a failed check, and `finish` ends it with the right status.
#
#   trace DIR COMMAND...   runs COMMAND with the preload, dumps in $work/DIR; more options in $options
#   report DIR [OPTION...] the session's report as JSON, in $work/DIR.json
#   judged DIR             report, once every process is classified
#   fact DIR TEXT FILTER   FILTER, in jq's language with the functions below, holds for that report
#   same TEXT A B          the strings are equal
#   holds TEXT COMMAND...  COMMAND succeeds
#   until_true COMMAND...  waits until it does, 20 s at most
#   says FILE PATTERN      the pattern is in the file
#   skip TEXT              ends the script as skipped
# shellcheck shell=sh disable=SC2034

set -eu
lib=${LT_LIB:-$LT_BUILD/src/libleaktrace.so}
tool=${LT_TOOL:-$LT_BUILD/tools/leaktrace}
targets=$LT_BUILD/tests/targets
examples=$LT_BUILD/examples
options=
failures=0
checks=0
work=$(mktemp -d "${TMPDIR:-/tmp}/leaktrace-test.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
unset LEAKTRACE_OPTIONS LEAKTRACE_SESSION LD_PRELOAD
export ASYNCRD_MODULE="$examples/asyncrd.so"

# Facts about a report. blocks("f"), bytes("f"): what all sites of the function hold; in_process(id; "f"): blocks in one.
jq_functions='
	def sites(f): [.sites[] | select(.function == f)];
	def blocks(f): sites(f) | map(.blocks) | add // 0;
	def bytes(f): sites(f) | map(.bytes) | add // 0;
	def holds(f; n; b): blocks(f) == n and bytes(f) == b;
	def in_process($id; f): [sites(f)[].processes[] | select(.id == $id) | .blocks] | add // 0;
	def owners(f): [sites(f)[].processes[] | select(.blocks > 0) | .id] | unique | length;
	def process(role): [.processes[] | select(.role == role)];
	def one(role): process(role) | if length == 1 then .[0] else error("not one " + role) end;
	def by_image: [.processes[]] | sort_by(.image);
	def ended(kind; code): .end_kind == kind and .end_code == code;
	def close_to(a; b; tolerance): (a - b) <= tolerance and (b - a) <= tolerance;
'

skip() {
	echo "skipped: $*"
	exit 77
}

needs() {
	for thing; do
		command -v "$thing" >/dev/null || skip "no $thing"
	done
}

until_true() {
	tries=0
	until "$@"; do
		tries=$((tries + 1))
		[ $tries -lt 400 ] || return 1
		sleep 0.05
	done
}

says() {
	grep -q -- "$2" "$1" 2>/dev/null
}

bad() {
	echo "FAILED: $*"
	failures=$((failures + 1))
}

trace() {
	trace_dir=$work/$1
	shift
	LD_PRELOAD=$lib LEAKTRACE_OPTIONS="dir=$trace_dir${options:+:$options}" "$@"
}

# Runs a command, keeps its status in $status and its output in $work/out and $work/err.
run() {
	status=0
	"$@" >"$work/out" 2>"$work/err" || status=$?
}

report() {
	report_status=0
	report_of=$1
	shift
	"$tool" report --format=json "$@" "$work/$report_of" >"$work/$report_of.json" 2>"$work/$report_of.err" || report_status=$?
	if [ "$report_status" -ne 0 ] || ! jq -e '.format == "leaktrace-report"' "$work/$report_of.json" >/dev/null 2>&1; then
		bad "report of $report_of: exit status $report_status"
		cat "$work/$report_of.err"
		echo '{}' >"$work/$report_of.json"
	fi
}

# The same when all processes are classified, which may take a moment after their end; at most 20 s.
judged() {
	judged_tries=0
	sleep 0.1 # most are by then
	while report "$1"; jq -e 'any(.processes[]?; .classified | not)' "$work/$1.json" >/dev/null && [ $judged_tries -lt 200 ]; do
		judged_tries=$((judged_tries + 1))
		sleep 0.1
	done
}

fact() {
	checks=$((checks + 1))
	# Without the stacks of all the small rows, which take jq a second in a report on R.
	[ "$work/$1.facts" -nt "$work/$1.json" ] ||
		jq -c '.sites[100:][]? |= (if .growth_per_task.bytes? > 0 then . else del(.native, .r) end)' "$work/$1.json" >"$work/$1.facts"
	if ! jq -e "$jq_functions $3" "$work/$1.facts" >"$work/fact" 2>&1; then
		bad "$2 [$1: $3]"
		head -n 5 "$work/fact"
		jq -c '(.processes[]? | [.id, .pid, .role, .image, .end_kind, .end_code, .live_blocks, .live_bytes]),
			(.sites[:8][]? | [.function, .blocks, .bytes, .depth, [.processes[].id], .growth_per_task])' "$work/$1.facts" 2>&1 | head -n 24
	fi
}

same() {
	checks=$((checks + 1))
	[ "$2" = "$3" ] || bad "$1: expected '$2', got '$3'"
}

holds() {
	checks=$((checks + 1))
	holds_text=$1
	shift
	"$@" || bad "$holds_text"
}

# Lines of the tracer in the last command's stderr.
tracer_lines() {
	grep -c -i leaktrace "$work/err" || :
}

dumps() {
	find "$work/$1" -name '*.ltd' 2>/dev/null | wc -l
}

finish() {
	echo "$checks checks, $failures failed"
	[ "$checks" -gt 0 ] || exit 1
	[ "$failures" -eq 0 ] || exit 1
	exit 0
}
