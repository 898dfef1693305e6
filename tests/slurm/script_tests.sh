#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Tests of slurm/ that need no Slurm: syntax, dry run and status against golden text, refused pipeline files, and what a
# stage script makes of every end that a program can come to.
#
#   tests/slurm/script_tests.sh [NAME...]    functions test_NAME, here and in script_fault_tests.sh; default all
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
# shellcheck source=tests/slurm/check.sh
source tests/slurm/check.sh
# shellcheck source=tests/slurm/script_fault_tests.sh
source tests/slurm/script_fault_tests.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset SLURM_JOB_ID SLURM_SUBMIT_DIR "${!LSD_@}" "${!SBATCH_@}"
export LSD_FASTA=$work/fasta LSD_TASKS=/tasks
printf '%02000d' 0 >"$LSD_FASTA"
export LSD_RUNS=$work/runs LSD_SITE=tests/slurm/test_site.sh LSD_LAUNCHER=none LSD_BIN=$work/bin FAKE_LOG=$work/calls
mkdir "$work/bin"
for program in shard_uniref50 train_autoencoder dump_latents train_diffusion probe report; do
  cp tests/slurm/fake_program.sh "$work/bin/lsd_$program"
done
# No queue: a squeue that fails stands before a real one.
printf '#!/bin/sh\nexit 1\n' | tee "$work/bin/squeue" >"$work/bin/scontrol"
chmod +x "$work/bin/squeue" "$work/bin/scontrol"
export PATH=$work/bin:$PATH

# Called with `< <(...)`: behind a pipe its count would be lost.
golden() { # name: compares standard input with tests/slurm/golden/NAME, where /RUNS stands for the folder of runs
  local text
  text=$(sed "s#$LSD_RUNS#/RUNS#g; s#$work#/WORK#g")
  [[ -z ${UPDATE_GOLDEN:-} ]] || printf '%s\n' "$text" >"tests/slurm/golden/$1"
  check "golden $1" "" "$(diff "tests/slurm/golden/$1" - <<<"$text")"
}

