#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Submits a whole run as chained jobs, or shows or cancels it. Submitting again only does what is missing.
set -euo pipefail

usage() {
  cat <<'TEXT'
slurm/pipeline.sh [--dry-run] [--here] [--from STAGE] FILE   for example configs/pipelines/nm_m.cfg
slurm/pipeline.sh --status RUN
slurm/pipeline.sh --cancel RUN

  --dry-run      print the sbatch commands and what is known beforehand of memory, disk and time; submit nothing
  --from STAGE   only this stage (shard, train, dump, diffusion, probe, report, or a full name) and those behind it
  --here         no sbatch: run the stages one after another, in this allocation or on this machine
  --status RUN   table of stages, jobs, progress, time left and last checkpoint
  --cancel RUN   cancel the run's jobs
TEXT
}

lib=$(cd "$(dirname "${BASH_SOURCE[0]}")/lib" && pwd)
# shellcheck source=slurm/lib/site.sh
source "$lib/site.sh"
# shellcheck source=slurm/lib/signals.sh
source "$lib/signals.sh"
# shellcheck source=slurm/lib/state.sh
source "$lib/state.sh"
# shellcheck source=slurm/lib/dumps.sh
source "$lib/dumps.sh"
# shellcheck source=slurm/lib/pipeline_config.sh
source "$lib/pipeline_config.sh"
# shellcheck source=slurm/lib/pipeline_plan.sh
source "$lib/pipeline_plan.sh"
# shellcheck source=slurm/lib/pipeline_arrays.sh
source "$lib/pipeline_arrays.sh"
# shellcheck source=slurm/lib/probes.sh
source "$lib/probes.sh"
# shellcheck source=slurm/lib/pipeline_estimate.sh
source "$lib/pipeline_estimate.sh"
# shellcheck source=slurm/lib/pipeline_status.sh
source "$lib/pipeline_status.sh"

declare -A job_of=() # stage -> what later ones wait for: the id of its last slice, or several with colons between

option_value() { # option value
  [[ -n ${2:-} && $2 != -* ]] || { usage >&2 && die "$1 needs $([[ $1 == --from ]] && echo "a stage" || echo "the name of a run")"; }
}

