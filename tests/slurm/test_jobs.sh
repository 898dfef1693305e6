# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# One training job and what can happen to it, except that its node goes away.

test_whole() {
  need_whole
  check "undisturbed training" COMPLETED "$(field "$(cat "$PREFIX/results/whole/id")" JobState)"
}

# Cut three times by its real time limit, with a signal ahead of it: requeues itself and ends as if nobody had. The
# training is held until the signal comes, so that the limit is met on a machine of any speed.
test_time_limit() {
  local id turn
  borrow_shards limit
  id=$(submit_training limit --nodes=1 --ntasks-per-node=2 --nodelist=n1 --time=1 --signal=B:USR1@50)
  for turn in 1 2 3; do
    freeze limit $((turn * 14)) || break
    wait_until 200 signals_told limit "$turn"
    thaw
    wait_until 200 restarted "$id" "$turn"
  done
  wait_end "$id"
  check "time limit: done after three requeues of its own" "COMPLETED 3 3" \
    "$(field "$id" JobState) $(field "$id" Restarts) $(grep -c 'requeue of job' "$(log_of limit)")"
  check_same_as_whole limit "time limit"
}
signals_told() { [[ $(grep -c 'signal USR1: telling the program' "$(log_of "$1")" 2>/dev/null) -ge $2 ]]; }

# `scontrol requeue` kills without a warning.
test_requeue() {
  local id
  borrow_shards requeued
  id=$(submit_training requeued)
  freeze requeued 20
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
  id=$(submit_training killed)
  freeze killed 20
  kill -KILL "${frozen##*$'\n'}"
  thaw
  wait_until 200 restarted "$id" 1
  wait_end "$id"
  check "a rank killed: it ran again" COMPLETED "$(field "$id" JobState)"
  check_has "a rank killed: the script's word" "a rank or a node was lost" "$(log_of killed)"
  check_same_as_whole killed "a rank killed"
}

# Begun on two ranks, gone on with on four nodes, ended on one: the same data in the same order, so the same tokens.
test_elastic() {
  local id turn ranks=(2 4 1) first
  borrow_shards elastic
  for turn in 0 1; do
    id=$(LSD_REQUEUE=0 submit_training elastic --nodes="${ranks[turn]}")
    freeze elastic $((20 + 20 * turn)) || return
    scancel --batch --signal=USR1 "$id"
    wait_until 100 signals_told elastic $((turn + 1))
    thaw
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
  first=$(LSD_SLICE=1 LSD_SLICES=2 submit_training slices)
  second=$(LSD_SLICE=2 LSD_SLICES=2 submit_training slices --dependency="afterany:$first")
  behind=$(sbatch --parsable --output=/dev/null --dependency="afterok:$second" --kill-on-invalid-dep=yes --wrap true)
  freeze slices 20
  scancel --batch --signal=USR1 "$first"
  wait_until 100 signals_told slices 1
  thaw
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