test_syntax() {
  local file
  for file in slurm/*.sh slurm/lib/*.sh slurm/sites/*.sh tests/slurm/*.sh; do
    bash -n "$file" || check "$file parses" 1 0
  done
  if command -v shellcheck >/dev/null; then
    shellcheck -x slurm/*.sh slurm/lib/*.sh slurm/sites/*.sh tests/slurm/*.sh
    check "shellcheck is clean" 0 $?
  fi
}

test_dry_run() {
  golden demo.dry_run < <(slurm/pipeline.sh --dry-run configs/pipelines/demo.cfg)
  golden nm_m.dry_run < <(slurm/pipeline.sh --dry-run configs/pipelines/nm_m.cfg)
  golden mini_from_diffusion.dry_run < <(LSD_TFLOPS=100 slurm/pipeline.sh --dry-run --from diffusion tests/slurm/mini.cfg)
  check "a dry run leaves nothing behind" "" "$(ls "$LSD_RUNS" 2>/dev/null)"
}

refused() { # fact text-of-the-error line...
  printf '%s\n' "${@:3}" >"$work/bad.cfg"
  slurm/pipeline.sh --dry-run "$work/bad.cfg" >"$work/out" 2>&1
  check "$1: code" 1 $?
  check_has "$1: error" "$2" "$work/out"
}

test_refused_files() {
  refused "unknown key" "bad.cfg:2: unknown key 'colour'" "variants = nm" "colour = red"
  refused "key given twice" "bad.cfg:2: 'variants' is given twice" "variants = nm" "variants = tn"
  refused "line without =" "bad.cfg:1: not of the form key = value" "variants nm"
  refused "no variants" "'variants' is missing" "run = x"
  refused "unknown variant" "variant 'xy': there is no slurm/train_xy_s.sh" "variants = xy"
  refused "nodes = none" "train.nodes = 'none': a whole number from 1" "variants = nm" "train.nodes = none"
  refused "time below the signal" "report.time = '5' is over before it begins" "variants = nm" "report.time = 5"
  refused "time of no form" "train.time = 'soon'" "variants = nm" "train.time = soon"
  check "times in seconds" "600 90 3723 183600 90061" "$(source slurm/lib/pipeline_config.sh; for time in 10 1:30 01:02:03 2-3 1-1:01:01; do seconds_of $time; done | xargs)"
  refused "latents = both" "latents = 'both'" "variants = nm" "latents = both"
  slurm/pipeline.sh --from sample --dry-run tests/slurm/mini.cfg >"$work/out" 2>&1
  check "unknown --from: code" 1 $?
  check_has "unknown --from: error" "--from sample: this pipeline has shard" "$work/out"
}

wrong_call() { # fact text-of-the-error argument...
  slurm/pipeline.sh "${@:3}" >"$work/out" 2>&1
  check "$1: code" 1 $?
  check_has "$1: error" "$2" "$work/out"
  check "$1: no words of bash's own" 0 "$(grep -c 'line [0-9]*:' "$work/out")"
}

test_wrong_calls() {
  wrong_call "no file" "slurm/pipeline.sh [--dry-run]"
  wrong_call "a folder" "configs/pipelines is a folder: name a pipeline file" configs/pipelines
  wrong_call "--from alone" "lsd: --from needs a stage" configs/pipelines/demo.cfg --from
  wrong_call "--from and an option" "lsd: --from needs a stage" --from --dry-run configs/pipelines/demo.cfg
  wrong_call "--status alone" "lsd: --status needs the name of a run" --status
  wrong_call "--cancel alone" "lsd: --cancel needs the name of a run" --cancel
  wrong_call "--cancel with an empty name" "lsd: --cancel needs the name of a run" --cancel ""
}

# stage END [NAME=VALUE...]: runs the training stage of run "t"; sets code, output in $work/out
stage() {
  code=0
  env LSD_RUN=t FAKE_END="$1" "${@:2}" bash slurm/train_nm_s.sh >"$work/out" 2>&1 || code=$?
}
fresh() {
  rm -rf "$LSD_RUNS/t" "$FAKE_LOG"
  mkdir -p "$LSD_RUNS/t/shard"
  touch "$LSD_RUNS/t/shard/DONE" "$FAKE_LOG"
}
calls() { wc -l <"$FAKE_LOG"; }
# A minute at most; what follows tells that it never came.
wait_for_file() { for _ in {1..1200}; do [[ -e $1 ]] && break; sleep 0.05; done; }

test_ends() {
  fresh
  stage 'done'
  check "done: code" 0 "$code"
  stage failed
  check "a done stage is skipped" "0 1" "$code $(calls)"
  fresh
  stage failed
  check "failed: code" 1 "$code"
  check_has "failed: the program's reason" "train_nm_s of run t failed: the disk is full" "$work/out"
  stage 'done' LSD_SLICE=2 LSD_SLICES=2
  check "a later slice stops at a failure" "1 1" "$code $(calls)"
  stage 'done' SLURM_RESTART_COUNT=1
  check "a restart stops at a failure" "1 1" "$code $(calls)"
  stage 'done'
  check "a new start tries again" "0 2" "$code $(calls)"
  fresh
  stage stopped
  check "stopped: code" 75 "$code"
  stage liar
  check "code 0 without DONE fails" 1 "$code"
  fresh
  stage early
  check "an end before the run began fails" "1 1" "$code $(calls)"
  fresh
  stage crash_once
  check "a crash while starting up: started again" "0 2" "$code $(calls)"
  fresh
  stage crash
  check "a crash at every start fails" "1 3" "$code $(calls)"
  check_has "... and is named" "ended with code 139 before this start began its work" "$work/out"
  rm -rf "$LSD_RUNS/t/shard"
  stage 'done'
  check_has "a missing input is named" "needs shard of run t, which is missing" "$work/out"
}

# A stage that has begun is one that may have lost a node; yet what refuses its next start is not a lost node.
test_later_ends() {
  local pid early="its program ended with code 1 before this start began its work; the job's log says why"
  fresh
  stage stopped
  stage early
  check "stopped, then refused: fails" "1 2" "$code $(calls)"
  check "... with its reason in the status" "failed $early" "$(state_in_status train_nm_s) $(reason_in_status)"
  stage 'done' LSD_SLICE=2 LSD_SLICES=2
  check "... and stops the next slice" "1 2" "$code $(calls)"
  stage 'done'
  check "... until somebody starts it again" "0 3" "$code $(calls)"
  fresh
  stage stopped
  stage early SLURM_RESTART_COUNT=1
  check "... unless the job was restarted: this node may be at fault" "75 stopped" "$code $(state_in_status train_nm_s)"
  check_has "... and that is told" "$early; that may be this node's doing" "$work/out"
  stage early LSD_SLICE=2 LSD_SLICES=2
  check "... or a later slice; but not for ever" "1 failed 3" "$code $(state_in_status train_nm_s) $(calls)"
  check_has "... with the reason of the last" "3 jobs in a row ended without a new checkpoint or file (the last one: $early)" "$work/out"
  fresh
  stage stopped
  stage lost
  check "stopped, then code 1 at its work: goes on" "75 stopped" "$code $(state_in_status train_nm_s)"
  check_has "... and is told" "a rank or a node was lost" "$work/out"
  : >"$FAKE_LOG"
  stage crash_once
  check "... then a crash while starting up: started again" "0 2" "$code $(calls)"
  fresh
  stage stopped
  stage crash
  check "stopped, then a crash at every try: goes on" "75 4" "$code $(calls)"
  fresh
  stage stopped
  env LSD_RUN=t FAKE_END=early_told bash slurm/train_nm_s.sh >"$work/out" 2>&1 &
  pid=$!
  wait_for_file "$FAKE_LOG.waiting"
  kill -USR1 "$pid"
  code=0
  wait "$pid" || code=$?
  check "stopped, then ended by a signal before it began: goes on" "75 stopped" "$code $(state_in_status train_nm_s)"
  fresh_dump
  dump stopped 1
  dump early 1
  check "a task of a dump, stopped, then refused: fails, with its reason" "1 tasks/0001-of-0003: $early" "$code $(reason_in_status)"
}
state_in_status() { slurm/pipeline.sh --status t 2>/dev/null | awk -v stage="$1" '$1 == stage {print $3}'; }

test_idle_ends() {
  fresh
  stage silent && check "killed: code" 75 "$code"
  stage silent && check "killed again: code" 75 "$code"
  stage silent && check "killed three times without progress: code" 1 "$code"
  check_has "without progress: reason" "3 jobs in a row ended without a new checkpoint" "$work/out"
  fresh
  for _ in 1 2 3 4; do stage silent FAKE_PROGRESS=1; done
  check "killed four times with progress: code" 75 "$code"
}

test_signals() {
  local signal pid
  for signal in USR1 TERM INT; do
    fresh
    # `set -m`: a background command of a script would ignore INT.
    (set -m && exec env LSD_RUN=t FAKE_END=wait bash slurm/train_nm_s.sh) >"$work/out" 2>&1 &
    pid=$!
    wait_for_file "$LSD_RUNS/t/train_nm_s/waiting"
    kill -"$signal" "$pid"
    code=0
    wait "$pid" || code=$?
    check "$signal reaches the program as USR1: code" 75 "$code"
    check_has "$signal: stopped" "stopped, to be gone on with: by a signal" "$work/out"
  done
}

# A program that only the launcher's test start sees (two ranks), during which the signal comes.
test_early_signal() {
  local pid
  fresh
  printf '#!/bin/sh\ntouch %s/starting\nuntil [ -e %s/told ]; do sleep 0.05; done\necho "lsd_train_autoencoder 1"\n' "$work" "$work" >"$work/bin/mpirun"
  chmod +x "$work/bin/mpirun"
  rm -f "$work/starting" "$work/told"
  env LSD_RUN=t LSD_RANKS=2 LSD_LAUNCHER=mpirun bash slurm/train_nm_s.sh >"$work/out" 2>&1 &
  pid=$!
  wait_for_file "$work/starting"
  kill -USR1 "$pid"
  touch "$work/told"
  code=0
  wait "$pid" || code=$?
  check "a signal before the program was started: code, no failure" "75 stopped" "$code $(slurm/pipeline.sh --status t 2>/dev/null | awk '$1 == "train_nm_s" {print $3}' | grep . || echo missing)"
  check_has "a signal before the program was started: said so" "signal USR1 came before train_nm_s was started" "$work/out"
  rm "$work/bin/mpirun"
}

test_lock() {
  fresh
  mkdir -p "$LSD_RUNS/t/jobs"
  echo "by_hand.$$" >"$LSD_RUNS/t/jobs/train_nm_s.lock"
  stage 'done'
  check "two jobs on one stage: code" "1 0" "$code $(calls)"
  check_has "two jobs on one stage: error" "is being worked on by job by_hand.$$" "$work/out"
  echo "by_hand.999999999" >"$LSD_RUNS/t/jobs/train_nm_s.lock"
  stage 'done'
  check "the lock of a dead owner is taken over" 0 "$code"
  fresh
  stage usurped
  check "superseded by a later start: code" 1 "$code"
  check_has "superseded: said so" "this start has been superseded by a later one of job" "$work/out"
  check "superseded: record and lock are the later one's" "running another start" \
    "$(sed -n 's/^state=//p' "$LSD_RUNS/t/jobs/train_nm_s.record") $(sed -n 2p "$LSD_RUNS/t/jobs/train_nm_s.lock")"
}

# dump END TASK [NAME=VALUE...]: runs a task of a dump array of three in run "t"; no task: the dump as one job
dump() {
  local array=()
  [[ -z $2 ]] || array=(SLURM_ARRAY_TASK_ID="$2" SLURM_ARRAY_TASK_MIN=0 SLURM_ARRAY_TASK_MAX=2 SLURM_ARRAY_TASK_COUNT=3)
  code=0
  env LSD_RUN=t LSD_VARIANT=nm FAKE_END="$1" "${array[@]}" "${@:3}" bash slurm/dump_latents.sh >"$work/out" 2>&1 || code=$?
}
fresh_dump() {
  fresh
  mkdir -p "$LSD_RUNS/t/train_nm"
  touch "$LSD_RUNS/t/train_nm/DONE"
}
dump_state() { slurm/pipeline.sh --status t | awk '$1 == "dump_nm" {print $3}'; }
dump_tasks() { slurm/pipeline.sh --status t | sed -n 's/^ *tasks //p'; }
# What is submitted of the dump when its array of three is asked for again.
resubmitted() { slurm/pipeline.sh --dry-run --from dump "$work/array.cfg" | grep -o -e '--array=[^ ]* .*dump_latents.sh' -e '^.*dump_latents.sh' | grep -oE -e '--array=[0-9,%-]+' | head -n 1; }

test_dump_array() {
  sed 's/^run = .*/run = t/; s/^dump.nodes = .*/dump.jobs = 3/' tests/slurm/mini.cfg >"$work/array.cfg"
  fresh_dump
  golden dump_array.dry_run < <(slurm/pipeline.sh --dry-run --from dump "$work/array.cfg")
  dump 'done' 2
  check "a task of three: code, its options" "0 2 of 3" "$code $(sed -n 's/.*--output.task_index \([0-9]*\) --output.task_count \([0-9]*\).*/\1 of \2/p' "$FAKE_LOG")"
  dump failed 0
  dump stopped 1
  check "tasks that failed and stopped: the dump" failed "$(dump_state)"
  check "each task's state" "done: 2; stopped: 1; failed: 0" "$(dump_tasks)"
  check "only the gaps are submitted again" "--array=0,1" "$(resubmitted)"
  dump 'done' 2
  check "a task that is done is skipped" "0 3" "$code $(calls)"
  dump 'done' 0 SLURM_ARRAY_TASK_MAX=1 SLURM_ARRAY_TASK_COUNT=2 LSD_DUMP_JOBS=3
  check "some tasks of the set: done" "done: 0 2; stopped: 1" "$(dump_tasks)"
  check "the dump is not done before its last task" stopped "$(dump_state)"
  check "one gap is left" "--array=1" "$(resubmitted)"
  dump 'done' 1
  check "the last one completes it, whichever it is" "0 done" "$code $(dump_state)"
  dump failed 0
  check "a task of a dump that is done does nothing" "0 5" "$code $(calls)"
  dump 'done' 1 SLURM_ARRAY_TASK_MIN=1
  rm "$LSD_RUNS/t/dump_nm/DONE"
  dump 'done' 1 SLURM_ARRAY_TASK_MIN=1
  check "--array=1-2 alone does not tell into how many tasks: code" 1 "$code"
  check_has "--array=1-2 alone: error" "set LSD_DUMP_JOBS=N" "$work/out"
}

