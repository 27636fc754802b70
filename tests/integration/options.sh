#!/bin/sh
# SPDX-License-Identifier: MIT
# LEAKTRACE_OPTIONS, scope and session.
. "$LT_SOURCE/tests/lib.sh"
program=$targets/forks

for bad_option in nonsense=1 scope=some depth=-1 depth=many max_size=1 active=perhaps sample=x novalue; do
	options=$bad_option
	run trace "bad-$bad_option" "$program" fork
	same "$bad_option: status" 0 "$status"
	same "$bad_option: one line" 1 "$(wc -l <"$work/err")"
	same "$bad_option: names leaktrace" 1 "$(tracer_lines)"
	report "bad-$bad_option"
	fact "bad-$bad_option" "traced all the same" 'holds("leak_child"; 5; 1000)'
done
options=

same "an option's value with a space" 0 "$(trace "with space" "$program" fork; echo $?)"
report "with space"
fact "with space" "space in the directory's name" 'holds("leak_child"; 5; 1000)'

# scope: a C program by itself is traced; scope=r leaves it alone.
options=scope=r
run trace scope-r "$program" fork
same "scope=r: status" 0 "$status"
same "scope=r: no dump of a program without R" 0 "$(dumps scope-r)"
options=scope=all
run trace scope-all sh -c "'$program' fork; '$program' nested; true"
same "scope=all: sh, and five more" 6 "$(dumps scope-all)"
report scope-all
fact scope-all "one session" '(.processes | length == 6) and ([.processes[] | select(.role == "master")] | length == 1)'
options=

# active=0: dormant; log: the tracer's own lines go there.
options=active=0
run trace dormant "$program" fork
same "active=0: status" 0 "$status"
options="log=$work/log:nonsense=1"
run trace logged "$program" fork
same "log: status" 0 "$status"
same "log: a wrong option is one line on stderr all the same" 1 "$(wc -l <"$work/err")"
options="log=$work/log"
: >"$work/not-a-directory"
run trace not-a-directory "$program" fork
same "log: no directory, no failure" 0 "$status"
holds "log: the problem is in the file" grep -q not-a-directory "$work/log"
options=

# The environment: two variables and no more.
env | grep -v -e '^LD_PRELOAD=' -e '^LEAKTRACE_' -e '^_=' | sort >"$work/env.plain"
trace env env | grep -v -e '^LD_PRELOAD=' -e '^LEAKTRACE_' -e '^_=' | sort >"$work/env.traced"
holds "environment is the same" cmp -s "$work/env.plain" "$work/env.traced"

finish
