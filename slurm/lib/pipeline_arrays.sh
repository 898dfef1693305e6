# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Stages that are job arrays when they are submitted: the members of a probe sweep, and the tasks of a dump (dump.jobs above
# 1). Of these only those are submitted that are neither done nor in the queue.

is_array() { # stage
  [[ ${kind_of[$1]} == probe || (${kind_of[$1]} == dump && $(kind_setting "$1" jobs 1) -gt 1) ]]
}

num_tasks() { # stage
  if [[ ${kind_of[$1]} == probe ]]; then kind_setting "$1" jobs 4; else kind_setting "$1" jobs 1; fi
}

# The value of sbatch's --array; nothing for a dump whose tasks are all done or in the queue.
array_of() { # stage
  local tasks at_once
  tasks=$(open_tasks "$1")
  at_once=$(kind_setting "$1" jobs_at_once)
  [[ -z $tasks ]] || echo "$tasks${at_once:+%$at_once}"
}

# A sweep that is not in the queue is submitted whole: what its units are is known when it runs.
open_tasks() { # stage
  local jobs task open="" queued
  jobs=$(num_tasks "$1")
  queued=" $(live_tasks "$1" | sed 's/.*_//' | tr '\n' ' ')"
  for ((task = 0; task < jobs; task++)); do
    [[ $queued == *" $task "* ]] || { [[ ${kind_of[$1]} == dump || -n ${queued// /} ]] && task_is_done "$1" "$task" "$jobs"; } || open+=",$task"
  done
  open=${open#,}
  if [[ $open == "$(seq -s, 0 $((jobs - 1)))" ]]; then open=0-$((jobs - 1)); fi
  echo "$open"
}

task_is_done() { # stage task tasks
  if [[ ${kind_of[$1]} == probe ]]; then
    probe_member_is_done "$@"
  else
    [[ $(folder_state "$1/$(dump_task_name "$2" "$3")") == "done" ]]
  fi
}

# JOB_TASK of each that is in the queue.
live_tasks() { # stage
  local id task
  for id in $(live_jobs "$1"); do
    for task in ${tasks_in_queue[$id]}; do echo "${id}_$task"; done
  done
}

# Whether the stage's jobs in the queue are all that is to be done about it: an array may lack tasks that failed or were
# cancelled while others run on. (A job that is no task of an array, or of another number of tasks, fills all gaps of a
# dump; units of a sweep that is shared out otherwise are left for the next time.)
queue_has_all_of() { # stage
  local jobs known=0
  [[ -n $(live_jobs "$1") ]] || return 1
  is_array "$1" || return 0
  jobs=$(num_tasks "$1")
  if [[ ${kind_of[$1]} == probe ]]; then
    known=$(cat "$run_folder/jobs/$1.members" 2>/dev/null) || return 0
  elif [[ -e $run_folder/jobs/$1.list ]]; then
    known=$(wc -l <"$run_folder/jobs/$1.list")
  fi
  [[ $known == "$jobs" && " $(live_tasks "$1" | tr '\n' ' ')" != *_N/A* ]] || return 0
  [[ -z $(open_tasks "$1") ]]
}

# What later stages wait for, in sbatch's words: ids with colons between. Of an array only the tasks that are there: on the
# whole of one that has lost a task they would wait in vain.
queued_ids() { # stage
  local ids
  if is_array "$1" || [[ ${kind_of[$1]} == dump ]]; then
    ids=$(live_tasks "$1" | sed 's#_N/A$##' | tr '\n' ':')
  else
    ids=$(live_jobs "$1" | tail -n 1)
  fi
  echo "${ids%:}"
}

# Whether a stage that JOB of STAGE waits for has been submitted again since.
is_overtaken() { # stage job
  local need
  for need in ${needs[$1]}; do
    [[ -n ${job_of[$need]:-} ]] || continue
    [[ ${job_of[$need]} != "<"* ]] || return 0 # a dry run would submit it now
    ! awk -v need="$need" -v job="$2" '$3 == job {seen = 1} $1 == need {newer = seen} END {exit !newer}' "$(jobs_file)" || return 0
  done
  return 1
}

# The jobs of a stage that wait in the queue, told to wait for the tasks that have taken the place of lost ones: on the old
# array alone they would be cancelled by Slurm. Slices behind the first one wait for each other.
wait_anew() { # stage
  local id dependency
  dependency=$(dependency_of "$1")
  for id in $(live_jobs "$1" 1); do
    [[ -n $dependency && ${in_queue[$id]} == PENDING* ]] || continue
    is_overtaken "$1" "$id" || continue
    if [[ $dry_run == 1 ]]; then
      echo "scontrol update JobId=$id Dependency=$dependency"
    else
      scontrol update "JobId=$id" "Dependency=$dependency" ||
        die "$1: job $id waits for jobs of which some are lost, and cannot be told to wait for ${dependency#*:} (scontrol's words are above): scancel $id, then the same command"
      say "$1: job $id now waits for ${dependency#*:}"
    fi
  done
}