test_dump_closing() {
  local task
  fresh_dump
  for task in 0 1 2; do dump 'done' $task FAKE_FORGETS=1; done
  check "all tasks done, the set is not: the dump" "stopped, done: 0 1 2" "$(dump_state), $(dump_tasks)"
  check "what is submitted then is one job, no array" "" "$(resubmitted)"
  dump 'done' ""
  check "it makes what is missing and completes the set" "0 done 0" "$code $(dump_state) $(tail -n 1 "$FAKE_LOG" | grep -c task_index)"
}

# With a queue: sbatch gives numbers, squeue tells what a test says is in it.
test_dump_array_in_queue() {
  local tools=$work/queue_tools
  mkdir -p "$tools"
  printf '#!/bin/sh\ncat "%s/queue"\n' "$work" >"$tools/squeue"
  printf '#!/bin/sh\necho "$*" | tee -a "%s/ever" >>"%s/submitted"\nwc -l <"%s/ever"\n' "$work" "$work" "$work" >"$tools/sbatch"
  chmod +x "$tools"/*
  fresh_dump
  touch "$work/submitted" "$work/queue"
  PATH=$tools:$PATH slurm/pipeline.sh --from dump "$work/array.cfg" >"$work/out" 2>&1
  check "queue: the whole array" "--array=0-2" "$(head -n 1 "$work/submitted" | grep -oE -e '--array=[0-9,-]+')"
  slurm/pipeline.sh --from dump "$work/array.cfg" >"$work/out" 2>&1
  check "queue: nothing is submitted while Slurm does not answer" "1 4" "$? $(wc -l <"$work/submitted")"
  # Task 0 is done, 1 runs, 2 waits; then 2 is gone.
  dump 'done' 0
  printf '1 RUNNING 5:00 1\n1 PENDING 5:00 2\n' >"$work/queue"
  : >"$work/submitted"
  PATH=$tools:$PATH slurm/pipeline.sh --from dump "$work/array.cfg" >"$work/out" 2>&1
  check "queue: nothing of the dump while all its tasks are there" 0 "$(grep -c dump_latents "$work/submitted")"
  check_has "queue: later stages wait for each of them" "--dependency=afterok:1_1:1_2" "$work/submitted"
  printf '1 RUNNING 5:00 1\n' >"$work/queue"
  : >"$work/submitted"
  PATH=$tools:$PATH slurm/pipeline.sh --from dump "$work/array.cfg" >"$work/out" 2>&1
  check "queue: the task that is gone, beside the one that runs" "--array=2" "$(head -n 1 "$work/submitted" | grep -oE -e '--array=[0-9,-]+')"
  check_has "queue: later stages wait for both" "--dependency=afterok:$(grep -n array=2 "$work/ever" | cut -d: -f1):1_1" "$work/submitted"
  # Task 2 is gone again, this time with the later stages in the queue: diffusion 9, probes 10, report 11.
  printf '1 RUNNING 5:00 1\n9 PENDING 5:00 N/A\n10 PENDING 5:00 0\n10 PENDING 5:00 1\n11 PENDING 5:00 N/A\n' >"$work/queue"
  printf '#!/bin/sh\necho "$*" >>"%s/updated"\n[ ! -e "%s/deaf" ]\n' "$work" "$work" >"$tools/scontrol"
  chmod +x "$tools/scontrol"
  rm "$work/submitted"
  touch "$work/submitted" "$work/updated" "$work/deaf"
  PATH=$tools:$PATH slurm/pipeline.sh --from dump "$work/array.cfg" >"$work/out" 2>&1
  check "queue: a job that cannot be told to wait for the new task: code" 1 $?
  check_has "queue: ... the way out" "scancel 9, then the same command" "$work/out"
  rm "$work/deaf" "$work/updated"
  printf '12 PENDING 5:00 2\n' >>"$work/queue"
  PATH=$tools:$PATH slurm/pipeline.sh --from dump "$work/array.cfg" >"$work/out" 2>&1
  check "queue: the stage behind the task is told to wait for it, nothing else is, nothing is submitted twice" \
    "0 1 update JobId=9 Dependency=afterok:1_1:12_2" "$? $(wc -l <"$work/submitted") $(grep update "$work/updated")"
}

# units [NAME=VALUE...]: the units of run "t"'s probe sweep, from its own configs
units() {
  env LSD_RUN=t LSD_VARIANT=nm FAKE_END='done' "$@" bash slurm/probe_sweep.sh >"$work/out" 2>&1
  cut -f 1,3 "$LSD_RUNS/t/jobs/probe_nm.list" | tr '\t' ' '
}
test_probe_units() {
  fresh_dump
  mkdir -p "$LSD_RUNS/t/diffusion_nm"
  touch "$LSD_RUNS/t/diffusion_nm/DONE"
  printf '[task]\nfile = data/tasks/a.csv.gz\n[features]\ntime = 0.4\n[sweep]\ntimes =\n' >"$work/a.cfg"
  printf '[task]\nfile = /elsewhere/b.csv\nname = bee\n[sweep]\ntimes = 0, 0.5\n' >"$work/b.cfg"
  check "probe units: t and names from the configs, tables where the site has them" \
    "a.encoder.t0 /tasks/a.csv.gz,a.score.t0.4 /tasks/a.csv.gz,bee.encoder.t0 /elsewhere/b.csv,bee.score.t0.5 /elsewhere/b.csv," \
    "$(units LSD_PROBE_TASKS="$work/a.cfg $work/b.cfg" LSD_PROBE_REPRESENTATIONS="encoder score" | tr '\n' ',')"
  check "probe units: t for all tasks" "bee.diffusion.t0.1 /elsewhere/b.csv,bee.diffusion.t0.2 /elsewhere/b.csv," \
    "$(units LSD_PROBE_TASKS="$work/b.cfg" LSD_PROBE_REPRESENTATIONS=diffusion LSD_PROBE_TIMES="0.1 0.2" | tr '\n' ',')"
  check "probe units: the five shipped configs, encoder and five t each" "5 30" \
    "$(units | sed 's/\..*//' | sort -u | wc -l) $(wc -l <"$LSD_RUNS/t/jobs/probe_nm.list")"
  check "probe units: each shipped config is read from LSD_TASKS" 30 "$(cut -f 3 "$LSD_RUNS/t/jobs/probe_nm.list" | grep -c '^/tasks/.*\.csv\.gz$')"
  check "tables that are not there are told of when a run is submitted" 5 \
    "$(slurm/pipeline.sh --dry-run configs/pipelines/nm_m.cfg 2>&1 | grep -c 'no table /tasks/.* of probe.tasks')"
  check "probe units: baselines once for each task" 5 "$(cut -f 6 "$LSD_RUNS/t/jobs/probe_nm.list" | grep -c true)"
}

