#!/bin/sh
# SPDX-License-Identifier: MIT
# Long runs, by hand: memory, descriptors and dump of the first process stay flat. Each is looked at every 2 s, from when it has made
# the file $READY if it says so; compared are the first fifth of what was seen and the end.
# usage: long.sh [ROW...], of: forks allocations threads mclapply workers. Some minutes each.
[ -n "${LT_SOURCE:-}" ] || LT_SOURCE=$(cd "$(dirname "$0")/../.." && pwd)
LT_BUILD=${LT_BUILD:-$LT_SOURCE/build}
. "$LT_SOURCE/tests/lib.sh"
[ $# -gt 0 ] || set -- forks allocations threads mclapply workers

# usage: watch ROW COMMAND...
watch() {
	row=$1
	shift
	rm -rf "$work/$row"
	case $row in workers) rm -f "$work/ready" ;; *) : >"$work/ready" ;; esac
	(
		export READY="$work/ready" LD_PRELOAD="$lib" LEAKTRACE_OPTIONS="dir=$work/$row"
		exec "$@"
	) >"$work/$row.out" 2>"$work/$row.err" &
	pid=$!
	: >"$work/$row.seen"
	sleep 1
	while kill -0 $pid 2>/dev/null; do
		dump=$(find "$work/$row" -name "*-$pid-*.ltd" -exec stat -c %s {} + 2>/dev/null | sort -n | tail -n 1)
		[ ! -e "$work/ready" ] || awk -v fds="$(find /proc/$pid/fd 2>/dev/null | wc -l)" -v dump="${dump:-0}" '
			$1 == "RssAnon:" { print $2, fds, dump / 1024 }' /proc/$pid/status >>"$work/$row.seen" 2>/dev/null || :
		sleep 2
	done
	status=0
	wait $pid || status=$?
	same "$row: status" 0 "$status"
	same "$row: silent" '' "$(cat "$work/$row.err")"
	awk -v row="$row" '
		{ for (i = 1; i <= 3; i++) v[NR, i] = $i }
		END {
			first = int(NR / 5) + 1
			printf "| %s | %d KiB, %d KiB | %d, %d | %d KiB, %d KiB | %d |\n", row, v[first, 1], v[NR, 1], v[first, 2], v[NR, 2], v[first, 3], v[NR, 3], NR
			exit v[NR, 1] > 1.1 * v[first, 1] + 4096 || v[NR, 2] > v[first, 2] + 3 || v[NR, 3] > v[first, 3] + 1024
		}' "$work/$row.seen" >"$work/$row.line" || bad "$row: not flat"
	cat "$work/$row.line"
}

echo '| run | private memory: after a fifth, at the end | descriptors | dump | looks |'
echo '|---|---|---|---|--:|'
for row; do
	case $row in
	forks) # 10,000
		watch forks "$targets/hurts" idle-forks 10000
		same "forks: dumps" 10001 "$(dumps forks)" ;;
	allocations) watch allocations "$LT_BUILD/tests/bench/churn" 1000000000 100000 1 ;;
	threads) watch threads "$targets/threads" exchange 8 20000000 ;;
	mclapply) # 2,000 rounds of 4 workers
		watch mclapply Rscript --vanilla -e 'for (i in 1:2000) stopifnot(length(parallel::mclapply(1:4, function(j) sum(rnorm(1000)), mc.cores = 4)) == 4)' ;;
	workers) # 24 at once, 20,000 tasks
		watch workers Rscript --vanilla -e 'cl <- parallel::makePSOCKcluster(24); invisible(file.create(Sys.getenv("READY"))); for (i in 1:100) x <- parallel::clusterApply(cl, 1:200, function(i) sum(rnorm(1e4))); parallel::stopCluster(cl)' ;;
	esac
	rm -rf "$work/$row"
done
finish
