#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The whole pipeline on the bundled proteins, with two ranks. Start it with ./dev demo, which builds first.
#   data_prep/demo.sh [FOLDER]     FOLDER: where everything goes, demo-output when not given; starts afresh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=${1:-demo-output}
bin=build/bin
start=$SECONDS

stage() {
  local program=$1
  shift
  printf '\n== %s %s\n' "$program" "$*"
  mpirun -n "${LSD_RANKS:-2}" "$bin/$program" "$@"
}

[ ! -e "$out" ] || [ -e "$out/.lsd-demo" ] || { echo "$out exists and is not a demo's folder: name another" >&2; exit 1; }
rm -rf "$out"
mkdir -p "$out"
touch "$out/.lsd-demo"

stage lsd_shard_uniref50 --config configs/demo/shard.cfg
stage lsd_train_autoencoder --config configs/demo/autoencoder.cfg
stage lsd_dump_latents --config configs/demo/dump.cfg
stage lsd_train_diffusion --config configs/demo/diffusion.cfg
for probe in configs/demo/probe_*.cfg; do stage lsd_probe --config "$probe"; done
stage lsd_report --config configs/demo/report.cfg
printf '\neverything is in %s (%s s)\n' "$out" $((SECONDS - start))
