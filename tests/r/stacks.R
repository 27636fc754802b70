# SPDX-License-Identifier: MIT
# R calls of all sorts, for stacks.sh: sourced with its srcrefs kept. Two calls in a row are often as alike as they can be, with one
# difference that changes the R stack: the line, the caller's code, the function's name space, the file's name. leaf() takes
# vectors too large for R's own pages.
leaf <- function(n = 100L) {
  x <- numeric(n)
  x[1L] <- n
  x
}
times <- function(n, f) for (i in seq_len(n)) f(i)

# Lines. First where nothing is compiled, so that each line is a srcref of its own; then in byte code.
jit <- compiler::enableJIT(0L)
lines_of <- function(i) {
  leaf()
  leaf()
  a <- leaf(); b <- leaf(200L)
  if (i %% 2L)
    leaf()
  else
    leaf()
  for (k in 1:3)
    leaf()
  leaf(
    300L)
}
times(20L, lines_of)
invisible(compiler::enableJIT(jit))
lines_of <- compiler::cmpfun(lines_of)
times(20L, lines_of)

# The same code at two places.
twice <- c("one <- function() {", "  leaf()", "", "  leaf()", "}")
for (i in 1:4) {
  file <- tempfile(fileext = ".R")
  writeLines(c(rep("", i), twice, "one()", "one()", "one()", "local(one())"), file)
  source(file, local = TRUE, keep.source = i %% 2L == 0L)
  sys.source(file, new.env(), keep.source = TRUE)
}

# Code with and without lines, under one name; and of one name in two name spaces.
parsed <- function(kept)
  compiler::cmpfun(eval(parse(text = c("function(i) {", "  leaf()", "}"), keep.source = kept), globalenv()))
with_lines <- parsed(TRUE)
without_lines <- parsed(FALSE)
either <- function(g, i) g(i)
for (i in 1:30) either(if (i %% 3L) without_lines else with_lines, i)
count <- function(x) leaf(length(x))
in_stats <- count
environment(in_stats) <- asNamespace("stats")
in_utils <- count
environment(in_utils) <- asNamespace("utils")
assign("leaf", leaf, globalenv())
in_closure <- local({
  some <- 1
  function(x) leaf(length(x))
})
for (i in 1:30)
  for (f in list(count, in_stats, in_utils, in_closure, in_stats))
    f(1:100)

# Both at once: of what is known at the same place, one has this line and another one this name space.
jit <- compiler::enableJIT(0L)
one_of <- function(f, first) {
  if (first) {
    f(1:100)
  } else {
    f(1:100)
  }
}
for (i in c(rep(1:2, 8L), 3L, 4L, 3L, 4L))
  one_of(list(in_stats, in_utils, in_utils, in_stats)[[i]], i %% 2L == 1L)
invisible(compiler::enableJIT(jit))

# A call's head that is no symbol.
holder <- list(f = function(i) leaf(), g = function(i) leaf())
for (i in 1:20) {
  holder$f(i)
  holder$g(i)
  holder[["f"]](i)
  (function(i) leaf())(i)
  (if (i %% 2L) holder$f else leaf)(100L)
  stats::rnorm(100L)
  base::numeric(100L)
  utils::head(numeric(200L), 100L)
}
heads <- list(quote(holder$f(i)), quote(holder$g(i)))
for (i in 1:20)
  for (call in heads) {
    call[[1L]][[3L]] <- as.name(if (i %% 3L) "f" else "g") # another name in the same place
    eval(call)
  }

# A file that changes its name.
named <- tempfile(fileext = ".R")
writeLines(c("renamed <- function(i) {", "  leaf()", "}"), named)
source(named, keep.source = TRUE)
for (i in 1:10) {
  renamed(i)
  assign("filename", paste0("other", i %/% 3L, ".R"), envir = attr(attr(renamed, "srcref"), "srcfile"))
}

# S3, S4 and reference classes.
size <- function(x, ...) UseMethod("size")
size.default <- function(x, ...) leaf(length(x) + 100L)
size.big <- function(x, ...) c(NextMethod(), leaf())
size.bigger <- function(x, ...) {
  if (length(x) > 5L) NextMethod() else NextMethod("size")
}
"[.big" <- function(x, i) structure(NextMethod(), class = class(x))
print.big <- function(x, ...) cat(format(length(leaf()), ...), "\n")
Ops.big <- function(e1, e2) {
  leaf()
  get(.Generic)(unclass(e1), unclass(e2))
}
times(8L, function(i) {
  x <- structure(as.numeric(1:10), class = c("bigger", "big"))
  size(x)
  size(x[1:3])
  x + x
  capture.output(print(x))
})
setClass("Shape", representation(points = "numeric"), validity = function(object) {
  if (length(leaf()) != 100L) "no" else TRUE
})
setClass("Round", contains = "Shape", representation(radius = "numeric"))
setGeneric("area", function(shape, ...) standardGeneric("area"))
setMethod("area", "Shape", function(shape, ...) sum(leaf()))
setMethod("area", "Round", function(shape, ...) callNextMethod() + shape@radius)
setMethod("show", "Shape", function(object) cat("shape", length(leaf()), "\n"))
setMethod("+", signature("Shape", "Shape"), function(e1, e2) new("Shape", points = c(e1@points, e2@points)))
setMethod("initialize", "Round", function(.Object, ...) {
  leaf()
  callNextMethod(.Object, ...)
})
times(4L, function(i) {
  round <- new("Round", points = 1, radius = 2)
  area(round)
  area(new("Shape", points = 1))
  round + round
  capture.output(show(round))
  try(new("Shape", points = "a"), silent = TRUE)
})
Account <- setRefClass("Account", fields = list(sum = "numeric", held = "numeric"), methods = list(
  put = function(x) {
    held <<- leaf()
    sum <<- sum + x
    invisible(.self)
  },
  show = function() cat("account", length(leaf()), "\n")))
