#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The whole story on this machine: installs what is missing, builds, runs the leaking job of examples/asyncrd on real R
# workers with the preload, and prints what leaktrace says. Leaves build/ behind, with the dumps in build/demo/.
set -eu
cd "$(dirname "$0")/.."
. examples/setup.sh

need build r
echo "building in build/" >&2
if ! (build_in build) >build.log 2>&1; then
	cat build.log >&2
	exit 1
fi
mv build.log build/demo-build.log

top=$PWD
rm -rf build/demo
mkdir -p build/demo
cd build/demo

# Runs a command after showing it, with the paths shortened to what a user would type.
show() {
	printf '\n$ %s\n' "$(echo "$*" | sed "s|$top/build/src/||g; s|$top/build/tools/||g; s|$top/examples/asyncrd/||g; s|^env ||")"
	"$@"
}
say() { printf '\n== %s\n' "$*"; }

lib=$top/build/src/libleaktrace.so
tool=$top/build/tools/leaktrace
job=$top/examples/asyncrd/asyncrd.R
export ASYNCRD_MODULE="$top/build/examples/asyncrd.so"

say "200 tasks on two PSOCK workers; each task leaves 1024 bytes in one C function and 512 in another"
show env "LD_PRELOAD=$lib" LEAKTRACE_OPTIONS=dir=psock Rscript "$job" --backend=psock --workers=2 --tasks=200
show "$tool" report --top 3 psock
show "$tool" ps psock

say "the same with one worker and one task, block by block"
show env "LD_PRELOAD=$lib" LEAKTRACE_OPTIONS=dir=blocks Rscript "$job" --backend=psock --workers=1 --tasks=1
show "$tool" report --blocks --top 2 blocks

say "on forked workers (mclapply)"
show env "LD_PRELOAD=$lib" LEAKTRACE_OPTIONS=dir=mclapply Rscript "$job" --backend=mclapply --workers=2 --tasks=20
show "$tool" report --top 2 mclapply
show "$tool" ps mclapply

say "and after the fix: R_PollAsyncRd is gone"
show env "LD_PRELOAD=$lib" LEAKTRACE_OPTIONS=dir=fixed Rscript "$job" --backend=psock --workers=2 --tasks=200 --fixed
show "$tool" report --top 1 fixed

"$tool" report --top 1 psock | grep -q R_PollAsyncRd && "$tool" report --top 1 mclapply | grep -q R_PollAsyncRd || {
	echo "demo.sh: the report does not begin with R_PollAsyncRd" >&2
	exit 1
}
if "$tool" report --format=csv fixed | grep -q R_PollAsyncRd; then
	echo "demo.sh: the fixed variant still shows R_PollAsyncRd" >&2
	exit 1
fi
