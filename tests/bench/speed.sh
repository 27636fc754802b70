#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What tracing costs, as a Markdown table: ratios to the untraced program, of instructions, CPU time (user and system, all
# processes) and wall time; the untraced ones' own figures beside them. usage: speed.sh [OPTION...]
#
#   --rows=A,B        of: W1 W2 W2-2 S1-serial S1-psock S1-mclapply S1-forkcluster S1-multisession S1-callr
#                     joins regex json models sqlite3 perl python3 memory fork start
#   --modes=A,B       of: exact no-verdict no-r sample dormant (untraced is always there)
#   --rounds=N        5; each runs all modes once, in turns; medians
#   --peers=no        without heaptrack, LeakSanitizer, memcheck, tcmalloc, jemalloc; those that are missing are named
#   --instructions=no, --time=no
#   --size=small      for time, too, the small sizes at which instructions are counted
#   --check           only the limits below: prints what is above, and the exit status says so
#
# Instructions are callgrind's, once per mode, for they hardly differ from run to run; of the S1 rows those of 50 tasks without the
# start. Of all processes; counted-fork.so keeps a
# fork child from taking its parent's counts along. With verdict=off, for a classifier is a copy, too, but not by fork(): it would
# begin with all of its parent's counts. In CPU time classifiers are in.
#
# R rows run R's own binary, for most peers cannot follow Rscript. Peers' ratios are to the untraced program as well, with glibc's
# malloc. heaptrack's instructions are those in the program, its output going to /dev/null; its CPU time is that of `heaptrack
# --record-only`, which interprets meanwhile, or with older versions that of `heaptrack --raw`, which does not. LeakSanitizer,
# tcmalloc and jemalloc's exact mode (jemalloc; with 512k the sampled one) are not counted, and a peer gets 60 s for a run.

[ -n "${LT_SOURCE:-}" ] || LT_SOURCE=$(cd "$(dirname "$0")/../.." && pwd)
LT_BUILD=${LT_BUILD:-$LT_SOURCE/build}
export LC_ALL=C.UTF-8
. "$LT_SOURCE/tests/lib.sh"
bench=$LT_BUILD/tests/bench
sources=$LT_SOURCE/tests/bench
needs awk

# ROW MODE LIMIT: of instructions; of `memory`, bytes per live block
limits='
W1 exact 1.05
W1 sample 1.003
W2 exact 3.0
W2 sample 1.06
S1 exact 1.02
memory exact 40
'

rows='W1 W2 W2-2 S1-serial S1-psock S1-mclapply S1-forkcluster S1-multisession S1-callr
	joins regex json models sqlite3 perl python3 memory fork start'
modes='exact no-verdict no-r sample dormant'
peers='heaptrack lsan memcheck tcmalloc jemalloc jemalloc-512k'
rounds=5 size=full instructions=yes time=yes check=
for argument; do
	value=$(printf %s "${argument#*=}" | tr , ' ')
	case $argument in
	--rows=*) rows=$value ;;
	--modes=*) modes=$value ;;
	--rounds=[1-9]*) rounds=$value ;;
	--peers=no) peers= ;;
	--peers=*) peers=$value ;;
	--instructions=no) instructions=no ;;
	--time=no) time=no ;;
	--size=small) size=small ;;
	--check) check=yes time=no peers= ;;
	--help) sed -n '/^# What/,/^$/s/^# \{0,1\}//p' "$0"; exit 0 ;;
	*) echo "speed.sh: unknown argument $argument; see --help" >&2; exit 2 ;;
	esac
done

say() { echo "speed.sh: $*" >&2; }
without() { say "without $1: $2"; echo "- without $1: $2" >>"$work/notes"; }
has() { case " $2 " in *" $1 "*) ;; *) return 1 ;; esac }
: >"$work/notes"
: >"$work/data"

# ------------------------------------------------------------------ what is there

library() { ldconfig -p 2>/dev/null | sed -n "s/^.*[[:space:]]$1 .*=> //p" | head -n 1; }

