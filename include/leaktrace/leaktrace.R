# SPDX-License-Identifier: MIT
#
# For R code that wants to help leaktrace along; see leaktrace.h. Works by source(), in a master and in its workers alike:
#
#   source("leaktrace.R")
#   leaktrace_snapshot("after warm-up")
#
# In a process that is not traced each call does nothing. All return NULL, invisibly.

leaktrace_call <- local({
  symbol <- NULL
  find <- function() {
    maps <- tryCatch(readLines("/proc/self/maps"), error = function(e) character(), warning = function(w) character())
    path <- unique(sub("^[^/]*", "", grep("/libleaktrace[.]so[^/]*$", maps, value = TRUE)))
    if (!length(path) || !file.exists(path[1])) return(FALSE)
    tryCatch(getNativeSymbolInfo("leaktrace_preload_r", dyn.load(path[1]))$address, error = function(e) FALSE)
  }
  function(name, label = "") {
    if (is.null(symbol)) symbol <<- find()
    if (!identical(symbol, FALSE)) .C(symbol, as.character(name), as.character(label)[1])
    invisible(NULL)
  }
})

# Notes `label` with the present time.
leaktrace_mark <- function(label) leaktrace_call("mark", label)

# Judges what is live now: a file PID-TIME-IMAGE-NUMBER.lts beside the dump, for `leaktrace report` and `leaktrace diff`.
leaktrace_snapshot <- function(label = "") leaktrace_call("snapshot", label)

# What lies between is a task: growth per task is counted from the blocks that outlive it. Workers of parallel and future need
# no such calls: their tasks are known.
leaktrace_task_begin <- function() leaktrace_call("task_begin")
leaktrace_task_end <- function() leaktrace_call("task_end")

# Switches the recording of new allocations on and off.
leaktrace_start <- function() leaktrace_call("start")
leaktrace_stop <- function() leaktrace_call("stop")
