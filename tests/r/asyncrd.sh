#!/bin/sh
# SPDX-License-Identifier: MIT
# The leak of examples/asyncrd on one of R's parallel back ends: exact blocks and bytes, all definite, growth per task and poll, R
# calls, roles; and the fixed variant without it. usage: asyncrd.sh BACKEND
. "$LT_SOURCE/tests/lib.sh"
needs Rscript
backend=$1
case $backend in
multisession) package=future ;;
callr) package=callr ;;
*) package=parallel ;;
esac
Rscript --vanilla -e "quit(status = !requireNamespace('$package', quietly = TRUE))" || skip "no R package $package"
job=$LT_SOURCE/examples/asyncrd/asyncrd.R
tasks=200
case $backend in callr) tasks=20 ;; esac

run Rscript "$job" --backend="$backend" --tasks=$tasks --polls=2
same "status without preload" 0 "$status"
cp "$work/out" "$work/out.plain"
cp "$work/err" "$work/err.plain"

run trace d Rscript "$job" --backend="$backend" --tasks=$tasks --polls=2
same "status" 0 "$status"
holds "same output" cmp "$work/out.plain" "$work/out"
holds "same messages" cmp "$work/err.plain" "$work/err"
report d
fact d "R_PollAsyncRd: 1024 bytes per poll" "holds(\"R_PollAsyncRd\"; 2 * $tasks; 2048 * $tasks)"
case $backend in serial | callr) ;; *) # where there are tasks, the leak comes first by its growth
	fact d "first row" '.sites[0].function == "R_PollAsyncRd" and .sites[0].rank == 1' ;;
esac
fact d "psock_worker_loop: 512 bytes per task" "holds(\"psock_worker_loop\"; $tasks; 512 * $tasks)"
fact d "depths" '(sites("R_PollAsyncRd") | all(.depth == 7)) and (sites("psock_worker_loop") | all(.depth == 5))'
# R evaluates by byte code or not, by the JIT's choice: where the R stack is called from differs then.
fact d "few rows over all processes" 'sites("R_PollAsyncRd") | length <= 3'
fact d "the R call that led there" 'sites("R_PollAsyncRd")[0].r | .[0].call == "poll_async"
	and (.[1].call | IN("run_task", "FUN", "<anonymous>"))' # a task's function has a name only where it is called by one
fact d "C names" '[sites("R_PollAsyncRd")[0].native[:7][].function] == ["R_PollAsyncRd", "source_drain", "source_readable",
	"loop_dispatch", "loop_iterate", "loop_run", "asyncrd_poll"]'
fact d "module, file, line" 'sites("R_PollAsyncRd")[0] | (.module | endswith("asyncrd.so")) and (.file | endswith("asyncrd.c")) and .line > 0'
fact d "master" 'one("master") | .end_kind == "exit" and .end_code == 0'
fact d "only R is traced" 'all(.processes[]; .exe | endswith("/R"))'
fact d "every process is classified" 'all(.processes[]; .classified)'
# A stale word somewhere in a process may hide a block, by chance; never more.
fact d "both leaks are definite" '[sites("R_PollAsyncRd")[], sites("psock_worker_loop")[] | select(.kind != "definite") | .processes[]]
	| group_by(.id) | all((map(.blocks) | add) <= 1)'
fact d "nothing else of the module is lost" '[.sites[] | select(.kind == "definite" and (.module // "" | endswith("asyncrd.so")))
	| .function] | unique == ["R_PollAsyncRd", "psock_worker_loop"]'
fact d "nothing else is definite or unknown" '.totals.unknown.blocks == 0 and .totals.definite.blocks ==
	([sites("R_PollAsyncRd")[], sites("psock_worker_loop")[] | select(.kind == "definite") | .blocks] | add)'
fact d "nothing dropped" '[.processes[].dropped] | add == 0'
case $backend in
multisession)
	# One more R is there for a moment: parallelly asks it for the PID of a process that it starts.
	fact d "roles" 'process("psock") | length == 2'
	fact d "workers end by themselves" 'process("psock") | all(ended("exit"; 0))'
	fact d "both leak" "[sites(\"R_PollAsyncRd\")[0].processes[].blocks] | length == 2 and add == 2 * $tasks" ;;
psock)
	fact d "roles" '(process("psock") | length == 2) and (.processes | length == 3)'
	fact d "workers end by themselves" 'process("psock") | all(ended("exit"; 0))'
	fact d "both leak the same" "[sites(\"R_PollAsyncRd\")[0].processes[].blocks] == [$tasks, $tasks]" ;;
mclapply | forkcluster)
	fact d "roles" '(process("fork") | length == 2) and (.processes | length == 3)'
	fact d "forked from the master" 'one("master").id as $m | process("fork") | all(.forked_from == $m)'
	fact d "both leak the same" "[sites(\"R_PollAsyncRd\")[0].processes[].blocks] == [$tasks, $tasks]" ;;
serial)
	fact d "one process" '.processes | length == 1' ;;
callr)
	# processx forks the master and execs R: both images of a worker are there.
	fact d "two more" '[.processes[] | select(.image == 1 and .role == "other")] | length == 2 and all(ended("exit"; 0))' ;;
esac
case $backend in
psock | forkcluster | multisession)
	fact d "growth per task" 'sites("R_PollAsyncRd")[0].growth_per_task | .bytes == 2048 and .blocks == 2' ;;
mclapply) # a forked worker's life is one task, of 100 of ours
	fact d "growth per worker" 'sites("R_PollAsyncRd")[0].growth_per_task | .bytes == 204800 and .blocks == 200' ;;
esac

"$tool" report --blocks "$work/d" >"$work/out"
holds "table of blocks: size, depth, function" grep -Eq '1024 +7 +R_PollAsyncRd' "$work/out"
"$tool" report --by=rcall --format=csv "$work/d" >"$work/out"
holds "by R call" grep -q poll_async "$work/out"

run trace fixed Rscript "$job" --backend="$backend" --tasks=$tasks --polls=2 --fixed
same "fixed: status" 0 "$status"
holds "fixed: same output" cmp "$work/out.plain" "$work/out"
report fixed
fact fixed "fixed: no block left" 'blocks("R_PollAsyncRd") == 0 and blocks("psock_worker_loop") == 0'
fact fixed "fixed: every process is classified" 'all(.processes[]; .classified)'
fact fixed "fixed: nothing definite or unknown" '.totals.definite.blocks == 0 and .totals.unknown.blocks == 0'
fact fixed "fixed: nothing of the module but R's heap" \
	'[.sites[] | select((.module // "" | endswith("asyncrd.so")) and (.r_heap | not))] | length == 0'
run "$tool" diff --fail-on new "$work/d" "$work/fixed"
same "from leaking to fixed: nothing new" 0 "$status"
run "$tool" diff --fail-on new "$work/fixed" "$work/d"
same "from fixed to leaking: new" 1 "$status"
"$tool" report "$work/fixed" >"$work/out"
holds "fixed: no such row" sh -c "! grep -q -e R_PollAsyncRd -e psock_worker_loop '$work/out'"

finish
