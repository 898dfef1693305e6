# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Nodes that go away during training: one loses its power, one is cut off from the network and goes on running.

nodes_of() { scontrol show hostnames "$(field "$1" NodeList)"; }

test_nodes() {
  local lost victim
  borrow_shards lost
  lost=$(LSD_FAULT=$(hold_at 35) submit_training lost)
  wait_held lost 2
  victim=$(nodes_of "$lost" | tail -n 1)
  tests/slurm/cluster.sh kill "$victim"
  after_power_cut "$lost" "$victim"
}

# The rest of the job is on other nodes, from its newest checkpoint.
after_power_cut() { # job node
  wait_until 200 restarted "$1" 1
  wait_end "$1"
  check "a node lost: it ran again" COMPLETED "$(field "$1" JobState)"
  check "a node lost: not on the lost one" 0 "$(nodes_of "$1" | grep -cx "$2")"
  check_has "a node lost: from a checkpoint" "going on behind step" "$(log_of lost)"
  check_same_as_whole lost "a node lost"
}
