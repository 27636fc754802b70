#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Every test_*.c of DIRECTORY is one of the NAMEs that Meson runs. usage: registered.sh DIRECTORY NAME...
set -eu
directory=$1
shift
forgotten=
for file in "$directory"/test_*.c; do
	name=$(basename "$file" .c)
	case " $* " in
	*" $name "*) ;;
	*) forgotten="$forgotten $name.c" ;;
	esac
done
[ -z "$forgotten" ] || {
	echo "not in tests/unit/meson.build:$forgotten" >&2
	exit 1
}
