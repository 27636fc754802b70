#!/bin/sh
# SPDX-License-Identifier: MIT
# Counters of a site: temporary allocations, the process's peak, tasks and growth; and the cfork example.
. "$LT_SOURCE/tests/lib.sh"

run trace d "$targets/counters"
same "status" 0 "$status"
report d
fact d "survivors" 'holds("at_peak"; 10; 40000) and holds("after_peak"; 5; 500) and holds("per_task"; 48; 3360)'
fact d "growth per task" 'sites("per_task")[0].growth_per_task | .blocks == 3 and .bytes == 210'
fact d "start-up does not grow" 'sites("after_peak")[0].growth_per_task | . == null or .bytes == 0'
fact d "nor what the first task sets up" 'holds("first_task_only"; 1; 900) and (sites("first_task_only")[0].growth_per_task | . == null or .bytes == 0)'
fact d "what grows ranks first" '.sites[0].function == "per_task" and .sites[0].rank == 1'
fact d "tasks" 'one("master").tasks == 16'
fact d "peak" 'one("master").peak_live_bytes >= 120000 and one("master").peak_live_bytes < 130000'
fact d "allocations" 'one("master") | .allocations - .frees == .live_blocks and .allocations == 100 + 100 + 30 + 5 + 48 + 1'
fact d "live" 'one("master") | .live_blocks == 64 and .live_bytes == 44760'

run trace no-pie "$targets/counters-no-pie"
same "no-pie: status" 0 "$status"
report no-pie
fact no-pie "no-pie: growth per task" 'sites("per_task")[0].growth_per_task | .blocks == 3 and .bytes == 210'

run trace cfork "$examples/cfork" 3 50
same "cfork: status" 0 "$status"
same "cfork: output" "3 workers, 50 requests each: done" "$(cat "$work/out")"
report cfork
fact cfork "leak in three workers" 'holds("session_open"; 150; 24000) and owners("session_open") == 3'
fact cfork "growth per request" 'sites("session_open")[0].growth_per_task | .blocks == 1 and .bytes == 160'
fact cfork "first row" '.sites[0].function == "session_open"'
fact cfork "who called" '[sites("session_open")[0].native[].function][:3] == ["session_open", "answer", "work"]'
fact cfork "configuration was freed in the parent and is inherited by none" 'blocks("config_load") == 0'

finish
