# SPDX-License-Identifier: MIT
# What a copy of this process says of R's heap, against R's own collector: run by collect.sh with the module's path.
dyn.load(commandArgs(TRUE)[1])
failures <- 0L
check <- function(what, holds) if (!isTRUE(holds)) {
	cat("FAILED:", what, "\n")
	failures <<- failures + 1L
}
# The first collection may run finalizers: what they held is then garbage that R still has marked.
agree <- function(what) {
	.Call("rheap_compare")
	a <- .Call("rheap_compare")
	check(sprintf("%s: node by node (%s)", what, paste(a, collapse = " ")),
	      a[1] == 0 && a[2] > 1e5 && all(a[3:4] == 0) && a[6] == a[7] && a[8] == 0 && a[9] == 0)
	cells <<- a[c(2, 5, 6)]
	invisible(0)
}

agree("at the start")
check("as gc() counts", local({
	g <- gc()
	g <- gc()
	agree("after gc()")
	abs(cells[1] + cells[2] - g[1, 1]) < 500 && abs(cells[3] - g[2, 1]) < 500
}))

setClass("P", representation(x = "numeric", l = "list"))
p <- lapply(1:2000, function(i) new("P", x = runif(3), l = list(i)))
G <- setRefClass("G", fields = list(a = "numeric"), methods = list(finalize = function() NULL))
gs <- lapply(1:200, function(i) G$new(a = i))
df <- data.frame(a = 1:1e4, b = as.character(1:1e4), c = factor(sample(letters, 1e4, TRUE)))
m <- lm(a ~ c, df)
agree("S4, reference classes, data frames")
rm(gs)
agree("objects with finalizers are gone")
e <- new.env()
for (i in 1:20000) assign(paste0("k", i), i, e)
agree("an environment")
alt <- list(1:1e9, as.character(1:1e5), sort(c(3.2, 1, 2)))
agree("ALTREP")
f <- function(n) if (n > 0) f(n - 1) else agree("deep")
f(200)
f <- compiler::cmpfun(f)
f(200)
g <- function() {
	on.exit(agree("on.exit"))
	tryCatch({
		for (i in 1:3) {
			x <- i + 0.5
			if (i == 2) agree("a loop in byte code")
		}
		stop("x")
	}, error = function(e) agree("a handler"), finally = agree("finally"))
	invisible()
}
g()
withCallingHandlers(warning("w"), warning = function(w) {
	agree("a calling handler")
	invokeRestart("muffleWarning")
})
pdf(NULL)
dev.control("enable")
plot(1:10)
agree("a device's display list")
invisible(dev.off())
for (r in 1:10) {
	z <- lapply(1:20000, function(i) c(i, i))
	z <- paste(runif(1e4))
}
agree("churn")
big <- list(raw(5e7), vector("list", 1e6), runif(1e6), as.character(runif(1e5)))
agree("large vectors")
rm(big)
agree("large vectors are gone")
w <- quote(function(x, ...) x)
h <- (function(...) function() list(...))(1, stop("lazy"))
delayedAssign("lz", stop("never"))
agree("dots and promises")
invisible(sapply(1:2, function(i) agree("sapply")))
eval(parse(text = "agree('eval')", keep.source = TRUE))
df2 <- unserialize(serialize(df, NULL))
agree("serialize")

# External pointers: 1 in live nodes, 2 in garbage that waits for its finalizer, 0 nowhere, -1 freed.
keep <- .Call("rheap_make", 0L)                          # 1: live
invisible(.Call("rheap_make", 0L))                       # 2: garbage without a finalizer: lost for good
invisible(.Call("rheap_make", 1L))                       # 3: garbage with one
kept <- new.env()
kept$inside <- list(a = list(.Call("rheap_make", 1L)))   # 4: live, deep in an environment
local({                                                  # 5: in an environment that is garbage, with an R finalizer
	x <- new.env()
	x$p <- .Call("rheap_make", 0L)
	reg.finalizer(x, function(x) NULL)
})
local({                                                  # 6: the value of a closure that is garbage's finalizer
	held <- .Call("rheap_make", 0L)
	reg.finalizer(new.env(), function(x) held)
})
local({                                                  # 7, 8: a cycle of garbage, one of which has a finalizer
	a <- new.env()
	b <- new.env()
	a$b <- b
	b$a <- a
	a$p <- .Call("rheap_make", 0L)
	b$p <- .Call("rheap_make", 0L)
	reg.finalizer(a, function(x) NULL)
})
attr(kept, "x") <- .Call("rheap_make", 0L)               # 9: in an attribute
bits <- .Call("rheap_raw")                               # 10: in a raw vector
invisible(.Call("rheap_raw"))                            # 11: in one that is garbage
reg.finalizer(kept, local({                              # 12: what the finalizer of a live key holds
	held <- .Call("rheap_make", 0L)
	function(x) held
}))
expected <- c(1L, 0L, 2L, 1L, 2L, 2L, 2L, 2L, 1L, 1L, 0L, 1L)
where <- function() .Call("rheap_where")
check(paste("who holds a block:", paste(where(), collapse = " ")), identical(where(), expected))
check("the program's finalizers have not run in it", identical(where(), expected))
invisible(gc())
expected[c(3, 5:8)] <- c(-1L, 0L, 0L, 0L, 0L)
check(paste("after gc():", paste(where(), collapse = " ")), identical(where(), expected))

check("R's garbage collector has not been asked in a copy", {
	x <- .Call("rheap_collect")
	x[1] == 0 && x[8] < 65536
})
if (failures == 0L) cat("all agree\n")
quit(status = failures > 0L)
