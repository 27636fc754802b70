#!/bin/sh
# SPDX-License-Identifier: MIT
# Native stacks: longjmp, signal stacks, coroutines, deep recursion, a library unloaded and another in its place.
. "$LT_SOURCE/tests/lib.sh"

run trace jumps "$targets/jumps"
same "jumps: status" 0 "$status"
same "jumps: silent" '' "$(cat "$work/err")"
report jumps
fact jumps "recursion, one site per depth" 'holds("leak_deep"; 50; 1200) and (sites("leak_deep") | length == 50)'
fact jumps "frames of the recursion" '[sites("leak_deep")[] | [.native[] | select(.function == "leak_deep")] | length] | sort == [range(1; 51)]'
fact jumps "after each jump the stack is main again" 'holds("leak_after_jump"; 7; 280)
	and (sites("leak_after_jump") | all(.native[0].function == "leak_after_jump" and .native[1].function == "main"))'
fact jumps "handler on the alternate stack" 'holds("leak_on_signal"; 1; 72) and (sites("leak_on_signal")[0].native | any(.function == "main"))'
fact jumps "coroutine" 'holds("leak_coroutine"; 4; 224)'
fact jumps "100,000 frames" 'holds("leak_bottom"; 1; 88) and (sites("leak_bottom")[0].native | length >= 255 and length <= 257)'
fact jumps "source lines" 'sites("leak_after_jump")[0] | (.file | endswith("jumps.c")) and .line > 0'

# check=1: libunwind judges every stack; a difference is a line on stderr.
plain=$("$targets/unwinding")
options=check=1
run trace unwinding "$targets/unwinding"
same "unwinding: status" 0 "$status"
same "unwinding: no descriptor is kept" "$plain" "$(cat "$work/out")"
same "unwinding: as libunwind does" '' "$(cat "$work/err")"
report unwinding
fact unwinding "every stack was compared" '.processes[0] | .checked_stacks >= .allocations and .wrong_stacks == 0 and .checked_r_stacks == 0'
fact unwinding "through a signal's frame" 'holds("leak_in_handler"; 10; 770)
	and (sites("leak_in_handler")[0].native | map(.function) | index("raise") and index("main"))'
fact unwinding "cut at code without unwind data, and no frame made up" 'holds("leak_from_jit"; 1; 88)
	and (sites("leak_from_jit")[0].native | length <= 2 or any(.function == "main"))'
fact unwinding "ways through a recursion" 'holds("leak_on_path"; 3072; 24576) and (sites("leak_on_path") | length == 1024 and all(.blocks == 3))'
fact unwinding "branches of a deep stack" 'holds("leak_left"; 200; 2000) and holds("leak_right"; 200; 4000)
	and (sites("leak_left") | length == 4) and ([sites("leak_right")[].depth] | length == 4)'
run trace moved "$targets/moved"
same "moved: status" 0 "$status"
same "moved: as libunwind does" '' "$(cat "$work/err")"
report moved
fact moved "each way, from each place" 'holds("leak_moved"; 1200; 12000) and (sites("leak_moved") | length == 40 and all(.blocks == 30))'
run trace jumps "$targets/jumps"
same "jumps: as libunwind does" '' "$(cat "$work/err")"

options=depth=10
trace shallow "$targets/jumps"
report shallow
fact shallow "at most 10 frames" '[.sites[].native | length] | max == 10'
fact shallow "no block is lost for that" 'holds("leak_deep"; 50; 1200)'
options=

run trace reload "$targets/reload" "$targets/plugin_first.so" "$targets/plugin_second.so"
same "reload: same address" 0 "$status"
report reload
fact reload "first plugin" 'holds("plugin_first"; 10; 1110) and (sites("plugin_first") | all(.module | endswith("plugin_first.so")))'
fact reload "second plugin" 'holds("plugin_second"; 10; 2220) and (sites("plugin_second") | all(.module | endswith("plugin_second.so")))'
fact reload "ten loads of one file are one row" 'sites("plugin_first") | length == 1'

finish
