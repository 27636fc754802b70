#!/bin/sh
# SPDX-License-Identifier: MIT
# libleaktrace.so exports what tests/golden/exports.txt lists and nothing else, and needs nothing but the C library.
. "$LT_SOURCE/tests/lib.sh"
needs nm readelf

nm -D --defined-only "$lib" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | LC_ALL=C sort -u >"$work/exports"
holds "exports are those of golden/exports.txt" diff -u "$LT_SOURCE/tests/golden/exports.txt" "$work/exports"

needed=$(readelf -d "$lib" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -v -e '^libc\.so' -e '^ld-linux' | tr '\n' ' ')
same "needs the C library only" '' "$needed"
holds "no text relocations" sh -c "! readelf -d '$lib' | grep -q TEXTREL"
holds "no executable stack" sh -c "readelf -lW '$lib' | grep GNU_STACK | grep -qv 'RWE'"
same "no dynamic TLS" 0 "$(readelf -rW "$lib" | grep -c -e DTPMOD -e TLSDESC || :)"

finish
