# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What is known about a stage: the state file that its program left in the stage's folder (DONE, STOPPED or FAILED), and
# a record of our own, jobs/STAGE.record, for ends that no program could write down: killed, node lost, never started.
#
# A record holds lines key=value: state (running | stopped | failed), reason, idle (ends in a row without progress),
# progress (checksum of what had been finished), job, host (of its script).

record_file() { echo "$run_folder/jobs/$1.record"; }

record_value() { # stage key
  sed -n "s/^$2=//p" "$(record_file "$1")" 2>/dev/null | tail -n 1
}

# write_record STAGE key=value...: replaces the record.
write_record() { write_whole "$(record_file "$1")" "${@:2}"; }

# write_whole FILE LINE...: all of it, or the old file stays (a full disk). Callers look at the outcome.
write_whole() {
  local file=$1 aside
  aside=$file.$(hostname).$$.partial
  shift
  if ! { mkdir -p "${file%/*}" && printf '%s\n' "$@" >"$aside" && mv "$aside" "$file"; }; then
    rm -f "$aside" || true
    echo "lsd: cannot write $file: see the lines above, and 'df' for the room on its file system" >&2
    return 1
  fi
}

fail_stage() { # stage reason
  write_record "$1" state=failed "reason=$2" "job=$job" || true
  echo "lsd: $1 of run $LSD_RUN failed: $2" >&2
  return 1
}

# The end of a job short of the stage's: 75, or 1 when it is one too many in a row without progress.
stop_stage() { # stage reason idle_before old_mark
  local idle=$3
  [[ $(progress_mark "$1") == "$4" ]] && idle=$((idle + 1)) || idle=0
  if ((idle >= ${LSD_MAX_IDLE:-3})); then
    fail_stage "$1" "$idle jobs in a row ended without a new checkpoint or file (the last one: $2); give a job more time, or see the logs" || return 1
  fi
  # A job that cannot count must not be requeued for ever.
  write_record "$1" state=stopped "reason=$2" "idle=$idle" "job=$job" || return 1
  return 75
}

# A signal came ahead of the stage's start in this job: a job whose signal always does would be requeued for ever.
stop_before_start() { # stage
  local idle
  idle=$(record_value "$1" idle)
  say "signal $received came before $1 was started"
  stop_stage "$1" "signal $received came before it was started" "${idle:-0}" "$(progress_mark "$1")"
}

# The words of the start before, under names that its program still knows: they say that nobody works there.
put_words_aside() { # folder
  local word
  for word in STOPPED FAILED; do
    [[ ! -e $1/$word ]] || mv -f "$1/$word" "$1/$word.partial" || return 1
  done
}

stage_folder() { echo "$run_folder/$1"; }

# One word: done, failed, stopped, running (began, and nobody wrote its end) or missing. A sweep is what its units are; a
# dump that is shared by an array needs its own DONE besides (lib/dumps.sh).
stage_state() {
  local state
  if [[ ! -e $run_folder/jobs/$1.list ]]; then
    folder_state "$1"
  elif [[ $1 != dump_* ]]; then
    units_state "$1"
  elif [[ -e $(stage_folder "$1")/DONE ]]; then
    echo "done"
  else
    state=$(units_state "$1")
    [[ $state != "done" ]] || state=stopped
    echo "$state"
  fi
}

units_state() {
  local unit states state
  # What kept a sweep from its units (lib/stages.sh); the tasks of a dump have such records of their own.
  if [[ $1 == probe_* && $(record_value "$1" state) == failed ]]; then
    echo failed
    return
  fi
  if [[ ! -s $run_folder/jobs/$1.list ]]; then
    echo missing
    return
  fi
  states=" $(while read -r unit _; do folder_state "$1/$unit"; done <"$run_folder/jobs/$1.list" | tr '\n' ' ')"
  for state in failed stopped running missing; do
    [[ $states != *" $state "* ]] || break
    state="done"
  done
  echo "$state"
}

folder_state() {
  local folder record
  folder=$(stage_folder "$1")
  record=$(record_value "$1" state)
  # lsd_report writes no state file; it writes report.json last.
  if [[ -e $folder/DONE || ($1 == report && $record == "done" && -e $folder/report.json) ]]; then
    echo "done"
  elif [[ -e $folder/FAILED || $record == failed ]]; then
    echo failed
  elif [[ -e $folder/STOPPED || $record == stopped ]]; then
    echo stopped
  elif [[ $record == running ]]; then
    echo running
  else
    echo missing
  fi
}

# Why a stage failed or stopped, in its program's words or ours.
stage_reason() {
  local folder name text unit
  if [[ -e $run_folder/jobs/$1.list ]]; then
    [[ $1 != probe_* ]] || record_value "$1" reason
    while read -r unit _; do
      [[ $(folder_state "$1/$unit") != failed ]] || echo "$unit: $(stage_reason "$1/$unit")"
    done <"$run_folder/jobs/$1.list"
    return
  fi
  folder=$(stage_folder "$1")
  for name in FAILED STOPPED; do
    [[ -e $folder/$name ]] || continue
    text=$(sed -n 's/^ *"reason": *"\(.*\)",\{0,1\}$/\1/p' "$folder/$name" | head -n 1)
    printf '%s\n' "$text"
    return
  done
  record_value "$1" reason
}

# Changes whenever something that outlives the process was finished: a checkpoint, a data file, a result. Folders may be
# links to other file systems.
progress_mark() {
  local folder
  folder=$(stage_folder "$1")
  [[ $1 != dump_*/tasks/* ]] || folder=${folder%/tasks/*} # its parts lie with those of the other tasks
  { find -L "$folder" -maxdepth 2 \( -path '*/checkpoints/checkpoint-*' -o -name '*.h5' -o -name '*.seed*.json' \) \
    ! -name '*.partial' 2>/dev/null || true; } | LC_ALL=C sort | cksum
}

# Changes whenever a program has opened the folder as its run's: each start adds itself to that file.
start_mark() { # folder
  cksum 2>/dev/null <"$1/environment.json" || echo none
}

# Steps done, from the name of the newest good checkpoint; empty when there is none.
last_checkpoint_step() {
  local latest
  latest=$(cat "$(stage_folder "$1")/checkpoints/latest" 2>/dev/null) || return 0
  latest=${latest##*checkpoint-}
  [[ $latest =~ ^[0-9]+$ ]] && echo $((10#$latest))
}
