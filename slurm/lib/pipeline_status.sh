# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What is in the queue and on disk: the table of --status, and --cancel. jobs/jobs.tsv holds one line per submitted
# job: stage, slice, job id.

jobs_file() { echo "$run_folder/jobs/jobs.tsv"; }

# Fills in_queue[job id] = "STATE TIME_LEFT" of this user's jobs, and tasks_in_queue[job id] = its array tasks ("N/A" for
# a job that is no array); both empty, and queue_is_known 0, without Slurm.
# Fails when Slurm does not answer.
declare -A in_queue=() tasks_in_queue=()
queue_is_known=0
read_queue() {
  local id state left task text
  in_queue=() tasks_in_queue=() queue_is_known=0
  command -v squeue >/dev/null || return 0
  text=$(squeue -h -r -u "$(id -un)" -o '%F %T %L %K' 2>/dev/null) || return 1
  queue_is_known=1
  [[ -n $text ]] || return 0
  while read -r id state left task; do
    # Of an array, a running member tells more than a pending one.
    [[ ${in_queue[$id]:-} == RUNNING* ]] || in_queue[$id]="$state $left"
    tasks_in_queue[$id]+=" $task"
  done <<<"$text"
}

# The ids of a stage's jobs that are still in the queue, in slice order; with a slice, only those of it.
live_jobs() { # stage [slice]
  local stage slice id
  [[ -e $(jobs_file) ]] || return 0
  while read -r stage slice id; do
    [[ $stage == "$1" && $slice == "${2:-$slice}" && -n ${in_queue[$id]:-} ]] && echo "$id"
  done <"$(jobs_file)"
  return 0
}

stages_on_disk() {
  { [[ ! -e $(jobs_file) ]] || cut -f1 "$(jobs_file)"
    # Run by hand, without a job list: in the order of the first starts.
    find "$run_folder/jobs" -maxdepth 1 \( -name '*.record' -o -name '*.list' \) -printf '%T@ %f\n' 2>/dev/null |
      sort -n | sed 's/^[^ ]* //; s/\.[a-z]*$//'
  } | awk '!seen[$0]++'
}

# "150/500000" for training, "12/40 units" for a probe sweep, "5/12 parts" for a dump, "24 file(s)" for shards.
progress_of() { # stage
  local folder steps step want
  folder=$(stage_folder "$1")
  steps=$(sed -n '/^\[training\]/,/^\[validation\]/s/^steps *= *//p' "$folder/config.cfg" 2>/dev/null | head -n 1)
  if [[ -n $steps ]]; then
    step=$(tail -n 1 "$folder/metrics.jsonl" 2>/dev/null | sed -n 's/.*"step": *\([0-9]*\).*/\1/p')
    echo "${step:-0}/$steps"
  elif [[ $1 == dump_* ]]; then
    dump_progress "$folder"
  elif [[ -e $run_folder/jobs/$1.list ]]; then
    want=$(wc -l <"$run_folder/jobs/$1.list")
    echo "$(find -L "$folder" -mindepth 2 -maxdepth 2 -name DONE 2>/dev/null | wc -l)/$want units"
  else
    want=$(find -L "$folder" -maxdepth 2 -name '*.h5' ! -name '*.partial*' 2>/dev/null | wc -l)
    if [[ $want == 0 ]]; then echo -; else echo "$want file(s)"; fi
  fi
}