# Is there what the mode needs? An option that the library does not know is no mode.
there() {
	case $1 in
	exact | no-verdict | no-r | sample | dormant)
		options_of "$1"
		if LD_PRELOAD=$lib LEAKTRACE_OPTIONS="dir=$work/probe$option" /bin/true 2>&1 | grep -q LEAKTRACE_OPTIONS; then
			without "$1" "the library does not know its option (${option#:})"
			return 1
		fi
		;;
	heaptrack) command -v heaptrack >/dev/null || { without "$1" 'apt-get install heaptrack'; return 1; } ;;
	lsan) [ -n "$(library liblsan.so.0)" ] || { without "$1" 'apt-get install liblsan0'; return 1; } ;;
	memcheck) command -v valgrind >/dev/null || { without "$1" 'apt-get install valgrind'; return 1; } ;;
	tcmalloc) [ -n "$(library libtcmalloc.so.4)" ] || { without "$1" 'apt-get install libgoogle-perftools4'; return 1; } ;;
	jemalloc*)
		[ -n "$(library libjemalloc.so.2)" ] || { without "$1" 'apt-get install libjemalloc2'; return 1; }
		if LD_PRELOAD=$(library libjemalloc.so.2) MALLOC_CONF=prof:true /bin/true 2>&1 | grep -q prof; then
			without "$1" 'built without its profiler'
			return 1
		fi
		;;
	*) say "no mode $1"; exit 2 ;;
	esac
}

options_of() {
	case $1 in
	exact) option= ;;
	no-verdict) option=:verdict=off ;; # of instructions the same as exact
	no-r) option=:r_stacks=0 ;;
	sample) option=:sample=512k ;;
	dormant) option=:active=0 ;;
	esac
}

if [ "$instructions" = yes ] && { ! command -v valgrind >/dev/null || [ ! -e "$bench/counted-fork.so" ]; }; then
	instructions=no
	without instructions 'valgrind (with its headers when the project is built)'
fi
[ -z "$check" ] || [ "$instructions" = yes ] || [ "$rows" = memory ] || skip "no valgrind"

r=
if command -v R >/dev/null; then
	# What R's own start script would set.
	R CMD env | grep -E '^(R_HOME|R_SHARE_DIR|R_INCLUDE_DIR|R_DOC_DIR|LD_LIBRARY_PATH)=' >"$work/r-env"
	while IFS='=' read -r name value; do export "$name=$value"; done <"$work/r-env"
	r=$R_HOME/bin/exec/R
fi
heaptrack_only=--raw
if heaptrack --help 2>/dev/null | grep -q -e --record-only; then heaptrack_only=--record-only; fi
python=$(PATH=/usr/bin:/bin command -v python3) || python=

# ------------------------------------------------------------------ the rows

sized() { if [ "$scale" = full ]; then echo "$2"; else echo "$1"; fi; } # usage: sized SMALL FULL

r_row() { # usage: r_row SCRIPT ARGUMENT...
	script=$1
	shift
	[ -n "$r" ] || return 77
	in_mode "$r" --vanilla --no-echo -f "$sources/$script" --args "$@"
}

# Runs a row in $mode by $by, at $scale. Status 77: what it needs is not there.
run_row() {
	case $1 in
	W1) r_row vectors.R 5200 ;; # 2.2 million mallocs, whichever way they are measured: the start of R is a part of it
	W2) in_mode "$bench/churn" "$(sized 600000 10000000)" 100000 1 ;;
	W2-2) in_mode "$bench/churn" "$(sized 600000 10000000)" 100000 2 ;;
	S1-*) r_row backends.R "${1#S1-}" "${tasks:-$(sized 50 100)}" 4 ;;
	joins) r_row packages.R joins "$(sized 5 60)" ;;
	regex) r_row packages.R regex "$(sized 5 40)" ;;
	json) r_row packages.R json "$(sized 2 10)" ;;
	models) r_row packages.R models "$(sized 10 200)" ;;
	sqlite3) program sqlite3 :memory: "
		CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, amount REAL);
		WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < $(sized 20000 300000))
			INSERT INTO t SELECT n, 'customer ' || (n * 7919 % 5003), n * 1.5 FROM c;
		CREATE INDEX i ON t(name);
		SELECT count(*), sum(length(s)) FROM (SELECT group_concat(upper(name), ',') AS s FROM t GROUP BY id % 997 ORDER BY s);" ;;
	perl) program perl -e '
		for my $round (1 .. $ARGV[0]) {
			my %words;
			push @{ $words{"word" . ($_ * 7919 % 4001)} }, { id => $_, text => "x" x ($_ % 300) } for 1 .. 20000;
			my $n = 0;
			$n += length($_->{text}) for map { @{ $words{$_} } } sort keys %words;
			print "$n\n";
		}' "$(sized 3 30)" ;;
	python3) program "$python" -c '
import json, sys
for i in range(int(sys.argv[1])):
    rows = [{"id": k, "name": "n" * (k % 700), "tags": [str(k + j) for j in range(30)]} for k in range(3000)]
    text = json.dumps(rows)
    print(len(text), len(json.loads(text)), sum(len(bytearray(600 + k % 900)) for k in range(20000)))' "$(sized 3 30)" ;;
	*) say "no row $1"; exit 2 ;;
	esac
}

