#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Tests and measures what bundle.sh packed, on a machine with a GPU, in steps of a few minutes. Nothing is built or
# installed; every command has a time limit of its own, and a failing one does not stop the others. Each writes a log
# into RESULTS; summary.txt there has a line for each: seconds, outcome, last words.
#
#   run.sh BUNDLE RESULTS STEP...        exit code: 1 when anything failed or was left out
#
# LSD_LIMIT=SECONDS leaves out what has not begun by then, for machines that are lent for so long; all logs are packed into
# RESULTS/results.tgz at the end.
#
#   tests       what the programs find of libraries; every op against the reference, the same bits again, steps without allocation, ranks that share a GPU
#   sanitizers  compute-sanitizer over a part of the op tests: memory, races, barriers, reads of what was never written
#   attention   the attention kernels side by side
#   steps       lsd_bench: training steps, denoiser steps and dumps at S, M and L
#   programs    training and dumps on real shards beside lsd_bench (needs python3)
set -uo pipefail
bundle=$(cd "${1:?BUNDLE}" && pwd) results=${2:?RESULTS}
shift 2
mkdir -p "$results"
results=$(cd "$results" && pwd)
PATH+=:/usr/local/cuda/bin
export LD_LIBRARY_PATH=$bundle/lib:/usr/local/cuda/lib64${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
# Where CUDA's libraries came with Python packages.
for folder in $(python3 -c 'import nvidia, pathlib
for path in nvidia.__path__: print(*pathlib.Path(path).glob("*/lib"))' 2>/dev/null); do LD_LIBRARY_PATH+=:$folder; done
set -a
. "$bundle/mpi.env"
set +a
bin=$bundle/bin lengths=$bundle/bench/peers/lengths_65k.txt failures=0

# measure NAME SECONDS COMMAND...
measure() {
  local name=$1 limit=$2 begin=$SECONDS code=0 outcome=ok skips
  shift 2
  if ((SECONDS >= ${LSD_LIMIT:-1000000})); then
    failures=$((failures + 1))
    echo "$name: left out, LSD_LIMIT is over" | tee -a "$results/summary.txt"
    return
  fi
  echo "\$ $*" >"$results/$name.log"
  timeout -k 10 "$limit" "$@" >>"$results/$name.log" 2>&1 || code=$?
  [ $code = 0 ] || { outcome="FAILED ($code)" && failures=$((failures + 1)); }
  # Where something is missing tests skip, and end well.
  skips=$(sed -n 's/^\[  SKIPPED \] \([0-9]*\) tests\{0,1\}, listed.*/\1/p' "$results/$name.log" | sort -n | tail -n 1)
  [ $code != 0 ] || ((${skips:-0} <= ${expected_skips:-0})) || outcome=skipped
  [ $code != 124 ] || outcome="FAILED (longer than $limit s)"
  printf '%-32s %4d s  %-10s %s\n' "$name" $((SECONDS - begin)) "$outcome" "$(tail -n 1 "$results/$name.log" | cut -c1-900)" |
    tee -a "$results/summary.txt"
}

# A process that met an illegal address is of no use any more: one for each size and type, first without the newest kernels.
tests() {
  measure libraries 20 bash -c "! ldd $bin/* | grep 'not found'"
  local case ranks
  LSD_CUDA_ATTENTION=mma measure op_tests_mma 150 "$bin/lsd_gpu_tests" --gtest_filter='-*AttentionKernels*'
  for case in $("$bin/lsd_gpu_tests" --gtest_list_tests --gtest_filter='*BackendsAgree*' | sed -n 's/^  [A-Za-z]*\/\([a-z0-9_]*\).*/\1/p' | sort -u); do
    measure "op_tests_$case" 60 "$bin/lsd_gpu_tests" --gtest_filter="*BackendsAgree*/$case"
  done
  measure step_tests 120 "$bin/lsd_tasks_gpu_tests"
  # One rank skips the test of sharing, two the test of NCCL: more than one skipped is something missing.
  for ranks in 1 2; do expected_skips=1 measure "ranks_$ranks" 90 mpirun -n $ranks "$bin/lsd_gpu_ranks"; done
}

# Of our own kernels: cuBLASLt's are slow to check; but initcheck must see what they write for ours. racecheck follows
# mma.sync's accesses, of wgmma's only some.
sanitizers() {
  local tool kernel ours
  for tool in memcheck racecheck synccheck initcheck; do
    ours=(--kernel-name kns=lsd)
    [ $tool != initcheck ] || ours=()
    measure "$tool" 140 compute-sanitizer --tool $tool "${ours[@]}" --error-exitcode 1 "$bin/lsd_gpu_tests" \
      --gtest_filter='*GpuOnEveryOp*short*'
    for kernel in mma wgmma wgmma_wide; do
      measure "${tool}_attention_$kernel" 60 compute-sanitizer --tool $tool "${ours[@]}" --error-exitcode 1 "$bin/lsd_gpu_tests" \
        --gtest_filter="*AttentionKernels.AgreesWithTheReference*mixture_64_by_$kernel"
    done
  done
}

attention() {
  local rows kernel
  for kernel in mma wgmma wgmma_wide; do
    measure "attention_tests_$kernel" 60 "$bin/lsd_gpu_tests" --gtest_filter="*AttentionKernels*_by_$kernel"
  done
  for rows in 8192 65536; do
    measure "attention_$rows" 120 "$bin/ops_bench" --backend cuda --type bfloat16 --size s --rows $rows --only Attention \
      --attention mma,wgmma,wgmma_wide
  done
  for kernel in mma wgmma wgmma_wide; do
    LSD_CUDA_ATTENTION=$kernel measure "nm_s_$kernel" 90 "$bin/lsd_bench" --backend cuda --work nm --model s \
      --activation bfloat16 --residual bfloat16 --lengths "$lengths" --ceiling=false --json=true
  done
}

# L keeps 94 GiB of activations at 65,536 tokens unless blocks are computed again.
steps() {
  local model work more
  for model in s m l; do
    for work in nm diffusion dump; do
      more=(--ceiling=false)
      [ $work != nm ] || more=()
      [ $model != l ] || more+=(--recompute block)
      measure "${work}_$model" 150 "$bin/lsd_bench" --backend cuda --work $work --model $model --activation bfloat16 \
        --residual bfloat16 --lengths "$lengths" --json=true "${more[@]}"
    done
  done
}

programs() {
  measure programs_s 400 python3 "$bundle/bench/program_rates.py" --bin "$bin" --model s --backend cuda --capacity 65536 \
    --activation bfloat16 --threads 8 --steps 40 --rounds 3
}

if ! nvidia-smi -L >>"$results/summary.txt" 2>&1; then
  echo "no GPU is visible: nvidia-smi -L does not name one" >&2
  exit 1
fi
date -u >>"$results/summary.txt"
for step in "${@:?STEP...: tests, sanitizers, attention, steps or programs}"; do
  case $step in
    tests | sanitizers | attention | steps | programs) $step ;;
    *) echo "no step is called $step" >&2; exit 1 ;;
  esac
done
packed=$(mktemp)
tar czf "$packed" -C "$results" --exclude=results.tgz . && chmod 644 "$packed" && mv "$packed" "$results/results.tgz"
[ $failures = 0 ]
