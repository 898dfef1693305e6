# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# A dump can be shared by the tasks of a job array: dump.jobs = N in a pipeline file, or sbatch --array=0-7
# slurm/dump_latents.sh. jobs/STAGE.list names its tasks, and each has a folder, so a state, of its own: tasks/0002-of-0008
# of the dump. The dump is done when it has its own DONE: behind its last part every task looks whether all parts of all
# tasks are there, and the one that finds them so, whichever that is, writes the manifest and DONE. A start that is no
# task of an array makes whatever is missing, and ends the set the same way.
#
#   LSD_DUMP_JOBS   number of the set's tasks, where the array is only some of them (--array=2,5)

# The number of tasks that share the dump; 1 when this is no task of an array.
num_dump_tasks() {
  local tasks=${LSD_DUMP_JOBS:-}
  if [[ -z ${SLURM_ARRAY_TASK_ID:-} ]]; then
    tasks=1
  elif [[ -z $tasks ]]; then
    tasks=${SLURM_ARRAY_TASK_COUNT:-1}
    [[ ${SLURM_ARRAY_TASK_MIN:-0} == 0 && ${SLURM_ARRAY_TASK_MAX:-0} == $((tasks - 1)) ]] ||
      die "the array is not --array=0-(N-1): set LSD_DUMP_JOBS=N, into how many tasks the dump is split"
  fi
  ((${SLURM_ARRAY_TASK_ID:-0} < tasks)) || die "task $SLURM_ARRAY_TASK_ID of LSD_DUMP_JOBS=$tasks: they are numbered from 0"
  echo "$tasks"
}

dump_task_name() { printf 'tasks/%04d-of-%04d\n' "$1" "$2"; } # index count

write_dump_list() { # stage count
  local list=$run_folder/jobs/$1.list aside task
  aside=$list.${SLURM_JOB_ID:-}.$$.partial
  mkdir -p "${list%/*}"
  for ((task = 0; task < $2; task++)); do dump_task_name "$task" "$2"; done >"$aside"
  mv "$aside" "$list"
}

# The stage, or this job's task of it; `--output.task_index` and `_count` come last among the options.
run_dump() { # stage option...
  local stage=$1 tasks unit
  shift
  tasks=$(num_dump_tasks) || exit 1
  if [[ $tasks == 1 ]]; then
    rm -f "$run_folder/jobs/$stage.list"
    run_stage "$stage" lsd_dump_latents "$@"
  fi
  if [[ -e $(stage_folder "$stage")/DONE ]]; then
    say "$stage of run $LSD_RUN is done already: $(stage_folder "$stage")"
    exit 0
  fi
  write_dump_list "$stage" "$tasks"
  unit=$stage/$(dump_task_name "$SLURM_ARRAY_TASK_ID" "$tasks")
  run_stage "$unit" lsd_dump_latents "$@" --output.task_index "$SLURM_ARRAY_TASK_ID" --output.task_count "$tasks"
}
