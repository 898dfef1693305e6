#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Tests and measures what bundle.sh packed, on a machine with a GPU, in steps of a few minutes. Nothing is built or
# installed; every command has a time limit of its own, and a failing one does not stop the others. Each writes a log
# into RESULTS; summary.txt there has a line for each: seconds, outcome, last words.
#
#   run.sh BUNDLE RESULTS STEP...        exit code: 1 when anything failed
#
#   tests       every op against the reference, the same bits again, steps without allocation, ranks that share a GPU
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
nccl=$(python3 -c 'import nvidia.nccl as n; print(list(n.__path__)[0] + "/lib")' 2>/dev/null) && LD_LIBRARY_PATH+=:$nccl
if [ "$(id -u)" = 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
bin=$bundle/bin lengths=$bundle/bench/peers/lengths_65k.txt failures=0

# measure NAME SECONDS COMMAND...
measure() {
  local name=$1 limit=$2 begin=$SECONDS code=0 outcome=ok
  shift 2
  echo "\$ $*" >"$results/$name.log"
  timeout -k 10 "$limit" "$@" >>"$results/$name.log" 2>&1 || code=$?
  [ $code = 0 ] || { outcome="FAILED ($code)" && failures=$((failures + 1)); }
  # Where something is missing tests skip, and end well.
  [ $code != 0 ] || ! grep -qa 'SKIPPED' "$results/$name.log" || outcome=skipped
  [ $code != 124 ] || outcome="FAILED (longer than $limit s)"
  printf '%-28s %4d s  %-10s %s\n' "$name" $((SECONDS - begin)) "$outcome" "$(tail -n 1 "$results/$name.log" | cut -c1-900)" |
    tee -a "$results/summary.txt"
}

tests() {
  measure op_tests 400 "$bin/lsd_gpu_tests" --gtest_brief=1
  measure step_tests 200 "$bin/lsd_tasks_gpu_tests"
  local ranks
  for ranks in 1 2; do measure "ranks_$ranks" 120 mpirun --oversubscribe -n $ranks "$bin/lsd_gpu_ranks"; done
}

# Of our own kernels: cuBLASLt's are slow to check. racecheck follows mma.sync's accesses, of wgmma's only some.
sanitizers() {
  local tool
  for tool in memcheck racecheck synccheck initcheck; do
    measure "$tool" 140 compute-sanitizer --tool $tool --kernel-name kns=lsd --error-exitcode 1 "$bin/lsd_gpu_tests" \
      --gtest_filter='*GpuOnEveryOp*short*'
    LSD_CUDA_ATTENTION=mma measure "${tool}_attention_mma" 90 compute-sanitizer --tool $tool --kernel-name kns=lsd \
      --error-exitcode 1 "$bin/lsd_gpu_tests" --gtest_filter='*AttentionKernels.AllAgree*mixture_64*'
  done
}

attention() {
  measure attention_tests 200 "$bin/lsd_gpu_tests" --gtest_filter='*AttentionKernels*'
  local rows
  for rows in 8192 65536; do
    measure "attention_$rows" 120 "$bin/ops_bench" --backend cuda --type bfloat16 --size s --rows $rows --only Attention \
      --attention mma,wgmma,wgmma_wide
  done
  local kernel
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
[ $failures = 0 ]
