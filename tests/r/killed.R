# SPDX-License-Identifier: MIT
# Two PSOCK workers; the one that gets task 41 kills itself in the middle of it, by SIGKILL, after one poll of two.
source_of <- Sys.getenv("ASYNCRD_MODULE")
run_task <- function(task, module) {
  if (!is.loaded("asyncrd_poll", PACKAGE = "asyncrd")) dyn.load(module)
  poll_async <- function(number) .Call("asyncrd_poll", task, number, FALSE, PACKAGE = "asyncrd")
  sum <- poll_async(1)
  if (task == 41) tools::pskill(Sys.getpid(), tools::SIGKILL)
  sum + poll_async(2)
}
environment(run_task) <- globalenv()
cluster <- parallel::makePSOCKcluster(2)
sums <- unlist(parallel::clusterApply(cluster, 1:40, run_task, source_of))
failed <- tryCatch({
  parallel::clusterApply(cluster, 41:42, run_task, source_of)
  FALSE
}, error = function(e) TRUE)
cat(length(sums), "done, then", if (failed) "a worker died" else "nothing", "\n")
parallel::stopCluster(cluster[2])
