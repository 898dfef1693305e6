#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# install_test.sh CMAKE BUILD_FOLDER: installs, moves the tree, and runs a small pipeline from it with mpirun, called
# from a folder that has nothing to do with the checkout, which must not be needed.
set -uo pipefail
cmake=$1 build=$2
source "$(dirname "${BASH_SOURCE[0]}")/../slurm/check.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset SLURM_JOB_ID SLURM_SUBMIT_DIR "${!LSD_@}"

"$cmake" --install "$build" --prefix "$work/first" >"$work/install.log" 2>&1
check "cmake --install" 0 $? || tail "$work/install.log"
check_has "the module file names the prefix" "set root $work/first" "$(ls "$work"/first/share/lsd/modulefiles/lsd/*)"
mv "$work/first" "$work/moved"
mkdir "$work/home"
cd "$work/home" || exit 1

small="--training.steps=3 --training.capacity=1024 --data.max_length=128 --optimizer.warmup_steps=1 --model.width=32 --model.heads=2"
small+=" --validation.every_steps=0 --threads=1"
cat >pipeline.cfg <<TEXT
run = small
variants = nm
fasta = data_prep/sample/proteins.fasta.gz
train.config = configs/demo/{variant}.cfg
diffusion.config = configs/demo/diffusion_{variant}.cfg
train.options = $small
diffusion.options = $small
train.nodes = 1
train.ranks_per_node = 2
diffusion.nodes = 1
diffusion.ranks_per_node = 2
TEXT
LSD_RANKS=2 "$work/moved/share/lsd/slurm/single_node.sh" pipeline.cfg >"$work/run.log" 2>&1
code=$?
check "a pipeline from the moved tree, by hand with mpirun" 0 $code
[[ $code == 0 ]] || tail -n 20 "$work/run.log"
check "its runs are where it was called" yes "$([[ -e $work/home/runs/small/diffusion_nm/DONE ]] && echo yes)"
check_has "two ranks" "2 rank(s)" "$work/run.log"
# What a stage makes of the real programs' files: a training that has begun, then is refused as another model.
mkdir runs/refused && ln -s ../small/shard runs/refused/shard
train() { # option...
  LSD_RUN=refused LSD_RANKS=2 LSD_CONFIG=configs/demo/nm.cfg LSD_OPTIONS="$small" "$work/moved/share/lsd/slurm/train_nm_s.sh" "$@" >"$work/train.log" 2>&1
}
train --run.stop_after=1
check "a training stopped" 75 $?
train --run.seed=5
check "then refused" 1 $?
LSD_RUN=refused "$work/moved/share/lsd/slurm/pipeline.sh" --status refused >"$work/status" 2>&1
check_has "... with its reason" "failed: its program ended with code 1 before this start began its work" "$work/status"

# The words of the real programs, as the dry run reads them.
LSD_TFLOPS=0.001 LSD_RUNS=$work/none "$work/moved/share/lsd/slurm/pipeline.sh" --dry-run pipeline.cfg >"$work/dry_run" 2>&1
check "the dry run tells memory, disk, operations and hours of both trainings" "2 2 2" \
  "$(grep -c '^# estimate: .* of memory on each rank; .* of disk' "$work/dry_run") $(grep -c '^# estimate: 3 steps of .* operations$' "$work/dry_run") $(grep -c '^# estimate: [0-9.]* hours at 0.001 TFLOP/s on each of [0-9]* ranks$' "$work/dry_run")"
sed 's/^train.nodes = 1/train.nodes = 5/' pipeline.cfg >many.cfg
LSD_RUNS=$work/none "$work/moved/share/lsd/slurm/pipeline.sh" --dry-run many.cfg >"$work/dry_run" 2>&1
check_has "... and refuses more ranks than micro-batches" "train_nm: 10 ranks are too many for training.micro_batches = 2" "$work/dry_run"
"$work/moved/share/lsd/slurm/pipeline.sh" --status small >"$work/status" 2>&1
check "--status from the moved tree: four stages and the report" 5 "$(grep -c " done " "$work/status")"
finish_checks