test_status() {
  fresh
  local run=$LSD_RUNS/t
  mkdir -p "$run/jobs" "$run/train_nm/checkpoints" "$run/diffusion_nm" "$run/probe_nm/a.encoder.t0"
  printf 'shard\t1\t11\ntrain_nm\t1\t12\ntrain_nm\t2\t13\ndiffusion_nm\t1\t14\nprobe_nm\t1\t15\n' >"$run/jobs/jobs.tsv"
  printf '[training]\nsteps = 500\n[validation]\nsteps = 7\n' >"$run/train_nm/config.cfg"
  printf '{"kind":"train","step":320,"loss":1.5}\n' >"$run/train_nm/metrics.jsonl"
  echo checkpoint-00000300 >"$run/train_nm/checkpoints/latest"
  printf 'state=stopped\n' >"$run/jobs/train_nm.record"
  printf '{\n  "reason": "no space left on /scratch",\n  "host": "n1"\n}\n' >"$run/diffusion_nm/FAILED"
  printf 'a.encoder.t0\t-\na.diffusion.t0.3\t-\n' >"$run/jobs/probe_nm.list"
  touch "$run/probe_nm/a.encoder.t0/DONE"
  golden status < <(slurm/pipeline.sh --status t)
  slurm/pipeline.sh --status nothing >"$work/out" 2>&1
  check "status of no run: code" 1 $?
}

