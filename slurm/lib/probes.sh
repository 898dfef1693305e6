# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# A probe sweep is a list of units, jobs/probe_VARIANT.list: one task, representation and t each, with all heads and
# seeds. The members of the job array share it out by turns; each unit has a folder, and so a state, of its own.
#
#   LSD_PROBE_TASKS             files, each FILE[:regression|:binary|:classes[:shared]] (default classes;
#                               shared allows sequences that stand in two splits)
#   LSD_PROBE_REPRESENTATIONS   default: encoder diffusion
#   LSD_PROBE_TIMES             t of all but the encoder; default: 0 0.15 0.3 0.5 0.7
#   LSD_PROBE_HEADS, LSD_PROBE_SEEDS   default: linear mlp, 1 2 3

# Lines of unit, file, kind, shared, representation, t, baselines (with the first unit of a task).
list_probe_units() {
  local entry name representation time baselines times parts
  for entry in ${LSD_PROBE_TASKS:-}; do
    IFS=: read -r -a parts <<<"$entry"
    name=$(basename "${parts[0]}" .gz)
    baselines=true
    for representation in ${LSD_PROBE_REPRESENTATIONS:-encoder diffusion}; do
      times=${LSD_PROBE_TIMES:-0 0.15 0.3 0.5 0.7}
      [[ $representation != encoder ]] || times=0
      for time in $times; do
        [[ $representation != score || $time != 0 ]] || continue # singular there
        printf '%s\t' "${name%.csv}.$representation.t$time" "${parts[0]}" "${parts[1]:-classes}" "${parts[2]:--}" "$representation" "$time"
        echo "$baselines"
        baselines=false
      done
    done
  done
}

write_probe_list() { # stage
  local list=$run_folder/jobs/$1.list
  mkdir -p "${list%/*}"
  list_probe_units >"$list.$$.partial"
  mv "$list.$$.partial" "$list"
}

probe_sweep_stage() {
  local variant=${LSD_VARIANT:-nm_m} stage member=${SLURM_ARRAY_TASK_ID:-0} members=${SLURM_ARRAY_TASK_COUNT:-1} number=0 line
  local code outcome=0
  stage=probe_$variant
  [[ -n ${LSD_PROBE_TASKS:-} ]] || die "nothing to probe: set LSD_PROBE_TASKS to task files (docs/running_on_slurm.md)"
  require_done "train_$variant" "$stage"
  [[ ${LSD_PROBE_REPRESENTATIONS:-diffusion} == encoder ]] || require_done "diffusion_$variant" "$stage"
  write_probe_list "$stage"
  while read -r -u 3 line; do
    number=$((number + 1))
    (((number - 1) % members == member)) || continue
    code=0
    attempt_probe_unit "$stage" "$variant" "$line" "$@" || code=$?
    [[ $code != 75 ]] || go_on_later
    [[ $code == 0 ]] || outcome=1 # the other units are still worth having
  done 3<"$run_folder/jobs/$stage.list"
  exit "$outcome"
}

attempt_probe_unit() { # stage variant line option...
  local stage=$1 variant=$2 unit file kind shared representation time baselines options
  IFS=$'\t' read -r unit file kind shared representation time baselines <<<"$3"
  shift 3
  options=(--task.file "$file" --task.kind "$kind" --run.model "$variant" --features.autoencoder "$(stage_folder "train_$variant")"
    --sweep.representations "$representation" --sweep.times "$time" --sweep.baselines "$baselines"
    --sweep.heads "$(tr -s ' ' , <<<"${LSD_PROBE_HEADS:-linear mlp}")" --sweep.seeds "$(tr -s ' ' , <<<"${LSD_PROBE_SEEDS:-1 2 3}")")
  [[ $representation == encoder ]] || options+=(--features.diffusion "$(stage_folder "diffusion_$variant")")
  [[ $shared != shared ]] || options+=(--task.allow_shared_sequences true)
  [[ -z ${LSD_CONFIG:-} ]] || options+=(--config "$LSD_CONFIG")
  attempt_stage "$stage/$unit" lsd_probe "${options[@]}" --run.directory "$(stage_folder "$stage/$unit")" \
    "${LSD_PROGRAM_OPTIONS[@]}" "${program_options[@]}" "$@"
}