parse_arguments() {
  action=submit dry_run=0 from="" file=""
  while [[ $# -gt 0 ]]; do
    case $1 in
      --dry-run) dry_run=1 ;;
      --here) action=here ;;
      --from) option_value "$@" && from=$2 && shift ;;
      --status | --cancel) option_value "$@" && action=${1#--} && LSD_RUN=$2 && shift ;;
      -h | --help) usage && exit 0 ;;
      -*) usage >&2 && die "unknown option $1" ;;
      *) [[ -z $file ]] || die "one pipeline file at a time: '$file' and '$1'" && file=$1 ;;
    esac
    shift
  done
  [[ $action == status || $action == cancel || -n $file ]] || { usage >&2 && exit 1; }
  [[ -z $file || $file == /* || ! -e $LSD_CALLER/$file ]] || file=$LSD_CALLER/$file
  run_folder=$LSD_RUNS/$LSD_RUN
}

# The stages that --from names and those that need one of them, else all. What these need besides must be there; the report
# takes what there is.
declare -A chosen=()
choose_stages() {
  local stage need
  for stage in "${stages[@]}"; do
    [[ -n $from && $stage != "$from" && ${kind_of[$stage]} != "$from" ]] || chosen[$stage]=1
    for need in ${needs[$stage]}; do [[ -z ${chosen[$need]:-} ]] || chosen[$stage]=1; done
  done
  [[ ${#chosen[@]} != 0 ]] || die "--from $from: this pipeline has ${stages[*]}"
  for stage in "${!chosen[@]}"; do
    for need in ${needs[$stage]}; do
      [[ $dry_run == 1 || $stage == report || -n ${chosen[$need]:-} || $(stage_state "$need") == "done" ]] ||
        die "--from $from: $stage needs $need, which is $(stage_state "$need")"
    done
  done
}

# The ids that a stage waits for, as sbatch's dependency.
dependency_of() {
  local need waited=""
  for need in ${needs[$1]}; do
    [[ -z ${job_of[$need]:-} ]] || waited+=":${job_of[$need]}"
  done
  [[ -z $waited ]] || echo "afterok$waited"
}

submit_stage() {
  local stage=$1 slice slices dependency options script id variables queued
  queued=$(queued_ids "$stage")
  script=$(script_of "$stage")
  slices=$(kind_setting "$stage" slices 1)
  mapfile -t options < <(sbatch_options "$stage")
  dependency=$(dependency_of "$stage")
  # The state of an array is that of its tasks from the moment it is in the queue.
  [[ $dry_run == 1 ]] || note_tasks "$stage"
  for ((slice = 1; slice <= slices; slice++)); do
    mapfile -t variables < <(stage_environment "$stage" "$slice")
    # Whatever SBATCH_EXPORT says: a stage finds its run in LSD_*.
    local command=(sbatch --parsable --export=ALL "--job-name=$LSD_RUN.$stage" "--output=$(log_pattern "$stage")" "${options[@]}"
      ${dependency:+"--dependency=$dependency" --kill-on-invalid-dep=yes} "$script")
    if [[ $dry_run == 1 ]]; then
      printf '%s \\\n  %s\n' "${variables[*]@Q}" "${command[*]@Q}" | sed "s/'\([A-Za-z0-9_.,:=@%\/{}<>+-]*\)'/\1/g"
      id="<$stage.$slice>"
    else
      id=$(env "${variables[@]}" "${command[@]}") || die "sbatch refused $stage (its words are above): ${command[*]}"
      id=${id%%;*}
      printf '%s\t%s\t%s\n' "$stage" "$slice" "$id" >>"$(jobs_file)"
      say "$stage: job $id$([[ $slices == 1 ]] || echo " (slice $slice of $slices)")${dependency:+, $dependency}"
    fi
    dependency="afterany:$id"
    job_of[$stage]=$id${queued:+:$queued}
  done
  [[ $dry_run == 0 ]] || print_estimate "$stage"
}

note_tasks() { # stage
  ! is_array "$1" || case ${kind_of[$1]} in
    dump) write_dump_list "$1" "$(num_tasks "$1")" ;;
    probe) write_whole "$run_folder/jobs/$1.members" "$(num_tasks "$1")" || exit 1 ;;
  esac
}

log_pattern() {
  local number=%j
  [[ -z $(is_array "$1" && array_of "$1") ]] || number=%A_%a
  echo "$run_folder/jobs/$1.$number.log"
}

submit_all() {
  local stage state live
  # Not knowing what is in the queue, it would submit all that once more.
  read_queue || [[ $dry_run == 1 ]] || die "Slurm does not answer (squeue): nothing is submitted, try again"
  check_site_gpus
  check_needs "$file"
  [[ $dry_run == 1 ]] || mkdir -p "$run_folder/jobs"
  for stage in "${stages[@]}"; do
    [[ -n ${chosen[$stage]:-} ]] || continue
    state=$(planned_state "$stage")
    mapfile -t live < <(live_jobs "$stage")
    if [[ $state == "done" && ($stage != report || -z $(dependency_of report)) ]]; then
      say "$stage: done"
    elif queue_has_all_of "$stage"; then
      job_of[$stage]=$(queued_ids "$stage")
      say "$stage: in the queue as job ${live[*]}"
      wait_anew "$stage"
    else
      [[ ${#live[@]} == 0 ]] || say "$stage: in the queue as job ${live[*]}, but for tasks $(open_tasks "$stage")"
      [[ $state != outgrown ]] || say "$stage: done, but for units that this file asks for by now"
      [[ $state != failed ]] || say "$stage: trying again; it failed before: $(stage_reason "$stage")"
      wait_anew "$stage"
      submit_stage "$stage"
    fi
  done
}

run_all_here() {
  local stage variables code job=${SLURM_JOB_ID:-by_hand.$$}
  for stage in "${stages[@]}"; do
    [[ -n ${chosen[$stage]:-} ]] || continue
    [[ $stage == report || $(planned_state "$stage") != "done" ]] || { say "$stage: done" && continue; }
    mapfile -t variables < <(stage_environment "$stage" 1)
    code=0
    if [[ -n $received ]]; then
      stop_before_start "$stage" || code=$?
    else
      run_forwarding env LSD_REQUEUE=0 "${variables[@]}" LSD_SLICES=1 bash "$(script_of "$stage")" || code=$?
    fi
    [[ $code == 0 ]] || say "stopped at $stage; the same command goes on from there"
    [[ $code == 0 ]] || exit "$code"
  done
}

main() {
  parse_arguments "$@"
  [[ $action != here ]] || remember_signals
  case $action in
    status) print_status ;;
    cancel) cancel_run ;;
    *)
      read_pipeline "$file"
      plan_stages
      check_plan "$file"
      choose_stages
      warn_of_missing_tables >&2
      if [[ $action == here && $dry_run == 0 ]]; then run_all_here; else submit_all; fi
      ;;
  esac
}

# In braces, so that bash does not read on in a file that was changed meanwhile (an update during --here).
{ main "$@"; exit; }