program() {
	command -v "$1" >/dev/null || return 77
	in_mode "$@"
}

# ------------------------------------------------------------------ one run

# Hands a command in $mode to $by. Peers that can't follow a program to its workers are left out there.
in_mode() {
	case $mode in
	exact | no-verdict | no-r | sample | dormant)
		options_of "$mode"
		# Not by the first image, which may be Valgrind's launcher.
		case $1 in "$r") option=$option:scope=r ;; *) option=$option:scope=all ;; esac
		[ "$by" != by_callgrind ] || option=$option:verdict=off
		$by "LD_PRELOAD=$lib$also" "LEAKTRACE_OPTIONS=dir=$work/dumps$option" "$@"
		;;
	untraced) $by "LD_PRELOAD=${also#:}" "$@" ;;
	*) case $now in S1-serial | [!S]*) ;; *) return 77 ;; esac ;;
	esac
	case $mode:$by in
	heaptrack:by_clock) $by heaptrack "$heaptrack_only" -o "$work/dumps/heaptrack" "$@" ;;
	heaptrack:*) # takes itself out of LD_PRELOAD in Valgrind's launcher
		heaptrack_command=$(command -v "$1")
		shift
		$by DUMP_HEAPTRACK_OUTPUT=/dev/null /lib64/ld-linux-x86-64.so.2 --preload "$(heaptrack_library)" "$heaptrack_command" "$@"
		;;
	lsan:by_clock) $by "LD_PRELOAD=$(library liblsan.so.0)" LSAN_OPTIONS=exitcode=0 "$@" ;;
	memcheck:by_clock) $by valgrind -q --leak-check=full --log-file=/dev/null "$@" ;;
	tcmalloc:by_clock) $by "LD_PRELOAD=$(library libtcmalloc.so.4)" "HEAPPROFILE=$work/dumps/tcmalloc" "$@" ;;
	jemalloc:by_clock) jemalloc 0 "$@" ;;
	jemalloc-512k:*) jemalloc 19 "$@" ;;
	lsan:* | memcheck:* | tcmalloc:* | jemalloc:*) return 77 ;; # do not work in Valgrind, or take too long
	esac
}

jemalloc() {
	sample=$1
	shift
	$by "LD_PRELOAD=$(library libjemalloc.so.2)$also" \
		"MALLOC_CONF=prof:true,prof_final:true,lg_prof_sample:$sample,prof_prefix:$work/dumps/jemalloc" "$@"
}

heaptrack_library() { find /usr/lib* /usr/local/lib* -name libheaptrack_preload.so 2>/dev/null | head -n 1; }

by_clock() {
	rm -f "$work/metered"
	patience=1200
	if has "$mode" "$peers"; then patience=60; fi
	timeout "$patience" "$bench/meter" "$work/metered" "$@" </dev/null >/dev/null 2>"$work/err" || return
	awk -v row="$now" -v mode="$mode" '{ print row, mode, "CPU", $2; print row, mode, "wall", $1 }' "$work/metered" >>"$work/data"
}

# Programs of R's start script and of system() whose descendants are of no interest need not be slowed down.
by_callgrind() {
	rm -rf "$work/counts"
	mkdir "$work/counts"
	# Workers of PSOCK clusters, nobody's children, must have written theirs: meter waits for them.
	timeout 1200 "$bench/meter" "$work/metered" valgrind -q --tool=callgrind --trace-children=yes \
		'--trace-children-skip=*/uname,*/sed,*/rm,*/dirname,*/basename' \
		--log-file=/dev/null "--callgrind-out-file=$work/counts/%p" env "$@" </dev/null >/dev/null 2>"$work/err" || return
	awk -v row="$now" -v mode="$mode" '
		$1 == "totals:" { n += $2 }
		END { if (!n) exit 1; printf "%s %s instructions %.0f\n", row, mode, n }' "$work"/counts/* >>"$work/data"
}

# usage: once ROW MODE WAY SCALE. What can't be run is said once and left out.
once() {
	now=$1 mode=$2 by=$3 scale=$4 status=0
	if grep -qx "$now $mode $by" "$work/left-out"; then return; fi
	also=
	[ "$by" = by_clock ] || also=:$bench/counted-fork.so
	rm -rf "$work/dumps"
	mkdir "$work/dumps"
	run_row "$now" || status=$?
	[ "$status" -eq 0 ] || echo "$now $mode $by" >>"$work/left-out"
	case $status in
	0) ;;
	124) without "$now $mode" 'takes too long' ;;
	77) [ "$mode" != untraced ] || without "$now" 'not installed' ;;
	*) without "$now $mode" "failed (${by#by_}): $(grep -v '^$' "$work/err" | tail -n 1)" ;;
	esac
}
: >"$work/left-out"

