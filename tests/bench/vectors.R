# SPDX-License-Identifier: MIT
# W1: allocation-heavy R. Vectors too large for R's own pages, so that each is a malloc, made under four R functions.
# usage: Rscript vectors.R [ROUNDS]; 1,000 rounds make about 440,000 mallocs.
rounds <- as.integer(commandArgs(TRUE)[1])
if (is.na(rounds)) rounds <- 1000L

smooth <- function(x, k) {
  y <- x * k + 1
  z <- sqrt(abs(y))
  z - mean(z)
}
score <- function(x) {
  total <- 0
  for (k in 1:10) total <- total + sum(smooth(x, k))
  total
}
simulate <- function(n) {
  x <- seq_len(n) / n
  vapply(1:10, function(i) score(x + i), 0)
}
run <- function(rounds) {
  s <- 0
  for (i in seq_len(rounds)) s <- s + sum(simulate(60L + i %% 40L))
  s
}
cat(format(run(rounds), digits = 10), "\n")
