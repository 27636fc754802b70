#!/bin/sh
# SPDX-License-Identifier: MIT
# Workers that are killed at once when they are done: every one of 100 is classified.
. "$LT_SOURCE/tests/lib.sh"
needs Rscript

run Rscript "$LT_SOURCE/tests/r/verdict-mclapply.R"
same "status without preload" 0 "$status"
run trace d Rscript "$LT_SOURCE/tests/r/verdict-mclapply.R"
same "status" 0 "$status"
same "output" "1 " "$(cat "$work/out")"
same "silent" '' "$(cat "$work/err")"
judged d
fact d "100 workers" 'process("fork") | length == 100'
fact d "every one is classified" 'all(.processes[]; .classified)'
fact d "two blocks in each" 'holds("R_PollAsyncRd"; 200; 204800) and owners("R_PollAsyncRd") == 100'
# At most one of a worker's may be hidden by a stale word; by chance, so never many.
fact d "definite" '[sites("R_PollAsyncRd")[] | select(.kind == "definite") | .blocks] | add >= 190'
holds "no process is left behind" sh -c "sleep 1; ! grep -l -z 'dir=$work/d' /proc/[0-9]*/environ 2>/dev/null | grep -q ."

finish
