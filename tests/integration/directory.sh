#!/bin/sh
# SPDX-License-Identifier: MIT
# Where dumps go: private modes, no link followed, nothing overwritten, and a directory that cannot be used is no failure.
. "$LT_SOURCE/tests/lib.sh"
program=$targets/forks

mode() { stat -c %a "$1"; }

umask 000
run trace modes "$program" fork
same "directory's mode" 700 "$(mode "$work/modes")"
same "files' modes" "600" "$(find "$work/modes" -name '*.ltd' -exec stat -c %a {} + | sort -u)"
umask 022

# The default directory: leaktrace.<session> in the first process's directory.
mkdir "$work/cwd"
(cd "$work/cwd" && LD_PRELOAD=$lib "$program" fork)
same "default directory" 1 "$(find "$work/cwd" -maxdepth 1 -type d -name 'leaktrace.*' | wc -l)"
(cd "$work/cwd" && "$tool" report --format=json >"$work/default.json")
fact default "the tool finds it" 'holds("leak_child"; 5; 1000)'
(cd "$work/cwd" && LD_PRELOAD=$lib "$program" nested && "$tool" report --format=json >"$work/newest.json")
fact newest "the tool takes the newest" 'holds("leak_grandchild"; 7; 2800) and (.processes | length == 3)'

# Runs in the same directory never meet in a name.
for i in 1 2 3 4 5; do trace again "$program" fork & done
wait
same "five runs at once, ten dumps" 10 "$(dumps again)"

# A file where the directory should be.
echo precious >"$work/file"
run trace file "$program" fork
same "file as directory: status" 0 "$status"
same "file as directory: untouched" precious "$(cat "$work/file")"
same "file as directory: one line" 1 "$(tracer_lines)"

# A symbolic link where the directory should be: somebody else's choice of a place.
mkdir "$work/elsewhere"
ln -s "$work/elsewhere" "$work/link"
run trace link "$program" fork
same "link as directory: status" 0 "$status"
same "link as directory: not followed" 0 "$(find "$work/elsewhere" -type f | wc -l)"

# A path with no parent.
run trace no/such/parent/dir "$program" fork
same "missing parent: status" 0 "$status"

# A directory that is not writable, for those whom modes bind.
mkdir -m 500 "$work/readonly"
if [ "$(id -u)" -eq 0 ]; then
	if command -v setpriv >/dev/null; then
		chmod 755 "$work"
		chown 65534:65534 "$work/readonly"
		run trace readonly setpriv --reuid=65534 --regid=65534 --clear-groups "$program" fork
		same "read-only directory: status" 0 "$status"
		same "read-only directory: nothing written" 0 "$(dumps readonly)"
	fi
else
	run trace readonly "$program" fork
	same "read-only directory: status" 0 "$status"
	same "read-only directory: nothing written" 0 "$(dumps readonly)"
fi

# Links planted under every name that a dump could have are hard to foresee; a directory of another owner is refused.
if [ "$(id -u)" -eq 0 ]; then
	mkdir -m 777 "$work/foreign"
	chown 65534 "$work/foreign"
	run trace foreign "$program" fork
	same "foreign directory: status" 0 "$status"
	same "foreign world-writable directory: nothing written" 0 "$(dumps foreign)"
fi

# A full disk.
mkdir "$work/full"
if [ "$(id -u)" -eq 0 ] && mount -t tmpfs -o size=64k tmpfs "$work/full" 2>/dev/null; then
	run trace full/d "$targets/rlimits" sigmask
	same "full disk: status" 0 "$status"
	"$tool" report "$work/full/d" >"$work/out" 2>&1 || :
	umount "$work/full"
fi

# A file that may not grow.
options=max_size=256k
run trace small "$targets/rlimits" sigmask
same "max_size: status" 0 "$status"
options=
report small
fact small "max_size: dropped is counted" '.processes | length == 2'
holds "max_size: the file keeps to it" [ "$(find "$work/small" -name '*.ltd' -size +512 | wc -l)" -eq 0 ]

finish
