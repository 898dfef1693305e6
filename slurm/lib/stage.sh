# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sourced first by every stage script, under sbatch or by hand:
#
#   source "${SLURM_SUBMIT_DIR:-.}/slurm/lib/stage.sh"
#   train_autoencoder_stage nm_m "$@"
#
# A stage skips itself when it is done, stops when an earlier slice failed, else starts its program on all ranks and
# takes the outcome from the state file (lib/state.sh), because launchers garble exit codes. Exit codes: 0 done,
# 75 stopped and resumable, 1 failed. Ahead of the time limit Slurm sends USR1 (--signal=B:USR1@300): the program
# writes a checkpoint and stops; the job then requeues itself, or leaves the rest to the next slice.
#
#   LSD_SLICE, LSD_SLICES   this job is slice I of N of its stage (pipeline.sh sets them); default 1 of 1
#   LSD_REQUEUE=0           never requeue; a stopped job ends with 75
#   LSD_MAX_IDLE            this many ends in a row without progress fail the stage; default 3
#   LSD_RANKS               ranks, where no Slurm says so
set -euo pipefail

lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=slurm/lib/site.sh
source "$lib/site.sh"
# shellcheck source=slurm/lib/signals.sh
source "$lib/signals.sh"
# shellcheck source=slurm/lib/state.sh
source "$lib/state.sh"
# shellcheck source=slurm/lib/launch.sh
source "$lib/launch.sh"
# shellcheck source=slurm/lib/stages.sh
source "$lib/stages.sh"

: "${LSD_SLICE:=1}" "${LSD_SLICES:=1}" "${LSD_REQUEUE:=1}" "${LSD_MAX_IDLE:=3}"
job=${SLURM_JOB_ID:-by_hand.$$}

fail_stage() { # stage reason
  write_record "$1" state=failed "reason=$2" "job=$job"
  die "$1 failed: $2"
}

# Two jobs in one folder would damage each other's files. The lock names its owner; one that no longer runs has lost it.
take_lock() {
  local lock=$run_folder/jobs/$1.lock owner
  mkdir -p "${lock%/*}"
  if ! (set -o noclobber && echo "$job" >"$lock") 2>/dev/null; then
    owner=$(cat "$lock" 2>/dev/null || true)
    if [[ $owner != "$job" ]] && owner_lives "$owner"; then
      die "$1 of run $LSD_RUN is being worked on by job $owner; wait for it, or cancel it with slurm/pipeline.sh --cancel $LSD_RUN"
    fi
    echo "$job" >"$lock"
  fi
  # shellcheck disable=SC2064  # the name is meant as it is now
  trap "rm -f '$lock'" EXIT
}

owner_lives() {
  if [[ $1 == by_hand.* ]]; then
    kill -0 "${1#by_hand.}" 2>/dev/null
  else
    [[ $(squeue -h -j "$1" -o %T 2>/dev/null) =~ RUNNING|COMPLETING|SUSPENDED ]]
  fi
}

# True when a program may be started; says why not otherwise, and leaves with 0 or 1.
check_earlier_end() {
  local state
  state=$(stage_state "$1")
  if [[ $state == "done" ]]; then
    say "$1 of run $LSD_RUN is done already: $(stage_folder "$1")"
    exit 0
  fi
  # A first start is somebody's wish to try again; later slices and restarts are not.
  if [[ $state == failed && ($LSD_SLICE -gt 1 || ${SLURM_RESTART_COUNT:-0} -gt 0) ]]; then
    die "$1 of run $LSD_RUN has failed: $(stage_reason "$1")"
  fi
}

# run_stage STAGE PROGRAM OPTION...
run_stage() {
  local stage=$1 program folder idle mark code=0
  check_earlier_end "$stage"
  program=$(program_path "$2")
  shift 2
  folder=$(stage_folder "$stage")
  take_lock "$stage"
  check_launcher "$program"
  idle=$(record_value "$stage" idle)
  [[ $(record_value "$stage" state) != failed ]] || idle=0
  mark=$(progress_mark "$stage")
  # What is there afterwards must be this attempt's word.
  rm -f "$folder/STOPPED" "$folder/FAILED"
  write_record "$stage" state=running "idle=${idle:-0}" "progress=$mark" "job=$job" "slice=$LSD_SLICE/$LSD_SLICES" \
    "started=$(date -u +%FT%TZ)"
  say "$stage of run $LSD_RUN: job $job, slice $LSD_SLICE of $LSD_SLICES, $(num_ranks) rank(s): ${program##*/} $*"
  run_forwarding "${launcher[@]}" "${LSD_WRAPPER[@]}" "$program" "$@" || code=$?
  judge_end "$stage" "$code" "${idle:-0}" "$mark"
}

judge_end() { # stage launcher_code idle old_mark
  local stage=$1 code=$2 idle=$3 state folder
  folder=$(stage_folder "$stage")
  state=$(stage_state "$stage")
  case $state in
    done)
      write_record "$stage" state=done "job=$job"
      say "$stage of run $LSD_RUN is done: $folder"
      exit 0
      ;;
    failed)
      fail_stage "$stage" "$(stage_reason "$stage")"
      ;;
    stopped) say "$stage stopped at a safe point" ;;
    *)
      [[ $code != 0 ]] || fail_stage "$stage" "its program ended with code 0 but left no DONE in $folder"
      [[ -n $received || $code == 75 || -e $folder/environment.json ]] ||
        fail_stage "$stage" "its program ended with code $code before the run began; the job's log says why"
      say "$stage ended without a word (launcher's code $code): a rank or a node was lost, or the job was killed"
      ;;
  esac
  [[ $(progress_mark "$stage") == "$4" ]] && idle=$((idle + 1)) || idle=0
  if ((idle >= LSD_MAX_IDLE)); then
    fail_stage "$stage" "$idle jobs in a row ended without a new checkpoint or file; give it more time per job, or see the logs"
  fi
  write_record "$stage" state=stopped "reason=launcher's code $code${received:+, signal $received}" "idle=$idle" "job=$job"
  go_on_later "$stage"
}

# The next slice goes on, or this job does after a requeue. TERM is a wish to end (scancel), or Slurm requeues by itself
# (preemption): then a requeue of ours would bring a cancelled job back.
go_on_later() {
  if ((LSD_SLICE < LSD_SLICES)); then
    say "the next slice goes on"
    exit 75
  fi
  if [[ -n ${SLURM_JOB_ID:-} && $LSD_REQUEUE == 1 && $received != TERM && $received != INT ]]; then
    say "requeue of job $SLURM_JOB_ID"
    rm -f "$run_folder/jobs/$1.lock"
    if scontrol requeue "$SLURM_JOB_ID"; then
      sleep 120 # Slurm ends this script; an end of its own would count as the job's
    fi
    say "Slurm did not requeue this job; the same command goes on from there"
  fi
  exit 75
}
