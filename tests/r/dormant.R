# SPDX-License-Identifier: MIT
# Two workers, whose recording is switched from outside. On stderr: their PIDs, then the name of each phase when it is over; a line
# from stdin begins the next one. Each phase runs 20 tasks on each worker, which poll asyncrd once, in an R function poll_PHASE().
# The last one computes on the second worker alone, from the time there is FLAG.on until there is FLAG.off, and leaks in one poll of
# 100. usage: dormant.R psock|fork FLAG
backend <- commandArgs(TRUE)[1]
module <- Sys.getenv("ASYNCRD_MODULE")
dyn.load(module) # for forked workers; the others load it in their first task
say <- function(...) cat(..., "\n", file = stderr())
lines <- file("stdin", "r")
wait <- function() readLines(lines, 1)

# The cluster calls a task's function by no name.
before <- function(task, module) {
  if (!is.loaded("asyncrd_poll", PACKAGE = "asyncrd")) dyn.load(module)
  poll_before <- function() .Call("asyncrd_poll", task, 1, FALSE, PACKAGE = "asyncrd")
  poll_before()
}
during <- function(task, module) {
  poll_during <- function() .Call("asyncrd_poll", task, 1, FALSE, PACKAGE = "asyncrd")
  poll_during()
}
after <- function(task, module) {
  poll_after <- function() .Call("asyncrd_poll", task, 1, FALSE, PACKAGE = "asyncrd")
  poll_after()
}
busy <- function(flag) {
  poll_busy <- function(fixed) .Call("asyncrd_poll", 1, 1, fixed, PACKAGE = "asyncrd")
  polls <- 0
  file.create(paste0(flag, ".on"))
  while (!file.exists(paste0(flag, ".off"))) {
    for (i in 1:100) poll_busy(i > 1)
    polls <- polls + 1
  }
  polls
}

cluster <- if (backend == "psock") parallel::makePSOCKcluster(2) else parallel::makeForkCluster(2)
say("pids", unlist(parallel::clusterCall(cluster, Sys.getpid)))
for (phase in c("before", "during", "after")) {
  wait()
  task <- get(phase)
  environment(task) <- globalenv()
  parallel::clusterApply(cluster, 1:40, task, module)
  say(phase)
}
wait()
say("busy", parallel::clusterCall(cluster[2], busy, commandArgs(TRUE)[2])[[1]])
wait()
parallel::stopCluster(cluster)
