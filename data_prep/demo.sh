#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The whole pipeline on the bundled proteins, with 2 MPI ranks: FASTA -> shards -> autoencoders -> latents -> diffusion
# model -> probes -> report. Start it with ./dev demo, which builds first.
#   data_prep/demo.sh [FOLDER]     FOLDER: where everything goes, demo-output when not given; starts afresh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
set -a
. cmake/mpi.env
set +a
out=${1:-demo-output}
bin=${LSD_BIN:-build/bin}
ranks=${LSD_RANKS:-2}
started=$SECONDS
[ ! -e "$out" ] || [ -e "$out/.lsd-demo" ] || { echo "$out exists and is not a demo's folder: name another" >&2; exit 1; }
rm -rf "$out"
mkdir -p "$out"
touch "$out/.lsd-demo"

# Runs one stage on all ranks.
stage() {
  local title=$1 program=$2 stage_started=$SECONDS
  shift 2
  printf '\n== %s\n' "$title"
  mpirun -n "$ranks" "$bin/$program" "$@"
  printf '   (%d s)\n' $((SECONDS - stage_started))
}

stage "FASTA to shards: 4,000 real proteins" lsd_shard_uniref50 \
  --input.files=data_prep/sample/proteins.fasta.gz --output.directory="$out/shards" --split.valid=0.05 --split.test=0.05
for variant in nm tn mlm; do
  stage "Autoencoder, variant $variant" lsd_train_autoencoder --config "configs/demo/$variant.cfg" \
    --run.directory="$out/$variant" --data.shards="$out/shards"
done
for split in train valid; do
  stage "Latents of the $split split" lsd_dump_latents --config configs/demo/dump.cfg --features.autoencoder="$out/nm" \
    --input.shards="$out/shards" --input.split="$split" --output.directory="$out/latents_$split"
done
stage "Diffusion model on the frozen latents" lsd_train_diffusion --config configs/demo/diffusion_nm.cfg \
  --run.directory="$out/diffusion_nm" --data.shards="$out/shards" --latents.autoencoder="$out/nm" \
  --latents.source=stored --latents.dump="$out/latents_train" --latents.valid_dump="$out/latents_valid"
stage "Probes: encoder and diffusion features of nm" lsd_probe --config configs/demo/probe.cfg \
  --features.autoencoder="$out/nm" --features.diffusion="$out/diffusion_nm" --run.directory="$out/probes_nm" \
  --sweep.representations=encoder,diffusion --sweep.times=0,0.3,0.7
for variant in tn mlm; do
  stage "Probes: encoder features of $variant" lsd_probe --config configs/demo/probe.cfg \
    --features.autoencoder="$out/$variant" --run.directory="$out/probes_$variant" --sweep.baselines=false
done
printf '\n== Report\n'
"$bin/lsd_report" --quiet --results="$out/probes_nm,$out/probes_tn,$out/probes_mlm" \
  --runs="$out/nm,$out/tn,$out/mlm,$out/diffusion_nm" --directory="$out/report"
cat "$out/report/report.md"
cat <<TEXT

Done in $((SECONDS - started)) s. A model this small, trained this briefly, shows that every stage works, not what the method can do.
Everything is in $out/:
  shards/                      tokenised proteins (docs/formats/shards.md)
  nm/ tn/ mlm/ diffusion_nm/   runs: config.cfg, metrics.jsonl, checkpoints/ (docs/formats/checkpoints.md)
  latents_train/ latents_valid/  latents of nm (docs/formats/embeddings.md)
  probes_nm/ probes_tn/ probes_mlm/  one JSON file per probe (docs/formats/probe_results.md)
  report/                      report.md, report.json, figures
TEXT
