#!/bin/sh
# SPDX-License-Identifier: MIT
# The same script under Valgrind and under us: the same number of allocations and bytes, but for the handful that each causes
# itself. Valgrind's own call of __libc_freeres, which no process makes without it, is switched off. Both count from the first instruction to the end of the process.
. "$LT_SOURCE/tests/lib.sh"
needs R valgrind
script=$LT_SOURCE/tests/r/valgrind.R

run R -d "valgrind --leak-check=no --run-libc-freeres=no --run-cxx-freeres=no --log-file=$work/valgrind.%p" --vanilla --no-echo -f "$script"
same "valgrind: status" 0 "$status"
cp "$work/out" "$work/out.plain"
log=$(grep -l 'total heap usage' "$work"/valgrind.* | head -n 1)
[ -n "$log" ] || skip "valgrind gives no total"
set -- $(sed -n 's/.*total heap usage: \([0-9,]*\) allocs, \([0-9,]*\) frees, \([0-9,]*\) bytes allocated.*/\1 \2 \3/p' "$log" | tr -d ,)
set -- "$@" $(sed -n 's/.*in use at exit: \([0-9,]*\) bytes in \([0-9,]*\) blocks.*/\1 \2/p' "$log" | tr -d ,)

run trace d R --vanilla --no-echo -f "$script"
same "status" 0 "$status"
holds "same output" cmp "$work/out.plain" "$work/out"
report d
echo "valgrind:  $1 allocations, $3 bytes, $2 frees, $5 blocks with $4 bytes at exit"
jq -r '.processes[0] | "leaktrace: \(.allocations) allocations, \(.allocated_bytes) bytes, \(.frees) frees, \(.live_blocks) blocks with \(.live_bytes) bytes at exit"' "$work/d.json"
fact d "allocations" "one(\"master\") | close_to(.allocations; $1; 60)"
fact d "bytes" "one(\"master\") | close_to(.allocated_bytes; $3; 200000)"
fact d "blocks at exit" "one(\"master\") | close_to(.live_blocks; $5; 60)"
fact d "bytes at exit" "one(\"master\") | close_to(.live_bytes; $4; 200000)"
fact d "the leak" 'holds("R_PollAsyncRd"; 50; 51200)'

options=r_stacks=0
run trace native R --vanilla --no-echo -f "$script"
same "r_stacks=0: status" 0 "$status"
report native
fact native "no R calls" '[.sites[] | select(.r | length > 0)] == []'
fact native "the same blocks" 'holds("R_PollAsyncRd"; 50; 51200)'
fact native "it is said why" 'one("master") | .r_note == "option r_stacks=0"'

finish
