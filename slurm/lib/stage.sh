# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sourced first by every stage script, under sbatch or by hand:
#
#   source "${LSD_HOME:-${SLURM_SUBMIT_DIR:-$(dirname "$0")/..}}/slurm/lib/stage.sh"
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
# shellcheck source=slurm/lib/lock.sh
source "$lib/lock.sh"
# shellcheck source=slurm/lib/stages.sh
source "$lib/stages.sh"
# shellcheck source=slurm/lib/dumps.sh
source "$lib/dumps.sh"
# shellcheck source=slurm/lib/probes.sh
source "$lib/probes.sh"

: "${LSD_SLICE:=1}" "${LSD_SLICES:=1}" "${LSD_REQUEUE:=1}" "${LSD_MAX_IDLE:=3}"
remember_signals
job=${SLURM_JOB_ID:-by_hand.$$}
# The last task of an array has the array's own id: by that, Slurm would requeue all tasks.
[[ -z ${SLURM_ARRAY_TASK_ID:-} ]] || job=${SLURM_ARRAY_JOB_ID:-$job}_$SLURM_ARRAY_TASK_ID

# What ends this script from now on is told by --status as well, unless another job is at work on that stage.
failing_stage=""
die() {
  if [[ -n $failing_stage && ! -e $(lock_file "$failing_stage") ]] || owns_lock "$failing_stage"; then
    write_record "$failing_stage" state=failed "reason=$*" "job=$job" || true
    release_lock "$failing_stage"
  fi
  echo "lsd: $*" >&2
  exit 1
}

# run_stage STAGE PROGRAM OPTION...: attempt_stage, then the end of this script.
run_stage() {
  local code=0
  attempt_stage "$@" || code=$?
  [[ $code == 75 ]] && go_on_later
  exit "$code"
}

# Among how many tasks an array stage is shared out; 1 when this is no task of an array. An array that is only some of
# them (--array=2,5) cannot know, and would leave out what the others have: it needs the number.
num_array_tasks() { # number or nothing, name of its variable
  local tasks=$1
  if [[ -z ${SLURM_ARRAY_TASK_ID:-} ]]; then
    tasks=1
  elif [[ -z $tasks ]]; then
    tasks=${SLURM_ARRAY_TASK_COUNT:-1}
    [[ ${SLURM_ARRAY_TASK_MIN:-0} == 0 && ${SLURM_ARRAY_TASK_MAX:-0} == $((tasks - 1)) ]] ||
      die "the array is not --array=0-(N-1): set $2=N, into how many tasks the stage is split"
  fi
  ((${SLURM_ARRAY_TASK_ID:-0} < tasks)) || die "task $SLURM_ARRAY_TASK_ID of $2=$tasks: they are numbered from 0"
  echo "$tasks"
}

# Returns 0 done, 75 stopped, 1 failed. STAGE is its folder's path below the run's.
attempt_stage() {
  local stage=$1 program folder idle mark start again="" code=0
  failing_stage=$stage
  if [[ $(stage_state "$stage") == "done" ]]; then
    say "$stage of run $LSD_RUN is done already: $(stage_folder "$stage") (if lsd_verify names damage there: remove DONE and what it names, then the same command)"
    return 0
  fi
  # A first start is somebody's wish to try again; later slices and restarts are not.
  if [[ $(stage_state "$stage") == failed ]]; then
    ! unattended || fail_stage "$stage" "$(stage_reason "$stage")" || return 1
    again=1
  fi
  take_lock "$stage" || return 1
  folder=$(stage_folder "$stage")
  [[ -z $again ]] || { rm -f "$(record_file "$stage")" && put_words_aside "$folder"; } || return 1
  program=$(program_path "$2") || exit 1
  shift 2
  [[ -n $received ]] || check_launcher "$program"
  if [[ -n $received ]]; then
    stop_before_start "$stage" || code=$?
    release_lock "$stage"
    return "$code"
  fi
  idle=$(record_value "$stage" idle)
  mark=$(progress_mark "$stage")
  start=$(start_mark "$folder")
  # What is there afterwards must be this attempt's word.
  if ! put_words_aside "$folder" || ! write_record "$stage" state=running "idle=${idle:-0}" "job=$job" "host=$(hostname)" "slice=$LSD_SLICE/$LSD_SLICES" "started=$(date -u +%FT%TZ)"; then
    release_lock "$stage"
    return 1
  fi
  say "$stage of run $LSD_RUN: job $job, slice $LSD_SLICE of $LSD_SLICES, $(num_ranks) rank(s): ${program##*/} $*"
  with_second_tries "$folder" "${launcher[@]}" "${LSD_WRAPPER[@]}" "$program" "$@" || code=$?
  if ! owns_lock "$stage"; then
    say "$stage of run $LSD_RUN: this start has been superseded by a later one of job $(sed -n 1p "$(lock_file "$stage")" 2>/dev/null || echo unknown)"
    return 1
  fi
  judge_end "$stage" "$code" "${idle:-0}" "$mark" "$start" && code=0 || code=$?
  release_lock "$stage"
  return "$code"
}

