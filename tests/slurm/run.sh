#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Tests on a real Slurm cluster that this script starts on this machine and stops again, by its own process ids.
#
#   tests/slurm/run.sh [NAME...]    names of tests below, default all; LSD_BIN: the programs, default build/bin
#
# Needs root, the packages of cmake/debian-packages-slurm.txt and built programs. KEEP=1 keeps the folder of the cluster.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
# shellcheck source=tests/slurm/check.sh
source tests/slurm/check.sh
unset SLURM_JOB_ID SLURM_SUBMIT_DIR SLURM_CONF
LSD_BIN=$(cd "${LSD_BIN:-build/bin}" && pwd) || exit 1
for variable in "${!LSD_@}"; do [[ $variable == LSD_BIN ]] || unset "$variable"; done
PREFIX=$(mktemp -d "${TMPDIR:-/tmp}/lsd_slurm.XXXXXX")
export PREFIX LSD_BIN LSD_RUNS=$PREFIX/runs LSD_SITE=tests/slurm/test_site.sh LSD_LAUNCHER=srun LSD_TASKS=$PREFIX/data
export LSD_FASTA=$PREFIX/data/short.fasta

stop_everything() {
  tests/slurm/cluster.sh down
  if [[ -n ${KEEP:-} || $failed != 0 ]]; then echo "kept: $PREFIX"; else rm -rf "$PREFIX"; fi
}
trap stop_everything EXIT
trap 'exit 1' INT TERM

# Short proteins and a small table of them: a stage is seconds of work.
make_data() {
  mkdir -p "$PREFIX/data"
  zcat data_prep/sample/proteins.fasta.gz | awk '/^>/ {if (n && length(s) <= 90) print h "\n" s; h = $0; s = ""; n = 1; next} {s = s $0}' \
    >"$LSD_FASTA"
  zcat data_prep/sample/deeploc_cls10.csv.gz |
    awk -F, 'NR == 1 {print; next} count[$4] < 40 {count[$4]++; print $1 "," substr($2, 1, 40) "," $3 "," $4}' >"$PREFIX/data/tiny.csv"
}

