# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Two jobs on one stage would only get in each other's way. A stage's lock names its job, and on a second line this
# start of it. An owner that no longer runs has lost it, and so has an earlier start of the same job: a node that is cut
# off from the network runs its old job beside the requeued one. The programs refuse to commit then (attempts, see
# docs/formats/checkpoints.md), and the old script leaves the records alone.

this_start="$(hostname) $$ restart ${SLURM_RESTART_COUNT:-0} $(date +%s%N)"

lock_file() { echo "$run_folder/jobs/$1.lock"; }

take_lock() {
  local lock owner
  lock=$(lock_file "$1")
  mkdir -p "${lock%/*}"
  if ! (set -o noclobber && printf '%s\n' "$job" "$this_start" >"$lock") 2>/dev/null; then
    owner=$(sed -n 1p "$lock" 2>/dev/null || true)
    if [[ $owner != "$job" ]] && owner_lives "$owner"; then
      die "$1 of run $LSD_RUN is being worked on by job $owner; wait for it, or cancel it with slurm/pipeline.sh --cancel $LSD_RUN"
    fi
    printf '%s\n' "$job" "$this_start" >"$lock"
  fi
}

owns_lock() { [[ $(sed -n 2p "$(lock_file "$1")" 2>/dev/null) == "$this_start" ]]; }
release_lock() { ! owns_lock "$1" || rm -f "$(lock_file "$1")"; }

owner_lives() {
  if [[ $1 == by_hand.* ]]; then
    kill -0 "${1#by_hand.}" 2>/dev/null
  else
    [[ $(squeue -h -j "$1" -o %T 2>/dev/null) =~ RUNNING|COMPLETING|SUSPENDED ]]
  fi
}