# Records whose writers had no last word: kill -9, or a node that is gone.
test_status_killed() {
  local run=$LSD_RUNS/t tools=$work/killed_tools task
  fresh
  mkdir -p "$run/jobs/dump_nm/tasks" "$tools"
  printf 'diffusion_nm\t1\t3\ntrain_nm\t1\t4\ndump_nm\t1\t5\n' >"$run/jobs/jobs.tsv"
  printf 'state=running\njob=3\n' >"$run/jobs/diffusion_nm.record"
  printf 'state=running\njob=4\n' >"$run/jobs/train_nm.record"
  printf 'tasks/000%d-of-0003\n' 0 1 2 >"$run/jobs/dump_nm.list"
  for task in 0 1 2; do printf 'state=running\njob=5_%d\n' "$task" >"$run/jobs/dump_nm/tasks/000$task-of-0003.record"; done
  printf '#!/bin/sh\ncat "%s/killed_queue"\n' "$work" >"$tools/squeue"
  chmod +x "$tools/squeue"
  printf '4 RUNNING 5:00 N/A\n5 RUNNING 5:00 0\n5 PENDING 5:00 2\n' >"$work/killed_queue"
  seen() { PATH=$tools:$PATH slurm/pipeline.sh --status t | awk '$1 != "stage" {print $1, $1 == "tasks" ? substr($0, 11) : $3}' | paste -sd';'; }
  check "killed: only what has left the queue" "diffusion_nm killed;train_nm running,;dump_nm running,;tasks running: 0 2; killed: 1" "$(seen)"
  : >"$work/killed_queue"
  check "killed: an array without a live task" "diffusion_nm killed;train_nm killed;dump_nm killed;tasks killed: 0 1 2" "$(seen)"
  check "killed: nothing is called so while Slurm does not answer" 0 "$(slurm/pipeline.sh --status t 2>/dev/null | grep -c killed)"
  printf 'state=running\njob=by_hand.999999999\nhost=%s\n' "$(hostname)" >"$run/jobs/diffusion_nm.record"
  printf 'state=running\njob=by_hand.%d\nhost=%s\n' $$ "$(hostname)" >"$run/jobs/train_nm.record"
  check "killed: by hand, on this host" "diffusion_nm killed;train_nm running" "$(seen | cut -d';' -f 1,2)"
  printf 'state=running\njob=by_hand.999999999\nhost=elsewhere\n' >"$run/jobs/diffusion_nm.record"
  check "not known: by hand on another host" "diffusion_nm running" "$(seen | cut -d';' -f 1)"
}

test_whole_chain() {
  rm -rf "$LSD_RUNS" "$FAKE_LOG"
  sed 's/^run = .*/run = t/' tests/slurm/mini.cfg >"$work/chain.cfg"
  FAKE_END='done' slurm/pipeline.sh --here "$work/chain.cfg" >"$work/out" 2>&1
  check "the chain by hand: code" 0 $?
  golden chain.calls <"$FAKE_LOG"
  FAKE_END=failed slurm/pipeline.sh --here "$work/chain.cfg" >"$work/out" 2>&1
  check "once more: only the report is made again" "1 8" "$? $(wc -l <"$FAKE_LOG")"
}

names=("$@")
[[ $# -gt 0 ]] || names=(syntax dry_run refused_files wrong_calls ends later_ends idle_ends signals early_signal lock dump_array dump_closing dump_array_in_queue
  probe_units status status_killed whole_chain "${fault_tests[@]}")
for name in "${names[@]}"; do
  declare -F "test_$name" >/dev/null || check "a test named $name" there missing
  "test_$name"
done
finish_checks