field() { scontrol show job "$1" -o 2>/dev/null | tr ' ' '\n' | sed -n "s/^$2=//p" | head -n 1; }
wait_until() { # seconds command...
  local tries=$(($1 * 5))
  while ((tries-- > 0)); do
    "${@:2}" && return 0
    sleep 0.2
  done
  return 1
}
state_is() { [[ $(field "$1" JobState) =~ ^($2)$ ]]; }
wait_end() { wait_until "${2:-90}" state_is "$1" 'COMPLETED|FAILED|CANCELLED|TIMEOUT|NODE_FAIL'; }
queue_empty() { [[ -z $(squeue -h) ]]; }
job_of() { awk -v stage="$2" '$1 == stage {id = $3} END {print id}' "$LSD_RUNS/$1/jobs/jobs.tsv"; }
jobs_of() { wc -l <"$LSD_RUNS/$1/jobs/jobs.tsv"; }
show_logs() { tail -n 15 "$LSD_RUNS/$1"/jobs/*.log 2>/dev/null | cut -c1-300; }
weights() { (cd "$LSD_RUNS/$1/$2/checkpoints/$(cat "$LSD_RUNS/$1/$2/checkpoints/latest")" && sha256sum ./*.safetensors); }

# A run of its own that stands on the shards of run "mini".
borrow_shards() {
  mkdir -p "$LSD_RUNS/$1"
  cp -r "$LSD_RUNS/mini/shard" "$LSD_RUNS/$1/shard"
}
need_mini() { [[ -e $LSD_RUNS/mini/shard/DONE ]] || test_chain; }

# Every script of a few lines is a valid job by itself.
test_valid() {
  local script
  for script in slurm/*.sh; do
    [[ $script != slurm/pipeline.sh ]] || continue
    sbatch --test-only "$script" >"$PREFIX/out" 2>&1
    check "$script is a valid job" 0 $?
  done
}

# All stages as chained jobs, with a probe array; submitted twice while it runs, and once more behind its end.
test_chain() {
  local report start=$SECONDS
  [[ ! -e $LSD_RUNS/mini ]] || return 0
  slurm/pipeline.sh tests/slurm/mini.cfg >"$PREFIX/out" 2>&1
  check "the chain is submitted" "0 6" "$? $(jobs_of mini)"
  slurm/pipeline.sh tests/slurm/mini.cfg >"$PREFIX/out" 2>&1
  check "submitting again while it runs adds nothing" "0 6" "$? $(jobs_of mini)"
  report=$(job_of mini report)
  wait_end "$report" 150
  check "the chain ran to its report" COMPLETED "$(field "$report" JobState)"
  [[ $(field "$report" JobState) == COMPLETED ]] || show_logs mini
  echo "      the chain took $((SECONDS - start)) s"
  check "the report is there" yes "$([[ -s $LSD_RUNS/mini/report/report.md ]] && echo yes)"
  slurm/pipeline.sh --status mini | tee "$PREFIX/out"
  check "status: all six stages done" 6 "$(grep -cE '^[a-z_]+ +- +done' "$PREFIX/out")"
  slurm/pipeline.sh tests/slurm/mini.cfg >"$PREFIX/out" 2>&1
  check "submitting a finished run does nothing" "0 6" "$? $(jobs_of mini)"
}

submit_training() { # run option...
  env LSD_RUN="$1" LSD_CONFIG=configs/demo/nm.cfg LSD_OPTIONS="${training_options[*]}" \
    sbatch --parsable --nodes=2 --ntasks-per-node=1 --gpus-per-node=0 --output="$PREFIX/$1.log" "${@:2}" slurm/train_nm_s.sh
}
# The plain backend: slow enough for a signal to come in between on any machine.
training_options=(--backend reference --threads 1 --training.steps=80 --training.log_every=2 --checkpoint.every_steps=10 --training.capacity=512 --data.max_length=128 --optimizer.warmup_steps=5
  --validation.every_steps=0 --model.width=32 --model.heads=2 --checkpoint.every_minutes=0)
step_of() { tail -n 1 "$LSD_RUNS/$1/train_nm_s/metrics.jsonl" 2>/dev/null | sed -n 's/.*"step": *\([0-9]*\).*/\1/p'; }
beyond_step() { local step; step=$(step_of "$1") && [[ ${step:-0} -ge $2 ]]; }
restarted() { [[ $(field "$1" Restarts) -ge $2 ]]; }

# A stage told by USR1, as ahead of a time limit, three times: it requeues itself and ends with the same weights as one
# that nobody disturbed.
test_interrupted() {
  local whole cut turn
  need_mini
  borrow_shards whole
  borrow_shards cut
  whole=$(submit_training whole)
  wait_end "$whole" 120
  check "undisturbed training" COMPLETED "$(field "$whole" JobState)"
  cut=$(submit_training cut)
  for turn in 1 2 3; do
    wait_until 60 beyond_step cut $((turn * 20))
    scancel --batch --signal=USR1 "$cut"
    wait_until 60 restarted "$cut" "$turn"
  done
  wait_end "$cut" 120
  check "training cut three times" "COMPLETED 3" "$(field "$cut" JobState) $(field "$cut" Restarts)"
  check "three requeues in the log" 3 "$(grep -c 'requeue of job' "$PREFIX/cut.log")"
  check "the same weights and optimizer, bit for bit" "$(weights whole train_nm_s)" "$(weights cut train_nm_s)"
}

# `scontrol requeue` kills without a warning; the job starts again and ends with the same weights.
test_requeue() {
  local id
  need_mini
  [[ -e $LSD_RUNS/whole ]] || test_interrupted
  borrow_shards requeued
  id=$(submit_training requeued)
  wait_until 60 beyond_step requeued 20
  scontrol requeue "$id"
  wait_until 60 restarted "$id" 1
  wait_end "$id" 120
  check "scontrol requeue: it ran again" "COMPLETED 1" "$(field "$id" JobState) $(field "$id" Restarts)"
  check "scontrol requeue: the same weights" "$(weights whole train_nm_s)" "$(weights requeued train_nm_s)"
}

# A node loses its power during training: Slurm starts the job again on other nodes, and it goes on from its last checkpoint.
test_node_lost() {
  local id victim
  [[ $(cat "$PREFIX/run/mode") == namespaces ]] || { echo "      left out: nodes have no namespaces here" && return; }
  need_mini
  [[ -e $LSD_RUNS/whole ]] || test_interrupted
  borrow_shards lost
  id=$(submit_training lost)
  wait_until 60 beyond_step lost 30
  victim=$(scontrol show hostnames "$(field "$id" NodeList)" | tail -n 1)
  tests/slurm/cluster.sh kill "$victim"
  wait_until 90 restarted "$id" 1
  wait_end "$id" 120
  check "a node lost: it ran again" "COMPLETED 1" "$(field "$id" JobState) $(field "$id" Restarts)"
  check "a node lost: not on the lost one" 0 "$(scontrol show hostnames "$(field "$id" NodeList)" | grep -cx "$victim")"
  check_has "a node lost: from a checkpoint" "going on behind step" "$PREFIX/lost.log"
  check "a node lost: the same weights" "$(weights whole train_nm_s)" "$(weights lost train_nm_s)"
}

# Stopped on two ranks, gone on with on one: the same data in the same order, so the same tokens.
test_elastic() {
  local id
  need_mini
  [[ -e $LSD_RUNS/whole ]] || test_interrupted
  borrow_shards elastic
  id=$(LSD_REQUEUE=0 submit_training elastic)
  wait_until 60 beyond_step elastic 20
  scancel --batch --signal=USR1 "$id"
  wait_end "$id" 60
  check "elastic: stopped on two ranks" "FAILED 75:0" "$(field "$id" JobState) $(field "$id" ExitCode)"
  id=$(submit_training elastic --nodes=1)
  wait_end "$id" 120
  check "elastic: done on one rank" COMPLETED "$(field "$id" JobState)"
  check_has "elastic: from a checkpoint" "going on behind step" "$PREFIX/elastic.log"
  check "elastic: as many tokens as undisturbed" "$(last_tokens whole)" "$(last_tokens elastic)"
}
last_tokens() { grep '"kind":"train"' "$LSD_RUNS/$1/train_nm_s/metrics.jsonl" | tail -n 1 | sed 's/.*"step":\([0-9]*\).*"tokens":\([0-9]*\).*/\1 \2/'; }

# Two slices: the first is told to stop and leaves the rest to the second, on which another job waits.
test_slices() {
  local first second behind
  need_mini
  borrow_shards slices
  first=$(LSD_SLICE=1 LSD_SLICES=2 submit_training slices)
  second=$(LSD_SLICE=2 LSD_SLICES=2 submit_training slices --dependency="afterany:$first")
  behind=$(sbatch --parsable --output=/dev/null --dependency="afterok:$second" --kill-on-invalid-dep=yes --wrap true)
  wait_until 60 beyond_step slices 20
  scancel --batch --signal=USR1 "$first"
  wait_end "$behind" 120
  check "slices: stopped, done, next stage ran" "75:0 COMPLETED COMPLETED" \
    "$(field "$first" ExitCode) $(field "$second" JobState) $(field "$behind" JobState)"
}

# A stage that fails stops the chain; the status says why; mended and submitted again, the run goes on.
test_failure() {
  local train
  need_mini
  borrow_shards broken
  sed 's/^run = .*/run = broken/; s/^train.options = .*/& --model.heads=3/' tests/slurm/mini.cfg >"$PREFIX/broken.cfg"
  slurm/pipeline.sh "$PREFIX/broken.cfg" >"$PREFIX/out" 2>&1
  wait_until 90 queue_empty
  train=$(job_of broken train_nm)
  check "a failed stage: its job, the next job" "FAILED CANCELLED CANCELLED" \
    "$(field "$train" JobState) $(field "$(job_of broken dump_nm)" JobState) $(field "$(job_of broken report)" JobState)"
  slurm/pipeline.sh --status broken >"$PREFIX/out"
  check_has "status names the failed stage's reason" "failed: its program ended with code" "$PREFIX/out"
  sed 's/^run = .*/run = broken/' tests/slurm/mini.cfg >"$PREFIX/broken.cfg"
  slurm/pipeline.sh "$PREFIX/broken.cfg" >"$PREFIX/out" 2>&1
  check_has "submitted again: the failed stage is tried again" "train_nm: trying again; it failed before" "$PREFIX/out"
  check "submitted again: the shards are not" 1 "$(grep -c '^lsd: shard: done' "$PREFIX/out")"
  wait_until 60 state_is "$(job_of broken train_nm)" 'COMPLETED'
  check "submitted again: it works" COMPLETED "$(field "$(job_of broken train_nm)" JobState)"
  slurm/pipeline.sh --cancel broken >"$PREFIX/out" 2>&1
  check "--cancel" 0 $?
  wait_until 30 queue_empty
  check "--cancel: nothing is left in the queue" "" "$(squeue -h)"
}

# A launcher that starts lonely ranks is refused; mpirun inside a job works.
test_launchers() {
  local id
  need_mini
  [[ -e $LSD_RUNS/whole ]] || test_interrupted
  borrow_shards launchers
  id=$(LSD_SRUN_MPI=none submit_training launchers)
  wait_end "$id" 60
  check "srun --mpi=none: refused" FAILED "$(field "$id" JobState)"
  check_has "srun --mpi=none: named" "srun --mpi=none starts 2 lonely ranks" "$PREFIX/launchers.log"
  id=$(LSD_SRUN_MPI=pmi2 submit_training launchers)
  wait_end "$id" 60
  check "srun --mpi=pmi2: refused" FAILED "$(field "$id" JobState)"
  check_has "srun --mpi=pmi2: named" "LSD_SRUN_MPI" "$PREFIX/launchers.log"
  id=$(LSD_LAUNCHER=mpirun submit_training launchers)
  wait_end "$id" 90
  check "mpirun in a job" COMPLETED "$(field "$id" JobState)"
  check "mpirun: the same weights as srun" "$(weights whole train_nm_s)" "$(weights launchers train_nm_s)"
}

start=$SECONDS
make_data
tests/slurm/cluster.sh up || exit 1
# shellcheck source=/dev/null
source "$PREFIX/env.sh"
[[ $# -gt 0 ]] || set -- valid chain interrupted requeue elastic slices failure launchers node_lost
for name; do
  declare -F "test_$name" >/dev/null || { echo "no test '$name'" >&2 && exit 1; }
  echo "== $name ($((SECONDS - start)) s)"
  "test_$name"
done
echo "== $((SECONDS - start)) s"
finish_checks
