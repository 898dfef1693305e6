# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# A probe sweep is a list of units, jobs/probe_VARIANT.list: one task, representation and t each, with all heads and
# seeds. The members of the job array share it out by turns; each unit has a folder, and so a state, of its own.
#
# A task is a config file of lsd_probe, which says all about it: table, kind, classes, heads, seeds, t, options of the heads.
#
#   LSD_PROBE_TASKS             config files; default: configs/probe_*.cfg
#   LSD_PROBE_REPRESENTATIONS   default: encoder diffusion
#   LSD_PROBE_TIMES, LSD_PROBE_HEADS, LSD_PROBE_SEEDS   instead of those in the configs
#   LSD_TASKS                   where tables lie that a config looks for in data/tasks
#   LSD_PROBE_JOBS              number of members that share the sweep, where the array is only some of them (--array=2,5)

# The value of a key in the config text on standard input; lists with blanks between.
config_value() { # section key
  awk -F ' *= *' -v section="[$1]" -v key="$2" '/^\[/ {here = $0 == section} here && $1 == key {print $2}' | tr -s ', ' ' '
}

# Lines of unit, config, table, representation, t, baselines (with the first unit of a task).
list_probe_units() {
  local program config configs=(configs/probe_*.cfg) text name table representation time times baselines
  [[ -z ${LSD_PROBE_TASKS:-} ]] || read -r -d '' -a configs <<<"$LSD_PROBE_TASKS" || true # at line ends as well
  program=$(program_path lsd_probe) || exit 1
  for config in "${configs[@]}"; do
    text=$("${LSD_WRAPPER[@]}" "$program" --config "$config" --run.directory - --features.autoencoder - --print-config) ||
      die "the probe task $config cannot be read (its words are above)"
    table=$(config_value task file <<<"$text")
    name=$(config_value task name <<<"$text")
    [[ -n $name ]] || name=$(basename "${table%.gz}" .csv)
    [[ -z ${LSD_TASKS:-} || $table != data/tasks/* ]] || table=$LSD_TASKS/${table#data/tasks/}
    baselines=true
    for representation in ${LSD_PROBE_REPRESENTATIONS:-encoder diffusion}; do
      times=${LSD_PROBE_TIMES:-$(config_value sweep times <<<"$text")}
      [[ -n $times ]] || times=$(config_value features time <<<"$text")
      [[ $representation != encoder ]] || times=0
      for time in $times; do
        [[ $representation != score || $time != 0 ]] || continue # singular there
        printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$name.$representation.t$time" "$config" "$table" "$representation" "$time" "$baselines" ||
          die "cannot write the units of $config: see the line above, and 'df' for the room on the file system"
        baselines=false
      done
    done
  done
}

# Beside the list: how many members share it out.
write_probe_list() { # stage members
  local list=$run_folder/jobs/$1.list aside
  aside=$list.$(hostname).$$.partial
  { mkdir -p "${list%/*}" && : >"$aside"; } || die "cannot write $list: see the line above"
  (list_probe_units) >"$aside" || { rm -f "$aside" && exit 1; }
  if [[ ! -s $aside ]]; then
    rm -f "$aside"
    die "no unit to probe: see LSD_PROBE_TASKS, LSD_PROBE_REPRESENTATIONS and LSD_PROBE_TIMES (score has none at t = 0)"
  fi
  { mv "$aside" "$list" && write_whole "$run_folder/jobs/$1.members" "$2"; } || { rm -f "$aside" && die "cannot write $list: see the lines above"; }
}

probe_sweep_stage() {
  local variant=${LSD_VARIANT:-nm_m} stage member=${SLURM_ARRAY_TASK_ID:-0} members number=0 line
  local code outcome=0
  stage=probe_$variant
  failing_stage=$stage
  members=$(num_array_tasks "${LSD_PROBE_JOBS:-}" LSD_PROBE_JOBS) || exit 1
  require_done "train_$variant" "$stage"
  [[ ${LSD_PROBE_REPRESENTATIONS:-diffusion} == encoder ]] || require_done "diffusion_$variant" "$stage"
  write_probe_list "$stage" "$members"
  rm -f "$(record_file "$stage")" # of an earlier start that did not come so far
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

# Whether all units of a member are done, as far as the list is known.
probe_member_is_done() { # stage member members
  local unit number=0
  [[ -s $run_folder/jobs/$1.list ]] || return 1
  while read -r unit _; do
    number=$((number + 1))
    (((number - 1) % $3 != $2)) || [[ $(folder_state "$1/$unit") == "done" ]] || return 1
  done <"$run_folder/jobs/$1.list"
}

attempt_probe_unit() { # stage variant line option...
  local stage=$1 variant=$2 unit config table representation time baselines options
  IFS=$'\t' read -r unit config table representation time baselines <<<"$3"
  shift 3
  options=(--config "$config" --task.file "$table" --run.model "$variant" --features.autoencoder "$(stage_folder "train_$variant")"
    --sweep.representations "$representation" --sweep.times "$time" --sweep.baselines "$baselines")
  [[ -z ${LSD_PROBE_HEADS:-} ]] || options+=(--sweep.heads "$(tr -s ' ' , <<<"$LSD_PROBE_HEADS")")
  [[ -z ${LSD_PROBE_SEEDS:-} ]] || options+=(--sweep.seeds "$(tr -s ' ' , <<<"$LSD_PROBE_SEEDS")")
  [[ $representation == encoder ]] || options+=(--features.diffusion "$(stage_folder "diffusion_$variant")")
  attempt_stage "$stage/$unit" lsd_probe "${options[@]}" --run.directory "$(stage_folder "$stage/$unit")" \
    "${LSD_PROGRAM_OPTIONS[@]}" "${program_options[@]}" "$@"
}
