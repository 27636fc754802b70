# SPDX-License-Identifier: MIT
# A PSOCK worker that forks (mclapply), and a forked child that starts another Rscript by system(): each leaks.
module <- Sys.getenv("ASYNCRD_MODULE")
deepest <- function(module) {
  dyn.load(module)
  poll_deepest <- function(i) .Call("asyncrd_poll", i, i, FALSE)
  for (i in 1:5) poll_deepest(i)
}
in_worker <- function(module, code) {
  dyn.load(module)
  poll_worker <- function(i) .Call("asyncrd_poll", i, i, FALSE)
  poll_fork <- function(i) .Call("asyncrd_poll", i, i, FALSE)
  for (i in 1:3) poll_worker(i)
  unlist(parallel::mclapply(1:2, function(i) {
    poll_fork(i)
    system(paste(shQuote(file.path(R.home("bin"), "Rscript")), shQuote(code), shQuote(module)))
  }, mc.cores = 2))
}
environment(in_worker) <- globalenv()
arguments <- commandArgs(TRUE)
if (length(arguments)) {
  deepest(arguments[1])
} else {
  cluster <- parallel::makePSOCKcluster(1)
  script <- normalizePath(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE)[1]))
  cat(parallel::clusterCall(cluster, in_worker, module, script)[[1]], "\n")
  parallel::stopCluster(cluster)
}
