#!/bin/sh
# SPDX-License-Identifier: MIT
# An R module that throws and catches 100,000 C++ exceptions: CPU time with the preload against without, medians of seven runs
# taken in turns. More than 1.5 fails: libunwind has then come in front of libgcc_s.
. "$LT_SOURCE/tests/lib.sh"
needs Rscript
runs=7
cat >"$work/throw.R" <<'END'
dyn.load(commandArgs(TRUE)[1])
t <- system.time(n <- .Call("rthrow", 100000L))
stopifnot(n == 100000L)
cat(sprintf("%.3f\n", t[["user.self"]] + t[["sys.self"]]))
END

median() { sort -n "$1" | sed -n "$(((runs + 1) / 2))p"; }

i=0
while [ $i -lt $runs ]; do
	i=$((i + 1))
	Rscript "$work/throw.R" "$targets/rthrow.so" >>"$work/plain"
	trace "d$i" Rscript "$work/throw.R" "$targets/rthrow.so" >>"$work/traced"
done
plain=$(median "$work/plain")
traced=$(median "$work/traced")
ratio=$(awk -v a="$traced" -v b="$plain" 'BEGIN { printf "%.2f", a / b }')
echo "100,000 exceptions: $plain s without, $traced s with the preload, ratio $ratio"
same "runs without" $runs "$(wc -l <"$work/plain")"
same "runs with" $runs "$(wc -l <"$work/traced")"
holds "at most 1.5 times as long" awk -v r="$ratio" 'BEGIN { exit !(r <= 1.5) }'

finish
