# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# One function per stage: which program, which folders of the run it reads and writes. Every stage folder of a run is
# named like its stage: shard, train_VARIANT, dump_VARIANT, diffusion_VARIANT, probe_VARIANT, report.
#
#   LSD_CONFIG    config file instead of the stage's own
#   LSD_FASTA     shard: FASTA files, several with commas
#   LSD_VARIANT   the variant; default that of the script (nm_m for dump and probe)
#   LSD_LATENTS   dump, diffusion: recompute (default: the dump holds moments only) or stored (per-residue latents)
# Further arguments of a stage script go to its program.

read -r -d '' -a program_options <<<"${LSD_OPTIONS:-}" || true # at blanks and line ends, with no patterns

# These set failing_stage as soon as they know the stage's name: see `die` in stage.sh.

require_done() { # stage wanted_by
  [[ $(stage_state "$1") == "done" ]] ||
    die "$2 needs $1 of run $LSD_RUN, which is $(stage_state "$1"): no DONE in $(stage_folder "$1")"
}

shard_stage() {
  local options=()
  failing_stage=shard
  [[ $(stage_state shard) != "done" ]] || run_stage shard lsd_shard_uniref50
  [[ -n ${LSD_CONFIG:-} ]] && options+=(--config "$LSD_CONFIG")
  [[ -n ${LSD_FASTA:-} ]] && options+=(--input.files "$LSD_FASTA")
  [[ ${#options[@]} -gt 0 || $# -gt 0 ]] || die "nothing to shard: set LSD_FASTA (site file, or LSD_FASTA=... sbatch ...)"
  run_stage shard lsd_shard_uniref50 "${options[@]}" --output.directory "$(stage_folder shard)" "${program_options[@]}" "$@"
}

train_autoencoder_stage() { # variant option...
  local variant=$1
  shift
  failing_stage=train_$variant
  require_done shard "train_$variant"
  run_stage "train_$variant" lsd_train_autoencoder --config "${LSD_CONFIG:-configs/$variant.cfg}" \
    --run.directory "$(stage_folder "train_$variant")" --data.shards "$(stage_folder shard)" \
    "${LSD_PROGRAM_OPTIONS[@]}" "${program_options[@]}" "$@"
}

# Over the training split, or LSD_SPLIT=valid.
dump_latents_stage() {
  local variant=${LSD_VARIANT:-nm_m} split=${LSD_SPLIT:-train} mode=moments stage
  stage=dump_$variant
  [[ $split == train ]] || stage+=_$split
  [[ ${LSD_LATENTS:-recompute} == recompute ]] || mode=residues
  share_dump "$stage"
  require_done "train_$variant" "$stage"
  run_dump "$stage" --features.autoencoder "$(stage_folder "train_$variant")" \
    --input.shards "$(stage_folder shard)" --input.split "$split" --output.mode "$mode" \
    --output.directory "$(stage_folder "$stage")" "${LSD_PROGRAM_OPTIONS[@]}" "${program_options[@]}" "$@"
}

train_diffusion_stage() { # variant option...
  local variant=$1 dump latents
  shift
  failing_stage=diffusion_$variant
  dump=$(stage_folder "dump_$variant")
  require_done "train_$variant" "diffusion_$variant"
  require_done "dump_$variant" "diffusion_$variant"
  latents=(--latents.source recompute --latents.moments "$dump")
  if [[ ${LSD_LATENTS:-recompute} == stored ]]; then
    require_done "dump_${variant}_valid" "diffusion_$variant"
    latents=(--latents.source stored --latents.dump "$dump" --latents.valid_dump "${dump}_valid")
  fi
  run_stage "diffusion_$variant" lsd_train_diffusion --config "${LSD_CONFIG:-configs/diffusion_$variant.cfg}" \
    --run.directory "$(stage_folder "diffusion_$variant")" --data.shards "$(stage_folder shard)" \
    --latents.autoencoder "$(stage_folder "train_$variant")" "${latents[@]}" \
    "${LSD_PROGRAM_OPTIONS[@]}" "${program_options[@]}" "$@"
}

# Seconds of work, so it is made anew each time.
report_stage() {
  local LSD_LAUNCHER=none folder found=() trained=()
  folder=$(stage_folder report)
  mapfile -t found < <(find -L "$run_folder" -maxdepth 1 -type d -name 'probe_*' | sort)
  mapfile -t trained < <(find -L "$run_folder" -maxdepth 1 -type d \( -name 'train_*' -o -name 'diffusion_*' \) | sort)
  rm -f "$folder/report.json"
  run_stage report lsd_report --results "$(join_commas "${found[@]}")" --runs "$(join_commas "${trained[@]}")" \
    --directory "$folder" "${program_options[@]}" "$@"
}

join_commas() {
  local IFS=,
  echo "$*"
}
