# SPDX-License-Identifier: MIT
#
# A PSOCK worker that grows without any C code of its own: each task puts its result into a cache that nobody empties.
#
#   LD_PRELOAD=$PWD/build/src/libleaktrace.so Rscript examples/rcache/rcache.R
#   build/tools/leaktrace report --by=rcall
#
# The memory is R's own, so every C frame is R's; the R calls name the culprit: remember(), 80048 bytes per task (a vector
# of 10000 doubles and its header). What warm_up() keeps is start-up memory: it does not grow and ranks below.
# usage: Rscript rcache.R [TASKS [WORKERS]]

arguments <- suppressWarnings(as.integer(commandArgs(TRUE)))
if (anyNA(arguments) || any(arguments < 1L)) {
  cat("usage: Rscript rcache.R [TASKS [WORKERS]], numbers from 1\n", file = stderr())
  quit(save = "no", status = 2L)
}
tasks <- if (length(arguments) >= 1L) arguments[1] else 40L
workers <- if (length(arguments) >= 2L) arguments[2] else 2L

warm_up <- function() {
  assign("model", matrix(0.5, 500, 500), envir = globalenv())
  assign("cache", new.env(), envir = globalenv())
  remember <- function(key, n) assign(key, numeric(n), envir = get("cache", envir = globalenv()))
  environment(remember) <- globalenv()
  assign("remember", remember, envir = globalenv())
  NULL
}
environment(warm_up) <- globalenv()

task <- function(i) {
  remember(paste0("result", i), 10000)
  sum(model) + i
}
environment(task) <- globalenv()

cluster <- parallel::makePSOCKcluster(workers)
invisible(parallel::clusterCall(cluster, warm_up))
sums <- unlist(parallel::clusterApply(cluster, seq_len(tasks), task))
parallel::stopCluster(cluster)
cat(sprintf("%d tasks: sum %.0f\n", tasks, sum(sums)))
