#!/bin/sh
# SPDX-License-Identifier: MIT
# R as people use it: in a terminal, interrupted, signalled, nested, building and checking packages. What scripts print is in
# tests/r/same-output.sh.
. "$LT_SOURCE/tests/unhurt/lib.sh"
needs Rscript R
patience=240 options=scope=r row_top=300
export R_LIBS_USER="$work/library" HISTFILE="$work/history" TERM=dumb
mkdir "$work/library"
cd "$work" # SIGUSR1 makes R save its image
jq_functions="$jq_functions"'
	def images($name): [.processes[] | select(.exe | endswith("/" + $name))] | length;
'
# Times, addresses and temporary names differ natively, too.
cat >"$work/as-ever" <<'E2'
s/0x[0-9a-f]\{6,\}/0x/g
s/Rtmp[A-Za-z0-9]*/Rtmp/g
s/\[[0-9]*[ms]\/[0-9]*[ms]\]//g
s/ ([0-9.]*s)//g
s/file[0-9a-f]\{8,\}/file/g
s/row[0-9]*-//g
E2

part "R in a terminal"
if command -v script >/dev/null; then
	# usage: terminal INPUT [COMMAND]: gives the input to a terminal, a line when R asks for it; \003 is Ctrl-C
	cat >"$work/terminal" <<'E2'
input=$1
shift
{
	sleep 1.5
	printf "$input" | while IFS= read -r line; do
		case $line in
		sleep*) sleep 0.7; continue ;;
		CTRL-C) printf '\003' ;;
		*) printf '%s\n' "$line" ;;
		esac
		sleep 0.1
	done
	sleep 0.3
} | script -qec "${*:-R --vanilla -q}" /dev/null | tr -d '\r' | sed 's/\x1b\[[0-9;?]*[a-zA-Z]//g'
E2
	row 'interactive R: values, errors, quit with 7' 'images("R") == 1 and any(.processes[]; ended("exit"; 7))' \
		sh "$work/terminal" 'x <- 6 * 7\nx\nstop("no")\nf <- function() g()\ng <- function() stop("deep")\nf()\ntraceback()\nq(status = 7)\n'
	row 'Ctrl-C in a sleep' 'images("R") == 1' sh "$work/terminal" 'Sys.sleep(30)\nsleep\nCTRL-C\nsleep\ncat("on", 1 + 1)\nq()\n'
	row 'Ctrl-C in a loop that allocates' 'images("R") == 1' \
		sh "$work/terminal" 'repeat x <- lapply(1:100, function(i) numeric(i))\nsleep\nCTRL-C\nsleep\ncat("on", 1 + 1)\nq()\n'
	row 'Ctrl-C at the prompt, and half a line' 'images("R") == 1' sh "$work/terminal" 'cat("a")\nCTRL-C\nsleep\ncat("on", 1 + 1)\nq()\n'
	row 'browser(), readline(), menu()' 'images("R") == 1' \
		sh "$work/terminal" 'f <- function(a) { browser(); a + 1 }\nf(1)\na\nc\nn <- readline("name? ")\nme\nn\nmenu(c("x", "y"))\n2\nq()\n'
	row 'no tty history, readline off' 'images("R") == 1' sh "$work/terminal" '1 + 1\nq()\n' R --vanilla -q --no-readline
else
	left_out 'interactive R' 'no script(1)'
fi

part "Signals to R"
# usage: signalled SIGNAL CODE
cat >"$work/signalled" <<'E2'
Rscript --vanilla -e "cat('on\n'); $2" >"$3" 2>&1 &
pid=$!
tries=0
until grep -q on "$3" 2>/dev/null; do sleep 0.05; tries=$((tries + 1)); [ $tries -lt 200 ] || break; done
sleep 0.5
kill -$1 $pid
status=0
wait $pid || status=$?
sed "s/0x[0-9a-f]*/0x/" "$3"
rm "$3"
exit $status
E2
waits='Sys.sleep(20); cat("late\n")'
for name in INT TERM HUP USR1 USR2 QUIT ABRT SEGV PIPE ALRM; do
	row "SIG$name in a sleep" 'images("R") == 1' sh "$work/signalled" $name "$waits" "$work/signalled.out"
