#!/bin/sh
# SPDX-License-Identifier: MIT
# Every way to make a process and to end one: as without the tracer, and every one of them is in the report.
. "$LT_SOURCE/tests/unhurt/lib.sh"
processes=$targets/processes

# usage: ends ROLE KIND CODE N: so many processes of the role ended so
jq_functions="$jq_functions"'
	def ends($role; $kind; $code): [process($role)[] | select(ended($kind; $code))] | length;
	def leaked: [.sites[] | select(.function | test("^leak"))] | map(.blocks) | add // 0;
'

part "How a process comes to be"
for how in fork _Fork syscall clone nested many; do
	case $how in
	nested) fact='(.processes | length == 3) and leaked == 16' ;;
	many) fact='(.processes | length == 11) and leaked == 54' ;;
	*) fact='(.processes | length == 2) and leaked == 9 and in_process(one("fork").id; "leak_child") == 5' ;;
	esac
	row "child by $how" "$fact" "$targets/forks" "$how"
done
row 'system call `fork` itself' 'ends("fork"; "_exit"; 3) == 1 and blocks("leak_own") == 1' "$processes" raw-fork
row 'fork → exec → fork, three deep' '[.processes[] | select(.end_kind == "exit") | .end_code] | sort == [0, 1, 2, 3]' "$processes" deep 3
row 'vfork, exec' '[.processes[] | select(ended("exit"; 3))] | length == 1' "$targets/execs" vfork
row 'vfork, the exec fails' 'blocks("leak_image") == 1' "$targets/execs" vfork-failed
row '50 × vfork, `_exit`' 'blocks("leak_own") == 1 and one("master").end_kind == "exit"' "$processes" vfork-exit
for how in spawn spawnp system popen; do
	row "$how" '[.processes[] | select(ended("exit"; 3))] | length == 1' "$targets/execs" "$how"
done
row 'daemon()' 'ends("fork"; "exit"; 4) == 1 and blocks("leak_daemon") == 3' "$processes" daemon
row 'double fork' 'ends("fork"; "exit"; 4) == 1 and blocks("leak_daemon") == 3' "$processes" double-fork
row 'child that outlives its parent' 'ends("fork"; "_exit"; 5) == 1 and blocks("leak_orphan") == 2' "$processes" orphan
row '40 children at once' 'ends("fork"; "_exit"; 0) == 40 and blocks("leak_at_once") == 40' "$processes" many-at-once 40
row 'fork while eight threads allocate, 60 times' 'ends("fork"; "_exit"; 0) == 60 and blocks("leak_child") == 120 and blocks("leak_thread") == 80' \
	"$targets/thread-fork" 60
row 'fork by a thread when main has gone' 'ends("fork"; "_exit"; 9) == 1 and blocks("leak_last") == 2' "$processes" main-gone
row 'child that frees, reallocs, overwrites what it inherited' 'blocks("leak_own") == 2 and all(.processes[]; .unknown_frees == 0)' "$processes" inherited
row 'exec of itself, 5 times' '.processes | length == 6' "$targets/execs" chain 5
row 'exec of itself, 40 times' '[.processes[] | select(.end_kind == "exec")] | length == 40' "$processes" exec-self 40
row 'exec that fails, 20 times, then a fork' 'blocks("leak_failed") == 21 and ends("fork"; "_exit"; 2) == 1' "$processes" exec-failed 20
row 'exec with a cleared environment' '[.processes[] | select(.end_kind == "exec")] | length == 1' "$targets/execs" clearenv
if unshare --pid --fork --mount-proc true 2>/dev/null; then
	row 'PIDs that are reused' '([process("fork")[] | select(ended("_exit"; 0)) | .pid] | length - (unique | length)) >= 1' \
		unshare --pid --fork --mount-proc "$processes" reused-pid
else
	left_out 'PIDs that are reused' 'no PID name spaces for us'
fi

part "How it ends"
for how in return exit _exit _Exit quick_exit atexit thread pthread_exit; do
	row "$how" 'blocks("leak") == 4 and (one("master").end_kind | test("exit"))' "$targets/endings" "$how"
done
for how in abort segv raise-segv term; do
	row "$how" 'blocks("leak") == 4 and one("master").end_kind == "signal"' "$targets/endings" "$how"
done
row '`exit_group` by its number' 'blocks("leak") == 4 and one("master").end_kind == "unknown"' "$targets/endings" syscall
row 'SIGKILL' 'blocks("leak") == 4 and one("master").end_kind == "unknown"' "$targets/endings" kill
row '`_exit` in a handler' 'blocks("leak") == 4 and (one("master") | ended("_exit"; 55))' "$targets/endings" handled
row 'every signal there is, a child each' 'blocks("leak_signalled") == 54 and ([process("fork")[] | select(.end_kind == "signal") | .end_code] | unique | length) == 54' \
	"$processes" signals
row 'a handler for SIGSEGV that resets it' 'ends("fork"; "signal"; 11) == 1' "$processes" core
row 'stopped and continued' 'ends("fork"; "_exit"; 8) == 1 and blocks("leak_stopped") == 1' "$processes" stopped
for how in return exit _exit quick_exit abort kill; do
	row "$how while four threads allocate" '.processes | length == 1' "$processes" "threads-$how"
done
row 'exec while four threads allocate' '(.processes | length == 2) and blocks("leak_leaf") == 2' "$processes" threads-exec
for how in exit-in-handler parked; do
	for moment in $(seq 30); do
		row "$how, moment $moment" 'true' "$targets/hurts" $how $moment
	done
done
row 'a signal open only in sigsuspend' 'one("master") | ended("signal"; 15)' "$targets/hurts" sigsuspend
row 'a trap' 'one("master") | ended("signal"; 11)' "$targets/hurts" trap

finish
