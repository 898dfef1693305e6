# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# A dump can be shared by the tasks of a job array: dump.jobs = N in a pipeline file, or sbatch --array=0-7
# slurm/dump_latents.sh. jobs/STAGE.list names its tasks, and each has a folder, so a state, of its own: tasks/0002-of-0008
# of the dump. The dump is done when it has its own DONE: behind its last part every task looks whether all parts of all
# tasks are there, and the one that finds them so, whichever that is, writes the manifest and DONE. A start that is no
# task of an array makes whatever is missing, and ends the set the same way.
#
#   LSD_DUMP_JOBS   number of the set's tasks, where the array is only some of them (--array=2,5)

dump_task_name() { printf 'tasks/%04d-of-%04d\n' "$1" "$2"; } # index count

list_dump_tasks() { # count
  local task
  for ((task = 0; task < $1; task++)); do dump_task_name "$task" "$1" || return 1; done
}

write_dump_list() { # stage count
  local list=$run_folder/jobs/$1.list aside
  aside=$list.${SLURM_JOB_ID:-}.$$.partial
  mkdir -p "${list%/*}"
  { list_dump_tasks "$2" >"$aside" && mv "$aside" "$list"; } || { rm -f "$aside" && die "cannot write $list: see the line above"; }
}

# Whose work this job has: the stage's, or that of a task of its own. Sets dump_tasks and failing_stage.
share_dump() { # stage
  failing_stage=$1
  dump_tasks=$(num_array_tasks "${LSD_DUMP_JOBS:-}" LSD_DUMP_JOBS) || exit 1
  if [[ $dump_tasks == 1 ]]; then
    rm -f "$run_folder/jobs/$1.list"
  elif [[ ! -e $(stage_folder "$1")/DONE ]]; then
    write_dump_list "$1" "$dump_tasks"
    failing_stage=$1/$(dump_task_name "$SLURM_ARRAY_TASK_ID" "$dump_tasks")
  fi
}

# Behind share_dump. `--output.task_index` and `_count` come last among the options.
run_dump() { # stage option...
  local stage=$1
  shift
  if [[ $dump_tasks == 1 ]]; then
    run_stage "$stage" lsd_dump_latents "$@"
  elif [[ $failing_stage == "$stage" ]]; then
    say "$stage of run $LSD_RUN is done already: $(stage_folder "$stage")"
    exit 0
  fi
  run_stage "$failing_stage" lsd_dump_latents "$@" --output.task_index "$SLURM_ARRAY_TASK_ID" --output.task_count "$dump_tasks"
}
