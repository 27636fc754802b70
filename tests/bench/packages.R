# SPDX-License-Identifier: MIT
# Real work of R packages. usage: Rscript packages.R joins|regex|json|models [ROUNDS]; status 77: the package is not there.
arguments <- commandArgs(TRUE)
rounds <- as.integer(arguments[2])
if (is.na(rounds)) rounds <- 10L
needs <- function(package) if (!requireNamespace(package, quietly = TRUE)) quit(status = 77)

work <- list(
  joins = function() {
    needs("data.table")
    library(data.table, warn.conflicts = FALSE)
    setDTthreads(1)
    set.seed(1)
    orders <- data.table(customer = sample(2000L, 2e4, TRUE), item = sample(letters, 2e4, TRUE), price = runif(2e4))
    customers <- data.table(customer = 1:2000, region = sample(c("north", "south", "east", "west"), 2000, TRUE))
    function(i) {
      joined <- merge(orders, customers, by = "customer")
      sums <- joined[price > i / 1000, .(total = sum(price), n = .N), by = .(region, item)]
      setorder(sums, region, -total)
      orders[customers, on = "customer", home := i.region]
      sum(sums$total) + nrow(dcast(sums, region ~ item, value.var = "n"))
    }
  },

  regex = function() {
    set.seed(1)
    any_of <- function(x) sample(x, 2000, TRUE)
    lines <- sprintf("2024-%02d-%02d host%d GET /item/%d?user=%s status=%d", any_of(12), any_of(28), any_of(50), any_of(1e5),
                     any_of(letters), any_of(c(200L, 404L)))
    function(i) {
      parts <- regmatches(lines, regexec("^([0-9-]+) (\\S+) GET /item/([0-9]+)", lines))
      fields <- strsplit(lines, "[ ?=]+", perl = TRUE)
      hosts <- gsub("host([0-9]+)", "h\\1", lines)
      sum(lengths(parts)) + sum(lengths(fields)) + sum(nchar(hosts)) + length(grep("status=404$", lines))
    }
  },

  json = function() {
    needs("jsonlite")
    records <- lapply(1:500, function(k) list(id = k, name = paste0("name", k), tags = as.list(letters[1 + k %% 20 + 0:4]),
                                              at = list(x = k / 3, y = k / 7)))
    function(i) {
      text <- jsonlite::toJSON(records, auto_unbox = TRUE)
      length(jsonlite::fromJSON(text, simplifyVector = FALSE)) + nchar(text)
    }
  },

  models = function() {
    set.seed(1)
    data <- data.frame(x = rnorm(2000), z = rnorm(2000), g = factor(sample(letters[1:5], 2000, TRUE)))
    data$y <- 1 + data$x - data$z + rnorm(2000)
    data$b <- rbinom(2000, 1, plogis(data$x))
    function(i) {
      line <- lm(y ~ x * g + z, data)
      odds <- glm(b ~ x + z + g, binomial, data)
      sum(coef(summary(line))[, 1]) + sum(predict(odds, type = "response"))
    }
  }
)

run <- work[[arguments[1]]]()
total <- 0
for (i in seq_len(rounds)) total <- total + run(i)
cat(format(total, digits = 10), "\n")
