#!/bin/sh
# SPDX-License-Identifier: MIT
# Kinds of samples: as the exact mode has them, within 5 standard errors, once in a million more.
. "$LT_SOURCE/tests/lib.sh"
needs jq

for size in 1k 8k; do
	options=sample=$size
	run trace "$size" "$targets/chains"
	same "$size: status" 0 "$status"
	judged "$size"
	fact "$size" "mode" 'one("master") | .mode == "sampled" and .classified'
	for function in lost_list kept_list; do
		fact "$size" "$function: blocks" "(sites(\"$function\") | map(.blocks_se * .blocks_se) | add | sqrt) as \$error
			| close_to(blocks(\"$function\"); 40000; 5 * \$error) and \$error < 8000"
	done
	fact "$size" "kept: reachable" 'sites("kept_list") | all(.kind == "reachable")'
	# Of each thread one is the list's first, and it may have been recorded.
	fact "$size" "lost: hang on others" '[sites("lost_list")[] | select(.kind == "definite") | .sampled_blocks] | add // 0 | . <= 2'
	fact "$size" "lost: nothing else" 'sites("lost_list") | all(.kind == "definite" or .kind == "indirect")'
done

finish