done
loops='for (i in 1:1e9) x <- lapply(1:100, function(i) numeric(i))'
for name in INT TERM; do
	row "SIG$name in a loop that allocates" 'images("R") == 1' sh "$work/signalled" $name "$loops" "$work/signalled.out"
done
# R's handler of SIGUSR1 saves the image and exits at once. Natively, too, R ignores it in a collection, with a message
# (R 4.2.2, src/main/errors.c: onsigusr1), and glibc may abort when it comes in a malloc: so it is sent again, to a new R,
# until one has ended. What natively never happens is an end of the row.
cat >"$work/until-it-ends" <<'E2'
ignored='^interrupts suspended; signal ignored' corrupt='^Fatal glibc error: malloc\|^malloc()\|^corrupted '
for go in 1 2 3 4 5 6 7 8 9 10 11 12; do
	Rscript --vanilla -e "cat('on\n'); $1" >"$2" 2>&1 &
	pid=$!
	until grep -q on "$2"; do sleep 0.05; done
	sleep 0.5
	kill -USR1 $pid
	waited=0
	while [ $waited -lt 600 ] && kill -0 $pid && ! grep -q "$ignored" "$2"; do
		sleep 0.05
		waited=$((waited + 1))
	done
	kill -KILL $pid && [ $waited = 600 ] && echo "no end within 30 s" && exit 1
	status=0
	wait $pid || status=$?
	if grep -q "$ignored" "$2" || { [ $status = 134 ] && grep -q "$corrupt" "$2"; }; then continue; fi
	cat "$2"
	exit $status
done 2>/dev/null
echo "no end in 12 goes"
exit 1
E2
row "SIGUSR1 in a loop that allocates, until R does not ignore it" 'images("R") >= 1' sh "$work/until-it-ends" "$loops" "$work/signalled.out"
row 'SIGUSR1 with .Last and a finalizer' 'images("R") == 1' sh "$work/signalled" USR1 \
	".Last <- function() cat('last\n'); e <- new.env(); reg.finalizer(e, function(e) cat('final\n'), TRUE); $waits" "$work/signalled.out"
row 'kill -9' 'images("R") == 1' sh "$work/signalled" KILL "$waits" "$work/signalled.out"

part "Workers in workers"
cat >"$work/nested.R" <<'E2'
cluster <- parallel::makePSOCKcluster(2)
deep <- function(i) unlist(parallel::mclapply(1:2, function(j) {
  as.integer(system(paste0(file.path(R.home("bin"), "Rscript"), " --vanilla -e 'cat(", i * 10 + j, ")'"), intern = TRUE))
}, mc.cores = 2))
environment(deep) <- globalenv()
print(unlist(parallel::clusterApply(cluster, 1:2, deep)))
parallel::stopCluster(cluster)
E2
row 'PSOCK workers that call mclapply that calls system("Rscript")' 'images("R") == 11' Rscript --vanilla "$work/nested.R"
row 'mclapply in mclapply' 'images("R") == 7' Rscript --vanilla -e \
	'print(unlist(parallel::mclapply(1:2, function(i) sum(unlist(parallel::mclapply(1:2, function(j) i * j, mc.cores = 2))), mc.cores = 2)))'
row 'a worker that dies by kill -9' 'images("R") == 3' Rscript --vanilla -e \
	'r <- parallel::mclapply(1:2, function(i) if (i == 2) tools::pskill(Sys.getpid(), 9) else i, mc.cores = 2); str(r[[1]])'
row 'a cluster that is not stopped' 'images("R") >= 1' Rscript --vanilla -e 'x <- parallel::makePSOCKcluster(1); print(parallel::clusterCall(x, sum, 1, 2))'
row 'fork cluster that is not stopped' 'images("R") >= 2' Rscript --vanilla -e 'x <- parallel::makeForkCluster(1); print(parallel::clusterCall(x, sum, 1, 2))'

