# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Two jobs in one folder would damage each other's files. A stage's lock names its owner; an owner that no longer runs
# has lost it. (A node that is cut off from the network may still run its old job: see docs/running_on_slurm.md.)

lock_file() { echo "$run_folder/jobs/$1.lock"; }

take_lock() {
  local lock owner
  lock=$(lock_file "$1")
  mkdir -p "${lock%/*}"
  if ! (set -o noclobber && echo "$job" >"$lock") 2>/dev/null; then
    owner=$(cat "$lock" 2>/dev/null || true)
    if [[ $owner != "$job" ]] && owner_lives "$owner"; then
      die "$1 of run $LSD_RUN is being worked on by job $owner; wait for it, or cancel it with slurm/pipeline.sh --cancel $LSD_RUN"
    fi
    echo "$job" >"$lock"
  fi
}

release_lock() { rm -f "$(lock_file "$1")"; }

owner_lives() {
  if [[ $1 == by_hand.* ]]; then
    kill -0 "${1#by_hand.}" 2>/dev/null
  else
    [[ $(squeue -h -j "$1" -o %T 2>/dev/null) =~ RUNNING|COMPLETING|SUSPENDED ]]
  fi
}
