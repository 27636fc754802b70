#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs all scripts of this room and prints their tables, as docs/unhurt.md has them. Status 1 if a check of any failed.
# usage: table.sh [NAME...]
[ -n "${LT_SOURCE:-}" ] || LT_SOURCE=$(cd "$(dirname "$0")/../.." && pwd)
LT_BUILD=${LT_BUILD:-$LT_SOURCE/build}
export LT_SOURCE LT_BUILD LC_ALL=C.UTF-8
status=0
[ $# -gt 0 ] || set -- processes surroundings code allocators r
LT_TABLE=$(mktemp)
export LT_TABLE
for name; do
	sh "$LT_SOURCE/tests/unhurt/$name.sh" >&2 || status=1
done
cat "$LT_TABLE"
rm "$LT_TABLE"
exit $status
