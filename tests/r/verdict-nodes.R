# SPDX-License-Identifier: MIT
# Native blocks whose pointers lie in R's nodes: held, freed, garbage. usage: verdict-nodes.R KIND
#   pointers, bytes     300 blocks; the nodes are dropped and collected: nothing holds the blocks, but stale words
#   held                300 and 300 blocks; R's global environment holds the nodes
#   preserved           300 blocks; preserved nodes
#   garbage             300 blocks; the nodes are dropped, but not collected: their finalizers never run
#   finalized           as garbage, but collected
dyn.load(Sys.getenv("VERDICT_MODULE"))
drop <- function(name) invisible(length(.Call(name, 300L)))
# Later nodes and frames, so that nothing stays by chance in R's pools of nodes' heads or on its stacks.
settle <- function() {
  recurse <- function(n) if (n > 0) recurse(n - 1) + 1 else 0
  for (i in 1:3) recurse(50)
  invisible(gc())
}
switch(commandArgs(TRUE)[1],
  pointers = { drop("hold_by_pointers"); settle() },
  bytes = { drop("hold_by_bytes"); settle() },
  held = { held <- list(.Call("hold_by_pointers", 300L), .Call("hold_by_bytes", 300L)); settle() },
  preserved = { .Call("preserve", 300L); settle() },
  garbage = { settle(); drop("hold_finalized") },
  finalized = { drop("hold_finalized"); settle() })
cat("done\n")