# Why a program that left no word has failed by itself; nothing where it may have been killed at its work. One that refuses
# its options, or the folder of another run, ends before its start is on record.
reason_without_word() { # folder launcher_code start_mark_before
  if [[ $2 == 0 ]]; then
    echo "its program ended with code 0 but left no DONE in $1"
  elif [[ $(start_mark "$1") == "$3" && ($2 -le 128 || ! -e $1/environment.json) ]]; then
    echo "its program ended with code $2 before this start began its work; the job's log says why"
  fi
}

# Whether nobody can have changed a thing since an earlier start of this stage: a later slice, or a restart of this job.
unattended() { ((LSD_SLICE > 1 || ${SLURM_RESTART_COUNT:-0} > 0)); }

judge_end() { # stage launcher_code idle old_mark old_start
  local stage=$1 code=$2 idle=$3 start=$5 folder reason
  folder=$(stage_folder "$stage")
  [[ $stage != report || $code != 0 || ! -e $folder/report.json ]] || write_record "$stage" state=done "job=$job" || return 1
  case $(stage_state "$stage") in
    "done")
      write_record "$stage" state=done "job=$job" || true # DONE says so already
      say "$stage of run $LSD_RUN is done: $folder"
      return 0
      ;;
    failed) fail_stage "$stage" "$(stage_reason "$stage")" || return 1 ;;
    stopped)
      reason=$(stage_reason "$stage")
      say "$stage stopped, to be gone on with: ${reason%%\\n*}"
      ;;
    *)
      reason=$(reason_without_word "$folder" "$code" "$start")
      # srun ends with 0 or 1 when Slurm takes the job down after losing a node: then this script is told to end as well.
      [[ -z $reason || -n $received || -z ${SLURM_JOB_ID:-} ]] || sleep 10
      if [[ -n $reason && -z $received ]]; then
        if [[ $code == 0 ]] || ! unattended; then
          fail_stage "$stage" "$reason" || return 1
        fi
        say "$stage: $reason; that may be this node's doing, so it counts as an end without progress"
      else
        reason="launcher's code $code${received:+, signal $received}"
        say "$stage ended without a word (launcher's code $code): a rank or a node was lost, or the job was killed"
      fi
      ;;
  esac
  stop_stage "$stage" "$reason" "$idle" "$4"
}

# The next slice goes on, or this job does after a requeue. TERM is a wish to end (scancel), or Slurm requeues by itself
# (preemption): then a requeue of ours would bring a cancelled job back, and so would one of a job that is ending already.
go_on_later() {
  if ((LSD_SLICE < LSD_SLICES)); then
    say "the next slice goes on"
  elif [[ -n ${SLURM_JOB_ID:-} && $LSD_REQUEUE == 1 && $received != TERM && $received != INT ]]; then
    if [[ $(squeue -h -j "$job" -o %T 2>/dev/null) == COMPLETING ]]; then
      say "job $job is being ended: no requeue of ours"
      exit 75
    fi
    say "requeue of job $job"
    if scontrol requeue "$job"; then
      trap - USR1 TERM
      sleep 120 # Slurm ends this script; an end of its own would count as the job's
    fi
    say "Slurm did not requeue this job; the same command goes on from there"
  fi
  exit 75
}