Sub <- setRefClass("Sub", contains = "Account", methods = list(put = function(x) callSuper(x)$show()))
times(2L, function(i) {
  capture.output(Sub$new(sum = 1)$put(2))
  Account$new(sum = 1)$put(1)$put(2)
})

# Errors, conditions, restarts: each is a longjmp.
fails <- function(depth) {
  on.exit(leaf())
  if (depth) fails(depth - 1L) else stop("at the bottom ", length(leaf()))
  leaf()
}
times(8L, function(i) {
  tryCatch(fails(i %% 7L), error = function(e) leaf(), finally = leaf(200L))
  try(fails(i %% 5L), silent = TRUE)
  withCallingHandlers(
    {
      warning("w", length(leaf()))
      message("m", length(leaf()))
    },
    warning = function(w) {
      leaf()
      invokeRestart("muffleWarning")
    },
    message = function(m) tryInvokeRestart("muffleMessage"))
  withRestarts(invokeRestart("again", leaf()), again = function(x) leaf(length(x)))
  tryCatch(sqrt(numeric(100L) - "a"), error = function(e) conditionMessage(e))
  tryCatch(as.integer("x"), warning = function(w) leaf())
  tryCatch(stopifnot("never" = length(leaf()) == 1L), error = identity)
  for (k in 1:3) tryCatch(if (k == 2L) break else leaf(), finally = leaf())
  callCC(function(out) {
    leaf()
    out(leaf())
  })
})

# Promises, frames, evaluation.
lazy <- function(x, y = leaf(), z = if (missing(x)) leaf(200L) else force(x)) {
  if (missing(x)) leaf() else x
  y
  z
}
deep <- function(n) if (n > 0L) c(deep(n - 1L), leaf()) else leaf()
factorial_of <- function(n) if (n < 2L) leaf(1L + 100L) else c(leaf(), Recall(n - 1L))
delayedAssign("later", leaf())
makeActiveBinding("active", function() leaf(), environment())
"part<-" <- function(x, value) {
  x[1:100] <- leaf() + value
  x
}
compose <- function(...) Reduce(function(f, g) function(x) g(f(x)), list(...))
times(6L, function(i) {
  lazy()
  lazy(leaf())
  lazy(y = lazy(leaf()), x = {
    leaf()
    leaf(300L)
  })
  factorial_of(6L)
  if (i %% 3L == 0L) deep(150L)
  do.call(leaf, list(100L))
  do.call("leaf", list(200L))
  do.call(lazy, list(quote(leaf())), quote = FALSE)
  active
  later
  v <- numeric(100L)
  part(v) <- i
  names(v) <- rep("n", 100L)
  lapply(1:3, function(k) leaf())
  vapply(1:3, function(k) sum(leaf()), 0)
  Map(function(a, b) leaf(), 1:2, 3:4)
  mapply(function(a) leaf(), 1:2)
  Filter(function(k) length(leaf()), 1:3)
  outer(1:10, 1:10, function(a, b) leaf())
  compose(leaf, length, leaf)(100L)
  eval(quote(leaf()))
  evalq(leaf(), new.env())
  eval(parse(text = "leaf()\nleaf()"))
  with(list(n = 100L), leaf(n))
  local({
    leaf <- function(n = 150L) numeric(n)
    leaf()
  })
  switch("b", a = leaf(), b = leaf(200L))
  repeat {
    leaf()
    if (length(leaf())) break
  }
  sapply(split(1:200, rep(1:2, 100L)), function(k) sum(leaf()))
  regmatches(rep("abc", 50L), regexpr("b", rep("abc", 50L)))
  substitute(leaf(), list(leaf = as.name("lazy")))
  match.arg("mean", c("mean", "median"))
  sys.function()
  Sys.time()
  format(leaf(20L))
  NULL
})

# Nodes whose addresses soon serve for others.
gctorture2(30L)
times(4L, function(i) {
  f <- eval(parse(text = c("function() {", rep("", i %% 4L), "  leaf()", "  leaf()", "}"), keep.source = i %% 3L > 0L))
  f()
  g <- eval(call("function", NULL, call("leaf", 100L + i)))
  g()
  h <- list(f, g)[[1L + i %% 2L]]
  h()
  tryCatch(fails(2L), error = function(e) h())
})
gctorture2(0L)

# Package code.
if (requireNamespace("data.table", quietly = TRUE))
  times(3L, function(i) {
    table <- data.table::data.table(k = rep(letters[1:10], 20L), v = as.numeric(1:200))
    sums <- table[, list(sum = sum(v)), by = "k"]
    merge(table, sums, by = "k")
    table[order(-v)][1:10]
  })
if (requireNamespace("stringi", quietly = TRUE))
  times(3L, function(i) stringi::stri_replace_all_regex(rep("a1b2", 100L), "[0-9]", "x"))
fit <- lm(dist ~ speed, cars)
summary(fit)
invisible(capture.output(print(summary(glm(am ~ wt, binomial, mtcars)))))

# Forked workers, whose contexts and kept stack are their parent's.
if (requireNamespace("parallel", quietly = TRUE))
  stopifnot(identical(parallel::mclapply(1:4, function(i) {
    times(20L, lines_of)
    try(fails(3L), silent = TRUE)
    size(structure(1:10, class = "big"))
    length(leaf(i + 100L))
  }, mc.cores = 2L), as.list(101:104)))
cat("done\n")
