#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Option check on as much as possible: how many native stacks were compared with libunwind's, how many R stacks with a full walk's,
# and how many of them differ. usage: judge.sh [OPTION...] [R-TESTS-DIR]; prints a table, a line for each row; status 1 if any
# stack differs or a row was not compared at all.
#
#   R-TESTS-DIR       directory `tests` of R's sources: runs R's own regression tests, too
#   --rows=A,B        of: adversarial exceptions churn threads R packages backends calls, and regression
#   --times=N         1; programs that can do more of the same do N times as much
#   --check=N         3; only every Nth stack of reg-packages, which allocates more than R's other tests together
#
# R's tests run as its Makefile runs them, one after another; whether they pass is not looked at, for some want files that are not
# installed.

[ -n "${LT_SOURCE:-}" ] || LT_SOURCE=$(cd "$(dirname "$0")/../.." && pwd)
LT_BUILD=${LT_BUILD:-$LT_SOURCE/build}
export LC_ALL=C.UTF-8
. "$LT_SOURCE/tests/lib.sh"
bench=$LT_BUILD/tests/bench
sources=$LT_SOURCE/tests/bench
needs jq awk timeout

rows='adversarial exceptions churn threads R packages backends calls' times=1 check=3 r_tests=
for argument; do
	case $argument in
	--rows=*) rows=$(printf %s "${argument#*=}" | tr , ' ') ;;
	--times=[1-9]*) times=${argument#*=} ;;
	--check=[1-9]*) check=${argument#*=} ;;
	--help) sed -n '/^# Option/,/^$/s/^# \{0,1\}//p' "$0"; exit 0 ;;
	-*) echo "judge.sh: unknown argument $argument; see --help" >&2; exit 2 ;;
	*) r_tests=$(cd "$argument" && pwd) && [ -e "$r_tests/reg-tests-1a.R" ] ||
		{ echo "judge.sh: no tests of R in $argument" >&2; exit 2; }
		rows="$rows regression" ;;
	esac
done
if ! command -v Rscript >/dev/null; then
	echo "judge.sh: without R" >&2
	rows=$(printf '%s\n' $rows | grep -E '^(adversarial|exceptions|churn|threads)$') || exit 77
fi

# Runs a program; its stacks count for the row, whatever comes of the program. usage: judge COMMAND...
judge() {
	number=$((number + 1))
	timeout -k 5 $limit env LD_PRELOAD="$lib" \
		LEAKTRACE_OPTIONS="dir=$work/$row.$number:check=$n:scope=$scope:verdict=off:max_size=1g" "$@" </dev/null >/dev/null 2>&1 || :
	count "$work/$row.$number"
}

# Adds up the session in a directory, and removes it.
count() {
	"$tool" report --format=json --kind=definite "$1" 2>/dev/null | jq -r '[.processes[] | [.checked_stacks, .wrong_stacks,
		.checked_r_stacks, .wrong_r_stacks, .allocations, .dropped]] | transpose | map(add) | @tsv' >>"$work/row.$row" || :
	rm -rf "$1"
}

r_script() { judge Rscript --vanilla "$@"; }

