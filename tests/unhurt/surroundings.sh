#!/bin/sh
# SPDX-License-Identifier: MIT
# Hostile surroundings: closed descriptors, vanished directories, full disks, limits, sandboxes, name spaces. As without the tracer; and
# what it could not record, it counts.
. "$LT_SOURCE/tests/unhurt/lib.sh"
hostile=$targets/hostile limits=$targets/rlimits sandbox=$targets/sandbox

# whole: each block of hostile.h. counted: those of main are there, or counted as dropped.
jq_functions="$jq_functions"'
	def whole: in_process(one("master").id; "leak") == 1000 and in_process(one("fork").id; "leak") == 1;
	def counted: one("master") | .live_blocks + .dropped >= 1000;
'
mounted= memory=
leave() {
	[ ! "$mounted" ] || umount "$mounted"
	[ ! "$memory" ] || rmdir "$memory" || :
	rm -rf "$work"
}
trap leave EXIT
root=
[ "$(id -u)" -ne 0 ] || root=yes
mounts=
! unshare --mount true 2>/dev/null || mounts=yes
nobody=
if [ "$root" ]; then
	nobody='setpriv --reuid=65534 --regid=65534 --clear-groups'
	chmod 711 "$work"
	# In a checkout under /root, say.
	if ! $nobody test -r "$lib" -a -x "$hostile"; then
		cp "$lib" "$hostile" "$limits" "$work"
		lib=$work/${lib##*/} hostile=$work/hostile limits=$work/rlimits
	fi
fi
umask 022
cant_write="leaktrace: \\[[0-9]+\\] not traced, can't write to"
cant_grow="leaktrace: \\[[0-9]+\\] the dump can't grow"

# A row of somebody who is not root, in a directory that root's commands before it can write to, too.
unprivileged() {
	mkdir -m 1777 "$work/shared"
	row_into=shared
	row "$@"
	row_into=
}

part "Descriptors"
row 'all but 1 and 2 closed, one by one' whole "$hostile" close-all
row 'all closed, from 0 on' whole "$hostile" close-up
row 'all closed, from the highest on' whole "$hostile" close-down
row '`closefrom`, while it records and before the end' whole "$hostile" close-range
row '`dup2` over 256 of them' whole "$hostile" dup2-all
row 'each file gets the lowest number that is free' whole "$hostile" lowest
for fds in '<&-' '>&-' '2>&-' '<&- >&- 2>&-'; do
	row "started without: $fds" 'blocks("leak") == 1001' sh -c "exec \"\$0\" \"\$@\" $fds" "$hostile" lowest
done
row_report=no
row 'own files as 1 and 2 when the dump is gone: nothing of ours in them' - "$hostile" as-stderr
row_report=

part "Directories and files"
row 'working directory removed' whole "$hostile" chdir
if [ "$root" ]; then
	mkdir "$work/empty"
	row_extra=$cant_grow
	row 'chroot into an empty directory' counted "$hostile" chroot "$work/empty"
	row_extra=
else
	left_out 'chroot into an empty directory' 'only root may'
fi
row_report=no row_extra=$cant_grow
row 'dump directory removed' - "$hostile" dirname
row 'dump directory renamed' - "$hostile" renamed
row 'dumps deleted' - "$hostile" deleted
row_extra=
row 'dumps truncated to nothing while mapped' - "$hostile" truncated
row 'dumps truncated to half while mapped' - "$hostile" halved
row 'dumps truncated, and the program has a handler for SIGBUS' - "$hostile" own-bus
row 'dumps truncated while it allocates and frees' - "$hostile" truncated-busy
row_report=
mkdir "$work/full"
if [ "$root" ] && mount -t tmpfs -o size=17m tmpfs "$work/full" 2>/dev/null; then
	mounted=$work/full
	row_into=full/d row_extra=$cant_grow
	row 'full disk: filled by the program, twice, freed again' counted "$hostile" fill "$work/full/file"
	rm -f "$work"/full/d.*
	row 'full disk: filled by the dump' 'any(.processes[]; .dropped > 0)' "$hostile" many
	mount -o remount,ro "$work/full"
	row_report=no row_extra=$cant_write
	row 'read-only file system' - "$limits" plain
	row_report= row_into= row_extra=
	umount "$work/full"
	mounted=
else
	left_out 'full disk, read-only file system' 'no mount for us'
fi
long=$(printf '%0250d' 0)
long=long/$long/$long/$long/$long/$long/$long/$long/$long/$long/$long/$long/$long/$long/$long/$long/d
row_into=$long
row 'a path of 3800 characters' whole "$limits" plain
rm -rf "$work/long"
row_into="white	space
and lines"
row 'a path with spaces and newlines' whole "$limits" plain
row_into=
unprivileged 'umask 0777' 'blocks("leak") == 1001' $nobody "$hostile" umask
unprivileged 'umask 0777 from the start' 'blocks("leak") == 1001' sh -c 'umask 0777; exec "$@"' sh $nobody "$limits" sigmask
row_into=

part "Limits"
row_extra=$cant_grow
row 'RLIMIT_FSIZE' counted "$limits" fsize
row 'RLIMIT_FSIZE reached by the program, SIGXFSZ ignored' counted "$limits" fsize-ignore
row 'RLIMIT_FSIZE reached by the program, SIGXFSZ handled' counted "$limits" fsize-handle
row 'RLIMIT_NOFILE 0' counted "$limits" nofile
row 'RLIMIT_NOFILE 3' counted "$limits" nofile-3
row_extra=
row 'RLIMIT_FSIZE reached by a child, SIGXFSZ ends it' 'in_process(one("master").id; "leak") == 1000 and
	any(process("fork")[]; ended("signal"; 25))' "$limits" fsize-term
row 'RLIMIT_AS as good as used up' '.processes | length >= 1' "$limits" as
row 'RLIMIT_AS used up' '.processes | length >= 1' "$limits" as-used
row 'RLIMIT_DATA as good as used up' '.processes | length >= 1' "$limits" data
row 'RLIMIT_STACK of 8 KiB' whole "$limits" stack-limit
row 'a thread with the smallest stack' 'in_process(one("master").id; "leak") == 1000' "$limits" stack
row 'fork on a small stack' '[process("fork")[] | select(ended("_exit"; 5))] | length == 1' "$targets/hurts" small-stack
row 'a large environment' '.processes | length == 2' "$targets/hurts" large-environment
unprivileged 'RLIMIT_MEMLOCK 0' 'blocks("leak") == 1001' $nobody "$limits" memlock
unprivileged 'RLIMIT_NPROC 0' 'blocks("leak") == 1000' $nobody "$limits" nproc
row '`mlockall`' whole "$limits" mlockall
if [ "$root" ]; then
	for group in /sys/fs/cgroup/memory /sys/fs/cgroup; do
		[ ! "$memory" ] && mkdir "$group/leaktrace-test.$$" 2>/dev/null && memory=$group/leaktrace-test.$$
	done
fi
at_limit='echo $$ >"$1/cgroup.procs" && shift && exec "$@"'
if [ "$memory" ] && { echo 48M >"$memory/memory.limit_in_bytes" || echo 48M >"$memory/memory.max"; } 2>/dev/null; then
	row 'memory cgroup at its limit' 'blocks("leak") == 1001' sh -c "$at_limit" sh "$memory" "$limits" memory
	holds 'memory cgroup: at its limit indeed, which a classifier paid for' \
		sh -c 'cat "$1/memory.oom_control" "$1/memory.events" 2>/dev/null | grep -q "^oom_kill [1-9]"' sh "$memory"
else
	left_out 'memory cgroup at its limit' 'no memory cgroup for us'
fi
row '100 children that do nothing' '.processes | length == 101' "$targets/hurts" idle-forks 100
trace idle "$targets/hurts" idle-forks 50 # of some 24 KiB each
holds '50 children that do nothing: at most 64 KiB each' [ "$(du -sk "$work/idle" | cut -f1)" -le $((256 + 50 * 64)) ]

part "Sandboxes"
row 'seccomp says EPERM to one call, a child for each of 66' 'blocks("leak") >= 66 * 49' "$sandbox" each 1
row 'seccomp says ENOSYS to one call, likewise' 'blocks("leak") >= 66 * 49' "$sandbox" each 38
row 'seccomp kills for one call, likewise' 'blocks("leak") >= 66 * 49' "$sandbox" each kill
row 'seccomp says EPERM to one call from the start, a child for each of 37' '.processes | length >= 1 + 37 * 2 - 3' "$sandbox" each-exec 1
row 'seccomp kills for all that a program which only allocates does not call' 'one("master") | .live_blocks + .dropped >= 1000 and .end_code == 0' \
	"$sandbox" only prctl
row 'likewise, installed by `syscall`' 'one("master") | .live_blocks + .dropped >= 1000 and .end_code == 0' "$sandbox" only syscall
row 'likewise, four threads' 'one("master") | .end_code == 0' "$sandbox" only-threads
row 'likewise, with fork' 'one("master") | .live_blocks + .dropped >= 1000' "$sandbox" only-fork
if unshare --pid --fork --mount-proc true 2>/dev/null; then
	row 'likewise, process 1' 'blocks("leak") >= 600' unshare --pid --fork --mount-proc "$sandbox" only-fork
else
	left_out 'likewise, process 1' 'no PID name spaces for us'
fi
row 'likewise, SIGSEGV' 'one("master") | .live_blocks + .dropped >= 1000' "$sandbox" only-fatal
row 'likewise, abort' 'one("master") | .live_blocks + .dropped >= 1000' "$sandbox" only-abort
row 'seccomp sends SIGSYS' 'one("master") | .live_blocks + .dropped >= 1000' "$sandbox" trap
row_classified=yes
row 'seccomp kills for ptrace, and did so from the start; a thread holds a block' \
	'[.sites[] | select(.function == "leak_held")] | map(.kind) == ["reachable"]' "$sandbox" exec ptrace "$limits" thread-holds
row_classified=
row 'strict mode' 'one("master") | .live_blocks + .dropped >= 999' "$sandbox" strict

part "Signals, environment, identity"
row 'all signals blocked' whole "$limits" sigmask
row 'SIGCHLD ignored' whole "$limits" sigchld
row 'environment cleared' whole "$limits" clearenv
row 'environment cleared, then exec' '[.processes[] | select(.end_kind == "exec")] | length == 1' "$limits" clearenv-exec
if [ "$root" ]; then
	row_extra=$cant_grow
	row 'privileges dropped' counted "$limits" setuid
	row_extra=
else
	left_out 'privileges dropped' 'there are none'
fi
row 'not dumpable' whole "$limits" undumpable
row 'PR_SET_NO_NEW_PRIVS' whole "$limits" no-new-privs
row 'no address space randomization' 'blocks("leak") == 1001' setarch -R "$limits" plain

part "Name spaces and /proc"
if [ "$mounts" ]; then
	row '/proc not mounted' 'blocks("leak") == 1001' unshare --mount sh -c 'umount -l /proc && exec "$@"' sh "$limits" plain
	row '/proc hidden by a tmpfs' 'blocks("leak") == 1001' unshare --mount sh -c 'mount -t tmpfs none /proc && exec "$@"' sh "$limits" plain
	row '/proc not mounted, four threads' '.processes | length >= 1' unshare --mount sh -c 'umount -l /proc && exec "$@"' sh \
		"$targets/processes" threads-return
		unprivileged 'hidepid=2' 'blocks("leak") == 1001' unshare --mount sh -c 'mount -t proc -o hidepid=2 proc /proc && exec "$@"' sh $nobody "$limits" plain
else
	left_out '/proc not mounted, hidden, hidepid=2' 'no mounts for us'
fi
reaped='all(.processes[]; .end_kind == "_exit" or .end_kind == "exit") and blocks("leak_child") == 16000 and blocks("leak_orphan") == 8000'
for how in wait wait4 waitid waitid-nowait handler; do
	row "child subreaper: $how" "$reaped" "$targets/reaper" $how
done
if unshare --pid --fork --mount-proc true 2>/dev/null; then
	row 'process 1: wait' "[.processes[] | select(.end_kind == \"_exit\")] | length == 12" unshare --pid --fork --mount-proc "$targets/reaper" wait
	row 'process 1: handler' "[.processes[] | select(.end_kind == \"_exit\")] | length == 12" unshare --pid --fork --mount-proc "$targets/reaper" handler
	row 'process 1: signals without a handler' 'true' unshare --pid --fork sh -c 'trap "" USR1; kill -ALRM $$; sleep 0.1; echo alive'
	row_classified=yes
	row '/proc of another PID name space, a thread holds a block' '[.sites[] | select(.function == "leak_held")] | map(.kind) == ["reachable"]' \
		unshare --pid --fork "$limits" thread-holds
	row_classified=
	row 'two hosts, the same PIDs, one directory' '[process("fork")[] | select(ended("_exit"; 0))] as $children | ($children | length) == 2 and
		($children | map(.host) | unique | length) == 2 and ($children | map(.pid) | unique | length) == 1 and blocks("leak") == 2002' \
		sh -c 'for host in here there; do
			unshare --uts --pid --fork --mount-proc sh -c "hostname $host && exec \"\$0\" plain" "$0" & done; wait' "$limits"
else
	left_out 'first process of a PID name space, two hosts' 'no PID name spaces for us'
fi

finish
