# SPDX-License-Identifier: MIT
# A session that uses packages with native code and leaks nothing of its own: each package given that is installed does a
# little of what it is for. Prints one line per package. usage: verdict-packages.R [PACKAGE...]
work <- list(
  data.table = function() {
    d <- data.table::data.table(g = rep(1:50, 40), x = seq_len(2000) / 7)
    d[["y"]] <- rev(d[["x"]])
    data.table::setkeyv(d, "g")
    e <- merge(d, data.table::data.table(g = 1:50, name = as.character(1:50)), by = "g")
    f <- tempfile(fileext = ".csv")
    data.table::fwrite(e, f)
    nrow(data.table::fread(f, showProgress = FALSE))
  },
  Rcpp = function() {
    module <- Rcpp::Module
    length(getLoadedDLLs()[["Rcpp"]][["name"]]) + is.function(Rcpp::sourceCpp)
  },
  stringi = function() {
    s <- stringi::stri_rand_strings(300, 20)
    sum(stringi::stri_length(stringi::stri_replace_all_regex(s, "[aeiou]+", "<$0>"))) > 0 &&
      all(stringi::stri_sort(stringi::stri_trans_nfkd(c("b\u00e4", "a"))) != "")
  },
  xml2 = function() {
    text <- paste0("<r>", paste0("<item id='", 1:300, "'><b>", 1:300, "</b></item>", collapse = ""), "</r>")
    document <- xml2::read_xml(text)
    nodes <- xml2::xml_find_all(document, "//item[@id > 100]/b")
    xml2::xml_set_attr(nodes, "seen", "1")
    sum(as.integer(xml2::xml_text(nodes)))
  },
  Matrix = function() {
    m <- Matrix::sparseMatrix(i = rep(1:100, 3), j = c(1:100, 2:100, 1, 1:100), x = 1, dims = c(100, 100))
    b <- Matrix::solve(Matrix::crossprod(m) + Matrix::Diagonal(100), rep(1, 100))
    round(sum(b), 3)
  },
  jsonlite = function() nrow(jsonlite::fromJSON(jsonlite::toJSON(data.frame(a = 1:200, b = letters[1 + 1:200 %% 26])))),
  curl = function() {
    h <- curl::new_handle()
    curl::handle_setopt(h, url = "file:///dev/null")
    curl::handle_setheaders(h, Accept = "text/plain")
    nchar(curl::curl_escape("a b c")) + length(curl::curl_fetch_memory("file:///dev/null", handle = h)$content)
  },
  openssl = function() {
    key <- openssl::ec_keygen("P-256")
    signature <- openssl::signature_create(charToRaw("text"), openssl::sha256, key)
    openssl::signature_verify(charToRaw("text"), signature, openssl::sha256, as.list(key)$pubkey)
  },
  digest = function() nchar(digest::digest(1:1000, algo = "sha256")),
  rpart = function() nrow(rpart::rpart(Kyphosis ~ Age + Number + Start, data = rpart::kyphosis)$frame),
  utf8 = function() sum(utf8::utf8_width(c("a", "\u00e4", "\u4e2d"))),
  splines = function() dim(splines::bs(1:100, df = 5))[2]
)
wanted <- commandArgs(TRUE)
if (!length(wanted)) wanted <- names(work)
for (package in intersect(wanted, names(work))) {
  if (!requireNamespace(package, quietly = TRUE)) next
  for (i in 1:3) value <- work[[package]]()
  cat(package, format(value), "\n")
}
rm(list = ls())
invisible(gc())
