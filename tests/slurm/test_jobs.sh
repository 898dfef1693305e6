# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# One training job and what can happen to it, except that its node goes away.

test_whole() {
  need_whole
  check "undisturbed training" COMPLETED "$(field "$(cat "$PREFIX/results/whole/id")" JobState)"
}

# Cut by its real time limit, with a signal ahead of it, as often as it starts: each start gets at most 18 of the 60 steps
# done and then stands still until its signal comes, on a machine of any speed. It requeues itself and ends as if nobody
# had cut it.
test_time_limit() {
  local id restarts
  borrow_shards limit
  id=$(LSD_FAULT=$(hold_at 18) submit_training limit --nodes=1 --ntasks-per-node=2 --nodelist=n1 --time=1 --signal=B:USR1@42)
  wait_until 480 ended_though_held "$id" limit
  restarts=$(field "$id" Restarts)
  check "time limit: done" COMPLETED "$(field "$id" JobState)"
  check "time limit: cut three times" yes "$([[ $restarts -ge 3 ]] && echo yes)"
  check "time limit: each time it requeued itself" "$restarts" "$(grep -c 'requeue of job' "$(log_of limit)")"
  check_same_as_whole limit "time limit"
}
# Lets held ranks go on once their start of the job has been told to stop.
ended_though_held() { # job run
  state_is "$1" 'COMPLETED|FAILED|CANCELLED|TIMEOUT' && return 0
  if are_held "$2" 2 && signals_told "$2" $(($(field "$1" Restarts) + 1)); then
    mapfile -t held < <(held_ranks "$2")
    go_on
  fi
  return 1
}
signals_told() { [[ $(grep -c 'signal USR1: telling the program' "$(log_of "$1")" 2>/dev/null) -ge $2 ]]; }

# `scontrol requeue` ends the job in the middle of its steps; it starts again.
test_requeue() {
  local id
  borrow_shards requeued
  id=$(LSD_FAULT=$(hold_at 45) submit_training requeued)
  wait_held requeued 2
  scontrol requeue "$id"
  wait_until 200 restarted "$id" 1
  wait_end "$id"
  check "scontrol requeue: it ran again" COMPLETED "$(field "$id" JobState)"
  check_has "scontrol requeue: from a checkpoint" "going on behind step" "$(log_of requeued)"
  check_same_as_whole requeued "scontrol requeue"
}

# One rank of two is killed: the step ends instead of hanging, the job goes on by itself.
test_rank_killed() {
  local id
  borrow_shards killed
  id=$(LSD_FAULT=$(hold_at 45) submit_training killed)
  wait_held killed 2
  kill -KILL "${held[1]}"
  go_on
  wait_until 200 restarted "$id" 1
  wait_end "$id"
  check "a rank killed: it ran again" COMPLETED "$(field "$id" JobState)"
  check_has "a rank killed: the script's word" "a rank or a node was lost" "$(log_of killed)"
  check_same_as_whole killed "a rank killed"
}

# Begun on two ranks, gone on with on four nodes, ended on one: the same data in the same order, so the same tokens.
test_elastic() {
  local id turn ranks=(2 4 1)
  borrow_shards elastic
  for turn in 0 1; do
    id=$(LSD_REQUEUE=0 LSD_FAULT=$(hold_at 20) submit_training elastic --nodes="${ranks[turn]}")
    wait_held elastic "${ranks[turn]}"
    scancel --batch --signal=USR1 "$id"
    wait_until 100 signals_told elastic $((turn + 1))
    go_on
    wait_end "$id"
    check "elastic: stopped on ${ranks[turn]} ranks" "FAILED 75:0" "$(field "$id" JobState) $(field "$id" ExitCode)"
  done
  id=$(submit_training elastic --nodes=1)
  wait_end "$id"
  check "elastic: done on one rank" COMPLETED "$(field "$id" JobState)"
  check "elastic: two resumes" 2 "$(grep -c 'going on behind step' "$(log_of elastic)")"
  need_whole
  check "elastic: position in the data as undisturbed" "$(position whole)" "$(position elastic)"
  check "elastic: as many tokens as undisturbed at every logged step" "$(tokens_by_step whole)" "$(tokens_by_step elastic)"
}
position() { grep -ohE '"(step|next_visit)": *[0-9]+' "$(newest_checkpoint "$1")/state.json"; }
tokens_by_step() { sed -n 's/.*"kind":"train".*"step":\([0-9]*\).*"tokens":\([0-9]*\).*/\1 \2/p' "$(training_folder "$1")/metrics.jsonl"; }

# Two slices: the first is told to stop and leaves the rest to the second, on which another job waits.
test_slices() {
  local first second behind
  borrow_shards slices
  first=$(LSD_FAULT=$(hold_at 20) LSD_SLICE=1 LSD_SLICES=2 submit_training slices)
  second=$(LSD_SLICE=2 LSD_SLICES=2 submit_training slices --dependency="afterany:$first")
  behind=$(sbatch --parsable --output=/dev/null --dependency="afterok:$second" --kill-on-invalid-dep=yes --wrap true)
  wait_held slices 2
  scancel --batch --signal=USR1 "$first"
  wait_until 100 signals_told slices 1
  go_on
  wait_end "$behind"
  check "slices: stopped, done, next stage ran" "75:0 COMPLETED COMPLETED" \
    "$(field "$first" ExitCode) $(field "$second" JobState) $(field "$behind" JobState)"
  check_same_as_whole slices "slices"
}

# A launcher that starts lonely ranks, or cannot start any, is named; mpirun inside a job works.
test_launchers() {
  local none pmi2 mpirun
  for name in none pmi2 mpirun; do borrow_shards "launcher_$name"; done
  none=$(LSD_SRUN_MPI=none submit_training launcher_none)
  pmi2=$(LSD_SRUN_MPI=pmi2 submit_training launcher_pmi2)
  mpirun=$(LSD_LAUNCHER=mpirun submit_training launcher_mpirun)
  wait_end "$none"
  check "srun --mpi=none: refused" FAILED "$(field "$none" JobState)"
  check_has "srun --mpi=none: named" "srun --mpi=none starts 2 lonely ranks" "$(log_of launcher_none)"
  check "srun --mpi=none: nothing was begun" "" "$(ls "$LSD_RUNS/launcher_none/train_nm_s" 2>/dev/null)"
  wait_end "$pmi2"
  check "srun --mpi=pmi2: refused" FAILED "$(field "$pmi2" JobState)"
  check_has "srun --mpi=pmi2: named" "start-up protocol" "$(log_of launcher_pmi2)"
  wait_end "$mpirun"
  check "mpirun in a job" COMPLETED "$(field "$mpirun" JobState)"
  check_same_as_whole launcher_mpirun "mpirun"
}
