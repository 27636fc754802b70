#!/bin/sh
# SPDX-License-Identifier: MIT
# Damaged dumps: cut at every 4 KiB, and with words overwritten. The command ends with a partial report that says what is
# missing, or an error; never by a signal, never in silence. LT_TRACED: a build whose library traces (tests/run.sh runs this
# with a command under AddressSanitizer, whose own build cannot trace). LT_DAMAGE=full: each dump of a real R job at every 4 KiB
# too, and more overwritten copies; half an hour.
. "$LT_SOURCE/tests/lib.sh"
traced=${LT_TRACED:-$LT_BUILD}
lib=$traced/src/libleaktrace.so
full=${LT_DAMAGE:-}

# usage: damage TEXT cut|flip NUMBER DUMP COMMAND...
damage() {
	damage_text=$1 damage_how=$2 damage_number=$3 damage_dump=$4
	shift 4
	holds "$damage_text" "$targets/damage" "$damage_how" "$damage_number" "$damage_dump" "$work/damaged.ltd" "$tool" "$@"
}

trace small "$traced/tests/targets/forks" fork
for dump in "$work"/small/*.ltd; do
	damage "small: cut, report" cut 4096 "$dump" report --format=json
	damage "small: cut, merge" cut 4096 "$dump" merge -o "$work/out.ltd"
	damage "small: overwritten, report" flip ${full:+20}20 "$dump" report --format=json
done
damage "small: cut, blocks" cut 4096 "$dump" report --blocks
damage "small: cut, ps" cut 4096 "$dump" ps
damage "small: overwritten, merge" flip ${full:+30}30 "$dump" merge -o "$work/out.ltd"
"$tool" merge -o "$work/merged.ltd" "$work/small"
damage "merged: cut, report" cut 4096 "$work/merged.ltd" report --format=json
damage "merged: overwritten, report" flip ${full:+50}50 "$work/merged.ltd" report --format=json
damage "merged: overwritten, merge" flip ${full:+50}50 "$work/merged.ltd" merge -o "$work/out.ltd"

if command -v Rscript >/dev/null && [ -e "$traced/examples/asyncrd.so" ]; then
	export ASYNCRD_MODULE="$traced/examples/asyncrd.so"
	trace r Rscript "$LT_SOURCE/examples/asyncrd/asyncrd.R" --backend=mclapply --tasks=4 >/dev/null
	cut=524288 copies=4
	[ -z "$full" ] || cut=4096 copies=300
	for dump in "$work"/r/*.ltd; do
		damage "R: cut, ps" cut $cut "$dump" ps
		damage "R: cut, merge" cut $cut "$dump" merge -o "$work/out.ltd"
		damage "R: overwritten, merge" flip $copies "$dump" merge -o "$work/out.ltd"
		damage "R: overwritten, report" flip $copies "$dump" report --format=csv --by=function --top 5
		[ -z "$full" ] || damage "R: cut, report" cut $cut "$dump" report --format=csv --by=rcall --top 5
	done
fi
printf x >"$work/one.ltd"
run "$tool" report "$work/one.ltd"
same "a file of one byte: status" 2 "$status"
holds "a file of one byte: named" grep -q one.ltd "$work/err"

finish
