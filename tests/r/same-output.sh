#!/bin/sh
# SPDX-License-Identifier: MIT
# What a script prints, warns and returns is the same with and without the preload.
. "$LT_SOURCE/tests/lib.sh"
needs Rscript
cd "$work"

compare() {
	name=$1
	shift
	run "$@"
	plain=$status
	cp out out.plain
	# "C stack usage N is too close to the limit": N depends on where the kernel put the stack.
	sed 's/stack usage *[0-9]*/stack usage N/' err >err.plain
	run trace "$name" "$@"
	sed 's/stack usage *[0-9]*/stack usage N/' err >err.traced
	same "$name: status" "$plain" "$status"
	holds "$name: output" cmp out.plain out
	holds "$name: messages" cmp err.plain err.traced
	holds "$name: a dump" [ "$(dumps "$name")" -ge 1 ]
}

compare quit Rscript -e 'cat("before\n"); quit(status = 3)'
compare error Rscript -e 'f <- function(x) stop("no good: ", x); f(1)'
compare warning Rscript -e 'warning("careful"); x <- as.integer("x"); message("done")'
compare many-warnings Rscript -e 'for (i in 1:60) warning("w", i)'
compare packages Rscript -e 'suppressMessages({library(stats4); library(splines)}); print(summary(lm(dist ~ speed, cars)))'
compare recursion Rscript -e 'f <- function(n) f(n + 1); tryCatch(f(1), error = function(e) cat("caught\n"))'
compare cstack Rscript -e 'f <- function(n) if (n) 1 + f(n - 1) else { g <- gc(); 0 }; options(expressions = 50000); cat(f(1000), "\n")'
compare finalizers Rscript -e 'e <- new.env(); invisible(reg.finalizer(e, function(x) cat("finalised\n"), onexit = TRUE))'
compare system Rscript -e 'cat(system("echo hello; exit 5"), system2("ls", "/", stdout = TRUE)[1], "\n")'
compare pipes Rscript -e 'cat(readLines(pipe("printf \"a\\nb\\n\"")), "\n")'
compare timeout Rscript -e 'cat(system("sleep 20", timeout = 1), "\n")'
compare mclapply-error Rscript -e 'r <- parallel::mclapply(1:4, function(i) if (i == 2) stop("two") else i, mc.cores = 2); str(r)'
compare mclapply-nopre Rscript -e 'print(unlist(parallel::mclapply(1:6, function(i) i^2, mc.cores = 2, mc.preschedule = FALSE)))'
compare mcparallel Rscript -e 'p <- parallel::mcparallel({Sys.sleep(0.1); 42}); print(unname(parallel::mccollect(p)))'
compare interrupt Rscript -e 'tryCatch({tools::pskill(Sys.getpid(), tools::SIGINT); Sys.sleep(2); cat("late\n")}, interrupt = function(i) cat("interrupted\n"))'
compare term Rscript -e 'tools::pskill(Sys.getpid(), tools::SIGTERM); Sys.sleep(5)'
compare stdin sh -c 'echo "cat(1 + 1, \"\\n\"); print(commandArgs())" | R --vanilla --no-echo'
compare regex Rscript -e 'print(gsub("(a+)b", "<\\1>", "aab ab b", perl = TRUE)); print(toupper("\u00e4")); print(sort(c("b", "A", "a")))'

# Memory that runs out is R's error, not ours.
compare memory sh -c 'ulimit -v 700000; exec Rscript -e "r <- tryCatch({x <- lapply(1:200, function(i) numeric(1e6)); 1}, error = function(e) {rm(list = ls()); cat(\"out of memory\\n\")})"'

compare rcache Rscript "$LT_SOURCE/examples/rcache/rcache.R" 20 2
report rcache
fact rcache "the only site that grows by more than a page: in R's heap, by its R call" '[.sites[] | select(.growth_per_task.bytes > 8000)]
	| length == 1 and .[0].growth_per_task == {"bytes": 80048, "blocks": 1} and (.[0].r | any(.call == "remember"))'
"$tool" report --by=rcall --top 1 "$work/rcache" >"$work/out"
holds "by R call, first row" grep -q remember "$work/out"

finish
