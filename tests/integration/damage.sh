#!/bin/sh
# SPDX-License-Identifier: MIT
# Damaged dumps: cut at every 4 KiB, with words overwritten, with wrong headers, stretched to 1 TiB. The command ends with a
# report that says what is missing, or an error; never by a signal, never in silence, never with more memory than the whole
# dump takes. LT_TRACED: a build whose library traces (tests/run.sh runs this with a command under AddressSanitizer, whose own
# build cannot trace). Without, it is the same with a few copies of each sort, for the memory that a plain build takes.
# usage: damage.sh programs|r
. "$LT_SOURCE/tests/lib.sh"
traced=${LT_TRACED:-$LT_BUILD}
lib=$traced/src/libleaktrace.so
mkdir "$work/copies"
if [ -n "${LT_TRACED:-}" ]; then step=4096 flips=150 share=all; else step=16384 flips=30 share=turn; fi

# usage: damage TEXT cut|flip|header|stretch NUMBER turn|all DUMP
damage() {
	damage_text=$1
	shift
	holds "$damage_text" "$targets/damage" "$@" "$work/copies" "$tool"
}

if [ "$1" = r ]; then
	needs Rscript
	[ -e "$traced/examples/asyncrd.so" ] || skip "no R example"
	export ASYNCRD_MODULE="$traced/examples/asyncrd.so"
	trace r Rscript "$LT_SOURCE/examples/asyncrd/asyncrd.R" --backend=mclapply --tasks=4 >/dev/null
	# The master's, the largest.
	dump=$(find "$work/r" -name '*.ltd' -exec ls -S {} + | head -n 1)
	damage "R: cut" cut $step turn "$dump"
	damage "R: overwritten" flip $((flips * 4 / 3)) turn "$dump"
	finish
fi

trace small "$traced/tests/targets/forks" fork
run trace killed "$traced/tests/targets/endings" kill
"$tool" merge -o "$work/merged.ltd" "$work/small"
# Of the small ones the child's: it has inherited something.
child=$(find "$work/small" -name '*.ltd' | sort | tail -n 1)
for dump in "$child" "$work"/killed/*.ltd "$work/merged.ltd"; do
	name=${dump#"$work/"}
	damage "$name: cut" cut $step $share "$dump"
	damage "$name: overwritten" flip $flips turn "$dump"
	damage "$name: wrong headers" header 1 turn "$dump"
	damage "$name: stretched" stretch 1 $share "$dump"
done

# What else may lie in a session's directory does not hide the dumps in it, and is named.
printf x >"$work/small/one.ltd"
: >"$work/small/empty.ltd"
mkdir "$work/small/directory.ltd"
mkfifo "$work/small/fifo.ltd"
ln -s nowhere "$work/small/link.ltd"
run "$tool" report --kind=definite,reachable,unknown "$work/small"
same "beside other things: status" 0 "$status"
holds "beside other things: reported" grep -q leak_child "$work/out"
for thing in one empty directory fifo link; do
	holds "beside other things: $thing named" grep -q "$thing.ltd" "$work/err"
done
for thing in one empty directory fifo; do
	for command in report ps "merge -o $work/out.ltd"; do
		# shellcheck disable=SC2086 # a list of words
		run "$tool" $command "$work/small/$thing.ltd"
		same "$command of $thing.ltd: status" 2 "$status"
		holds "$command of $thing.ltd: says why" [ -s "$work/err" ]
	done
done

finish
