#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The nano study of docs/results.md: nm, tn and mlm autoencoders of width 128, a diffusion model on each, and probes of all
# of them on one task with three seeds. About 13 M tokens a model: an hour and a half on one core, half of that on two.
#   data_prep/nano_study.sh FOLDER TASK.csv[.gz] FASTA...    run again to go on where it stopped
# Environment: LSD_RANKS (default 1), LSD_THREADS of each rank (default: its share of the cores), LSD_BIN (default build/bin).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ $# -ge 3 ] || { sed -n '3,7s/^# //p' "${BASH_SOURCE[0]}" >&2; exit 1; }
set -a
. cmake/mpi.env
set +a
out=$1 task=$2
shift 2
bin=${LSD_BIN:-build/bin}
fasta=$(IFS=,; echo "$*")
mkdir -p "$out"

# Runs one stage on all ranks and notes how long it took.
stage() {
  local name=$1 program=$2 started=$SECONDS
  shift 2
  echo "== $name"
  mpirun -n "${LSD_RANKS:-1}" "$bin/$program" "$@"
  echo "$name $((SECONDS - started)) s" >>"$out/times.txt"
}

threads=--threads=${LSD_THREADS:-0}
training=("$threads" --data.shards="$out/shards" --compute.activation=bfloat16 --training.capacity=8192 --training.micro_batches=2
          --training.steps=800 --optimizer.learning_rate=1e-3 --optimizer.warmup_steps=100 --validation.every_steps=200)
stage shards lsd_shard_uniref50 --input.files="$fasta" --output.directory="$out/shards" \
  --split.valid=0.01 --split.test=0.01 --records.duplicate_ids=drop_record --records.dedupe=true
for variant in nm tn mlm; do
  stage "autoencoder $variant" lsd_train_autoencoder --config "configs/local/${variant}_nano.cfg" \
    --run.directory="$out/$variant" "${training[@]}"
  stage "diffusion $variant" lsd_train_diffusion --config "configs/local/diffusion_${variant}_nano.cfg" \
    --run.directory="$out/diffusion_$variant" --latents.autoencoder="$out/$variant" "${training[@]}"
  baselines=false
  [ "$variant" = nm ] && baselines=true
  stage "probes $variant" lsd_probe "$threads" --task.file="$task" --run.directory="$out/probes_$variant" --run.model="$variant" \
    --features.autoencoder="$out/$variant" --features.diffusion="$out/diffusion_$variant" \
    --features.activation=bfloat16 --sweep.representations=encoder,diffusion --sweep.times=0,0.15,0.3,0.5,0.7 --sweep.heads=linear,mlp \
    --sweep.seeds=1,2,3 --sweep.baselines=$baselines
done
"$bin/lsd_report" --quiet --results="$out/probes_nm,$out/probes_tn,$out/probes_mlm" --directory="$out/report" \
  --runs="$out/nm,$out/tn,$out/mlm,$out/diffusion_nm,$out/diffusion_tn,$out/diffusion_mlm"
cat "$out/report/report.md"
