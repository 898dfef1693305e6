# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154  # out is the caller's
# slurm/pipeline.sh: whole chains, submitted twice, failed, cancelled.

# Every script of a few lines is a valid job by itself.
test_valid() {
  local script refused=""
  for script in slurm/*.sh; do
    [[ $script != slurm/pipeline.sh ]] || continue
    sbatch --test-only "$script" >"$out" 2>&1 || refused+=" $script: $(head -n 1 "$out")"
  done
  check "every script is a valid job" "" "$refused"
}

# The demo's pipeline file with few steps of small models.
write_demo() {
  local small="--training.steps=6 --training.capacity=1024 --data.max_length=128 --optimizer.warmup_steps=2 --model.width=32 --model.heads=2"
  small+=" --validation.every_steps=0 --threads 1"
  sed "s#^fasta = .*#fasta = $LSD_FASTA#; s#^run = .*#run = demo#; s#^probe.tasks = .*#probe.tasks = tests/slurm/probe_tiny.cfg#" \
    configs/pipelines/demo.cfg
  printf '%s\n' "train.options = $small" "diffusion.options = $small"
}

# The demo's stages as chained jobs, three variants on the same shards, with probe arrays and a report; submitted twice
# while it runs, and once more behind its end.
test_chain() {
  local report begin=$SECONDS jobs=14
  note_run demo
  write_demo >"$PREFIX/demo.cfg"
  slurm/pipeline.sh "$PREFIX/demo.cfg" >"$out" 2>&1
  check "the demo is submitted" "0 $jobs" "$? $(jobs_of demo)"
  slurm/pipeline.sh "$PREFIX/demo.cfg" >"$out" 2>&1
  check "submitting again while it runs adds nothing" "0 $jobs" "$? $(jobs_of demo)"
  report=$(job_of demo report)
  wait_end "$report" 480
  check "the demo ran to its report" COMPLETED "$(field "$report" JobState)"
  echo "      it took $((SECONDS - begin)) s"
  check "the report names all variants" "mlm nm tn" "$(grep -oE '\b(nm|tn|mlm)\b' "$LSD_RUNS/demo/report/report.md" | sort -u | tr '\n' ' ' | sed 's/ $//')"
  check "the report as JSON" yes "$([[ -s $LSD_RUNS/demo/report/report.json ]] && echo yes)"
  slurm/pipeline.sh --status demo | tee "$out"
  check "status: all stages done" $jobs "$(grep -cE '^[a-z_]+ +- +done' "$out")"
  slurm/pipeline.sh "$PREFIX/demo.cfg" >"$out" 2>&1
  check "submitting a finished run does nothing" "0 $jobs" "$? $(jobs_of demo)"
  rm -rf "$LSD_RUNS/demo/dump_tn"
  slurm/pipeline.sh "$PREFIX/demo.cfg" >"$out" 2>&1
  check "only the missing stage, and the report behind it" "dump_tn" "$(tail -n +$((jobs + 1)) "$LSD_RUNS/demo/jobs/jobs.tsv" | cut -f1 | tr '\n' ' ' | sed 's/ $//')"
}

mini_pipeline() { # run [sed command]
  sed "s/^run = .*/run = $1/; ${2:-}" tests/slurm/mini.cfg >"$PREFIX/$1.cfg"
  slurm/pipeline.sh "$PREFIX/$1.cfg" >"$out" 2>&1
}

# A whole pipeline file in one allocation: each stage is steps of the one job.
test_single_node() {
  local id
  note_run single
  sed 's/^run = .*/run = single/; s/--training.steps=20/--training.steps=5/' tests/slurm/mini.cfg >"$PREFIX/single.cfg"
  id=$(sbatch --parsable --nodes=1 --ntasks-per-node=2 --gpus-per-node=0 --output="$(log_of single)" slurm/single_node.sh "$PREFIX/single.cfg")
  wait_end "$id" 480
  check "single node: the job" COMPLETED "$(field "$id" JobState)"
  slurm/pipeline.sh --status single >"$out" 2>&1
  check "single node: all stages done, no further jobs" "shard train_nm dump_nm diffusion_nm probe_nm report 0" \
    "$(awk '$2 == "-" && $3 == "done" {print $1}' "$out" | xargs) $(find "$LSD_RUNS/single/jobs" -name jobs.tsv | wc -l)"
  check "single node: two ranks in all stages but the report" "1 of 1 rank(s)" \
    "$(grep -c 'slice 1 of 1, 1 rank(s)' "$(log_of single)") of $(grep 'slice 1 of 1' "$(log_of single)" | grep -v '2 rank(s)' | grep -o '1 rank(s)')"
}

# A stage that fails stops the chain; the status says why; mended and submitted again, the run goes on.
test_failure() {
  local train
  borrow_shards broken
  mini_pipeline broken 's/--model.heads=2/--model.heads=3/'
  wait_until 200 run_has_no_job broken
  train=$(job_of broken train_nm)
  check "a failed stage: its job, those behind it" "FAILED CANCELLED CANCELLED" \
    "$(field "$train" JobState) $(field "$(job_of broken dump_nm)" JobState) $(field "$(job_of broken report)" JobState)"
  slurm/pipeline.sh --status broken >"$out"
  check_has "status names the failed stage's reason" "failed: its program ended with code" "$out"
  mini_pipeline broken
  check_has "submitted again: the failed stage is tried again" "train_nm: trying again; it failed before" "$out"
  check_has "submitted again: the shards are not" "shard: done" "$out"
  train=$(job_of broken train_nm)
  wait_end "$train"
  check "submitted again: it works" COMPLETED "$(field "$train" JobState)"
  slurm/pipeline.sh --cancel broken >"$out" 2>&1
}

# Cancelled in the middle of its training, the run leaves the queue, and submitted again goes on from its checkpoint.
test_cancel() {
  local steps="/^train/s/--training.steps=20/--backend=reference --training.steps=60 --training.log_every=2 --checkpoint.every_steps=10/"
  borrow_shards cancelled
  LSD_FAULT=$(hold_at 45) mini_pipeline cancelled "$steps"
  wait_held cancelled 2
  slurm/pipeline.sh --status cancelled >"$out" 2>&1
  check "status: it runs, with its progress" yes "$(grep -qE '^train_nm +[0-9]+ +running, running +[0-9]+/60 +[0-9:]+ +[0-9]+$' "$out" && echo yes)"
  slurm/pipeline.sh --cancel cancelled >"$out" 2>&1
  check "--cancel" 0 $?
  wait_until 100 run_has_no_job cancelled
  check "--cancel: nothing of the run is left in the queue" "" "$(squeue -h -o %j | grep '^cancelled\.')"
  mini_pipeline cancelled "$steps"
  check_has "submitted again: the shards are not" "shard: done" "$out"
  wait_end "$(job_of cancelled train_nm)"
  check "submitted again: done" COMPLETED "$(field "$(job_of cancelled train_nm)" JobState)"
  check_has "submitted again: from a checkpoint" "going on behind step" "$LSD_RUNS/cancelled/jobs/train_nm.$(job_of cancelled train_nm).log"
  slurm/pipeline.sh --cancel cancelled >"$out" 2>&1
}
