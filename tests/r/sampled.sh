#!/bin/sh
# SPDX-License-Identifier: MIT
# The leak of examples/asyncrd from samples: estimates near the truth and as far off as they say. Chance is real here: figures may be
# 5 standard errors off, which is once in a million.
. "$LT_SOURCE/tests/lib.sh"
needs Rscript jq
Rscript --vanilla -e 'quit(status = !requireNamespace("parallel", quietly = TRUE))' || skip "no R package parallel"
job=$LT_SOURCE/examples/asyncrd/asyncrd.R

options=sample=8k
trace probe Rscript --vanilla -e 'invisible()'
jq_functions="$jq_functions"'
	def error(f; key): sites(f) | map(.[key] * .[key]) | add // 0 | sqrt;
	def total(key): [.totals[][key]] | add;
	def total_error(key): [.totals[][key] | . * .] | add | sqrt;
	def growth(key): sites("R_PollAsyncRd") | map(.growth_per_task | select(.) | .[key]) | add;
'
report probe
jq -e 'all(.processes[]; .mode == "sampled")' "$work/probe.json" >/dev/null || skip "this library records no samples"

# 2000 blocks of 1024 bytes, of which one in 9 is recorded, and 200 of 512, one in 17.
job() {
	Rscript "$job" --workers=2 --tasks=200 --polls=10 "$@"
}

run job --backend=psock
cp "$work/out" "$work/out.plain"
options=
trace exact job --backend=psock >/dev/null
judged exact
options=sample=8k
for backend in psock mclapply; do
	run trace $backend job --backend=$backend
	same "$backend: status" 0 "$status"
	holds "$backend: same output" cmp "$work/out.plain" "$work/out"
	judged $backend
	fact $backend "mode" 'all(.processes[]; .mode == "sampled" and .sample_bytes == 8192)'
	fact $backend "every process is classified" 'all(.processes[]; .classified)'
	fact $backend "blocks" 'close_to(blocks("R_PollAsyncRd"); 2000; 5 * error("R_PollAsyncRd"; "blocks_se"))'
	fact $backend "their error" 'error("R_PollAsyncRd"; "blocks_se") | . > 80 and . < 180'
	fact $backend "bytes" 'bytes("R_PollAsyncRd") == 1024 * blocks("R_PollAsyncRd")'
	fact $backend "their error is that of the blocks" \
		'close_to(error("R_PollAsyncRd"; "bytes_se") / 1024 / error("R_PollAsyncRd"; "blocks_se"); 1; 0.03)'
	fact $backend "weight" 'sites("R_PollAsyncRd") | all(.blocks == 9 * .sampled_blocks)'
	fact $backend "weight of smaller ones" 'sites("psock_worker_loop") | length > 0 and all(.blocks == 17 * .sampled_blocks)'
	# Stale words may hide some: what was not recorded has more of them, freed chunks too.
	fact $backend "the leak is definite" '[sites("R_PollAsyncRd")[] | select(.kind != "definite") | .processes[]]
		| group_by(.id) | all((map(.sampled_blocks) | add) <= 5)'
	fact $backend "nothing else is definite or unknown" \
		'[.sites[] | select(.kind == "definite" or .kind == "unknown") | .function] | unique == ["R_PollAsyncRd", "psock_worker_loop"]'
	fact $backend "the leak comes first" '.sites[0].function == "R_PollAsyncRd"'
	fact $backend "processes add up" '([.processes[].live_bytes] | add) == total("bytes")'
	fact $backend "no free without its allocation" 'all(.processes[]; .unknown_frees == 0)'
done
# Of mclapply a worker's life is one task, of 100 of ours.
fact psock "growth per task" 'close_to(growth("bytes"); 10240; 5 * growth("bytes_se")) and growth("bytes_se") < 2000'
fact mclapply "growth per worker" 'close_to(growth("bytes"); 1024000; 5 * growth("bytes_se")) and growth("bytes_se") < 150000'
# R's heap and all: it differs a little between two runs.
all=$(jq '[.totals[].bytes] | add' "$work/exact.json")
fact psock "all that lives" "close_to(total(\"bytes\"); $all; 5 * total_error(\"bytes_se\") + 0.02 * $all)"
fact psock "all blocks" "close_to(total(\"blocks\"); $(jq '[.totals[].blocks] | add' "$work/exact.json"); 5 * total_error(\"blocks_se\") + 1000)"

# The other ways to look at it.
"$tool" report "$work/psock" >"$work/out"
holds "text: the header" grep -q '^Sampled: figures of 3 processes are estimates, from samples of one allocation in 8.0 KiB' "$work/out"
holds "text: errors" grep -Eq '^ +1\.  [0-9,]+ ± [0-9,]+ bytes in [0-9,]+ ± [0-9,]+ blocks, \+[0-9,]+ ± [0-9,]+ bytes' "$work/out"
"$tool" report --blocks --format=csv "$work/psock" >"$work/out"
holds "table of blocks" grep -Eq '^0x[0-9a-f]+,1024,7,R_PollAsyncRd,.*,9$' "$work/out"
"$tool" merge -o "$work/merged.ltd" "$work/psock"
"$tool" report --format=json "$work/merged.ltd" | jq -cS '.totals, [.sites[] | [.kind, .bytes, .bytes_se, .blocks, .sampled_blocks]]' >"$work/out.merged"
jq -cS '.totals, [.sites[] | [.kind, .bytes, .bytes_se, .blocks, .sampled_blocks]]' "$work/psock.json" >"$work/out"
holds "merged: the same" cmp "$work/out" "$work/out.merged"
run "$tool" report --fail-on definite:1m "$work/psock"
same "--fail-on definite:1m" 1 "$status"

# Before and after the fix; and the exact run is another of the same program.
trace fixed job --backend=psock --fixed >/dev/null
judged fixed
fact fixed "fixed: none recorded" 'blocks("R_PollAsyncRd") == 0 and blocks("psock_worker_loop") == 0'
run "$tool" diff --format=json --fail-on new:1m "$work/fixed" "$work/psock"
same "from fixed to leaking: status" 1 "$status"
holds "from fixed to leaking: new" jq -e '.sites[0] | .function == "R_PollAsyncRd" and .state == "new" and .b.bytes_se > 0' "$work/out"
run "$tool" diff --format=json "$work/exact" "$work/psock"
same "exact and sampled: status" 0 "$status"
holds "exact and sampled: near" jq -e '[.sites[] | select(.function == "R_PollAsyncRd")] |
	all(.a.bytes == 2048000 and .a.bytes_se == 0 and (.b.bytes - .a.bytes | fabs) <= 5 * .b.bytes_se)' "$work/out"

# The interval that is meant for: hardly a sample of the leak.
options=sample=512k
trace coarse job --backend=psock >/dev/null
judged coarse
fact coarse "all that lives" "close_to(total(\"bytes\"); $all; 5 * total_error(\"bytes_se\") + 0.02 * $all)"
fact coarse "few samples" '[.processes[].sampled_allocations] | add < 5000'

finish
