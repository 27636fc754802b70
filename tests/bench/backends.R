# SPDX-License-Identifier: MIT
# S1: the same job on each of R's parallel back ends. usage: backends.R psock|mclapply|forkcluster|multisession|callr|serial
# [TASKS [WORKERS [NUMBERS]]]; status 77: the package is not there.
arguments <- commandArgs(TRUE)
number <- function(i, default) if (is.na(arguments[i])) default else as.numeric(arguments[i])
tasks <- seq_len(number(2, 100))
workers <- number(3, 4)
numbers <- number(4, 1e6)
needs <- function(package) if (!requireNamespace(package, quietly = TRUE)) quit(status = 77)

task <- function(i, numbers) {
  mat <- matrix(rnorm(numbers), nrow = 1000)
  sum(mat^2) + i
}
on_cluster <- function(cluster) {
  on.exit(parallel::stopCluster(cluster))
  parallel::clusterApply(cluster, tasks, task, numbers)
}

run <- list(
  serial = function() lapply(tasks, task, numbers),
  psock = function() on_cluster(parallel::makePSOCKcluster(workers)),
  forkcluster = function() on_cluster(parallel::makeForkCluster(workers)),
  mclapply = function() parallel::mclapply(tasks, task, numbers, mc.cores = workers),
  multisession = function() {
    needs("future")
    future::plan(future::multisession, workers = workers)
    on.exit(future::plan(future::sequential))
    start <- function(i) future::future(task(i, numbers), seed = NULL, globals = list(task = task, i = i, numbers = numbers))
    lapply(lapply(tasks, start), future::value)
  },
  callr = function() {
    needs("callr")
    jobs <- lapply(split(tasks, rep_len(seq_len(workers), length(tasks))), function(share) {
      callr::r_bg(function(share, task, numbers) lapply(share, task, numbers), list(share, task, numbers))
    })
    unlist(lapply(jobs, function(job) { job$wait(); job$get_result() }))
  }
)
results <- unlist(run[[arguments[1]]]())
stopifnot(length(results) == length(tasks))
