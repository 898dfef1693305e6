# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154  # out is the caller's
# A dump shared by the tasks of a job array, some of which do not live to their ends.

# Three tasks stand still behind three of their four or five parts. The ranks of two are killed: one of these requeues
# itself, the other is cancelled and stays away. Submitted again while the third still stands, only the cancelled one runs,
# makes only its missing parts, and the diffusion stage, which waited for the old array, is told to wait for it too. When the
# third has gone on, the set is complete, and that same job finds it there: the same files as a dump in one piece.
test_dump_array() {
  local id again task before next
  need_whole
  borrow_shards shared
  ln -s "$LSD_RUNS/whole/train_nm_s" "$LSD_RUNS/shared/train_nm"
  LSD_FAULT='dump.part_begun#4=stop' shared_pipeline
  id=$(job_of shared dump_nm) next=$(job_of shared diffusion_nm)
  check "dump array: what waits for it" "afterok:$id" "$(waits_for "$next" | sed 's/_\*//')"
  for task in 0 1 2; do wait_until 300 has_held_task $task; done
  before=$(parts_of shared)
  check "dump array: three parts of each task are there" 9 "$(wc -l <<<"$before")"
  slurm/pipeline.sh --status shared >"$out" 2>&1
  check_has "dump array: the status of its tasks" "tasks running: 0 1 2" "$out"
  check_has "dump array: its progress" "9/13 parts" "$out"
  # Its script is told first, or it might requeue the job before it is cancelled; its rank, were it told to stop, would go
  # on and end its part before it obeys.
  scancel --batch --signal=TERM "${id}_1"
  wait_until 60 grep -q "signal TERM" "$LSD_RUNS/shared/jobs/dump_nm.${id}_1.log"
  kill -KILL "$(held_task 1)" "$(held_task 2)"
  scancel "${id}_1" # if it is still there
  for task in 1 2; do wait_end "${id}_$task"; done
  check "dump array: states of its tasks" "RUNNING ended COMPLETED" \
    "$(for task in 0 1 2; do field "${id}_$task" JobState; done | sed '2s/CANCELLED\|FAILED/ended/' | xargs)"
  check "dump array: the killed one ran again" 1 "$(field "${id}_2" Restarts)"
  slurm/pipeline.sh --status shared >"$out" 2>&1
  check_has "dump array: which tasks are done" "tasks done: 2; running: 0; " "$out"
  before=$(parts_of shared)
  shared_pipeline
  again=$(job_of shared dump_nm)
  check "dump array: only the gap is submitted again" "1" "$(field "$again" ArrayTaskId)"
  check "dump array: what waits behind it is not" "$next" "$(job_of shared diffusion_nm)"
  wait_end "${again}_1"
  check "dump array: the task that filled the gap" COMPLETED "$(field "${again}_1" JobState)"
  check "dump array: what waits behind it now waits for the one still running" "PENDING afterok:${id}_0" \
    "$(field "$next" JobState) $(waits_for "$next" | grep -o "afterok:${id}_0$")"
  check "dump array: no set without the parts of that one" no "$([[ -e $LSD_RUNS/shared/dump_nm/manifest.json ]] && echo yes || echo no)"
  check "dump array: the parts that were there are left alone" "$before" "$(parts_of shared | grep -xF "$before")"
  kill -CONT "$(held_task 0)"
  wait_end "${id}_0"
  check "dump array: the last task" COMPLETED "$(field "${id}_0" JobState)"
  check_same_as_in_one_piece
  wait_end "$next"
  check "dump array: the next stage ran behind it" COMPLETED "$(field "$next" JobState)"
}

# The jobs that a job waits for, without what has become of each: "afterok:5_0,afterok:7".
waits_for() { field "$1" Dependency | sed 's/([a-z]*)//g'; }

dump_options="--output.tokens_per_part=2048 --threads 1"

shared_pipeline() {
  sed "s/^run = .*/run = shared/; /^probe\./d; /^report\./d; s/^dump.nodes = .*/dump.jobs = 3/; s/^dump.ranks_per_node = .*/dump.ranks_per_node = 1/
    s/--training.steps=20/--training.steps=5/" tests/slurm/mini.cfg >"$PREFIX/shared.cfg"
  echo "dump.options = $dump_options" >>"$PREFIX/shared.cfg"
  slurm/pipeline.sh --from dump "$PREFIX/shared.cfg" >"$out" 2>&1
  check "dump array: submitted" 0 $?
}

# The process of a task's one rank, where it stands still.
held_task() {
  ps -e -o pid= -o stat= -o args= | awk -v index_option="--output.task_index $1 " -v folder="$LSD_RUNS/shared/dump_nm " \
    '$2 ~ /^T/ && /lsd_dump_latents/ && index($0 " ", index_option) && index($0, folder) {print $1}'
}
has_held_task() { [[ -n $(held_task "$1") ]]; }

# Name, time and place of each part.
parts_of() { find "$LSD_RUNS/$1/dump_nm" -maxdepth 1 -name 'part-*.h5' -printf '%f %T@ %i\n' | sort; }

check_same_as_in_one_piece() {
  # shellcheck disable=SC2086  # one word per option
  "$LSD_BIN/lsd_dump_latents" --quiet --features.autoencoder "$LSD_RUNS/shared/train_nm" --input.shards "$PREFIX/data/shards" \
    --output.mode moments --output.directory "$PREFIX/one_piece" $dump_options
  check "dump array: the same files as in one piece" "$(cd "$PREFIX/one_piece" && sha256sum manifest.json part-*.h5)" \
    "$(cd "$LSD_RUNS/shared/dump_nm" && sha256sum manifest.json part-*.h5)"
  "$LSD_BIN/lsd_verify" "$LSD_RUNS/shared/dump_nm" >"$out" 2>&1
  check "dump array: lsd_verify" 0 $?
}