run_row() {
	row=$1 number=0 n=1 limit=600 scope=auto
	: >"$work/row.$row"
	case $row in
	adversarial)
		for program in jumps unwinding moved chains family kept dormant operators own-operators counters; do
			[ ! -x "$targets/$program" ] || judge "$targets/$program"
		done
		for kind in fork _Fork syscall clone nested many; do
			judge "$targets/forks" $kind
		done
		for kind in chain fork-exec-fork vfork; do
			judge "$targets/execs" $kind
		done
		limit=$((30 * times))
		judge "$targets/churn" # runs until it is killed
		judge "$targets/reload" "$targets/plugin_first.so" "$targets/plugin_second.so"
		for kind in same-place race; do
			judge "$targets/loader" $kind "$targets/plugin_frame_first.so" "$targets/plugin_frame_second.so"
		done
		judge "$targets/loader" memory "$targets/plugin_frame_first.so"
		# Not small-stack: libunwind needs more.
		for kind in sigsuspend trap fork-in-handler fork-in-malloc large-environment 'coroutines 0' 'coroutines 8'; do
			judge "$targets/hurts" $kind
		done
		for i in 1 2 3 4 5 6 7 8 9; do
			judge "$targets/hurts" exit-in-handler $i
			judge "$targets/hurts" parked $i
		done
		judge "$targets/thread-fork" 30
		;;
	exceptions)
		[ ! -x "$targets/throws" ] || judge "$targets/throws" $((50000 * times))
		! command -v Rscript >/dev/null || [ ! -e "$targets/rthrow.so" ] ||
			r_script -e "dyn.load('$targets/rthrow.so'); for (i in 1:10) .Call('rthrow', $((20000 * times))L)"
		;;
	churn) judge "$bench/churn" $((1000000 * times)) 10000 ;;
	threads) judge "$bench/churn" $((300000 * times)) 10000 2 ;;
	R) r_script "$sources/vectors.R" $((2000 * times)) ;;
	packages)
		for work_of in joins regex json models; do
			r_script "$sources/packages.R" $work_of $((4 * times))
		done
		;;
	backends)
		for backend in serial psock mclapply forkcluster multisession callr; do
			r_script "$sources/backends.R" $backend 20 2 10000
		done
		r_script "$LT_SOURCE/examples/rcache/rcache.R" 20 2
		;;
	calls) r_script -e 'source(commandArgs(TRUE), keep.source = TRUE)' "$LT_SOURCE/tests/r/stacks.R" ;;
	regression) regression_tests ;;
	*) echo "judge.sh: no row $row" >&2; exit 2 ;;
	esac
	awk -v row="$row" -v status="$(wc -l <"$work/row.$row") programs" '
		{ for (i = 1; i <= 6; i++) sum[i] += $i }
		END { printf "| %s | %s | %d | %d | %d | %d | %d | %d |\n", row, status, sum[1], sum[2], sum[3], sum[4], sum[5], sum[6] }' \
		"$work/row.$row" | tee -a "$work/table"
}

# Each in a copy of its own, for some write where they are.
regression_tests() {
	limit=1800 scope=r
	cp -r "$r_tests" "$work/tests"
	for source in isas-tests no-segfault; do
		[ ! -e "$work/tests/$source.Rin" ] || (cd "$work/tests" && R --vanilla --no-echo <$source.Rin >/dev/null 2>&1) || :
	done
	for file in "$work/tests"/*.R; do
		name=$(basename "$file" .R)
		case $name in
		internet* | libcurl | CRANtools | reg-large | reg-win | gct-foot) continue ;; # the network, 10 GB, Windows, a tail of others
		esac
		(
			cp -r "$work/tests" "$work/copy"
			cd "$work/copy"
			language=en
			case $name in
			reg-translation) language=fr ;;
			utf8* | reg-plot-latin1) ;;
			*) LC_ALL=C ;;
			esac
			[ $name != reg-packages ] || n=$check
			export LC_ALL LANGUAGE=$language SRCDIR=. R_DEFAULT_PACKAGES= TZ=UTC
			judge sh -c 'exec R --vanilla <"$0"' "$name.R"
		)
		rm -rf "$work/copy"
	done
}

echo '| row | | native stacks | differ | R stacks | differ | allocations | dropped |'
echo '|---|---|---|---|---|---|---|---|'
for row in $rows; do
	run_row "$row"
done
awk -F'|' '
	{ for (i = 4; i <= 9; i++) sum[i] += $i; if ($4 + 0 == 0) idle = idle " " $2 }
	END {
		printf "| all | | %d | %d | %d | %d | %d | %d |\n", sum[4], sum[5], sum[6], sum[7], sum[8], sum[9]
		if (idle != "") print "not compared at all:" idle
		exit !(idle == "" && sum[4] > 0 && sum[5] + sum[7] == 0)
	}' "$work/table"
