# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154  # held: by wait_held
# Nodes that go away during training: one loses its power, one is cut off from the network and goes on running.

nodes_of() { scontrol show hostnames "$(field "$1" NodeList)"; }

# Both at once: Slurm takes its time to believe that a node is lost.
test_nodes() {
  local cut lost island victim old
  if [[ $(cat "$PREFIX/run/mode") == ports ]]; then
    echo "      a node cut off: left out, on ports its srun still reaches the controller"
    lose_power
    return
  fi
  borrow_shards cut
  borrow_shards lost
  cut=$(LSD_FAULT=$(hold_at 18) submit_training cut --nodes=1 --ntasks-per-node=2)
  wait_held cut 2
  old=("${held[@]}")
  island=$(nodes_of "$cut")
  lost=$(submit_lost --exclude="$island")
  wait_held lost 1
  victim=$(nodes_of "$lost" | tail -n 1)
  tests/slurm/cluster.sh cut "$island"
  tests/slurm/cluster.sh kill "$victim"
  after_cut "$cut" "$island" "${old[@]}"
  after_power_cut "$lost" "$victim"
}

# Only the rank on the node to be lost stands still: the other one waits for it when its node goes, and gives up before
# Slurm believes it: 10 s behind its standing still, against some 20 s or more behind the end of its node (SlurmdTimeout).
submit_lost() {
  local training_options=("${training_options[@]}" --collective-timeout 10)
  LSD_FAULT='train.step_done#45@1=stop' submit_training lost "$@"
}

# A power cut alone.
lose_power() {
  local lost victim
  borrow_shards lost
  lost=$(submit_lost)
  wait_held lost 1
  victim=$(nodes_of "$lost" | tail -n 1)
  tests/slurm/cluster.sh kill "$victim"
  after_power_cut "$lost" "$victim"
}

# The old job goes on beside the requeued one, which stands still meanwhile, comes to its next checkpoint, and changes
# nothing. (What is left of it waits for an answer of Slurm's until its node comes back.)
after_cut() { # job node process_id...
  local job=$1 node=$2 before new
  shift 2
  wait_until 300 restarted "$job" 1
  wait_until 300 are_held cut 4
  check "a node cut off: the old job is there beside the new one" "4 no" "$(held_ranks cut | wc -l) $(nodes_of "$job" | grep -qx "$node" && echo yes || echo no)"
  mapfile -t new < <(held_ranks cut | grep -vxF -f <(printf '%s\n' "$@"))
  before=$(files_of cut)
  kill -CONT "$@"
  wait_until 200 file_has "$(log_of cut)" "has been superseded by attempt 2 (host n"
  check_has "a node cut off: the old job ends, naming the newer attempt" "has been superseded by attempt 2 (host n" "$(log_of cut)"
  check "a node cut off: the old job changes no file" "$before" "$(files_of cut)"
  held=("${new[@]}")
  go_on
  wait_end "$job"
  check "a node cut off: the new job is done" COMPLETED "$(field "$job" JobState)"
  check_same_as_whole cut "a node cut off"
}
# Size, time and place of what a run has committed.
files_of() { find "$LSD_RUNS/$1/" -type f ! -name '*.partial*' ! -path '*.partial/*' ! -path '*/attempts/*' -printf '%p %s %T@ %i\n' | sort; }

# The rank that is left says that it lost the other one and leaves the run to be gone on with, whether Slurm knows of the
# node yet or not; the job goes on on other nodes, from its newest checkpoint.
after_power_cut() { # job node
  wait_until 300 restarted "$1" 1
  wait_end "$1"
  check_has "a node lost: the rank that is left gives up" "error (rank 0 of 2): rank 0 of 2 gave up in" "$(log_of lost)"
  check_has "a node lost: which leaves a run to be gone on with" "train_nm_s stopped, to be gone on with: rank 0 of 2 gave up in" "$(log_of lost)"
  check "a node lost: it ran again" COMPLETED "$(field "$1" JobState)"
  check "a node lost: not on the lost one" 0 "$(nodes_of "$1" | grep -cx "$2")"
  check_has "a node lost: from a checkpoint" "going on behind step" "$(log_of lost)"
  check_same_as_whole lost "a node lost"
}
