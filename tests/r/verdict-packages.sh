#!/bin/sh
# SPDX-License-Identifier: MIT
# Packages with native code, each in a session of its own: no false alarm. Valgrind finds nothing lost in them either (R 4.2.2,
# Debian 12), but for openssl 2.0.5, whose leaks are real: R_base64_encode, R_pubkey_bitsize, R_ecdsa_*_decompose forget what
# OpenSSL gave them.
. "$LT_SOURCE/tests/lib.sh"
needs Rscript
script=$LT_SOURCE/tests/r/verdict-packages.R

seen=0
for package in data.table Rcpp stringi xml2 Matrix jsonlite curl digest rpart utf8 splines openssl; do
	run trace "$package" Rscript --vanilla "$script" "$package"
	same "$package: status" 0 "$status"
	[ -s "$work/out" ] || continue # not installed
	seen=$((seen + 1))
	judged "$package"
	fact "$package" "$package: classified" 'all(.processes[]; .classified)'
	if [ "$package" = openssl ]; then
		fact openssl "openssl: its leak" '[.sites[] | select(.kind == "definite") | .native[].function]
			| index("R_base64_encode") != null'
		fact openssl "openssl: nothing else" '[.sites[] | select(.kind == "definite" or .kind == "possible")
			| select([.native[].module | endswith("openssl.so")] | any | not)] == []'
	else
		fact "$package" "$package: nothing is lost" '.totals.definite.blocks
			+ .totals.indirect.blocks + .totals.possible.blocks == 0'
	fi
done
[ $seen -gt 0 ] || skip "none of the packages"

finish