# ------------------------------------------------------------------ memory, forks, starts

median() { sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
traced() { # usage: traced OPTIONS PROGRAM ARGUMENT...
	traced_options=$1 traced_program=$2
	shift 2
	LD_PRELOAD=$lib LEAKTRACE_OPTIONS="dir=$work/dumps$traced_options" "$bench/$traced_program" "$@"
}

# Bytes per live block: the worst of all looks, for tables grow by leaps. The fixed part apart. And the longest malloc: where a table
# grows it is the same one in each run, for addresses are; all else is the machine's. So what counts is the longest that was as long
# in each of three runs, in CPU time.
memory() {
	blocks=$([ $size = full ] && [ -z "$check" ] && echo 10000000 || echo 1200000)
	same_addresses=
	if setarch -R true 2>/dev/null; then same_addresses='setarch -R'; fi
	for mode in untraced exact sample; do
		for run in 1 2 3; do
			rm -rf "$work/dumps"
			case $mode in
			untraced) $same_addresses "$bench/grow" $blocks 20000 cpu ;;
			exact) $same_addresses env LD_PRELOAD="$lib" LEAKTRACE_OPTIONS="dir=$work/dumps:verdict=off" "$bench/grow" $blocks 20000 cpu ;;
			sample) $same_addresses env LD_PRELOAD="$lib" LEAKTRACE_OPTIONS="dir=$work/dumps:verdict=off:sample=512k" "$bench/grow" $blocks 20000 cpu ;;
			esac >"$work/grow.$mode.$run"
			[ -z "$check" ] || break
		done
		cat "$work/grow.$mode".? | awk '$1 == "slow" { n[$2]++; if (!least[$2] || $3 < least[$2]) least[$2] = $3 }
			END { for (i in n) if (n[i] == 3 && least[i] > most) most = least[i]; print most + 0 }' >"$work/pause.$mode"
		cp "$work/grow.$mode.1" "$work/grow.$mode"
	done
	for mode in exact sample; do
		awk -v mode=$mode -v all=$blocks -v pause="$(cat "$work/pause.$mode")" -v was="$(cat "$work/pause.untraced")" '
			function ms(ns) { return ns ? sprintf("%.2f ms", ns / 1e6) : "below 0.02 ms" }
			FNR == NR { if ($1 == "memory") a[$2] = $3; next }
			$1 == "memory" && $2 == 0 { fixed = $3 - a[0] }
			$1 == "memory" && $2 > 0 { last = ($3 - a[$2] - fixed) / $2; if (last > worst) worst = last }
			END {
				printf "memory %s bytes %.1f\n", mode, worst
				printf "| %s: bytes per live block, at worst; at %d; fixed | %.1f; %.1f; %.0f KiB |\n", mode, all, worst, last, fixed / 1024
				printf "| %s: longest malloc of these, CPU time (untraced) | %s (%s) |\n", mode, ms(pause), ms(was)
			}' "$work/grow.untraced" "$work/grow.$mode" >"$work/memory"
		grep '^memory' "$work/memory" >>"$work/data"
		grep '^|' "$work/memory" >>"$work/more"
	done
}

# In turns, as the others; each run 5 forks. Without a classifier at the end of the run (its children, without blocks of their own, have
# none anyway): what the kernel had to free just before makes forks of the next run 5 ms faster, which was always the untraced one.
forks() {
	: >"$work/fork.untraced"
	: >"$work/fork.exact"
	for i in $(seq $((4 * rounds))); do
		"$bench/forkcost" 1000000 1000 5 >>"$work/fork.untraced"
		rm -rf "$work/dumps"
		traced :verdict=off forkcost 1000000 1000 5 >>"$work/fork.exact"
	done
	for column in 1 2; do
		printf '| %s, 1 million blocks of 1000 bytes: untraced, exact | %.2f ms, %.2f ms |\n' \
			"$([ $column = 1 ] && echo 'fork()' || echo 'fork() to the end of the child')" \
			"$(cut -d ' ' -f $column "$work/fork.untraced" | median | awk '{ print $1 / 1000 }')" \
			"$(cut -d ' ' -f $column "$work/fork.exact" | median | awk '{ print $1 / 1000 }')"
	done >>"$work/more"
}

starts() {
	traced :scope=r startcost 100 /bin/true >"$work/start"
	printf '| start and end of an image that is not traced: without, with the preload | %.2f ms, %.2f ms |\n' \
		"$(cut -d ' ' -f 1 "$work/start" | median | awk '{ print $1 / 1000 }')" \
		"$(cut -d ' ' -f 2 "$work/start" | median | awk '{ print $1 / 1000 }')" >>"$work/more"
}

