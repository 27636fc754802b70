#!/bin/sh
# SPDX-License-Identifier: MIT
# Surroundings that a preloaded library must not be hurt by, nor hurt: limits, closed descriptors, vanished directories.
. "$LT_SOURCE/tests/lib.sh"

for kind in close-all chdir clearenv fsize as nofile sigmask setuid stack; do
	run trace "$kind" "$targets/hostile" "$kind"
	same "$kind: status" 0 "$status"
	same "$kind: output" '' "$(cat "$work/out")"
	report "$kind"
	case $kind in
	as) fact "$kind" "the dump is readable" '.processes | length >= 1' ;;
	fsize | nofile | setuid) # the file can grow no more: what did not fit is counted
		fact "$kind" "what is not there was counted" 'one("master") | .live_blocks + .dropped >= 1000' ;;
	*)
		fact "$kind" "nothing is lost in the first process" 'in_process(one("master").id; "leak") == 1000' ;;
	esac
done
for kind in close-all chdir clearenv sigmask; do
	fact "$kind" "the child too has its dump" 'in_process(one("fork").id; "leak") == 1'
done

mkdir -m 700 "$work/dirname"
run trace dirname "$targets/hostile" dirname "$work/dirname"
same "directory removed: status" 0 "$status"

finish
