# SPDX-License-Identifier: MIT
# A job of one process with large and small vectors, strings, closures, a C module, regular expressions and files.
dyn.load(Sys.getenv("ASYNCRD_MODULE"))
for (i in 1:50) .Call("asyncrd_poll", i, i, FALSE)
x <- lapply(1:300, function(i) paste0("name", i, letters))
y <- vapply(1:50, function(i) sum(rnorm(5000 + i)^2), 0)
z <- gsub("[aeiou]", "", unlist(x))
f <- tempfile()
writeLines(z, f)
w <- readLines(f)
invisible(unlink(f))
cat(length(w), length(unique(w)), length(y), "\n")
