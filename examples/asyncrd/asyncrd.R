# SPDX-License-Identifier: MIT
#
# Runs tasks that poll asyncrd on R's parallel back ends, and prints a checksum of what they read. usage:
#
#   Rscript asyncrd.R [--backend=psock|mclapply|forkcluster|multisession|callr|serial] [--workers=2] [--tasks=200]
#                     [--polls=1] [--fixed] [--module=PATH/asyncrd.so]
#
# Each task enters psock_worker_loop once (512 bytes) and R_PollAsyncRd `polls` times (1024 bytes each); nothing of it is
# freed, but with --fixed. So a job leaves 1024 * tasks * polls bytes in R_PollAsyncRd, whatever the back end.
#
# The module is looked for in $ASYNCRD_MODULE, beside this script, and in build/examples here and above.

usage <- function(message) {
  cat("asyncrd.R: ", message, "\n", file = stderr(), sep = "")
  quit(save = "no", status = 2L)
}

options_of <- function(arguments) {
  known <- list(backend = "psock", workers = 2L, tasks = 200L, polls = 1L, fixed = FALSE, module = "")
  for (argument in arguments) {
    key <- sub("^--([a-z]+)(=.*)?$", "\\1", argument)
    value <- if (grepl("=", argument, fixed = TRUE)) sub("^[^=]*=", "", argument) else "TRUE"
    if (!startsWith(argument, "--") || is.null(known[[key]])) usage(paste("unknown argument", argument))
    if (is.integer(known[[key]])) {
      if (!grepl("^[0-9]{1,8}$", value)) usage(paste("not a number:", argument))
      value <- as.integer(value)
    } else if (is.logical(known[[key]])) {
      value <- identical(value, "TRUE")
    }
    known[[key]] <- value
  }
  known
}

find_module <- function(given) {
  script <- sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE)[1])
  here <- dirname(normalizePath(script))
  places <- c(Sys.getenv("ASYNCRD_MODULE"), file.path(here, "asyncrd.so"), "build/examples/asyncrd.so",
              file.path(here, "../../build/examples/asyncrd.so"))
  if (nzchar(given)) places <- given
  found <- places[nzchar(places) & file.exists(places)]
  if (!length(found)) usage("asyncrd.so not found: build it, or say --module=PATH")
  normalizePath(found[1])
}

# What a worker needs. The environment travels with each task, as a package's functions would not have to.
worker <- local({
  poll_async <- function(task, number, fixed) .Call("asyncrd_poll", task, number, fixed, PACKAGE = "asyncrd")

  serve_task <- function(task, fixed) .Call("asyncrd_serve", task, fixed, PACKAGE = "asyncrd")

  run_task <- function(task, polls, fixed, module) {
    if (!is.loaded("asyncrd_poll", PACKAGE = "asyncrd")) dyn.load(module)
    sum <- serve_task(task, fixed)
    for (number in seq_len(polls)) sum <- sum + poll_async(task, number, fixed)
    sum
  }

  environment()
})

run <- list(
  serial = function(o) lapply(seq_len(o$tasks), worker$run_task, o$polls, o$fixed, o$module),

  psock = function(o) {
    cluster <- parallel::makePSOCKcluster(o$workers)
    on.exit(parallel::stopCluster(cluster))
    parallel::clusterApply(cluster, seq_len(o$tasks), worker$run_task, o$polls, o$fixed, o$module)
  },

  forkcluster = function(o) {
    cluster <- parallel::makeForkCluster(o$workers)
    on.exit(parallel::stopCluster(cluster))
    parallel::clusterApply(cluster, seq_len(o$tasks), worker$run_task, o$polls, o$fixed, o$module)
  },

  mclapply = function(o) {
    parallel::mclapply(seq_len(o$tasks), worker$run_task, o$polls, o$fixed, o$module, mc.cores = o$workers)
  },

  multisession = function(o) {
    future::plan(future::multisession, workers = o$workers)
    on.exit(future::plan(future::sequential))
    start <- function(task) {
      future::future(run_task(task, polls, fixed, module), seed = NULL, packages = character(),
                     globals = list(run_task = worker$run_task, task = task, polls = o$polls, fixed = o$fixed,
                                    module = o$module))
    }
    lapply(lapply(seq_len(o$tasks), start), future::value)
  },

  callr = function(o) {
    share <- split(seq_len(o$tasks), rep_len(seq_len(o$workers), o$tasks))
    share_of <- function(tasks, run_task, ...) lapply(tasks, run_task, ...)
    environment(share_of) <- globalenv()
    jobs <- lapply(share, function(tasks) {
      callr::r_bg(share_of, list(tasks, worker$run_task, o$polls, o$fixed, o$module))
    })
    unsplit(lapply(jobs, function(job) { job$wait(); unlist(job$get_result()) }), rep_len(seq_len(o$workers), o$tasks))
  }
)

o <- options_of(commandArgs(TRUE))
if (is.null(run[[o$backend]])) usage(paste("unknown back end", o$backend))
if (o$workers < 1L || o$tasks < 1L) usage("--workers and --tasks must be at least 1")
o$module <- find_module(o$module)

sums <- unlist(run[[o$backend]](o))
stopifnot(length(sums) == o$tasks)
cat(sprintf("%d tasks, %d polls each: checksum %.0f\n", o$tasks, o$polls, sum(sums * seq_along(sums)) %% 2^31))
