# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Stages that are job arrays when they are submitted: the units of a probe sweep, and the tasks of a dump (dump.jobs above
# 1), of which only those are submitted that are neither done nor in the queue.

is_array() { # stage
  [[ ${kind_of[$1]} == probe || (${kind_of[$1]} == dump && $(kind_setting "$1" jobs 1) -gt 1) ]]
}

# The value of sbatch's --array; nothing for a dump whose tasks are all done or in the queue.
array_of() { # stage
  local tasks at_once
  tasks=0-$(($(kind_setting "$1" jobs 4) - 1))
  [[ ${kind_of[$1]} != dump ]] || tasks=$(open_dump_tasks "$1")
  at_once=$(kind_setting "$1" jobs_at_once)
  [[ -z $tasks ]] || echo "$tasks${at_once:+%$at_once}"
}

open_dump_tasks() { # stage
  local jobs task open="" queued
  jobs=$(kind_setting "$1" jobs 1)
  queued=" $(live_dump_tasks "$1" | sed 's/.*_//' | tr '\n' ' ')"
  for ((task = 0; task < jobs; task++)); do
    [[ $(folder_state "$1/$(dump_task_name "$task" "$jobs")") == "done" || $queued == *" $task "* ]] || open+=",$task"
  done
  open=${open#,}
  if [[ $open == "$(seq -s, 0 $((jobs - 1)))" ]]; then open=0-$((jobs - 1)); fi
  echo "$open"
}

# JOB_TASK of each that is in the queue.
live_dump_tasks() { # stage
  local id task
  for id in $(live_jobs "$1"); do
    for task in ${tasks_in_queue[$id]}; do echo "${id}_$task"; done
  done
}

# Whether the stage's jobs in the queue are all that is to be done about it: a dump array may lack tasks that failed or
# were cancelled while others run on. (A job that is no task of an array, or of another number of tasks, fills all gaps.)
queue_has_all_of() { # stage
  local jobs
  [[ -n $(live_jobs "$1") ]] || return 1
  is_array "$1" && [[ ${kind_of[$1]} == dump ]] || return 0
  jobs=$(kind_setting "$1" jobs 1)
  [[ $(wc -l <"$run_folder/jobs/$1.list" 2>/dev/null) == "$jobs" && " $(live_dump_tasks "$1" | tr '\n' ' ')" != *_N/A* ]] || return 0
  [[ -z $(open_dump_tasks "$1") ]]
}

# What later stages wait for, in sbatch's words: ids with colons between.
queued_ids() { # stage
  local ids
  if [[ ${kind_of[$1]} == dump ]]; then
    ids=$(live_dump_tasks "$1" | sed 's#_N/A$##' | tr '\n' ':')
  else
    ids=$(live_jobs "$1" | tail -n 1)
  fi
  echo "${ids%:}"
}
