# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154  # test_name: by suite.sh
# What the tests on a cluster share: data, small trainings, and waiting for facts. Nothing waits for a time to pass;
# limits are generous, because a loaded machine may be ten times slower.

export LSD_RUNS=$PREFIX/runs LSD_SITE=tests/slurm/test_site.sh LSD_LAUNCHER=srun LSD_TASKS=$PREFIX/data
export LSD_FASTA=$PREFIX/data/short.fasta

# Short proteins, a small table of them, and the shards that most tests begin with: a stage is seconds of work.
make_data() {
  mkdir -p "$PREFIX/data" "$LSD_RUNS"
  zcat data_prep/sample/proteins.fasta.gz | awk '/^>/ {if (n && length(s) <= 90) print h "\n" s; h = $0; s = ""; n = 1; next} {s = s $0}' \
    >"$LSD_FASTA"
  zcat data_prep/sample/deeploc_cls10.csv.gz |
    awk -F, 'NR == 1 {print; next} count[$4] < 40 {count[$4]++; print $1 "," substr($2, 1, 40) "," $3 "," $4}' >"$PREFIX/data/tiny.csv"
  "$LSD_BIN/lsd_shard_uniref50" --quiet --input.files "$LSD_FASTA" --output.directory "$PREFIX/data/shards"
}

# A controller on a loaded machine may not answer at once: that is no answer.
ask() {
  local try
  for try in 1 2 3 4 5; do
    "$@" 2>/dev/null && return
    sleep "$try"
  done
  return 1
}
field() { ask scontrol show job "$1" -o | tr ' ' '\n' | sed -n "s/^$2=//p" | head -n 1; }
wait_until() { # seconds command...
  local end=$((SECONDS + $1))
  while ((SECONDS < end)); do
    "${@:2}" && return 0
    sleep 0.2
  done
  echo "      not within $1 s: ${*:2}"
  return 1
}
state_is() { [[ $(field "$1" JobState) =~ ^($2)$ ]]; }
wait_end() { wait_until "${2:-300}" state_is "$1" 'COMPLETED|FAILED|CANCELLED|TIMEOUT|NODE_FAIL|BOOT_FAIL|OUT_OF_MEMORY'; }
restarted() { [[ $(field "$1" Restarts) -ge $2 ]]; }
run_has_no_job() {
  local queue
  queue=$(squeue -h -o %j 2>/dev/null) && ! grep -q "^$1\." <<<"$queue"
}
job_of() { awk -v stage="$2" '$1 == stage {id = $3} END {print id}' "$LSD_RUNS/$1/jobs/jobs.tsv"; }
jobs_of() { wc -l <"$LSD_RUNS/$1/jobs/jobs.tsv"; }
file_has() { grep -qF -- "$2" "$1" 2>/dev/null; }
log_of() { echo "$PREFIX/jobs/$1.log"; }

# Slurm lets a requeued job wait until the credential of its last start has expired; a job that began to wait some
# seconds ago need not.
hasten_requeued() {
  local id before=" " waiting
  while sleep 2; do
    waiting=" $(squeue -h -t PENDING -o '%A %r' 2>/dev/null | awk '$2 == "BeginTime" {print $1}' | tr '\n' ' ')"
    for id in $waiting; do
      [[ $before != *" $id "* ]] || scontrol update jobid="$id" StartTime=now 2>/dev/null
    done
    before=$waiting
  done
}

# --- one small training, always the same: train_nm_s of the run named

training_options=(--threads 1 --training.steps=60 --training.log_every=2 --checkpoint.every_steps=10
  --training.capacity=256 --training.micro_batches=4 --data.max_length=128 --optimizer.warmup_steps=5 --validation.every_steps=0
  --model.width=32 --model.heads=2 --checkpoint.every_minutes=0)

# note_run RUN: whose logs a person wants to see when the test fails (tell_shortly.sh)
note_run() { echo "$1" >>"$PREFIX/results/$test_name.runs"; }

borrow_shards() {
  note_run "$1"
  mkdir -p "$LSD_RUNS/$1"
  ln -s "$PREFIX/data/shards" "$LSD_RUNS/$1/shard"
}

submit_training() { # run sbatch_option...
  env LSD_RUN="$1" LSD_CONFIG=configs/demo/nm.cfg LSD_OPTIONS="${training_options[*]}" \
    sbatch --parsable --nodes=2 --ntasks-per-node=1 --gpus-per-node=0 --output="$(log_of "$1")" "${@:2}" slurm/train_nm_s.sh
}

# Its folder: the stage is called train_nm_s alone, train_nm in a pipeline of variant nm.
training_folder() { local folder=$LSD_RUNS/$1/train_nm; [[ -e $folder ]] && echo "$folder" || echo "${folder}_s"; }

# hold_at STEPS: for LSD_FAULT; each start of the training then stands still behind so many steps of its own, on a machine
# of any speed, until it is told to go on or killed.
hold_at() { echo "train.step_done#$1=stop"; }

# The process ids of a run's training on all nodes (nodes share this machine's process list) that stand still.
held_ranks() { ps -e -o pid= -o stat= -o args= | awk -v folder="$(training_folder "$1") " '$2 ~ /^T/ && /lsd_train_autoencoder/ && index($0, folder) {print $1}'; }
are_held() { [[ $(held_ranks "$1" | wc -l) == "$2" ]]; }

# wait_held RUN RANKS: sets `held` to their process ids
wait_held() {
  wait_until 300 are_held "$1" "$2"
  mapfile -t held < <(held_ranks "$1")
  check "$1: its training stands still" "$2" "${#held[@]}"
}
go_on() { kill -CONT "${held[@]}" 2>/dev/null || true; }

newest_checkpoint() { echo "$(training_folder "$1")/checkpoints/$(cat "$(training_folder "$1")/checkpoints/latest")"; }
weights() { (cd "$(newest_checkpoint "$1")" && sha256sum ./*.safetensors); }

# The training that nobody disturbs; the first who asks submits it.
need_whole() {
  note_run whole
  if mkdir "$PREFIX/results/whole" 2>/dev/null; then
    borrow_shards whole
    submit_training whole >"$PREFIX/results/whole/id"
  fi
  wait_until 30 test -s "$PREFIX/results/whole/id" && wait_end "$(cat "$PREFIX/results/whole/id")"
}
check_same_as_whole() { # run fact
  need_whole
  check "$2: the same weights and optimizer as undisturbed, bit for bit" "$(weights whole)" "$(weights "$1")"
}
