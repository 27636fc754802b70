# SPDX-License-Identifier: MIT
# 50 calls of mclapply with two workers each, which their master kills the moment that it has their results.
dyn.load(Sys.getenv("ASYNCRD_MODULE"))
poll <- function(i) .Call("asyncrd_poll", i, i, FALSE)
sums <- vapply(1:50, function(round) sum(unlist(parallel::mclapply(1:4, poll, mc.cores = 2))), 0)
cat(length(unique(sums)), "\n")
