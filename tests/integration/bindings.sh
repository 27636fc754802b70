#!/bin/sh
# SPDX-License-Identifier: MIT
# With the preload every symbol of a program resolves as it does without, but for those that we export: the dynamic linker
# tells (LD_DEBUG=bindings). A C++ program that throws, and R with Rcpp (or stats) loaded.
. "$LT_SOURCE/tests/lib.sh"
needs nm awk
nm -D --defined-only "$lib" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort -u >"$work/exports"

# usage: bindings LOG_PREFIX: "from symbol version to", for every binding in the logs. Base names: one library may be found as
# /lib/… in one run and /usr/lib/… in the other.
bindings() {
	cat "$1".* | sed -n 's/^ *[0-9]*:\tbinding file \(.*\) \[[0-9]*\] to \(.*\) \[[0-9]*\]: [a-z]* symbol `\([^'"'"']*\)'"'"'\(.*\)$/\1\t\3\4\t\2/p' |
		sed 's|^[^\t]*/||; s|\t[^\t]*/\([^\t]*\)$|\t\1|' | sort -u
}

# usage: compare NAME COMMAND...
compare() {
	name=$1
	shift
	status=0
	LD_BIND_NOW=1 LD_DEBUG=bindings LD_DEBUG_OUTPUT=$work/$name.plain "$@" >"$work/out.plain" 2>"$work/err" || status=$?
	same "$name: status without preload" 0 "$status"
	status=0
	LD_PRELOAD=$lib LEAKTRACE_OPTIONS=dir=$work/$name LD_BIND_NOW=1 LD_DEBUG=bindings \
		LD_DEBUG_OUTPUT=$work/$name.traced "$@" >"$work/out" 2>"$work/err" || status=$?
	same "$name: status" 0 "$status"
	bindings "$work/$name.plain" >"$work/a"
	bindings "$work/$name.traced" >"$work/b"
	holds "$name: bindings were seen" [ "$(wc -l <"$work/a")" -gt 100 ]
	holds "$name: the preload was seen" grep -q libleaktrace "$work/b"
	awk -F '\t' -v lib="${lib##*/}" '
		FILENAME == ARGV[1] { export[$1] = 1; next }
		FILENAME == ARGV[2] { to[$1, $2] = to[$1, $2] "|" $3 "|"; from[$1] = 1; next }
		{
			symbol = $2
			sub(/ .*/, "", symbol)
			if ($1 == lib || !($1 in from))
				next            # our own, and what only we load
			if ($3 == lib) {
				if (!(symbol in export))
					print $1 ": " $2 " is bound to us, though not exported"
			} else if (!(($1, $2) in to)) {
				if (!(symbol in export))
					print $1 ": " $2 " is bound to " $3 ", without preload to nothing"
			} else if (index(to[$1, $2], "|" $3 "|") == 0) {
				print $1 ": " $2 " is bound to " $3 ", without preload to " to[$1, $2]
			}
		}' "$work/exports" "$work/a" "$work/b" >"$work/differences"
	checks=$((checks + 1))
	if [ -s "$work/differences" ]; then
		bad "$name: symbols resolve differently"
		head -n 20 "$work/differences"
	fi
}

compare c "$targets/family"
[ ! -x "$targets/throws" ] || compare cxx "$targets/throws"
if command -v Rscript >/dev/null; then
	compare r Rscript -e 'library(stats4); invisible(toupper("\u00e4")); invisible(sort(c("b", "a")))'
	if Rscript --vanilla -e 'quit(status = !requireNamespace("Rcpp", quietly = TRUE))'; then
		compare rcpp Rscript -e 'library(Rcpp); invisible(tryCatch(loadModule("none", environment()), error = function(e) 0))'
	fi
	if [ -e "$targets/rthrow.so" ]; then
		compare r-throws Rscript -e 'dyn.load(commandArgs(TRUE)[1]); stopifnot(.Call("rthrow", 100L) == 100L)' "$targets/rthrow.so"
	fi
fi

finish