# Instructions of 50 tasks of S1, without the start of R and its workers, which has nothing to do with the task: what 60 take more
# than 10. usage: tasks_once ROW MODE
tasks_once() {
	for tasks in 60 10; do once "$1" "$2" by_callgrind small; done
	tasks=
	awk -v row="$1" -v mode="$2" '
		$1 == row && $2 == mode && $3 == "instructions" { n[++count] = $4; next }
		{ print }
		END { if (count == 2) printf "%s %s instructions %.0f\n", row, mode, n[1] - n[2] }' "$work/data" >"$work/tasks"
	mv "$work/tasks" "$work/data"
}

# ------------------------------------------------------------------ all of it

found= tasks=
for mode in $modes $peers; do
	if there "$mode"; then found="$found $mode"; fi
done
: >"$work/more"
for name in $rows; do
	say "$name"
	mkdir -p "$work/dumps"
	case $name in
	memory) memory; continue ;;
	fork) forks; continue ;;
	start) starts; continue ;;
	esac
	if [ "$time" = yes ]; then
		once "$name" untraced by_clock $size
		sed -i "/^$name untraced/d" "$work/data" # it filled caches
	fi
	if [ "$instructions" = yes ]; then
		for mode in untraced $found; do
			[ "$mode" != no-verdict ] || continue
			if grep -q "^$name untraced" "$work/left-out"; then break; fi
			case $name in
			S1-*) tasks_once "$name" "$mode" ;;
			*) once "$name" "$mode" by_callgrind small ;;
			esac
		done
	fi
	if grep -q "^$name untraced" "$work/left-out"; then continue; fi
	[ "$time" = yes ] || continue
	for round in $(seq "$rounds"); do
		for mode in untraced $found; do once "$name" "$mode" by_clock $size; done
	done
done

# usage: table MODE...: rows in the order of their data
table() {
	awk -v modes="$*" '
		function median(key,    i, j, v, n, x) {
			n = split(values[key], v)
			for (i = 2; i <= n; i++) {
				x = v[i]
				for (j = i - 1; j > 0 && v[j] + 0 > x + 0; j--) v[j + 1] = v[j]
				v[j + 1] = x
			}
			return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
		}
		$1 == "memory" { next }
		!(($1, $3) in seen) { seen[$1, $3] = 1; line[++lines] = $1 SUBSEP $3 }
		{ values[$1 SUBSEP $3 SUBSEP $2] = values[$1 SUBSEP $3 SUBSEP $2] " " $4 }
		END {
			n = split(modes, mode)
			head = "| | | untraced |"; rule = "|---|---|--:|"
			for (i = 1; i <= n; i++) { head = head " " mode[i] " |"; rule = rule "--:|" }
			if (lines) { print head; print rule }
			for (l = 1; l <= lines; l++) {
				split(line[l], part, SUBSEP)
				base = median(line[l] SUBSEP "untraced")
				printf "| %s | %s | %s |", part[1], part[2], part[2] == "instructions" ? sprintf("%.1f m", base / 1e6) : sprintf("%.2f s", base)
				for (i = 1; i <= n; i++) {
					key = line[l] SUBSEP mode[i]
					if (key in values && base > 0)
						printf part[2] == "instructions" ? " %.4f |" : " %.3f |", median(key) / base
					else
						printf " |"
				}
				print ""
			}
		}' "$work/data"
}
# shellcheck disable=SC2086 # a list of words
table $found
if [ -s "$work/more" ]; then
	printf '\n| | |\n|---|--:|\n'
	cat "$work/more"
fi
if [ -s "$work/notes" ]; then
	echo
	sort -u "$work/notes"
fi
[ -n "$check" ] || exit 0

for name in $rows; do
	for mode in $found; do
		limit=$(echo "$limits" | awk -v row="${name%%-[!0-9]*}" -v mode="$mode" '$1 == row && $2 == mode { print $3 }')
		[ -n "$limit" ] || continue
		figure=$(awk -v row="$name" -v mode="$mode" '
			$1 == row && $2 == mode { a = $4; seen = 1 }
			$1 == row && $2 == "untraced" { b = $4 }
			END { if (seen) printf "%.6f", row == "memory" ? a : a / b }' "$work/data")
		holds "$name $mode: $figure, at most $limit" awk -v a="${figure:-x}" -v b="$limit" 'BEGIN { exit !(a + 0 > 0 && a + 0 <= b + 0) }'
	done
done
finish