if unshare --pid --fork --mount-proc true 2>/dev/null; then
	row 'R as process 1 of a container, mclapply' 'images("R") == 3 and all(.processes[]; .end_kind != "unknown")' \
		unshare --pid --fork --mount-proc Rscript --vanilla -e 'cat(Sys.getpid(), unlist(parallel::mclapply(1:2, function(i) i^2, mc.cores = 2)), "\n")'
	row 'likewise, it gets SIGTERM, which kills none' 'images("R") >= 1' \
		unshare --pid --fork --mount-proc Rscript --vanilla -e 'tools::pskill(Sys.getpid(), 15); Sys.sleep(0.2); cat("on\n")'
else
	left_out 'R as process 1 of a container' 'no PID name spaces here'
fi

part "Tools of R"
mkdir -p "$work/package/R" "$work/package/src" "$work/package/man" "$work/package/tests"
cat >"$work/package/DESCRIPTION" <<'E2'
Package: unhurt
Title: A Package to be Checked
Version: 1.0
Authors@R: person("A", "Person", email = "a@example.com", role = c("aut", "cre"))
Description: Calls a function in C, so that there is something to be compiled and checked.
License: GPL-2
Encoding: UTF-8
E2
printf 'useDynLib(unhurt, C_twice = twice)\nexport(twice)\n' >"$work/package/NAMESPACE"
printf 'twice <- function(x) .Call(C_twice, as.numeric(x))\n' >"$work/package/R/twice.R"
printf '#include <R.h>\n#include <Rinternals.h>\nSEXP twice(SEXP x)\n{\n\tSEXP y = PROTECT(allocVector(REALSXP, XLENGTH(x)));\n\tfor (R_xlen_t i = 0; i < XLENGTH(x); i++)\n\t\tREAL(y)[i] = 2 * REAL(x)[i];\n\tUNPROTECT(1);\n\treturn y;\n}\n' >"$work/package/src/twice.c"
printf '\\name{twice}\n\\alias{twice}\n\\title{Twice}\n\\description{Twice as much.}\n\\usage{twice(x)}\n\\arguments{\\item{x}{numbers}}\n\\value{Numbers.}\n\\examples{twice(1:3)}\n' \
	>"$work/package/man/twice.Rd"
printf 'library(unhurt)\nstopifnot(twice(2) == 4)\nprint(twice(1:3))\n' >"$work/package/tests/twice.R"
cat >"$work/tool" <<'E2'
cd "$1"
shift
status=0
"$@" >tool.out 2>&1 || status=$?
sed -f as-ever tool.out
exit $status
E2
as_ever() { # usage: as_ever TEXT FACT COMMAND...
	as_ever_text=$1 as_ever_fact=$2
	shift 2
	row "$as_ever_text" "$as_ever_fact" sh "$work/tool" "$work" "$@"
}
as_ever 'R CMD build' 'images("R") >= 1' R CMD build package
as_ever 'R CMD INSTALL' 'images("R") >= 1' R CMD INSTALL --preclean --library="$work/library" package
as_ever 'R CMD check' 'images("R") >= 2' R CMD check --no-manual --library="$work/library" unhurt_1.0.tar.gz
as_ever 'R CMD SHLIB' 'images("R") >= 1' R CMD SHLIB --preclean -o twice.so package/src/twice.c
printf 'x <- rnorm(10)\nlength(x)\n' >batch.R
as_ever 'R CMD BATCH' 'images("R") == 1' sh -c 'R CMD BATCH --vanilla --no-timing batch.R batch.out && cat batch.out'
as_ever 'Rprof, tracemem, gctorture' 'images("R") == 1' Rscript --vanilla -e \
	'Rprof("p"); x <- sapply(1:20000, function(i) mean(rnorm(20))); Rprof(NULL); invisible(summaryRprof("p")); gctorture(TRUE); y <- paste("a", 1:3); gctorture(FALSE); print(y)'
as_ever 'Rprofmem' 'images("R") == 1' Rscript --vanilla -e 'if (capabilities("profmem")) { Rprofmem("m", threshold = 1e5); x <- numeric(1e5); Rprofmem(NULL); cat(length(readLines("m")), "\n") }'

finish