# The name of a part tells how many there are: part-00003-of-00012.h5.
dump_progress() { # folder
  local parts all
  mapfile -t parts < <(find -L "$1" -maxdepth 1 -name 'part-*-of-*.h5' 2>/dev/null)
  [[ ${#parts[@]} != 0 ]] || { echo - && return; }
  all=${parts[0]##*-of-}
  echo "${#parts[@]}/$((10#${all%.h5})) parts"
}

# stage_state for people's eyes: what began and has no end on record is "killed", when its job is gone.
shown_state() { # stage, or one of its units
  local state unit
  state=$(stage_state "$1")
  if [[ $state == running && -e $run_folder/jobs/$1.list ]]; then
    state=killed
    while read -r unit _; do
      [[ $(shown_state "$1/$unit") != running ]] || state=running
    done <"$run_folder/jobs/$1.list"
  elif [[ $state == running ]] && ! record_has_live_job "$1"; then
    state=killed
  fi
  echo "$state"
}

# Whether the job that wrote a stage's record is there still, as far as can be known from here: another user's jobs are not
# in this queue, and processes of other hosts cannot be asked.
record_has_live_job() { # stage
  local id task=""
  [[ $(stat -c %u "$(record_file "$1")" 2>/dev/null) == "$(id -u)" ]] || return 0
  id=$(record_value "$1" job)
  if [[ $id == by_hand.* ]]; then
    [[ $(record_value "$1" host) != "$(hostname)" ]] || kill -0 "${id#by_hand.}" 2>/dev/null
  elif [[ $queue_is_known == 1 ]]; then
    [[ $id != *_* ]] || task=${id#*_}
    id=${id%_*}
    [[ -n ${in_queue[$id]:-} && (-z $task || " ${tasks_in_queue[$id]} " == *" $task "*) ]]
  fi
}

# "done: 0 2; running: 1": the tasks of a dump array, by their states.
dump_tasks_by_state() { # stage
  local unit task state
  declare -A tasks_of=()
  while read -r unit; do
    task=${unit#tasks/}
    tasks_of[$(shown_state "$1/$unit")]+=" $((10#${task%%-*}))"
  done <"$run_folder/jobs/$1.list"
  for state in "done" running stopped killed failed missing; do
    [[ -z ${tasks_of[$state]:-} ]] || printf '; %s:%s' "$state" "${tasks_of[$state]}"
  done | sed 's/^; //'
}

print_status() {
  local stage ids first state left reason slices
  [[ -d $run_folder/jobs ]] || die "no run $LSD_RUN in $LSD_RUNS"
  read_queue || say "Slurm does not answer (squeue): jobs are not shown" >&2
  printf '%-22s %-12s %-20s %-16s %-12s %s\n' stage job state progress 'time left' 'last checkpoint'
  while read -r stage; do
    mapfile -t ids < <(live_jobs "$stage")
    slices=$((${#ids[@]} - 1))
    first=${ids[0]:-} state=$(shown_state "$stage") left=- reason=
    if [[ -n $first ]]; then
      read -r queue_state left <<<"${in_queue[$first]}"
      [[ $queue_state == RUNNING ]] || left=-
      [[ $state == "done" ]] || state="$state, ${queue_state,,}"
    fi
    [[ $state != failed* ]] || reason=$(stage_reason "$stage")
    printf '%-22s %-12s %-20s %-16s %-12s %s\n' "$stage" "${first:--}$([[ $slices -lt 1 ]] || echo "+$slices")" "$state" \
      "$(progress_of "$stage")" "$left" "$(last_checkpoint_step "$stage" || true)" | sed 's/ *$//'
    [[ -z $reason ]] || printf '    failed: %s\n' "$reason"
    [[ $stage != dump_* || $state == "done"* || ! -e $run_folder/jobs/$stage.list ]] || printf '    tasks %s\n' "$(dump_tasks_by_state "$stage")"
  done < <(stages_on_disk)
}

# Dependents first, later slices before earlier ones, so that none starts in between.
cancel_run() {
  local stage id ids=()
  read_queue || die "Slurm does not answer (squeue): try again"
  while read -r stage; do
    for id in $(live_jobs "$stage"); do ids=("$id" "${ids[@]}"); done
  done < <(stages_on_disk)
  [[ ${#ids[@]} -gt 0 ]] || die "run $LSD_RUN has no job in the queue"
  scancel "${ids[@]}"
  say "cancelled: ${ids[*]}. What is finished stays; submitting again goes on from there"
}
