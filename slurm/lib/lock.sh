# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Two jobs on one stage would only get in each other's way. A stage's lock names its job, and on a second line this
# start of it. An owner that no longer runs has lost it, and so has an earlier start of the same job: a node that is cut
# off from the network runs its old job beside the requeued one. The programs refuse to commit then (attempts, see
# docs/formats/checkpoints.md), and the old script leaves the records alone.

this_start="$(hostname) $$ restart ${SLURM_RESTART_COUNT:-0} $(date +%s%N)"

lock_file() { echo "$run_folder/jobs/$1.lock"; }

lock_owner() { sed -n 1p "$(lock_file "$1")" 2>/dev/null || true; }

# Fails, with its reason, when another job holds it or might.
take_lock() {
  local lock aside
  lock=$(lock_file "$1")
  aside=$lock.$(hostname).$$
  write_whole "$aside" "$job" "$this_start" || return 1
  # A link appears with its contents, or not at all. Where the file system has none, and for a lock left behind: a rename.
  if ! ln "$aside" "$lock" 2>/dev/null && [[ -e $lock && $(lock_owner "$1") != "$job" ]] && ! owner_is_gone "$1"; then
    rm -f "$aside"
    return 1
  fi
  mv -f "$aside" "$lock" 2>/dev/null || true
  rm -f "$aside"
  owns_lock "$1" || { echo "lsd: cannot write $lock" >&2 && return 1; }
}

owns_lock() { [[ $(sed -n 2p "$(lock_file "$1")" 2>/dev/null) == "$this_start" ]]; }
release_lock() { ! owns_lock "$1" || rm -f "$(lock_file "$1")"; }

# Not knowing is no: two jobs on one stage are worse than one that is given again.
owner_is_gone() { # stage
  local owner host why
  owner=$(lock_owner "$1")
  host=$(sed -n '2s/ .*//p' "$(lock_file "$1")" 2>/dev/null || true)
  if [[ -z $owner ]]; then
    return 0 # empty: its writer had no room for its name, and went no further
  elif [[ $owner == by_hand.* && -n $host && $host != "$(hostname)" ]]; then
    why="process ${owner#by_hand.} of host $host has begun it, which cannot be asked from here: if it runs no more, remove $(lock_file "$1")"
  elif [[ $owner == by_hand.* ]]; then
    kill -0 "${owner#by_hand.}" 2>/dev/null || return 0
    why="wait for it, or end it"
  else
    case $(state_of_job "$owner") in
      gone) return 0 ;;
      alive) why="wait for it, or cancel it with slurm/pipeline.sh --cancel $LSD_RUN" ;;
      *) why="or was: Slurm does not answer (squeue). Try again; if that job is gone, removing $(lock_file "$1") does as well" ;;
    esac
  fi
  echo "lsd: $1 of run $LSD_RUN is being worked on by job $owner; $why" >&2
  return 1
}

# alive, gone, or unknown: Slurm does not answer, also when asked again.
state_of_job() { # job
  local text pause
  for pause in 1 2 4 8 0; do
    if text=$(squeue -h -j "$1" -o %T 2>&1); then
      if [[ $text =~ RUNNING|COMPLETING|SUSPENDED|STOPPED ]]; then echo alive; else echo gone; fi
      return
    elif [[ $text == *"Invalid job id"* ]]; then
      echo gone
      return
    fi
    sleep "$pause"
  done
  echo unknown
}
