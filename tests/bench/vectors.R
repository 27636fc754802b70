# SPDX-License-Identifier: MIT
# W1: allocation-heavy R. Vectors too large for R's own pages, so that each is a malloc.
# usage: Rscript vectors.R [ROUNDS]; 5,200 rounds make 2.2 million mallocs, 29 frames and 4 R
# functions deep on average.
rounds <- as.integer(commandArgs(TRUE)[1])
if (is.na(rounds)) rounds <- 1000L

smooth <- function(x, k) {
  y <- x * k + 1
  z <- sqrt(abs(y))
  z - sum(z) / length(z)
}
score <- function(x) {
  total <- 0
  for (k in 1:10) total <- total + sum(smooth(x, k) > 0)
  total
}
simulate <- function(n) {
  x <- seq_len(n) / n
  total <- 0
  for (i in 1:10) total <- total + score(x + i)
  total
}
run <- function(rounds) {
  s <- 0
  for (i in seq_len(rounds)) s <- s + simulate(220L + i %% 140L)
  s
}
result <- run(rounds)
cat(format(result, digits = 10), "\n")
